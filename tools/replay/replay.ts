import { hash } from "node:crypto";
import type { Sha256 } from "../../src/base/digest.ts";
import { decodeRecord } from "../../src/lineage/record.ts";
import { claimedIn, policiesOf } from "../../src/replay/policies.ts";
import { NO_RECORD, replay, type Replayed } from "../../src/replay/replay.ts";
import { isNothing, ReplayTally } from "../../src/replay/tally.ts";
import { BASELINE, readBundle } from "./policy-files.ts";
import type { Entry } from "./records.ts";

/** `interlock replay`: decides records again, wherever they come from, and says what came out. */

export const sha: Sha256 = (bytes) => hash("sha256", bytes, "buffer");

export type ReplayReport = {
  readonly verdict: ReplayTally["verdict"];
  readonly records: number;
  readonly counts: ReplayTally["counts"];
  readonly different: ReplayTally["different"];
};

export type EachReplayed = (line: {
  readonly decision_id: string;
  readonly kind: string;
  readonly said: string;
  readonly replayed: Replayed;
}) => void;

export async function replayAll(
  entries: AsyncIterable<Entry>,
  bundles: readonly string[],
  each: EachReplayed = () => {},
): Promise<ReplayReport> {
  const all = [BASELINE, ...bundles.map((path) => readBundle(path).bundle)];
  const ports = { sha, policy: policiesOf(all), damaged: claimedIn(all) };
  const tally = new ReplayTally();
  for await (const { decision_id, recorded: read } of entries) {
    const recorded = read();
    const replayed = recorded === null ? NO_RECORD : replay(recorded, ports);
    const record = recorded === null ? ({ ok: false } as const) : decodeRecord(recorded.leaf);
    const id = record.ok ? record.value.decision_id : decision_id;
    tally.add(id, replayed);
    const said = record.ok ? (record.value.reason ?? record.value.decision ?? "") : "";
    each({ decision_id: id, kind: record.ok ? record.value.kind : "?", said, replayed });
  }
  const { verdict, records, counts, different } = tally;
  return { verdict, records, counts, different };
}

const VERDICTS = { identical: "IDENTICAL", different: "DIFFERENT", incomplete: "INCOMPLETE" } as const;

/** That nothing differs says nothing where nothing was decided again. */
export const nothingText = (records: number): string =>
  records === 0
    ? "NOTHING  there are no records to decide again"
    : `NOTHING  the payloads of all ${records} records were erased`;

export const saysNothing = ({ counts }: Pick<ReplayReport, "counts">): boolean =>
  isNothing(counts.map(([word]) => word));

export function replayText({ verdict, records, counts, different }: ReplayReport): string {
  if (saysNothing({ counts })) return nothingText(records);
  return [
    `${VERDICTS[verdict]}  ${records} records`,
    ...counts.map(([word, n]) => `  ${String(n).padStart(8)}  ${word.replace(" ", ": ")}`),
    ...different.map(({ decision_id, replayed }) => `  ${decision_id}: ${differenceText(replayed)}`),
    ...(verdict === "incomplete" ? ["  Some could not be decided again: give their policy with --policy."] : []),
  ].join("\n");
}

export const differenceText = (replayed: Replayed): string =>
  replayed.verdict === "different"
    ? [
        replayed.reason,
        ...replayed.differs.map(({ member, recorded, recomputed }) => `${member} ${recorded} → ${recomputed}`),
      ].join("; ")
    : replayed.verdict;
