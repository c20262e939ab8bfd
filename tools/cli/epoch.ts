import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { placeOfOrigin } from "../../src/lineage/archive.ts";
import type { EpochStatus } from "../../src/objects/epochs.ts";
import { Problem } from "../problem.ts";
import { prepareEpoch } from "../region/launch.ts";
import { dataDirOf } from "../workerd/data-dir.ts";
import { parseShards } from "./options.ts";
import { readTrust } from "./trust-file.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** The end of a log and the beginning of the next (docs/operations/new-epoch.md). */

const SEAL_MS = 60_000;

const reasonOption = (): Option => new Option("--reason <text>", "why, for the record").makeOptionMandatory();
const say = (text: string): void => void process.stderr.write(text + "\n");

export function epochCommand(): Command {
  const command = new Command("epoch").description("end the log of a region in order, and let the next one begin");
  addTargetOptions(command.command("status").description("the log epochs of a region, and how its log stands")).action(
    async (flags: TargetFlags) => printJson(await targetOf(flags).client.epoch()),
  );
  addTargetOptions(
    command
      .command("seal")
      .description("end the log epoch: nothing is decided any more, and the last checkpoint is cosigned")
      .addOption(
        new Option(
          "--without-shard <k...>",
          "end it without these shards where they never answer: what only they have is in no log, for good",
        ).argParser(collectShards),
      )
      .addOption(reasonOption()),
  ).action(seal);
  addTargetOptions(
    command
      .command("next")
      .description("let the next log epoch begin, once the log is sealed or halted; then restart the region")
      .addOption(
        new Option("--shards <n>", "LineageShards of the new epoch (default: as before)").argParser(parseShards),
      )
      .addOption(reasonOption()),
  ).action(next);
  addTargetOptions(
    command
      .command("drop")
      .description("empty a sealed past log epoch, once its archive is verified; this cannot be undone")
      .addOption(new Option("--archive <dir>", "what interlock log archive wrote").makeOptionMandatory())
      .addOption(new Option("--trust <policy>", "tlog-policy file to verify it under").makeOptionMandatory())
      .addOption(reasonOption()),
  ).action(drop);
  return command;
}

function collectShards(text: string, before: readonly number[] = []): readonly number[] {
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(text)) throw new InvalidArgumentError("A shard is a whole number from 0.");
  return [...before, Number(text)];
}

async function seal(flags: TargetFlags & { reason: string; withoutShard?: readonly number[] }): Promise<void> {
  const { client } = targetOf(flags);
  for (const end = Date.now() + SEAL_MS; ;) {
    const status = await client.sealEpoch(flags.reason, flags.withoutShard);
    const { log } = status;
    // Anchored, where anybody witnesses it: an epoch ends with what others have seen.
    const witnessed = log !== null && (log.witnesses.length === 0 || log.anchored_size === log.size);
    if (log?.state === "sealed" && witnessed) return printJson(status);
    if (Date.now() > end) {
      if (log?.state === "sealed") {
        say("SEALED, and no quorum of witnesses has cosigned the last checkpoint yet: it is asked for on.");
        return printJson(status);
      }
      throw new Problem(
        `The log is ${log?.state ?? "silent"} after ${SEAL_MS / 1_000} s; everything is denied already`,
        "Look at /health, then seal it again: it goes on where it stopped.",
      );
    }
    await sleep(500);
  }
}

async function drop(flags: TargetFlags & { archive: string; trust: string; reason: string }): Promise<void> {
  const { archiveReportText, verifyArchive } = await import("../log/archive-verify.ts");
  const report = await verifyArchive(flags.archive, readTrust(flags.trust));
  say(archiveReportText(report));
  const place = report.origin === null ? null : placeOfOrigin(report.origin);
  if (report.status !== "verified" || place === null || report.root === null)
    throw new Problem("Nothing was dropped: the archive is not verified", "Run interlock log archive again.");
  const { client, name } = targetOf(flags);
  const { size, root } = report;
  if (flags.region !== undefined && flags.region !== place.region)
    throw new Problem(`The archive is of region ${place.region}, not of ${name}`, "Name that region.", 2);
  for (const end = Date.now() + SEAL_MS; ;) {
    const status = await client.dropEpoch(place.log_epoch, { size, root, reason: flags.reason });
    const dropped = status.epochs.find(({ log_epoch }) => log_epoch === place.log_epoch)?.dropped;
    if (dropped?.done === true) return printJson(status);
    if (Date.now() > end)
      throw new Problem("It is dropped, and not every object is empty yet", "The region goes on with it; ask again.");
    await sleep(500);
  }
}

async function next(flags: TargetFlags & { reason: string; shards?: number }): Promise<void> {
  const { client } = targetOf(flags);
  const status: EpochStatus = await client.nextEpoch(flags.reason);
  const log_epoch = status.epochs.at(-1)!.log_epoch + 1;
  if (flags.region === undefined) {
    say(`Deploy the region with INTERLOCK_LOG_EPOCH=${log_epoch}, then enrol it again (docs/operations/enrol.md).`);
  } else {
    prepareEpoch(dataDirOf(flags.data, flags.region), log_epoch, flags.shards ?? null);
    say(`Stop region ${flags.region} and start it again: it then runs log epoch ${log_epoch}.`);
  }
  printJson(status);
}
