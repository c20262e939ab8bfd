import { base64url } from "../../src/base/bytes.ts";
import { withholdAnswer } from "./decide/kept-answer.ts";
import type { Owed, Turn } from "./turn.ts";

/**
 * What the shard owes its log: of every allow that was recorded and withdrawn before it left, a `withheld` record. They
 * go into the next turns, before its calls, and stay owed where a flush fails.
 */
export class Debts {
  readonly #turn: Turn;
  /** In one flush: half of what one signature covers, so that calls go on beside them. */
  readonly #most: number;
  #owed: Owed[] = [];
  #paying: Owed[] = [];
  /** `sseq`s of what is owed: nothing that rests on one of them may leave. */
  readonly #withdrawn = new Set<number>();

  constructor(turn: Turn, max_calls: number) {
    this.#turn = turn;
    this.#most = Math.max(1, Math.floor(max_calls / 2));
  }

  owe(owed: Owed): void {
    this.#owed.push(owed);
    this.#withdrawn.add(owed.refers.sseq);
  }

  withdrawn(sseq: number): boolean {
    return this.#withdrawn.has(sseq);
  }

  owes(idempotency: string): boolean {
    return this.#owed.some((owed) => owed.idempotency === idempotency);
  }

  /** Records that the next turn will write of them. */
  get next(): number {
    return Math.min(this.#owed.length, this.#most);
  }

  get none(): boolean {
    return this.#owed.length + this.#paying.length === 0;
  }

  /** Appends what this turn pays; the leaf hashes. */
  pay(): readonly Uint8Array[] {
    this.#paying = this.#owed.slice(0, this.#most);
    this.#owed = this.#owed.slice(this.#most);
    const hashes: Uint8Array[] = [];
    const answers = new Map<string, Set<number>>();
    for (const owed of this.#paying) {
      hashes.push(this.#append(owed));
      if (owed.idempotency === null) continue;
      const items = answers.get(owed.idempotency) ?? new Set();
      answers.set(owed.idempotency, items.add(owed.index));
    }
    for (const [key, items] of answers) withholdAnswer(this.#turn.writer, key, items);
    return hashes;
  }

  /** The turn is on disk: whatever fails from here on, they are paid, and those who wait for it may hear. */
  paid(): void {
    const paid = this.#paying;
    this.#paying = [];
    for (const owed of paid) {
      this.#withdrawn.delete(owed.refers.sseq);
      owed.settle(true);
    }
  }

  /** The turn was rolled back: what was owed is owed again. */
  unpaid(): void {
    const unpaid = this.#paying;
    this.#paying = [];
    this.#owed = [...unpaid, ...this.#owed];
    for (const owed of unpaid) owed.settle(false);
  }

  #append(owed: Owed): Uint8Array {
    const { writer, region, t_ms, policy, trust } = this.#turn;
    if (owed.run.kind === "opened") writer.runs.withhold(owed.refers.sseq);
    else writer.runs.passes.withhold(owed.refers.sseq);
    // A run of one step has no row of its own until this second record.
    const run = writer.run(owed.run.id, false) ?? { ...owed.run };
    const core = JSON.stringify({
      // In sorted order: what is hashed has to be the JCS, which is what evidence shows of it.
      reason: "withheld",
      refers: base64url(owed.refers.leaf_hash),
      region,
      t_ms,
      v: 1,
    });
    return writer.append(
      {
        kind: "withheld",
        run,
        subjects: owed.subjects,
        core,
        decision: "deny",
        reason: "withheld",
        refers: owed.refers.leaf_hash,
        parents: [],
        input: owed.input,
        facts: owed.facts,
        run_state: owed.run_state,
        seen: null,
        sealed: "",
        policy: policy.digest,
        trust: { digest: owed.core.trust, revision: trust.revision },
        traceparent: owed.traceparent,
      },
      t_ms,
      writer.sseq + 1,
      true,
    ).leaf_hash;
  }
}
