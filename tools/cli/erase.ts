import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { ERASURE_GROUNDS, type ErasureView } from "../../src/objects/erasure.ts";
import type { AdminClient } from "../region/admin-client.ts";
import { Problem } from "../problem.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** Erasing personal payloads of a region, and its journal of erasures (docs/operations/erase.md). */

const ASK_AGAIN_MS = 500;
const PAGE = 500;

type Subject = { readonly type: string; readonly id: string };

/** `type:id`; a type may hold `::`, as Cedar's do, and an id anything. */
function parseSubject(text: string): Subject {
  const match = /^((?:[^:]|::)+):(?!:)(.+)$/s.exec(text);
  if (match === null) throw new InvalidArgumentError("A subject is TYPE:ID, e.g. user:alice.");
  return { type: match[1]!, id: match[2]! };
}

type EraseFlags = TargetFlags & {
  readonly subject?: Subject;
  readonly decision?: string;
  readonly run?: string;
  readonly olderThan?: string;
  readonly ground: string;
  readonly reason: string;
  readonly key?: string;
  readonly wait: boolean;
};

export function eraseCommand(): Command {
  return addTargetOptions(
    new Command("erase")
      .description("erase the payloads about a person, of a decision or a run, or of a time; records and proofs stay")
      .addOption(
        new Option("--subject <type:id>", "all payloads about this data subject, e.g. user:alice").argParser(
          parseSubject,
        ),
      )
      .option("--decision <id>", "one decision, or all of a batch")
      .option("--run <id>", "all records of a run")
      .option("--older-than <time>", "all decisions before this time (RFC 3339)")
      .addOption(new Option("--ground <code>", "stands in the log").choices([...ERASURE_GROUNDS]).makeOptionMandatory())
      .addOption(new Option("--reason <text>", "why, for the region's journal; no personal data").makeOptionMandatory())
      .option("--key <text>", "idempotency key: the same key is the same erasure")
      .option("--no-wait", "do not wait until every shard is done"),
  ).action(async (flags: EraseFlags) => {
    const targets = {
      subject: flags.subject,
      decision_id: flags.decision,
      run: flags.run,
      older_than: flags.olderThan,
    };
    if (Object.values(targets).filter((target) => target !== undefined).length !== 1)
      throw new Problem(
        "It is not said what to erase, or more than one thing",
        "Give one of --subject, --decision, --run and --older-than.",
        2,
      );
    const { client } = targetOf(flags);
    const { ground, reason } = flags;
    const key = flags.key === undefined ? {} : { idempotency_key: flags.key };
    const view = await client.erase({ ...targets, ground, reason, ...key });
    printJson(flags.wait ? await finished(client, view) : view);
  });
}

/** Says how far it is, each time that it is further. */
async function finished(client: AdminClient, first: ErasureView): Promise<ErasureView> {
  let said = "";
  for (let view = first; ; view = await client.erasure(first.id)) {
    const done = view.shards.filter(({ status }) => status === "done").length;
    const line = `${view.id}: ${done} of ${view.shards.length} shards done, ${view.payloads} payloads erased`;
    if (line !== said) process.stderr.write(`${line}\n`);
    said = line;
    if (view.status !== "done") {
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      continue;
    }
    for (const { log_epoch, shard } of view.not_asked)
      process.stderr.write(
        `NOT ASKED: shard ${shard} of log epoch ${log_epoch}, which that epoch was ended without: its payloads are as they were (docs/operations/erase.md)\n`,
      );
    return view;
  }
}

export function erasuresCommand(): Command {
  return addTargetOptions(
    new Command("erasures")
      .description("the journal of erasures, oldest first: keep a copy apart from the backups")
      .option("--enter <file>", "enter the entries of such a copy that the region lacks, after a restore"),
  ).action(async (flags: TargetFlags & { readonly enter?: string }) => {
    const { client } = targetOf(flags);
    if (flags.enter === undefined) return printJson({ erasures: await journal(client), next: null });
    const { erasures } = readJournal(flags.enter);
    for (let at = 0; at < erasures.length; at += PAGE)
      for (const view of (await client.enterErasures(erasures.slice(at, at + PAGE))).erasures)
        await finished(client, view);
    printJson({ entered: erasures.length });
  });
}

async function journal(client: AdminClient): Promise<readonly ErasureView[]> {
  const all: ErasureView[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page: { readonly erasures: readonly ErasureView[]; readonly next: number | null } = await client.erasures(
      `?after=${after}&limit=${PAGE}`,
    );
    all.push(...page.erasures);
    after = page.next;
  }
  return all;
}

function readJournal(file: string): { readonly erasures: readonly ErasureView[] } {
  try {
    const read = JSON.parse(readFileSync(file, "utf8")) as { readonly erasures: readonly ErasureView[] };
    if (Array.isArray(read.erasures)) return read;
  } catch {
    // Said below.
  }
  throw new Problem(`${file} is no journal of erasures`, "Give a file that `interlock erasures` printed.");
}
