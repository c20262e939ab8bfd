import { beforeEach, expect, test } from "vitest";
import { Eraser } from "../../../durable-objects/shard/eraser.ts";
import { ErasureRows } from "../../../durable-objects/shard/erasure-rows.ts";
import { ShardStore, type RunRow } from "../../../durable-objects/shard/store.ts";
import { SubjectTags } from "../../../durable-objects/shard/subject-tags.ts";
import type { ShardSelector } from "../../../src/objects/erasure.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bytesOf } from "../lineage/build.ts";

/** Erasing where runs go on: what was asked for again is found again. */
const tags = new SubjectTags(bytesOf("region key"));
const ALICE = tags.of("subject:user/alice");

let storage: DurableObjectStorage;
let store: ShardStore;
let eraser: Eraser;
let seq: number;
beforeEach(() => {
  storage = new FakeStorage().attach();
  store = new ShardStore(storage);
  const identity = { region: "eu", log_epoch: 1, shard: 0, tags } as unknown as ConstructorParameters<typeof Eraser>[2];
  eraser = new Eraser(new ErasureRows(storage, store), store, identity);
  seq = 0;
});

const run: { -readonly [Member in keyof RunRow]: RunRow[Member] } = {
  id: "run-1",
  salt: bytesOf("salt"),
  kind: "opened",
  status: "open",
  principal: "user/alice",
  members: ["user/alice", "user/bob"],
  last_sseq: 0,
  seq: 0,
  head: bytesOf("head"),
  opened_t_ms: 1,
  keep: true,
};

/** Records up to `sseq`: steps of the run where `steps` says so, plain questions of others else. */
function record(sseq: number, about: { readonly of: string; readonly tag?: string } = { of: "other" }): void {
  const inRun = about.of === run.id;
  const prev_sseq = inRun && run.last_sseq > 0 ? run.last_sseq : null;
  const leaf = bytesOf("leaf", sseq);
  const sealed = Uint8Array.from([1, ...bytesOf("sealed", sseq)]);
  store.addRecord({ sseq, leaf, leaf_hash: leaf, prev_sseq, sealed }, about.of, sseq);
  if (inRun) {
    run.last_sseq = sseq;
    run.seq++;
    store.putRun(run);
  }
  if (about.tag !== undefined) store.addSubject(about.tag, sseq, [sseq]);
}

/** Carries an entry out as the authority does. */
function erase(selector: ShardSelector): readonly number[] {
  seq++;
  const erased: number[] = [];
  for (let acked = 0, tries = 0; tries < 1_000; tries++) {
    const answer = eraser.slice({ v: 1, seq, selector, acked });
    if (!answer.ok) throw new Error(answer.code);
    if (answer.done) return erased.sort((a, b) => a - b);
    if (answer.slice === null) continue;
    erased.push(...answer.slice.sseqs);
    acked = answer.slice.number;
  }
  throw new Error("it does not end");
}

const names = (): readonly unknown[] => [store.run(run.id)!.principal, ...store.run(run.id)!.members];

beforeEach(() => {
  Object.assign(run, { status: "open", last_sseq: 0, seq: 0 });
  record(1, { of: run.id, tag: ALICE });
  record(2, { of: run.id });
  for (let sseq = 3; sseq <= 100; sseq++) record(sseq);
});

test("what a run recorded after it was asked for is found when it is asked for again", () => {
  expect(erase({ kind: "tag", tag: ALICE, until: 100 })).toEqual([1, 2]);
  // Decided before the names were taken out of the run's row, and on disk after.
  record(101, { of: run.id });
  expect(erase({ kind: "tag", tag: ALICE, until: 101 })).toEqual([101]);
});

test("a run that outlives the retention of its beginning is still found by its members, and loses their names", () => {
  erase({ kind: "old", from: 1, until: 99 });
  expect(names()).toEqual(["user/alice", "user/alice", "user/bob"]);
  record(101, { of: run.id });
  expect(erase({ kind: "tag", tag: ALICE, until: 101 })).toEqual([101]);
  expect(names()).toEqual([null, "user/bob"]);
});

test("retention takes the names of a run when its last record is too old, however old its first one was", () => {
  erase({ kind: "old", from: 1, until: 99 });
  run.status = "closed";
  record(101, { of: run.id });
  for (let sseq = 102; sseq <= 200; sseq++) record(sseq);
  erase({ kind: "old", from: 100, until: 100 });
  expect(names()).toEqual(["user/alice", "user/alice", "user/bob"]);
  erase({ kind: "old", from: 101, until: 200 });
  expect(names()).toEqual([null]);
  expect(storage.sql.exec("SELECT * FROM subject_flush").toArray()).toEqual([]);
});

test("the index of what is over goes: also of a run, once it is closed", () => {
  record(101, { of: "other-2", tag: ALICE });
  run.status = "closed";
  record(102, { of: run.id });
  expect(erase({ kind: "tag", tag: ALICE, until: 102 })).toEqual([1, 2, 101, 102]);
  expect(storage.sql.exec("SELECT * FROM subject_flush").toArray()).toEqual([]);
});

test("an entry from a file ends where the shard does, and gives back no payload that it did not erase", () => {
  const held = (): number =>
    Number(storage.sql.exec("SELECT count(*) AS n FROM record WHERE sealed IS NOT NULL").one()["n"]);
  expect(erase({ kind: "old", from: 90, until: Number.MAX_SAFE_INTEGER })).toHaveLength(11);
  expect(held()).toBe(100);
});

test("in an epoch that is past no run goes on: retention takes its names, and the index, though it was left open", () => {
  const identity = { region: "eu", log_epoch: 1, shard: 0, tags } as unknown as ConstructorParameters<typeof Eraser>[2];
  eraser = new Eraser(new ErasureRows(storage, store, true), store, identity);
  erase({ kind: "old", from: 1, until: 99 });
  expect(names()).toEqual([null]);
  expect(storage.sql.exec("SELECT * FROM subject_flush").toArray()).toEqual([]);
});
