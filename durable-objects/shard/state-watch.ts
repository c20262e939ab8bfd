import type { ShardCondition } from "../../src/decision/checks.ts";
import type { ShardState } from "../../src/objects/lease.ts";
import { plus, sumText } from "../../src/trust/state-digest.ts";
import { StateScan } from "../state-scan.ts";
import type { Tampered } from "../state-tally.ts";
import type { ShardStore } from "./store.ts";

/** Looks after the shard's own copy of the trust entries, which it decides by. */
export class StateWatch {
  readonly #store: ShardStore;
  readonly #scan: StateScan;
  #condition: NonNullable<ShardCondition["policy_drift"]> | null = null;

  constructor(store: ShardStore, say: (line: object) => void) {
    this.#store = store;
    this.#scan = new StateScan(store.tally, (tampered) => {
      const before = this.#condition;
      this.#condition = conditionOf(tampered);
      if (this.#condition?.detail === before?.detail) return;
      const detail = this.#condition?.detail ?? null;
      say({ level: "alarm", event: "state_drift", why: detail === null ? null : "state", detail });
    });
  }

  /** With each answer to a poll. */
  look(now_ms: number): void {
    this.#scan.look(now_ms);
  }

  /** Rows that changed behind its back: nothing is allowed by them, whatever the region does about other regions. */
  get condition(): NonNullable<ShardCondition["policy_drift"]> | null {
    return this.#condition;
  }

  /** What the authority compares with its own; `null` until the rows were read once since the start. */
  report(revision: number): ShardState | null {
    const { tally } = this.#store;
    const { tampered } = this.#scan;
    if (!tally.known || tampered === null) return null;
    const { count, sum } = tampered.reduce((all, { delta }) => plus(all, delta), tally.total());
    return { revision, count, sum: sumText(sum) };
  }
}

function conditionOf(tampered: readonly Tampered[]): NonNullable<ShardCondition["policy_drift"]> | null {
  if (tampered.length === 0) return null;
  const what = tampered.map(({ origin, theirs }) => `${origin}: ${theirs}`).join(", ");
  return { detail: `this shard's trust entries are not what was applied (${what})`, denies: true };
}
