import { secretOf } from "../../../src/trust/pseudonym.ts";
import { levelAt } from "../../../src/trust/levels.ts";
import type { TrustEntry } from "../../../src/trust/events.ts";

/** What the shard's trust says, as far as marks rest on it. */
export type MarkPorts = {
  /** Names of a canonical key under every secret that is configured. */
  readonly namesOf: (key: string) => readonly string[];
  /** Home of a canonical key by membership; `null`: everybody's. */
  readonly homeOf: (key: string) => string | null;
  /** Whether an entry of `origin` counts about a key of this kind and home. */
  readonly binds: (origin: string, kind: string, home: string | null) => boolean;
  readonly entriesOf: (name: string) => readonly TrustEntry[];
  /** Whether it is known whose word counts: since the first lease. Before it nothing is allowed. */
  readonly known: () => boolean;
};

export type Mark = { readonly step: number; readonly key: string };

/** Steps looked at to name the one that rested on the key itself; beyond, the nearest one is named. */
const MAX_CLIMB = 1_000;
const KNOWN_KEYS = 8_192;

/**
 * Which steps rest on what was revoked from the beginning (DESIGN section 5): those that rested on the key themselves
 * and all that rest on their results. Found once when the entry comes, so that a decision reads the mark of its
 * parents and nothing else, however long the chain.
 *
 * A key whose entry has come stands in `run_unmarked` from the transaction that stored the entry until its marks are
 * in storage: also across a restart. Marks are made only while no turn is ahead of storage (`settle`).
 */
export class Marks {
  readonly #sql: SqlStorage;
  readonly #ports: MarkPorts;
  #unmarked: boolean;
  /** Whether a turn has been made that is not in storage yet: what it appended could not be seen. */
  #ahead = false;
  readonly #numbers = new Map<string, number>();
  #newest = 0;
  #newKeys = new Map<string, { readonly no: number; readonly names: readonly string[] }>();
  #newNames = new Map<string, number>();
  #dependencies: (readonly [no: number, sseq: number])[] = [];
  /** Pseudonyms that the turn was told. */
  #told = new Set<string>();
  /** Steps of the turn that rest on what was taken away before; their marks are made once they are stored. */
  readonly #lostNow = new Map<number, string>();

  constructor(sql: SqlStorage, ports: MarkPorts) {
    this.#sql = sql;
    this.#ports = ports;
    this.#unmarked = this.#exists("SELECT 1 FROM run_unmarked LIMIT 1");
    this.clear();
  }

  begin(): void {
    this.settle();
    this.#ahead = true;
  }

  /** In the transaction that stores the entries. */
  noteEntries(entries: readonly TrustEntry[]): void {
    for (const { key } of entries) {
      if (!this.#exists("SELECT 1 FROM run_key WHERE name = ?", key)) continue;
      this.#sql.exec("INSERT OR IGNORE INTO run_unmarked(name) VALUES (?)", key);
      this.#unmarked = true;
    }
  }

  /** Whose word counts may have changed: every key with an entry is looked at again, once for each membership. */
  noteMembership(version: number): void {
    const seen = this.#sql
      .exec<{ value: string }>("SELECT value FROM meta WHERE key = 'marks_membership'")
      .toArray()[0];
    if (seen?.value === String(version)) return;
    this.#sql.exec("INSERT OR REPLACE INTO meta(key, value) VALUES ('marks_membership', ?)", String(version));
    this.#sql.exec(
      "INSERT OR IGNORE INTO run_unmarked(name) SELECT k.name FROM run_key k WHERE EXISTS (SELECT 1 FROM trust_entry t WHERE t.key = k.name)",
    );
    this.#unmarked = this.#exists("SELECT 1 FROM run_unmarked LIMIT 1");
  }

  /** Whether entries have come whose marks are not made yet. */
  get unsettled(): boolean {
    return this.#unmarked;
  }

