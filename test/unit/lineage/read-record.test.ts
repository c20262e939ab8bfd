import { expect, test } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { joinRanges, readerCommitment, readRanges } from "../../../src/lineage/read-record.ts";

const refs = (source: string, ...numbers: readonly number[]) => numbers.map((sseq) => ({ source, sseq }));

test("records as ranges, whatever their order, each source by itself", () => {
  expect(readRanges([...refs("shard/1", 5, 3, 4), ...refs("shard/0", 9, 7, 9)])).toEqual([
    { source: "shard/0", first: 7, last: 7 },
    { source: "shard/0", first: 9, last: 9 },
    { source: "shard/1", first: 3, last: 5 },
  ]);
  expect(readRanges([])).toEqual([]);
});

test("more ranges than a leaf tells are covered, never cut", () => {
  const odd = Array.from({ length: 65 }, (_, at) => 2 * at + 1);
  expect(readRanges([...refs("shard/0", ...odd), ...refs("shard/1", 8)])).toEqual([
    { source: "shard/0", first: 1, last: 129 },
    { source: "shard/1", first: 8, last: 8 },
  ]);
  const parts = odd.map((n) => ({ source: "index", first: n, last: n }));
  expect(joinRanges(parts.slice(0, 30), parts.slice(30))).toEqual([{ source: "index", first: 1, last: 129 }]);
});

test("ranges that touch or overlap become one", () => {
  const range = (first: number, last: number) => ({ source: "index", first, last });
  expect(joinRanges([range(0, 255)], [range(256, 511)])).toEqual([range(0, 511)]);
  expect(joinRanges([range(0, 600)], [range(100, 200)])).toEqual([range(0, 600)]);
  expect(joinRanges([range(0, 9)], [range(20, 29)])).toEqual([range(0, 9), range(20, 29)]);
});

test("the commitment binds reader, credential and query, and hides them by its salt", () => {
  const salt = new Uint8Array(32).fill(7);
  const note = { reader: "admin:auditor:eva", credential: "c-1", query: "eu.1.s0.1" };
  const commit = readerCommitment(salt, note, sha256);
  for (const member of ["reader", "credential", "query"] as const)
    expect(readerCommitment(salt, { ...note, [member]: "x" }, sha256)).not.toBe(commit);
  expect(readerCommitment(new Uint8Array(32), note, sha256)).not.toBe(commit);
  // Members do not run into one another.
  const moved = { ...note, reader: "admin:auditor:ev", credential: "ac-1" };
  expect(readerCommitment(salt, moved, sha256)).not.toBe(commit);
});
