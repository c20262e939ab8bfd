import { Command, Option } from "commander";
import type { DriftView } from "../../src/objects/drift.ts";
import { Problem } from "../problem.ts";
import { AdminClient } from "../region/admin-client.ts";
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
      .argument("<id>", "id of the difference")
      .addOption(reasonOption()),
  ).action(async (id: string, flags: TargetFlags & { reason: string }) => {
    printJson(await targetOf(flags).client.acknowledgeDrift(id, flags.reason));
  });
  command
    .command("compare")
    .description("asks several regions and compares what they say of themselves: packs, probes and trust entries")
    .argument("<url...>", "addresses of two regions or more")
    .addOption(new Option("--token <jwt>", "admin credential of all of them").env("INTERLOCK_ADMIN_TOKEN"))
    .action(async (urls: string[], { token }: { token?: string }) => {
      if (!token)
        throw new Problem("There is no admin credential", "Give one with --token or INTERLOCK_ADMIN_TOKEN.", 2);
      if (urls.length < 2) throw new Problem("One region has nothing to be compared with", "Give two addresses.", 2);
      const { text, differs } = compared(await Promise.all(urls.map((url) => new AdminClient(url, token).drift())));
      process.stdout.write(text);
      if (differs) process.exitCode = 1;
    });
  return command;
}

/** For reading; `--json` has everything. */
export function table({ region, problem, on_drift, own, peers, differences }: DriftView): string {
  const packs = own?.packs.map(({ name, version }) => `${name} ${version}`).join(", ") ?? "not asked yet";
  return [
    `${region}: ${problem ?? "nothing to look after"} (a difference is to ${on_drift})`,
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

/** By what each region says of itself, whatever they found of one another. */
export function compared(views: readonly DriftView[]): { readonly text: string; readonly differs: boolean } {
  const rows = new Map<string, Map<string, string[]>>();
  const say = (what: string, value: string, region: string): void => {
    const values = rows.get(what) ?? new Map<string, string[]>();
    rows.set(what, values.set(value, [...(values.get(value) ?? []), region]));
  };
  for (const { region, own, states } of views) {
    const [engine, probes] = [own?.engine ?? "", own?.probes ?? 0];
    for (const { name, version, digest, probe } of own?.packs ?? []) {
      say(`${name} ${version} content`, digest, region);
      // Answers of two engines, or to two lists of questions, are not compared.
      if (probe !== null) say(`${name} ${version} answers (${engine}, questions ${probes})`, probe, region);
    }
    for (const { origin, incarnation, seq, secret, count, sum } of states)
      say(`entries of ${origin} after ${incarnation}.${seq} (${secret})`, `${count} ${sum}`, region);
  }
  const lines = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, values]) => lineOf(what, values));
  return { text: [...lines, ""].join("\n"), differs: [...rows.values()].some((values) => values.size > 1) };
}

function lineOf(what: string, values: ReadonlyMap<string, readonly string[]>): string {
  if (values.size === 1) {
    const regions = [...values.values()][0]!;
    return `${regions.length === 1 ? "only" : "same"}  ${what}: ${regions.join(", ")}`;
  }
  return `DIFFERS  ${what}: ${[...values].map(([value, regions]) => `${regions.join(", ")} ${value}`).join("; ")}`;
}