  /** Makes the marks that can be made; returns whether those that wait for a turn are made. */
  settle(): boolean {
    if (!this.#unmarked) return true;
    if (this.#ahead) return false;
    if (!this.#ports.known()) return true;
    const names = this.#sql.exec<{ name: string }>("SELECT name FROM run_unmarked").toArray();
    for (const { name } of names) this.#look(name);
    this.#sql.exec("DELETE FROM run_unmarked");
    this.#unmarked = false;
    return true;
  }

  #look(name: string): void {
    const key = this.#sql
      .exec<{ no: number; kind: string; home: string | null }>(
        "SELECT no, kind, home FROM run_key WHERE name = ?",
        name,
      )
      .toArray()[0];
    if (key === undefined) return;
    const names = this.#sql.exec<{ name: string }>("SELECT name FROM run_key WHERE no = ?", key.no).toArray();
    const stands = names.some((known) => this.#isLost(known.name, key.kind, key.home));
    this.#sql.exec("DELETE FROM run_mark WHERE no = ?", key.no);
    if (!stands) return;
    this.#sql.exec(
      `WITH RECURSIVE down(sseq) AS (SELECT sseq FROM run_dependency WHERE no = ?1
         UNION SELECT e.child FROM run_edge e JOIN down ON e.parent = down.sseq)
       INSERT OR IGNORE INTO run_mark(sseq, no, direct)
         SELECT sseq, ?1, EXISTS (SELECT 1 FROM run_dependency d WHERE d.no = ?1 AND d.sseq = down.sseq) FROM down`,
      key.no,
    );
  }

  /** What a stored step rests on that was revoked from the beginning; `null`: nothing. */
  of(sseq: number): Mark | null {
    const now = this.#lostNow.get(sseq);
    if (now !== undefined) return { step: sseq, key: now };
    const mark = this.#sql
      .exec<{ no: number; direct: number }>("SELECT no, direct FROM run_mark WHERE sseq = ? ORDER BY no LIMIT 1", sseq)
      .toArray()[0];
    if (mark === undefined) return null;
    const key = this.#sql
      .exec<{ name: string }>("SELECT name FROM run_key WHERE no = ? ORDER BY name LIMIT 1", mark.no)
      .toArray()[0]!.name;
    return { step: mark.direct === 1 ? sseq : this.#root(sseq, mark.no), key };
  }

  #root(sseq: number, no: number): number {
    return (
      this.#sql
        .exec<{ sseq: number }>(
          `WITH RECURSIVE up(sseq) AS (SELECT ?1
             UNION SELECT e.parent FROM run_edge e JOIN up ON e.child = up.sseq
               JOIN run_mark m ON m.sseq = e.parent AND m.no = ?2 LIMIT ?3)
           SELECT up.sseq AS sseq FROM up JOIN run_mark m ON m.sseq = up.sseq AND m.no = ?2 WHERE m.direct = 1 LIMIT 1`,
          sseq,
          no,
          MAX_CLIMB,
        )
        .toArray()[0]?.sseq ?? sseq
    );
  }

  /** An allowed step rests on these canonical keys, and on these pseudonyms that another region told. */
  addDependencies(sseq: number, keys: readonly string[], told: readonly string[] = []): void {
    for (const key of new Set(keys)) this.#dependencies.push([this.#numberOf(key), sseq]);
    for (const name of new Set(told)) {
      this.#dependencies.push([this.#numberOf(`\0${name}`), sseq]);
      this.#told.add(name);
    }
    const [lost] = this.lost(told);
    if (lost !== undefined) this.#lostNow.set(sseq, lost);
  }

  /** In storage each key stands once, under all its names. `\0` before a pseudonym: the key itself is not known here. */
  #numberOf(key: string): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const names = key.startsWith("\0") ? [key.slice(1)] : this.#ports.namesOf(key);
    const stored = this.#sql
      .exec<{ no: number; n: number }>(
        "SELECT min(no) AS no, count(*) AS n FROM run_key WHERE name IN (SELECT value FROM json_each(?))",
        JSON.stringify(names),
      )
      .toArray()[0];
    const made = names.map((name) => this.#newNames.get(name)).find((no) => no !== undefined);
    const no = stored !== undefined && stored.n > 0 ? stored.no : (made ?? ++this.#newest);
    if (stored === undefined || stored.n < names.length) {
      this.#newKeys.set(key, { no, names });
      for (const name of names) this.#newNames.set(name, no);
    }
    if (this.#numbers.size >= KNOWN_KEYS) this.#numbers.clear();
    this.#numbers.set(key, no);
    return no;
  }

  /** Of these keys, canonical or told, those that are revoked from the beginning now. */
  lost(keys: readonly string[]): readonly string[] {
    return keys.filter((key) => {
      const told = secretOf(key) !== null;
      const [kind, home] = told ? ["", null] : [key.slice(0, key.indexOf(":")), this.#ports.homeOf(key)];
      return (told ? [key] : this.#ports.namesOf(key)).some((name) => this.#isLost(name, kind, home));
    });
  }

  #isLost(name: string, kind: string, home: string | null): boolean {
    return this.#ports
      .entriesOf(name)
      .some(
        (entry) =>
          entry.from === "beginning" &&
          levelAt(entry, Number.MAX_SAFE_INTEGER) === "revoked" &&
          this.#ports.binds(entry.origin, kind, home),
      );
  }

  /** Pseudonyms of everything that these steps rest on themselves, sorted; those of the turn too. At most `limit`. */
  namesUnder(steps: ReadonlySet<number>, limit: number): readonly string[] {
    const numbers = new Set(this.#dependencies.filter(([, sseq]) => steps.has(sseq)).map(([no]) => no));
    const made = [...this.#newKeys.values()].flatMap(({ no, names }) => (numbers.has(no) ? names : []));
    const stored = this.#sql
      .exec<{ name: string }>(
        `SELECT name FROM run_key WHERE no IN (SELECT no FROM run_dependency
           WHERE sseq IN (SELECT value FROM json_each(?)) UNION SELECT value FROM json_each(?)) LIMIT ?`,
        JSON.stringify([...steps]),
        JSON.stringify([...numbers]),
        limit,
      )
      .toArray()
      .map(({ name }) => name);
    return [...new Set([...stored, ...made])].sort().slice(0, limit);
  }

  write(): void {
    for (const [key, { no, names }] of this.#newKeys) {
      const told = key.startsWith("\0");
      for (const name of names)
        this.#sql.exec(
          "INSERT INTO run_key(name, no, kind, home) VALUES (?, ?, ?, ?) ON CONFLICT(name) DO NOTHING",
          name,
          no,
          told ? "" : key.slice(0, key.indexOf(":")),
          told ? null : this.#ports.homeOf(key),
        );
    }
    for (const [no, sseq] of this.#dependencies)
      this.#sql.exec("INSERT OR IGNORE INTO run_dependency(no, sseq) VALUES (?, ?)", no, sseq);
    for (const name of this.#told) {
      // What another region says that a step rests on may have been taken away before its word came.
      if (this.#ports.entriesOf(name).length === 0) continue;
      this.#sql.exec("INSERT OR IGNORE INTO run_unmarked(name) VALUES (?)", name);
      this.#unmarked = true;
    }
  }

  /** The turn is in storage. */
  written(): void {
    if (this.#newKeys.size > 0) {
      this.#newKeys = new Map();
      this.#newNames = new Map();
    }
    this.#dependencies = [];
    this.#told = new Set();
    this.#lostNow.clear();
    this.#ahead = false;
  }

  /** What the turn made will not come to storage: nothing is ahead of it any more. */
  abandon(): void {
    this.#ahead = false;
  }

  /** The turn was rolled back. */
  clear(): void {
    this.written();
    this.#numbers.clear();
    this.#newest = this.#sql.exec<{ no: number | null }>("SELECT max(no) AS no FROM run_key").one().no ?? 0;
  }

  #exists(query: string, ...values: string[]): boolean {
    return this.#sql.exec(query, ...values).toArray().length > 0;
  }
}
