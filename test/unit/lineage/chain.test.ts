import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { checkSource, SourceChecker, type ChainExpectation, type ChainRow } from "../../../src/lineage/chain.ts";
import { encodeRecord, leafHash, type LineageRecord } from "../../../src/lineage/record.ts";
import { buildSource, hashOf, rowOf, runOf, sha, type Call } from "./build.ts";

/** "ok", or the problem as `code sseq field`. */
const check = (rows: Iterable<ChainRow>, expected?: ChainExpectation): string => {
  const checked = checkSource(rows, sha, expected);
  return checked.ok ? "ok" : `${checked.error.code} ${checked.error.sseq} ${checked.error.field}`;
};

const CALLS: readonly Call[] = [[0], [1, 0, 0], [2], [0, 1], [1], [2, 2], [0]];
const { rows, records } = buildSource(CALLS);
const N = rows.length;

/** The record at index `at` changed and hashed again, as someone who may write the storage would. */
const edit = (at: number, change: Partial<LineageRecord>): ChainRow[] =>
  rows.with(at, rowOf({ ...records[at]!, ...change }));

/** Withdraws the allow at index `at` by one more record. */
function withheld(at: number, change: Partial<LineageRecord> = {}): ChainRow {
  const allow = records[at]!;
  const last = records.findLast((record) => record.run === allow.run)!;
  return rowOf({
    ...allow,
    kind: "withheld",
    decision: "deny",
    reason: "withheld",
    refers: base64url(rows[at]!.leaf_hash),
    sseq: N + 1,
    decision_id: `eu.1.s0.${N + 1}`,
    seq: last.seq + 1,
    prev: base64url(rows[last.sseq - 1]!.leaf_hash),
    t: records.at(-1)!.t,
    ...change,
  });
}

describe("a good source", () => {
  test("gives its head and the head of every run", () => {
    const checked = checkSource(rows, sha, { region: "eu", log_epoch: 1, source: "shard/0" });
    expect(checked).toMatchObject({ ok: true, value: { records: N, last_sseq: N, head: rows.at(-1)!.leaf_hash } });
    const heads = checked.ok && checked.value !== null ? checked.value.runs : new Map();
    expect(heads.size).toBe(3);
    expect(heads.get(runOf(2).hash)).toEqual({ seq: 3, sseq: 10, hash: rows[9]!.leaf_hash });
  });

  test("of any shape passes, and every way of cutting its calls is one of its tails", () => {
    const call = fc.array(fc.nat(3), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 12 }), (calls) => {
        expect(check(buildSource(calls).rows)).toBe("ok");
      }),
    );
  });

  test("without records is none", () => expect(checkSource([], sha)).toEqual({ ok: true, value: null }));

  test("may withdraw an allow once", () => {
    expect(check([...rows, withheld(2)])).toBe("ok");
  });
});

