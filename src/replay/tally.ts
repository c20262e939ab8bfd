import type { Replayed } from "./replay.ts";

/** How many records came out how, and the first ones that did not come out the same. */

type Named = { readonly decision_id: string; readonly replayed: Replayed };

const EXAMPLES = 20;

export class ReplayTally {
  #records = 0;
  readonly #words = new Map<string, number>();
  readonly #different: Named[] = [];

  add(decision_id: string, replayed: Replayed): void {
    this.#records++;
    const word = wordOf(replayed);
    this.#words.set(word, (this.#words.get(word) ?? 0) + 1);
    if (replayed.verdict === "different" && this.#different.length < EXAMPLES)
      this.#different.push({ decision_id, replayed });
  }

  get records(): number {
    return this.#records;
  }
  /** By verdict, with its reason where there is one; most frequent first. */
  get counts(): readonly (readonly [word: string, records: number])[] {
    return [...this.#words].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  }
  get different(): readonly Named[] {
    return this.#different;
  }

  /** Something was found wrong; or it cannot be said that nothing is. */
  get verdict(): "identical" | "different" | "incomplete" {
    const of = (verdict: Replayed["verdict"]): number =>
      [...this.#words].reduce((sum, [word, n]) => (word.split(" ")[0] === verdict ? sum + n : sum), 0);
    if (of("different") > 0) return "different";
    return of("unreplayable") > 0 ? "incomplete" : "identical";
  }
}

/** Whether nothing was decided again, and no text held against its leaf: there was nothing, or all of it was erased. */
export const isNothing = (words: Iterable<string>): boolean => [...words].every((word) => word === "redacted");

export const wordOf = (replayed: Replayed): string =>
  "reason" in replayed ? `${replayed.verdict} ${replayed.reason}` : replayed.verdict;
