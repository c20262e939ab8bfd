import { existsSync } from "node:fs";
import { InvalidArgumentError, Option, type Command } from "commander";
import { Problem } from "../problem.ts";
import type { ArchiveReport } from "../log/archive-verify.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";
import { readTrust } from "./trust-file.ts";

type ArchiveFlags = TargetFlags & {
  readonly epoch: number;
  readonly out: string;
  readonly trust?: string;
  readonly json?: true;
};
type VerifyFlags = { readonly trust: string; readonly json?: true };

const EXIT_CODES = "\nExit codes: 0 verified, 1 failed, 2 wrong usage or no archive.";

/** `interlock log archive` and `verify-archive`: a sealed log epoch as files (docs/operations/archive.md). */
export function logArchive(command: Command): void {
  addTargetOptions(
    command
      .command("archive")
      .description("write a sealed log epoch into a directory as static tlog-tiles, then verify all of it")
      .argument("[url]", "address of the region; or --region")
      .addOption(new Option("--epoch <n>", "which log epoch").argParser(parseEpoch).makeOptionMandatory())
      .addOption(new Option("--out <dir>", "the directory; goes on in one that was begun").makeOptionMandatory())
      .option("--trust <policy>", "tlog-policy file to verify under (default: what the region says)")
      .option("--json", "the report as JSON")
      .addHelpText("after", EXIT_CODES),
  ).action(archive);
  command
    .command("verify-archive")
    .description("verify an archived log epoch; needs no region and no network")
    .argument("<dir>", "the directory")
    .addOption(
      new Option("--trust <policy>", "tlog-policy file: whose keys and which quorum you trust").makeOptionMandatory(),
    )
    .option("--json", "the report as JSON")
    .addHelpText("after", EXIT_CODES)
    .action(verify);
}

async function archive(address: string | undefined, flags: ArchiveFlags): Promise<void> {
  const { archiveLog } = await import("../log/archive.ts");
  const { verifyArchive } = await import("../log/archive-verify.ts");
  const given = flags.trust === undefined ? null : readTrust(flags.trust);
  const { url, token } = targetOf(address === undefined ? flags : { ...flags, regionUrl: address });
  const say = (text: string): void => void process.stderr.write(text + "\n");
  if (given === null) say("no policy was given: the region's own word for its key and its witnesses is taken");
  const { epoch: log_epoch, out } = flags;
  const { bundles, kept, policy } = await archiveLog({ url, token, log_epoch, out, policy: given, say });
  say(`${out}: ${bundles} entry bundles, ${kept} of them were there already`);
  await show(await verifyArchive(out, policy), flags.json);
}

async function verify(dir: string, flags: VerifyFlags): Promise<void> {
  const { verifyArchive } = await import("../log/archive-verify.ts");
  const policy = readTrust(flags.trust);
  if (!existsSync(dir)) throw new Problem(`There is no directory ${dir}`, "Check the path.", 2);
  await show(await verifyArchive(dir, policy), flags.json);
}

async function show(report: ArchiveReport, json: true | undefined): Promise<void> {
  const { archiveExitCode, archiveReportText } = await import("../log/archive-verify.ts");
  if (json) printJson(report);
  else process.stdout.write(archiveReportText(report) + "\n");
  process.exitCode = archiveExitCode(report);
}

function parseEpoch(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError("A log epoch is a whole number from 1.");
  return Number(text);
}