describe("tampering", () => {
  test.each<[string, readonly ChainRow[], string]>([
    ["a record dropped", rows.toSpliced(4, 1), "gap 5 sseq"],
    ["two records dropped", rows.toSpliced(4, 2), "gap 5 sseq"],
    ["a record twice", rows.toSpliced(4, 0, rows[4]!), "duplicate 5 sseq"],
    ["rows in another order", rows.with(4, rows[5]!).with(5, rows[4]!), "gap 5 sseq"],
    ["an earlier row again", [...rows, rows[0]!], "reordered 1 sseq"],
    [
      "two leaves exchanged between rows",
      rows.with(4, { ...rows[5]!, sseq: 5 }).with(5, { ...rows[4]!, sseq: 6 }),
      "reordered 5 sseq",
    ],
    [
      "a dropped record, the rest renumbered in their rows",
      rows.toSpliced(4, 1).map((row, i) => ({ ...row, sseq: i + 1 })),
      "reordered 5 sseq",
    ],
    ["the head cut off", rows.slice(1), "gap 1 sseq"],
    ["a cut inside a call", rows.slice(0, 2), "call_broken 3 decision_id"],
    [
      "a leaf of another source",
      rows.with(4, {
        ...buildSource(CALLS, (r) => ({ ...r, source: "shard/1", decision_id: r.decision_id.replace("s0", "s1") }))
          .rows[4]!,
      }),
      "foreign 5 source",
    ],
    [
      "a leaf hash exchanged",
      rows.with(4, { ...rows[4]!, leaf_hash: rows[3]!.leaf_hash }),
      "hash_mismatch 5 leaf_hash",
    ],
    [
      "a leaf hash of other bytes",
      rows.with(4, { ...rows[4]!, leaf_hash: rows[4]!.leaf_hash.subarray(1) }),
      "hash_mismatch 5 leaf_hash",
    ],
    [
      "a leaf that is none, hashed again",
      rows.with(4, { sseq: 5, leaf: rows[4]!.leaf.subarray(1), leaf_hash: leafHash(rows[4]!.leaf.subarray(1), sha) }),
      "undecodable 5 leaf",
    ],
    // Edited and hashed again: the record passes by itself, the next one of its run does not.
    ["deny made allow", edit(3, { decision: "allow", reason: null }), "run_broken 6 prev"],
    ["another policy", edit(3, { policy: `sha256:${hashOf("x")}` }), "run_broken 6 prev"],
    ["another input", edit(0, { commit: { ...records[0]!.commit, input: hashOf("x") } }), "run_broken 3 prev"],
    ["another time", edit(4, { t: records[4]!.t + 1 }), "run_broken 9 prev"],
    ["an earlier time", edit(4, { t: records[0]!.t }), "clock_backwards 5 t"],
    ["another region", edit(4, { region: "us", decision_id: "us.1.s0.5" }), "foreign 5 region"],
    ["another epoch", edit(4, { log_epoch: 2, decision_id: "eu.2.s0.5" }), "foreign 5 log_epoch"],
    ["another prev", edit(5, { prev: hashOf("x") }), "run_broken 6 prev"],
    ["a skipped number in the run", edit(5, { seq: 5 }), "run_broken 6 seq"],
    ["a repeated number in the run", edit(5, { seq: 3 }), "run_broken 6 seq"],
    ["a run begun anew", edit(5, { seq: 1, prev: null }), "run_broken 6 seq"],
    ["a record moved to another run", edit(5, { run: runOf(1).hash }), "run_broken 6 seq"],
    ["a record moved to a run of its own", edit(5, { run: hashOf("x"), seq: 1, prev: null }), "run_broken 11 seq"],
    ["a batch record made single", edit(5, { decision_id: "eu.1.s0.6" }), "call_broken 7 decision_id"],
    ["a single record made a batch", edit(4, { decision_id: "eu.1.s0.5/0" }), "call_broken 6 decision_id"],
    ["a single record added to a batch", edit(4, { decision_id: "eu.1.s0.2/3" }), "run_broken 9 prev"],
    ["a single record's id given an index", edit(4, { decision_id: "eu.1.s0.4/1" }), "call_broken 5 decision_id"],
    ["another record's id", edit(4, { decision_id: "eu.1.s0.6" }), "undecodable 5 decision_id"],
    [
      "an allow withdrawn twice",
      [
        ...rows,
        withheld(2),
        withheld(2, { sseq: N + 2, decision_id: `eu.1.s0.${N + 2}`, seq: 7, prev: base64url(withheld(2).leaf_hash) }),
      ],
      `refers_nowhere ${N + 2} refers`,
    ],
    ["a deny withdrawn", [...rows, withheld(1)], `refers_nowhere ${N + 1} refers`],
    ["an unknown record withdrawn", [...rows, withheld(2, { refers: hashOf("x") })], `refers_nowhere ${N + 1} refers`],
    [
      "an allow of another run withdrawn",
      [...rows, withheld(2, { refers: base64url(rows[6]!.leaf_hash) })],
      `refers_nowhere ${N + 1} refers`,
    ],
  ])("%s", (_, tampered, expected) => {
    expect(check(tampered)).toBe(expected);
  });

  test("any byte of any leaf or leaf hash flipped", () => {
    fc.assert(
      fc.property(fc.nat(N - 1), fc.nat(), fc.nat(7), fc.boolean(), (at, offset, bit, inLeaf) => {
        const row = rows[at]!;
        const field = inLeaf ? "leaf" : "leaf_hash";
        const bytes = row[field];
        const flipped = bytes.with(offset % bytes.length, bytes[offset % bytes.length]! ^ (1 << bit));
        expect(check(rows.with(at, { ...row, [field]: flipped }))).toBe(`hash_mismatch ${at + 1} leaf_hash`);
      }),
    );
  });

  test("what is expected of a source beforehand binds its first record too", () => {
    expect(check(rows, { region: "us" })).toBe("foreign 1 region");
    expect(check(rows, { log_epoch: 2 })).toBe("foreign 1 log_epoch");
    expect(check(rows, { source: "shard/3" })).toBe("foreign 1 source");
  });

  test("messages name what is wrong in words", () => {
    const checked = checkSource(edit(5, { prev: hashOf("x") }), sha);
    const message = "is not the leaf hash of the run's previous record, number 4 of the source";
    expect(checked).toEqual({ ok: false, error: { code: "run_broken", sseq: 6, field: "prev", message } });
  });
});

describe("what a chain alone cannot show", () => {
  test("a tail cut off between two calls passes: only the head that others remember differs", () => {
    const tails = [1, 4, 5, 7, 8, 10];
    const heads = tails.map((length) => {
      const checked = checkSource(rows.slice(0, length), sha);
      return checked.ok && checked.value !== null ? base64url(checked.value.head) : "";
    });
    expect(new Set([...heads, base64url(rows.at(-1)!.leaf_hash)]).size).toBe(tails.length + 1);
    expect(heads).not.toContain("");
  });

  test("a last record edited and hashed again passes", () => {
    expect(check(edit(N - 1, { policy: `sha256:${hashOf("x")}` }))).toBe("ok");
  });

  test("a chain rebuilt from some record on passes", () => {
    const rebuilt = buildSource(CALLS, (r) => (r.sseq === 3 ? { ...r, policy: `sha256:${hashOf("x")}` } : r));
    expect(check(rebuilt.rows)).toBe("ok");
    expect(rebuilt.rows.at(-1)!.leaf_hash).not.toEqual(rows.at(-1)!.leaf_hash);
  });
});

test("the checker gives each record as it goes", () => {
  const checker = new SourceChecker(sha);
  expect(rows.map((row) => checker.push(row))).toEqual(records.map((value) => ({ ok: true, value })));
  expect(encodeRecord(records[0]!)).toEqual(rows[0]!.leaf);
});
