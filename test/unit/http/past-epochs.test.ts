import { describe, expect, test } from "vitest";
import type { EpochView } from "../../../src/objects/epochs.ts";
import type { RegionLogRpc } from "../../../src/objects/log.ts";
import { MemoryReads } from "./memory-reads.ts";
import { allowed, call, jsonOf, newRegion, type TestRegion } from "./region.ts";

/** What auditors see of the log epochs before the running one: search and the list of reads go back through them. */
type Epoch = { readonly log_epoch: number; readonly state: string; readonly dropped: unknown };
type Found = {
  readonly decisions: readonly { readonly leaf_hash: string }[];
  readonly epochs: readonly Epoch[];
  readonly next_cursor: string | null;
};
type Reads = {
  readonly reads: readonly { readonly id: number; readonly log_epoch: number; readonly leaf_epoch: number | null }[];
  readonly epochs: readonly Epoch[];
  readonly next_cursor: string | null;
};

const DROPPED = { t_ms: 1_800_000_000_000, size: 7, root: "AAAA", done: true };
const epochOf = (log_epoch: number, over: Partial<EpochView> = {}): EpochView => ({
  log_epoch,
  shards: 2,
  began_ms: 0,
  sealing: null,
  next: null,
  dropped: null,
  left: [],
  ...over,
});

/** A region in epoch 4, of which 2 was dropped: what it decided in 1 (3 shards), 3 and 4 (2 shards). */
async function withPast(counts: Readonly<Record<1 | 3 | 4, number>>) {
  const past = { 1: await newRegion({ shards: 3 }), 3: await newRegion({ shards: 2 }) };
  const logs = { 1: new MemoryReads(), 3: new MemoryReads() };
  const state = { silent: false, dropped: [2] };
  const asked: number[] = [];
  const now: TestRegion = await newRegion({
    shards: 2,
    deps: (deps) => ({
      ...deps,
      region: { ...deps.region, log_epoch: 4 },
      epoch: ({ log_epoch, shards }) => {
        asked.push(log_epoch);
        const which = log_epoch as 1 | 3;
        return {
          region: { ...deps.region, log_epoch, shards },
          shard: (k) => past[which].shards[k]!,
          regionLog: () => logs[which] as unknown as RegionLogRpc,
          homeOf: () => 0,
        };
      },
    }),
  });
  now.authority.epochs = async () => {
    if (state.silent) throw new Error("secret /path");
    return [1, 2, 3, 4].map((n) =>
      epochOf(n, { shards: n === 1 ? 3 : 2, dropped: state.dropped.includes(n) ? DROPPED : null }),
    );
  };
  for (const [region, count] of [
    [past[1], counts[1]],
    [past[3], counts[3]],
    [now, counts[4]],
  ] as const)
    for (let i = 0; i < count; i++) await call(region, "/access/v1/evaluation", { body: allowed });
  return { now, past, logs, state, asked };
}

const find = (region: TestRegion, query: string) => call(region, `/lineage/v1/decisions${query}`);

