import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { InvalidArgumentError, Option, type Command } from "commander";
import { coverageExitCode } from "../../src/lineage/verify-coverage.ts";
import { readAs } from "../region/reader-client.ts";
import { printJson } from "./target.ts";
import { readTrust } from "./trust-file.ts";

type Flags = {
  readonly trust: string;
  readonly token?: string;
  readonly out?: string;
  readonly since?: number;
  readonly json?: true;
};

/** `interlock log coverage`: what a log says that it covers, verified under a policy from elsewhere. */
export function logCoverage(command: Command): void {
  command
    .command("coverage")
    .description("what a region's log covers: anchored, unanchored, gaps, erased; verified offline")
    .argument("<source>", "address of the region, or a file that --out wrote")
    .addOption(
      new Option("--trust <policy>", "tlog-policy file: whose keys and which quorum you trust").makeOptionMandatory(),
    )
    .addOption(new Option("--token <jwt>", "auditor's credential").env("INTERLOCK_ADMIN_TOKEN"))
    .option("--out <file>", "keep the signed statement")
    .addOption(new Option("--since <time>", "it has to be this recent").argParser(parseSince))
    .option("--json", "the report as JSON")
    .addHelpText("after", "\nExit codes: 0 verified, 1 failed, 2 wrong usage or unreadable.")
    .action(coverage);
}

async function coverage(source: string, flags: Flags): Promise<void> {
  const policy = readTrust(flags.trust);
  const text = existsSync(source) ? readFileSync(source, "utf8") : await fetched(source, flags.token || null);
  if (flags.out !== undefined) writeFileSync(flags.out, text);
  const { coverageReportText, verifyCoverageText } = await import("../evidence/coverage.ts");
  const report = await verifyCoverageText(text, policy, flags.since);
  if (flags.json) printJson(report);
  else process.stdout.write(coverageReportText(report) + "\n");
  process.exitCode = coverageExitCode(report);
}

async function fetched(url: string, token: string | null): Promise<string> {
  if (!/^https?:\/\/[^?#\s]+$/.test(url)) throw new InvalidArgumentError("Give http(s)://… of the region, or a file.");
  return (await readAs(url, token, "/lineage/v1/coverage")).text();
}

function parseSince(text: string): number {
  const t_ms = /^[0-9]+$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isSafeInteger(t_ms)) throw new InvalidArgumentError("A time is ISO 8601 or Unix milliseconds.");
  return t_ms;
}
