import type { OriginEntry } from "../src/trust/merge.ts";
import {
  describeDifference,
  incarnationOf,
  isSameSum,
  minus,
  NO_ENTRIES,
  plus,
  readSum,
  sumOf,
  sumText,
  type StateSum,
} from "../src/trust/state-digest.ts";
import { nodeSha256 } from "./platform.ts";

/** Sums of the trust entries by origin and incarnation; the row without an origin says that there are any. */
export const TALLY_STEP = `CREATE TABLE state_sum(origin TEXT NOT NULL, incarnation INTEGER NOT NULL, count INTEGER NOT NULL,
  sum TEXT NOT NULL, PRIMARY KEY(origin, incarnation)) STRICT, WITHOUT ROWID;`;

export type TalliedEntry = OriginEntry & { readonly gone?: number | true };

/** What a look at all rows found otherwise than the changes since the last one say. */
export type Tampered = {
  readonly origin: string;
  readonly incarnation: number;
  /** What the rows say more than they should. */
  readonly delta: StateSum;
  readonly own: string;
  readonly theirs: string;
};

type Place = { readonly key: string; readonly origin: string };
type Sums = Map<string, StateSum>;

/**
 * The digest of a table of trust entries (`trust/state-digest`): kept with every change, in its transaction, and looked
 * after by reading all rows in slices. What was changed in the rows and not through here shows in the second.
 */
export class StateTally {
  readonly #sql: SqlStorage;
  readonly #select: string;
  /** Of the transaction under way. */
  #pending: Sums = new Map();
  #scan: { readonly sums: Sums; at: Place | null } | null = null;

  /** `gone`: whether rows may be marks of entries that went, which do not count. */
  constructor(sql: SqlStorage, table: "entry" | "trust_entry", gone: boolean) {
    this.#sql = sql;
    this.#select =
      `SELECT key, origin, generation, state, "from", until_ms FROM ${table} WHERE (key, origin) > (?, ?)` +
      `${gone ? " AND gone = 0" : ""} ORDER BY key, origin LIMIT ?`;
  }

  /** A row was one, and is the other now. */
  noted(before: TalliedEntry | null, after: TalliedEntry | null): void {
    if (before !== null) this.#note(before, (sum, one) => minus(sum, one));
    if (after !== null) this.#note(after, (sum, one) => plus(sum, one));
  }

  #note(entry: TalliedEntry, change: (sum: StateSum, one: StateSum) => StateSum): void {
    if (entry.gone === 1 || entry.gone === true) return;
    const name = nameOf(entry.origin, incarnationOf(entry));
    const one = sumOf(entry, nodeSha256);
    this.#pending.set(name, change(this.#pending.get(name) ?? NO_ENTRIES, one));
    const scan = this.#scan;
    // What the scan has not come to yet it will read as it is then.
    if (scan !== null && scan.at !== null && !isBehind(entry, scan.at))
      scan.sums.set(name, change(scan.sums.get(name) ?? NO_ENTRIES, one));
  }

  /** At the end of the transaction that changed the rows. */
  flush(): void {
    if (this.#pending.size === 0) return;
    const known = this.known;
    for (const [name, delta] of this.#pending) {
      const [origin, incarnation] = parts(name);
      if (known) this.#put(origin, incarnation, plus(this.of(origin, incarnation), delta));
    }
    this.#pending = new Map();
  }

  /** The transaction is over and changed nothing: neither did it change what a scan has seen. */
  drop(): void {
    if (this.#pending.size > 0) this.#scan = null;
    this.#pending = new Map();
  }

  /** False until the rows were read once. */
  get known(): boolean {
    return this.#sql.exec("SELECT 1 FROM state_sum WHERE origin = ''").toArray().length > 0;
  }

  of(origin: string, incarnation: number): StateSum {
    const row = this.#sql
      .exec<{ count: number; sum: string }>(
        "SELECT count, sum FROM state_sum WHERE origin = ? AND incarnation = ?",
        origin,
        incarnation,
      )
      .toArray()[0];
    return row === undefined ? NO_ENTRIES : { count: row.count, sum: readSum(row.sum) };
  }

  /** Over all origins: what shard and authority compare. */
  total(): StateSum {
    return [...this.#stored().values()].reduce((all, one) => plus(all, one), NO_ENTRIES);
  }

  #stored(): Sums {
    return new Map(
      this.#sql
        .exec<{ origin: string; incarnation: number; count: number; sum: string }>(
          "SELECT origin, incarnation, count, sum FROM state_sum WHERE origin != ''",
        )
        .toArray()
        .map(({ origin, incarnation, count, sum }) => [nameOf(origin, incarnation), { count, sum: readSum(sum) }]),
    );
  }

  #put(origin: string, incarnation: number, { count, sum }: StateSum): void {
    this.#sql.exec(
      `INSERT INTO state_sum(origin, incarnation, count, sum) VALUES (?, ?, ?, ?)
       ON CONFLICT(origin, incarnation) DO UPDATE SET count = excluded.count, sum = excluded.sum`,
      origin,
      incarnation,
      count,
      sumText(sum),
    );
  }

  /** The rows have other names now, or are gone on purpose: they are read anew. */
  forget(): void {
    this.#sql.exec("DELETE FROM state_sum");
    this.#pending = new Map();
    this.#scan = null;
  }

  /** Reads on, some rows; what was found is there when all were read, else `null`. */
  scan(rows: number): readonly Tampered[] | null {
    const scan = (this.#scan ??= { sums: new Map(), at: null });
    const from = scan.at ?? { key: "", origin: "" };
    const read = this.#sql.exec<OriginEntry & Record<string, SqlStorageValue>>(
      this.#select,
      from.key,
      from.origin,
      rows,
    );
    let n = 0;
    for (const entry of read) {
      const name = nameOf(entry.origin, incarnationOf(entry));
      scan.sums.set(name, plus(scan.sums.get(name) ?? NO_ENTRIES, sumOf(entry, nodeSha256)));
      scan.at = { key: entry.key, origin: entry.origin };
      n++;
    }
    if (n === rows) return null;
    this.#scan = null;
    return this.#judged(scan.sums);
  }

  #judged(read: Sums): readonly Tampered[] {
    if (!this.known) {
      for (const [name, sum] of read) this.#put(...parts(name), sum);
      this.#put("", 0, NO_ENTRIES);
      return [];
    }
    const stored = this.#stored();
    const names = [...new Set([...stored.keys(), ...read.keys()])].sort();
    return names.flatMap((name) => {
      const [expected, found] = [stored, read].map((sums) => sums.get(name) ?? NO_ENTRIES) as [StateSum, StateSum];
      const [origin, incarnation] = parts(name);
      const delta = minus(found, expected);
      return isSameSum(expected, found) ? [] : [{ origin, incarnation, delta, ...describeDifference(expected, found) }];
    });
  }
}

const nameOf = (origin: string, incarnation: number): string => `${origin} ${incarnation}`;
const parts = (name: string): [origin: string, incarnation: number] => {
  const [origin = "", incarnation = "0"] = name.split(" ");
  return [origin, Number(incarnation)];
};

/** In SQLite's order of text: by its UTF-8 bytes, and keys and names of regions are ASCII. */
const isBehind = (entry: Place, at: Place): boolean =>
  entry.key > at.key || (entry.key === at.key && entry.origin > at.origin);
