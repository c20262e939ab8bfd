import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { Problem } from "../problem.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";
import { readTrust } from "./trust-file.ts";

/** Evidence: one file out of a region, and its verification anywhere else. */

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^[0-9]{1,4}$/.test(text)) throw new InvalidArgumentError("A whole number of seconds, at most 9999.");
  return seconds;
}

function parseTime(text: string): number {
  const t_ms = /^[0-9]+$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isSafeInteger(t_ms))
    throw new InvalidArgumentError("A time is ISO 8601, e.g. 2026-11-23T00:00:00Z, or Unix milliseconds.");
  return t_ms;
}

export function evidenceCommand(): Command {
  const command = new Command("evidence").description("what shows a run's records to somebody outside");
  addTargetOptions(
    command
      .command("export")
      .description("write the evidence bundle of a run: leaves, proof, head, cosigned checkpoint")
      .addOption(new Option("--run <id>", "id of the run").makeOptionMandatory())
      .addOption(new Option("--out <file>", "where to write it (default: <run>.evidence.json)"))
      .addOption(
        new Option("--wait <seconds>", "how long to wait for the witnesses").default(30).argParser(parseSeconds),
      ),
  ).action(async (flags: TargetFlags & { run: string; out?: string; wait: number }) => {
    const { exportEvidence } = await import("../evidence/export.ts");
    const { url, token } = targetOf(flags);
    const out = flags.out ?? `${flags.run.replaceAll(/[^A-Za-z0-9._-]/g, "_")}.evidence.json`;
    const { bytes, records, complete } = await exportEvidence({
      url,
      token,
      run: flags.run,
      wait_ms: flags.wait * 1000,
    });
    // It may hold personal data.
    await writeFile(out, bytes, { mode: 0o600 });
    const end = complete ? "" : "; it has no head, so nothing says whether that is all";
    process.stdout.write(`${out}: ${records} records, ${bytes.length} bytes${end}\n`);
  });
  return command;
}

type VerifyFlags = { readonly trust: string; readonly run?: string; readonly since?: number; readonly json?: true };

export function verifyCommand(): Command {
  return new Command("verify")
    .description("verify an evidence bundle or a coverage statement; needs no region and no network")
    .argument("<file>", "the bundle")
    .addOption(
      new Option("--trust <policy>", "tlog-policy file: whose keys and which quorum you trust").makeOptionMandatory(),
    )
    .addOption(new Option("--run <id>", "the run that the bundle has to be about"))
    .addOption(new Option("--since <time>", "the run's head has to be this recent").argParser(parseTime))
    .addOption(new Option("--json", "the report as JSON"))
    .addHelpText("after", "\nExit codes: 0 verified, 1 failed, 2 wrong usage or an unreadable file.")
    .action(async (file: string, flags: VerifyFlags) => {
      // A coverage statement is a JWS; no bundle begins like one.
      if (beginsLikeJws(file)) return verifyStatement(file, flags);
      const { verifyFile } = await import("../evidence/verify.ts");
      const { exitCodeOf } = await import("../../src/lineage/evidence-report.ts");
      const report = await verifyFile(file, flags.trust, {
        ...(flags.run === undefined ? {} : { run: flags.run }),
        ...(flags.since === undefined ? {} : { head_since_ms: flags.since }),
      });
      if (flags.json) printJson(report);
      else process.stdout.write((await import("../evidence/report.ts")).reportText(report) + "\n");
      process.exitCode = exitCodeOf(report);
    });
}

async function verifyStatement(file: string, flags: VerifyFlags): Promise<void> {
  const { coverageReportText, verifyCoverageText } = await import("../evidence/coverage.ts");
  const { coverageExitCode } = await import("../../src/lineage/verify-coverage.ts");
  if (flags.run !== undefined)
    throw new Problem(`${file} is a coverage statement, which is about no single run`, "Leave --run out.", 2);
  const report = await verifyCoverageText(readFileSync(file, "utf8"), readTrust(flags.trust), flags.since);
  if (flags.json) printJson(report);
  else process.stdout.write(coverageReportText(report) + "\n");
  process.exitCode = coverageExitCode(report);
}

/** A file that cannot be read is none: who reads it next says why. */
function beginsLikeJws(file: string): boolean {
  const start = Buffer.alloc(3);
  try {
    const opened = openSync(file, "r");
    readSync(opened, start);
    closeSync(opened);
  } catch {
    return false;
  }
  return start.toString() === "eyJ";
}
