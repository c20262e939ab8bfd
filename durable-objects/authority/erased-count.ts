import { decodeStateRecord } from "../../src/lineage/state-record.ts";

const PAGE = 1_000;

/** Payloads that `erasure` leaves of the `trust` source name. Leaves never change, so each is read once. */
export class ErasedCount {
  readonly #leaves: (from: number, count: number) => readonly Uint8Array[];
  #read = 0;
  #erased = 0;

  constructor(leaves: (from: number, count: number) => readonly Uint8Array[]) {
    this.#leaves = leaves;
  }

  count(): number {
    for (;;) {
      const page = this.#leaves(this.#read + 1, PAGE);
      for (const leaf of page) {
        const record = decodeStateRecord(leaf);
        const records = record.ok && record.value.kind === "erasure" ? record.value.body["records"] : null;
        if (Array.isArray(records)) this.#erased += records.length;
      }
      this.#read += page.length;
      if (page.length < PAGE) return this.#erased;
    }
  }
}