describe("a search", () => {
  test.each([2, 50])("in pages of %s gives every record of every epoch once, the running one first", async (limit) => {
    const { now, past } = await withPast({ 1: 7, 3: 5, 4: 3 });
    const all = (regions: readonly TestRegion[]) =>
      new Set(regions.flatMap(({ shards }) => shards.flatMap(({ records }) => records.map((one) => one.leaf_hash))));
    const found: string[] = [];
    const pages: Found[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const page: Found = await jsonOf(await find(now, `?limit=${limit}${cursor === "" ? "" : `&cursor=${cursor}`}`));
      pages.push(page);
      expect(pages.length).toBeLessThan(40);
      found.push(...page.decisions.map(({ leaf_hash }) => leaf_hash));
      cursor = page.next_cursor;
    }
    expect(found).toHaveLength(15);
    expect(new Set(found.slice(0, 3))).toEqual(all([now]));
    expect(new Set(found.slice(3, 8))).toEqual(all([past[3]]));
    expect(new Set(found.slice(8))).toEqual(all([past[1]]));
    const { done: _, ...dropped } = DROPPED;
    expect(pages.at(-1)!.epochs).toEqual([
      { log_epoch: 4, state: "searched", dropped: null },
      { log_epoch: 3, state: "searched", dropped: null },
      { log_epoch: 2, state: "dropped", dropped },
      { log_epoch: 1, state: "searched", dropped: null },
    ]);
    const first = pages[0]!.epochs.map(({ state }) => state);
    expect(first).toEqual([limit === 2 ? "begun" : "searched", "next", "dropped", "next"]);
    // Which epoch the records are of stands in the record of the read.
    const ranges = now.reads.recorded.flatMap((read) => read.ranges.map(({ source }) => source.replace(/\d+$/, "")));
    expect(new Set(ranges)).toEqual(new Set(["shard/", "epoch/3/shard/", "epoch/1/shard/"]));
  });

  test("by a run of a past epoch looks there only", async () => {
    const { now, past } = await withPast({ 1: 1, 3: 1, 4: 1 });
    const run = "eu.3.AAAAAAAAAAAAAAAAAAAAAA";
    past[3].shards[0]!.describeRun = async () => ({ ok: true, value: {} as never });
    const page: Found = await jsonOf(await find(now, `?run=${run}`));
    expect(page.epochs).toEqual([{ log_epoch: 3, state: "searched", dropped: null }]);
    expect(page.next_cursor).toBeNull();
    expect(past[3].shards[0]!.finds).toMatchObject([{ run }]);
    expect([...now.shards, ...past[1].shards].flatMap(({ finds }) => finds)).toEqual([]);
    expect((await find(now, "?run=eu.2.AAAAAAAAAAAAAAAAAAAAAA")).status).toBe(410);
    expect((await find(now, "?run=eu.5.AAAAAAAAAAAAAAAAAAAAAA")).status).toBe(404);
  });

  test("whose next epoch was dropped meanwhile says so, and asks nothing there", async () => {
    const { now, state, asked, past } = await withPast({ 1: 2, 3: 2, 4: 1 });
    const { next_cursor } = await jsonOf<Found>(await find(now, "?limit=50"));
    state.dropped.push(3);
    const answer = await find(now, `?limit=50&cursor=${next_cursor}`);
    expect([answer.status, await jsonOf(answer)]).toMatchObject([410, { code: "epoch_dropped" }]);
    expect(asked).toEqual([]);
    expect(past[3].shards.flatMap(({ finds }) => finds)).toEqual([]);
    const again: Found = await jsonOf(await find(now, "?limit=50"));
    expect(again.epochs.map(({ state: word }) => word)).toEqual(["searched", "dropped", "dropped", "next"]);
  });

  test("is a 503 where nobody says which epochs there were", async () => {
    const { now, state } = await withPast({ 1: 1, 3: 1, 4: 1 });
    state.silent = true;
    const answer = await find(now, "");
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toContain("secret");
    expect(now.reads.recorded).toEqual([]);
  });

  test("goes on where it was when a new epoch begins between two pages", async () => {
    const { now, past } = await withPast({ 1: 4, 3: 0, 4: 0 });
    const before: Found = await jsonOf(await find(past[1], "?limit=1"));
    const page: Found = await jsonOf(await find(now, `?limit=50&cursor=${before.next_cursor}`));
    expect(page.decisions).toHaveLength(3);
    expect(page.epochs).toEqual([{ log_epoch: 1, state: "searched", dropped: null }]);
  });
});

describe("the list of reads", () => {
  const note = (query: string) =>
    ({ v: 1, what: "decision", reader: "admin:eva", credential: "c", query, count: 1, ranges: [] }) as const;
  const list = (region: TestRegion, query = "") => call(region, `/admin/v1/reads${query}`);

  test("goes back through the epochs, newest first, and says in which one each was made", async () => {
    const { now, logs } = await withPast({ 1: 0, 3: 0, 4: 0 });
    for (const n of [1, 2, 3]) {
      await logs[1].recordRead(note(`old ${n}`));
      await now.reads.recordRead(note(`new ${n}`));
    }
    const seen: (readonly [number, number])[] = [];
    let page: Reads | null = null;
    for (let cursor = ""; ; cursor = `&cursor=${page.next_cursor}`) {
      page = await jsonOf<Reads>(await list(now, `?limit=2${cursor}`));
      seen.push(...page.reads.map(({ log_epoch, id }) => [log_epoch, id] as const));
      if (page.next_cursor === null) break;
    }
    // Looking is a read of the running epoch, and does not move the pages.
    expect(seen).toEqual([
      [4, 3],
      [4, 2],
      [4, 1],
      [1, 3],
      [1, 2],
      [1, 1],
    ]);
    expect(page.epochs.map(({ state }) => state)).toEqual(["searched", "searched", "dropped", "searched"]);
    expect(now.reads.recorded.filter(({ what }) => what === "reads").map(({ query }) => query)).toEqual([
      "log epoch 4",
      "log epoch 4, before 2",
      "log epoch 3",
      "log epoch 1",
      "log epoch 1, before 2",
    ]);
  });

  test("names the epoch of the leaf where that is a later one", async () => {
    const { now, logs } = await withPast({ 1: 0, 3: 0, 4: 0 });
    await logs[3].recordRead(note("in the dark"));
    logs[3].leaf_epoch = 4;
    const page: Reads = await jsonOf(await list(now, "?cursor=4.3"));
    expect(page.reads).toMatchObject([{ log_epoch: 3, leaf_epoch: 4 }]);
  });

  test.each(["5.4", "4.2", "9.9.1"])(
    "with the cursor %s, of an epoch that is not there, is refused",
    async (cursor) => {
      const { now, asked } = await withPast({ 1: 0, 3: 0, 4: 0 });
      expect((await list(now, `?cursor=${cursor}`)).status).toBe(400);
      expect(asked).toEqual([]);
      expect(now.reads.recorded).toEqual([]);
    },
  );
});
