import type { Bug } from "./bugs.ts";
import { runHistory } from "./history.ts";

export type Job = {
  readonly first: number;
  readonly count: number;
  readonly bug: Bug | null;
  /** Violations at which it stops: the first is the one to look at. */
  readonly most: number;
};

export type Tally = {
  histories: number;
  allows: number;
  denies: number;
  barriers: number;
  failed: { readonly seed: number; readonly violation: string }[];
};

/** Histories of consecutive seeds. */
export function runMany({ first, count, bug, most }: Job, tracing = false): Tally {
  const tally: Tally = { histories: 0, allows: 0, denies: 0, barriers: 0, failed: [] };
  for (let seed = first; seed < first + count && tally.failed.length < most; seed++) {
    let outcome: ReturnType<typeof runHistory>;
    try {
      outcome = runHistory(seed, bug, tracing);
    } catch (cause) {
      throw new Error(`seed ${seed} threw`, { cause });
    }
    tally.histories++;
    tally.allows += outcome.allows;
    tally.denies += outcome.denies;
    tally.barriers += outcome.barriers;
    if (outcome.violation !== null) {
      tally.failed.push({ seed, violation: `${outcome.violation} [${outcome.faults.join(" ")}]` });
    }
  }
  return tally;
}
