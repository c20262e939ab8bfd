import { Command, InvalidArgumentError, Option } from "commander";
import { Problem } from "../problem.ts";
import type { Entry, Wanted } from "../replay/records.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** `interlock replay` and `interlock policy backtest`: past decisions, made again. */

type Source = TargetFlags & {
  readonly run?: string;
  readonly decision?: string;
  readonly since?: string;
  readonly until?: string;
};

const many = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) throw new InvalidArgumentError("1 to 99999.");
  return Number(text);
}

async function entriesOf(flags: Source, file: string | undefined): Promise<AsyncIterable<Entry>> {
  const { recordsOfFile, recordsOfRegion } = await import("../replay/records.ts");
  const wanted = wantedOf(flags);
  if (file !== undefined) {
    if (wanted !== null) throw new Problem("A file is replayed whole", "Leave out --run, --decision and --since.", 2);
    return recordsOfFile(file);
  }
  if (wanted === null)
    throw new Problem("It is not said which decisions", "Give --run ID, --decision ID, --since TIME, or a file.", 2);
  const { url, token } = targetOf(flags);
  return recordsOfRegion(url, token, wanted);
}

function wantedOf({ run, decision, since, until }: Source): Wanted | null {
  const given = [run, decision, since].filter((value) => value !== undefined);
  if (until !== undefined && since === undefined)
    throw new Problem("--until is the end of --since", "Give --since TIME beside it.", 2);
  if (given.length > 1) throw new Problem("Too much is asked at once", "Give one of --run, --decision, --since.", 2);
  if (run !== undefined) return { run };
  if (decision !== undefined) return { decision };
  return since === undefined ? null : { since, ...(until === undefined ? {} : { until }) };
}

const POLICY = "a policy bundle that may have decided, besides the one shipped with this program; repeat it for more";

export function replayCommand(): Command {
  const command = new Command("replay")
    .description("decide recorded decisions again and compare the bytes: from a region, or from a file without one")
    .argument("[file]", "an evidence bundle, or what `lineage search --payload --json` wrote")
    .option("--run <id>", "the records of a run")
    .option("--decision <id>", "one record")
    .option("--since <time>", "all records since: ISO 8601 with a zone, or Unix milliseconds")
    .option("--until <time>", "and not younger")
    .addOption(new Option("--policy <bundle>", POLICY).argParser(many).default([]))
    .option("--there", "have the region do it itself, between its decisions, and wait for what it says; with --since")
    .option("--reason <text>", "why, with --there: it is on record", "asked by the command")
    .option("--each", "one line a record")
    .option("--json", "the report as JSON");
  return addTargetOptions(command).action(
    async (
      file: string | undefined,
      flags: Source & {
        readonly policy: readonly string[];
        readonly there?: true;
        readonly reason: string;
        readonly each?: true;
        readonly json?: true;
      },
    ) => {
      if (flags.there) return there(file, flags);
      const { differenceText, replayAll, replayText, saysNothing } = await import("../replay/replay.ts");
      const report = await replayAll(
        await entriesOf(flags, file),
        flags.policy,
        ({ decision_id, kind, said, replayed }) => {
          if (!flags.each) return;
          const word = replayed.verdict === "different" ? `DIFFERENT ${differenceText(replayed)}` : replayed.verdict;
          const why = replayed.verdict === "unreplayable" ? ` ${replayed.reason}` : "";
          process.stdout.write(`${decision_id}  ${kind} ${said}  ${word}${why}\n`);
        },
      );
      if (flags.json) printJson(report);
      else process.stdout.write(replayText(report) + "\n");
      // Nothing was found is not the same as all is well.
      if (report.verdict !== "identical" || saysNothing(report)) process.exitCode = 1;
    },
  );
}

async function there(
  file: string | undefined,
  flags: Source & { readonly reason: string; readonly json?: true },
): Promise<void> {
  const { since, run, decision, until } = flags;
  if (file !== undefined || since === undefined || run !== undefined || decision !== undefined || until !== undefined)
    throw new Problem("A region replays all since a time", "With --there give --since TIME and nothing else.", 2);
  const from = new Date(/^[0-9]+$/.test(since) ? Number(since) : since);
  if (Number.isNaN(from.getTime())) throw new Problem(`--since ${since} is no time`, "Give ISO 8601 with a zone.", 2);
  const { isNothing } = await import("../../src/replay/tally.ts");
  const { replayThere, thereText } = await import("../replay/there.ts");
  const told = process.stderr.isTTY;
  const view = await replayThere(
    targetOf(flags).client,
    { since: from.toISOString(), reason: flags.reason },
    ({ looked, of }) => void (told && process.stderr.write(`\r${looked} of ${of} records`)),
  );
  if (told) process.stderr.write("\n");
  if (flags.json) printJson(view);
  else process.stdout.write(thereText(view) + "\n");
  if (view.verdict !== "identical" || isNothing(Object.keys(view.counts))) process.exitCode = 1;
}

const CHANGES = ["newly_allowed", "newly_denied", "changed_reason", "changed_obligations"] as const;

export function policyBacktest(parent: Command): void {
  const command = parent
    .command("backtest")
    .description("decide recorded history again under another bundle: what would be allowed and denied that was not")
    .argument("<bundle>", "the candidate")
    .argument("[file]", "records instead of a region's: an evidence bundle, or `lineage search --payload --json`")
    .option("--since <time>", "records since: ISO 8601 with a zone, or Unix milliseconds")
    .option("--until <time>", "and not younger")
    .option("--run <id>", "the records of a run")
    .addOption(new Option("--policy <bundle>", POLICY).argParser(many).default([]))
    .addOption(new Option("--pack <name>", "packs of the candidate (default: those that decided)").argParser(many))
    .addOption(new Option("--groups <n>", "at most so many groups").default(30).argParser(parseCount))
    .addOption(new Option("--fail-on <change...>", "end with 1 where there is one").choices(CHANGES))
    .option("--json", "the report as JSON");
  addTargetOptions(command).action(
    async (
      bundle: string,
      file: string | undefined,
      flags: Source & {
        readonly policy: readonly string[];
        readonly pack?: readonly string[];
        readonly groups: number;
        readonly failOn?: readonly (typeof CHANGES)[number][];
        readonly json?: true;
      },
    ) => {
      const { backtestAll, backtestText } = await import("../replay/backtest.ts");
      const started = performance.now();
      const told = process.stderr.isTTY;
      const rate = (records: number): string =>
        `${records} records, ${Math.round(records / ((performance.now() - started) / 1_000))} a second`;
      const reports = await backtestAll(
        await entriesOf(flags, file),
        bundle,
        flags.policy,
        flags.pack ?? null,
        (records) => void (told && process.stderr.write(`\r${rate(records)}`)),
      );
      const decided = reports.reduce((sum, report) => sum + report.decided, 0);
      process.stderr.write(`${told ? "\r" : ""}${rate(decided)}\n`);
      if (flags.json) printJson(reports);
      else process.stdout.write(backtestText(reports, flags.groups) + "\n");
      const fatal = flags.failOn ?? [];
      const found = fatal.some((change) => reports.some(({ counts }) => counts[change] > 0));
      if (found || decided === 0) process.exitCode = 1;
    },
  );
}
