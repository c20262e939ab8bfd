import { Command } from "commander";
import type { DriftView } from "../../src/objects/drift.ts";
import { driftCompareCommand } from "./drift-compare.ts";
import { jsonOption, reasonOption } from "./stop.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** How policies and trust entries of regions differ (docs/operations/drift-alarm.md). Exit code 1: somebody has to look. */
export function driftCommand(): Command {
  const command = addTargetOptions(
    new Command("drift")
      .description("what decides here and in the other regions, and every difference")
      .enablePositionalOptions()
      .addOption(jsonOption()),
  ).action(async (flags: TargetFlags & { json?: true }) => {
    const view = await targetOf(flags).client.drift();
    if (flags.json === true) printJson(view);
    else process.stdout.write(table(view));
    if (view.problem !== null) process.exitCode = 1;
  });
  addTargetOptions(
    command
      .command("acknowledge")
      .description("go on with this very difference as it is; another one alarms anew")
      .argument("<id>", "id of the difference, as `interlock drift` lists it")
      .addOption(reasonOption())
      .addOption(jsonOption()),
  ).action(async (id: string, flags: TargetFlags & { reason: string }) => {
    printJson(await targetOf(flags).client.acknowledgeDrift(id, flags.reason));
  });
  command.addCommand(driftCompareCommand());
  return command;
}

/** Regions look at their policy and entries while they decide: of an idle one since its start there is no word. */
const NOTHING_ASKED = "not looked at yet; the region has decided nothing since its start";

/** For reading; `--json` has everything. */
export function table({ region, problem, on_drift, own, peers, differences }: DriftView): string {
  const packs = own?.packs.map(({ name, version }) => `${name} ${version}`).join(", ") ?? NOTHING_ASKED;
  return [
    `${region}: ${problem ?? (own === null ? "nothing is known" : "nothing to look after")} (a difference is to ${on_drift})`,
    `packs: ${packs}`,
    ...peers.map(({ region: peer, statement, states }) => {
      const said = [statement === null ? "no policy" : "its policy", states === null ? "no entries" : "its entries"];
      return `${peer}: said ${said.join(", ")}`;
    }),
    ...differences.map(({ id, peer, kind, pack, own: here, theirs, since_ms, acknowledged }) => {
      const word = acknowledged === null ? "" : `, acknowledged: ${acknowledged.reason}`;
      return `${id}  ${peer} ${kind} ${pack || "–"}: here ${here}, there ${theirs}, since ${new Date(since_ms).toISOString()}${word}`;
    }),
    "",
  ].join("\n");
}
