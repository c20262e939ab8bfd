import { Rows } from "./rows.ts";
import { StateTally, type TalliedEntry } from "./state-tally.ts";

/** Rows with trust entries among them: what these digest to is stored in the transaction that changes them. */
export class TalliedRows extends Rows {
  readonly tally: StateTally;
  #depth = 0;

  constructor(storage: DurableObjectStorage, steps: readonly string[], table: "entry" | "trust_entry", gone: boolean) {
    super(storage, steps);
    this.tally = new StateTally(this.sql, table, gone);
  }

  override transaction<T>(turn: () => T): T {
    this.#depth++;
    try {
      return super.transaction(() => {
        const done = turn();
        if (this.#depth === 1) this.tally.flush();
        return done;
      });
    } catch (cause) {
      this.tally.drop();
      throw cause;
    } finally {
      this.#depth--;
    }
  }

  protected noted(before: TalliedEntry | null, after: TalliedEntry | null): void {
    this.tally.noted(before, after);
    if (this.#depth === 0) this.tally.flush();
  }
}
