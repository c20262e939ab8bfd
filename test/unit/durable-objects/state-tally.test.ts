import { expect, test } from "vitest";
import { AuthorityStore, type EntryRow } from "../../../durable-objects/authority/store.ts";
import { ShardStore } from "../../../durable-objects/shard/store.ts";
import type { StateTally, Tampered } from "../../../durable-objects/state-tally.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { firstGeneration, type OriginEntry } from "../../../src/trust/merge.ts";
import { NO_ENTRIES, plus, readSum, sumOf, sumText } from "../../../src/trust/state-digest.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

/** Digests of trust entries: kept with every change, and found wrong where rows change without one. */

const entry = (key: string, generation = 1, changes: Partial<OriginEntry> = {}): OriginEntry => ({
  key,
  origin: "eu",
  generation,
  state: "revoked",
  from: "issue",
  until_ms: null,
  ...changes,
});
const row = (said: OriginEntry): EntryRow => ({ ...said, clear: null, revoked_seq: 1, revision: 1 });

function authority(): { store: AuthorityStore; sql: SqlStorage } {
  const storage = new FakeStorage().attach();
  const store = new AuthorityStore(storage);
  expect(scanned(store.tally)).toEqual([]);
  return { store, sql: storage.sql };
}

function scanned(tally: StateTally, slice = 3): readonly Tampered[] {
  for (;;) {
    const found = tally.scan(slice);
    if (found !== null) return found;
  }
}

test("the order does not matter, every member of an entry does, and the text is read back", () => {
  const [a, b] = [entry("f1.a"), entry("f1.b")];
  const sum = plus(sumOf(a, sha256), sumOf(b, sha256));
  expect(plus(sumOf(b, sha256), sumOf(a, sha256))).toEqual(sum);
  expect(readSum(sumText(sum.sum))).toBe(sum.sum);
  const changes: readonly Partial<OriginEntry>[] = [
    { key: "f1.c" },
    { origin: "us" },
    { generation: 2 },
    { state: "degraded" },
    { from: "beginning" },
    { until_ms: 0 },
  ];
  const sums = changes.map((change) => sumOf({ ...a, ...change }, sha256).sum);
  expect(new Set([sumOf(a, sha256).sum, ...sums]).size).toBe(changes.length + 1);
});

test("whatever the authority does to its entries, all rows read anew say the same", () => {
  const { store } = authority();
  store.transaction(() => {
    for (let i = 0; i < 20; i++) store.putEntry(row(entry(`f1.${i}`, 1 + (i % 3))));
  });
  // Higher, lower, of the next incarnation, and of another origin.
  store.putEntry(row(entry("f1.1", 9, { state: "restored" })));
  store.putEntry(row(entry("f1.1", 4)));
  store.putEntry(row(entry("f1.2", firstGeneration(2))));
  store.putEntry(row(entry("f1.2", 1, { origin: "us" })));
  store.setGone("f1.3", "eu", 2);
  store.putEntry({ ...row(entry("f1.4", 50)), revoked_seq: -7 });
  store.renumberEntries(-7, 3, 60, 3);
  expect(() =>
    store.transaction(() => {
      store.putEntry(row(entry("f1.never")));
      throw new Error("failed");
    }),
  ).toThrow("failed");
  expect(store.tally.of("eu", 1).count).toBe(18);
  expect(store.tally.of("eu", 2).count).toBe(1);
  expect(store.tally.total().count).toBe(20);
  expect(scanned(store.tally)).toEqual([]);
  store.putEntry(row(entry("f1.3", 1)));
  expect(scanned(store.tally)).toEqual([]);
});

test("changes while the rows are being read", () => {
  const { store } = authority();
  store.transaction(() => {
    for (let i = 10; i < 30; i++) store.putEntry(row(entry(`f1.${i}`)));
  });
  expect(store.tally.scan(8)).toBe(null);
  store.putEntry(row(entry("f1.12", 2)));
  store.putEntry(row(entry("f1.28", 2)));
  store.putEntry(row(entry("f1.05")));
  store.setGone("f1.11", "eu", 2);
  expect(() =>
    store.transaction(() => {
      store.putEntry(row(entry("f1.13", 7)));
      throw new Error("failed");
    }),
  ).toThrow("failed");
  expect(scanned(store.tally)).toEqual([]);
  expect(store.tally.of("eu", 1).count).toBe(20);
});

test.each([
  ["deleted", "DELETE FROM entry WHERE key = 'f1.5'", "1 entry fewer"],
  ["altered", "UPDATE entry SET state = 'restored' WHERE key = 'f1.5'", "as many entries"],
  [
    "added",
    `INSERT INTO entry(key, origin, generation, state, "from", revoked_seq, seq) VALUES ('f1.x', 'eu', 1, 'revoked', 'issue', 1, 1)`,
    "1 entry more",
  ],
])("a row that is %s behind the system's back is found, and stays found while others change", (_, sql, theirs) => {
  const { store, sql: db } = authority();
  for (let i = 0; i < 10; i++) store.putEntry(row(entry(`f1.${i}`)));
  expect(scanned(store.tally)).toEqual([]);
  db.exec(sql);
  const found = scanned(store.tally);
  expect(found).toMatchObject([{ origin: "eu", theirs }]);
  store.putEntry(row(entry("f1.7", 3, { state: "restored" })));
  expect(scanned(store.tally)).toEqual(found);
});

test("an older database is read once before anything is said, and another secret begins anew", () => {
  const { store, sql } = authority();
  store.putEntry(row(entry("f1.1")));
  sql.exec("DELETE FROM state_sum");
  expect(store.tally.known).toBe(false);
  store.putEntry(row(entry("f1.2")));
  expect(store.tally.known).toBe(false);
  expect(scanned(store.tally)).toEqual([]);
  expect(store.tally.of("eu", 1).count).toBe(2);
  store.rekey("f2", (clear) => clear);
  expect(store.tally.known).toBe(false);
});

test("the shard's copy: the same digest as the authority's, and its own rows are looked after", () => {
  const { store } = authority();
  const storage = new FakeStorage().attach();
  const shard = new ShardStore(storage);
  expect(scanned(shard.tally)).toEqual([]);
  for (const [key, generation] of [
    ["f1.a", 1],
    ["f1.b", 2],
    ["f1.a", 3],
    ["f1.b", 1],
  ] as const) {
    store.putEntry(row(entry(key, generation)));
    shard.mergeEntry(entry(key, generation));
  }
  store.setGone("f1.b", "eu", 4);
  shard.mergeEntry({ ...entry("f1.b", 2), gone: true });
  expect(shard.tally.total()).toEqual(store.tally.total());
  expect(shard.tally.total()).not.toEqual(NO_ENTRIES);
  expect(scanned(shard.tally)).toEqual([]);
  storage.sql.exec("DELETE FROM trust_entry");
  expect(scanned(shard.tally)).toMatchObject([{ origin: "eu", theirs: "1 entry fewer" }]);
  shard.forgetUnlessNamedBy("f2");
  expect(shard.tally.known).toBe(false);
});
