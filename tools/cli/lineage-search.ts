import { InvalidArgumentError, Option, type Command } from "commander";
import { readAs } from "../region/reader-client.ts";
import { addTargetOptions, targetOf, type TargetFlags } from "./target.ts";

/** `interlock lineage search`: records of a region as a table, page after page. */

type Flags = TargetFlags & {
  readonly from?: string;
  readonly to?: string;
  readonly subject?: string;
  readonly run?: string;
  readonly reason?: string;
  readonly decision?: string;
  readonly limit: number;
  readonly payload?: true;
  readonly json?: true;
};

type Item = {
  readonly decision_id: string;
  readonly t_ms: number;
  readonly kind: string;
  readonly decision: string | null;
  readonly reason: string | null;
  readonly run: string | null;
  readonly leaf_hash: string;
  readonly payload_status: string;
};

type Epoch = {
  readonly log_epoch: number;
  readonly state: "searched" | "begun" | "next" | "dropped";
  readonly dropped: { readonly t_ms: number } | null;
};

type Page = {
  readonly decisions: readonly Item[];
  readonly scanned: number;
  readonly epochs: readonly Epoch[];
  readonly next_cursor: string | null;
};

const PAGE = 200;

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^[1-9][0-9]{0,5}$/.test(text)) throw new InvalidArgumentError("The limit is 1 to 999999.");
  return limit;
}

export function lineageSearch(command: Command): void {
  addTargetOptions(
    command
      .command("search")
      .description("find records of a running region, newest first; every page is recorded as read")
      .option("--from <time>", "not older: ISO 8601 with a zone, or Unix milliseconds")
      .option("--to <time>", "not younger")
      .option("--subject <type:id>", "about this subject, e.g. user:alice")
      .option("--run <id>", "of this run")
      .option("--reason <code>", "denied for this reason (docs/reasons.md)")
      .addOption(new Option("--decision <word>", "only these").choices(["allow", "deny"]))
      .addOption(new Option("--limit <n>", "at most so many").default(50).argParser(parseLimit))
      .option("--payload", "with the opened payloads; needs --json")
      .option("--json", "one JSON object a record, one a line"),
  ).action(search);
}

async function search(flags: Flags): Promise<void> {
  if (flags.payload && !flags.json) throw new InvalidArgumentError("--payload needs --json.");
  const { url, token } = targetOf(flags);
  const query = new URLSearchParams();
  for (const name of ["from", "to", "subject", "run", "reason", "decision"] as const) {
    const value = flags[name];
    if (value !== undefined) query.set(name, value);
  }
  if (flags.payload) query.set("payload", "1");
  let [shown, scanned] = [0, 0];
  for (;;) {
    query.set("limit", String(Math.min(PAGE, flags.limit - shown)));
    const page = (await (await readAs(url, token, `/lineage/v1/decisions?${query}`)).json()) as Page;
    scanned += page.scanned;
    if (!flags.json && shown === 0 && page.decisions.length > 0) process.stdout.write(HEAD);
    for (const item of page.decisions) process.stdout.write(flags.json ? JSON.stringify(item) + "\n" : line(item));
    shown += page.decisions.length;
    if (page.next_cursor === null) return sum(shown, scanned, "no more", page.epochs);
    if (shown >= flags.limit)
      return sum(shown, scanned, "there is more: raise --limit, or end before the last one", page.epochs);
    query.set("cursor", page.next_cursor);
  }
}

const STATES = { searched: "searched", begun: "searched in part", next: "not searched yet" } as const;

const epochText = ({ log_epoch, state, dropped }: Epoch): string =>
  state === "dropped"
    ? `log epoch ${log_epoch}: archived and dropped on ${new Date(dropped!.t_ms).toISOString()}, not searched`
    : `log epoch ${log_epoch}: ${STATES[state]}`;

/** Where there was only one epoch there is nothing to say about it. */
function sum(shown: number, scanned: number, more: string, epochs: readonly Epoch[]): void {
  process.stderr.write(`${shown} records, ${scanned} looked at; ${more}\n`);
  if (epochs.length > 1) for (const epoch of epochs) process.stderr.write(epochText(epoch) + "\n");
}

const columns = (time: string, kind: string, decision: string, reason: string, rest: string): string =>
  `${time.padEnd(24)}  ${kind.padEnd(9)}  ${decision.padEnd(8)}  ${reason.padEnd(22)}  ${rest}\n`;

const HEAD = columns("time", "kind", "decision", "reason", "record");

function line({ t_ms, kind, decision, reason, decision_id, run, payload_status }: Item): string {
  const where = run === null ? `${decision_id} (${payload_status})` : `${decision_id}  run ${run}`;
  return columns(new Date(t_ms).toISOString(), kind, decision ?? "–", reason ?? "", where);
}
