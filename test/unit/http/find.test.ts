import { describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { allowed, bind, call, jsonOf, newRegion, type TestRegion } from "./region.ts";

/** The Worker's side of a search: filters, cursors, shards that are silent. What shards find is in test/objects. */
type Found = { readonly decisions: readonly { readonly decision_id: string }[]; readonly next_cursor: string | null };

const find = (region: TestRegion, query: string): Promise<Response> => call(region, `/lineage/v1/decisions${query}`);

async function withDecisions(count: number): Promise<TestRegion> {
  const region = await newRegion({ shards: 3 });
  for (let i = 0; i < count; i++) await call(region, "/access/v1/evaluation", { body: allowed });
  return region;
}

describe("pages", () => {
  test.each([1, 4, 50])("of %s give every record once, and each is recorded as read", async (limit) => {
    const region = await withDecisions(17);
    const ids: string[] = [];
    let cursor: string | null = "";
    for (let pages = 0; cursor !== null; pages++) {
      expect(pages).toBeLessThan(60);
      const page: Found = await jsonOf(
        await find(region, `?limit=${limit}${cursor === "" ? "" : `&cursor=${cursor}`}`),
      );
      ids.push(...page.decisions.map(({ decision_id }) => decision_id));
      cursor = page.next_cursor;
    }
    expect(new Set(ids).size).toBe(17);
    expect(ids).toHaveLength(17);
    expect(region.reads.recorded.reduce((sum, { what, count }) => sum + (what === "search" ? count : 0), 0)).toBe(17);
  });

  test("decided meanwhile is not in later pages: the first page ends the search", async () => {
    const region = await withDecisions(3);
    await find(region, "?limit=1");
    const { next_cursor } = await jsonOf<Found>(await find(region, "?limit=1"));
    region.clock.now_ms += 5_000;
    await find(region, `?limit=1&cursor=${next_cursor}`);
    const bounds = region.shards.flatMap(({ finds }) => finds.map(({ to_ms }) => to_ms));
    expect(new Set(bounds).size).toBe(1);
  });
});

describe("a cursor", () => {
  const cursorOf = async (region: TestRegion, query = "?limit=1&decision=allow"): Promise<string> =>
    (await jsonOf<Found>(await find(region, query))).next_cursor!;
  const decode = (cursor: string) =>
    JSON.parse(Buffer.from(cursor, "base64url").toString()) as { p: number[]; t: number };
  const encode = (value: unknown) => base64url(new TextEncoder().encode(JSON.stringify(value)));

  test.each<readonly [string, (cursor: string) => string]>([
    ["with another position", (cursor) => encode({ ...decode(cursor), p: [1, 1, 1] })],
    ["with another time", (cursor) => encode({ ...decode(cursor), t: 1 })],
    ["of more shards", (cursor) => encode({ ...decode(cursor), p: [...decode(cursor).p, 1] })],
    ["with one member more", (cursor) => encode({ ...decode(cursor), x: 1 })],
    ["with no number", (cursor) => encode({ ...decode(cursor), p: ["1", "1", "1"] })],
    ["cut short", (cursor) => cursor.slice(0, -2)],
    ["that is not one", () => "AAAA"],
    ["that is empty", () => ""],
    ["with SQL in it", () => encodeURIComponent("1 OR 1=1; DROP TABLE record")],
  ])("%s is refused", async (_, change) => {
    const region = await withDecisions(6);
    const cursor = await cursorOf(region);
    const looks = region.shards.map(({ finds }) => finds.length);
    const answer = await find(region, `?limit=1&decision=allow&cursor=${change(cursor)}`);
    expect(answer.status).toBe(400);
    expect(await jsonOf(answer)).toMatchObject({ code: "input_invalid" });
    expect(region.shards.map(({ finds }) => finds.length)).toEqual(looks);
  });

  test("goes with its own filter only", async () => {
    const region = await withDecisions(6);
    const cursor = await cursorOf(region);
    for (const other of ["", "&decision=deny", "&decision=allow&reason=revoked", "&decision=allow&subject=user:alice"])
      expect((await find(region, `?cursor=${cursor}${other}`)).status).toBe(400);
    expect((await find(region, `?cursor=${cursor}&decision=allow&limit=3`)).status).toBe(200);
  });

  test("of a log epoch that the region has not run is refused", async () => {
    const [here, there] = [await withDecisions(6), await newRegion({ shards: 3 })];
    const cursor = await cursorOf(here);
    const later = await newRegion({
      shards: 3,
      deps: (deps) => ({ ...deps, region: { ...deps.region, log_epoch: 2 } }),
    });
    for (let i = 0; i < 6; i++) await call(later, "/access/v1/evaluation", { body: allowed });
    expect((await find(here, `?decision=allow&cursor=${await cursorOf(later)}`)).status).toBe(400);
    expect((await find(there, `?decision=allow&cursor=${cursor}`)).status).toBe(200);
  });
});

describe("filters", () => {
  test.each([
    "?when=now",
    "?Reason=revoked",
    "?reason=revoked&reason=revoked",
    "?reason=' OR 1=1 --",
    "?reason=%25",
    "?decision=maybe",
    "?limit=0",
    "?limit=201",
    "?limit=-1",
    "?payload=yes",
    "?subject=alice",
    "?subject=user:",
    "?subject=:alice",
    "?subject=App::User",
    "?run=eu.1.short",
    "?from=yesterday",
    "?from=2026-11-23",
    "?from=2026-11-23T04:00:00",
    "?from=-1",
    "?from=99999999999999999999",
    "?from=2000&to=1000",
    "?to=2026-13-45T99:00:00Z",
  ])("%s is refused and looks at nothing", async (query) => {
    const region = await withDecisions(1);
    const answer = await find(region, query.replaceAll(" ", "%20"));
    expect(answer.status).toBe(400);
    expect(await jsonOf(answer)).toMatchObject({ code: "input_invalid" });
    expect(region.shards.flatMap(({ finds }) => finds)).toEqual([]);
    expect(region.reads.recorded).toEqual([]);
  });

  test("reach the shards as what they mean", async () => {
    const region = await newRegion({ shards: 2 });
    const query =
      "?from=2026-11-23T04:00:00Z&to=2026-11-23T06:30:00%2B01:00&subject=App::User:a:b/c&reason=revoked&decision=deny&limit=7";
    expect((await find(region, query)).status).toBe(200);
    expect(region.shards[0]!.finds).toEqual([
      {
        v: 1,
        from_ms: Date.parse("2026-11-23T04:00:00Z"),
        to_ms: Date.parse("2026-11-23T05:30:00Z"),
        before_sseq: null,
        subject: "subject:App::User/a:b/c",
        run: null,
        reason: "revoked",
        decision: "deny",
        limit: 7,
        payload: false,
        max_bytes: 8 * 1_048_576,
      },
    ]);
  });

  test("by a run ask its home only; a run of another region, or of nobody, is not known", async () => {
    const region = await newRegion({ shards: 3 });
    const opened = await call(region, "/runs/v1/runs", { body: { principal: allowed.subject } });
    const { run } = await jsonOf<{ run: string }>(opened);
    expect((await find(region, `?run=${run}`)).status).toBe(200);
    expect(region.shards.filter(({ finds }) => finds.length > 0)).toHaveLength(1);
    for (const unknown of ["us.1.AAAAAAAAAAAAAAAAAAAAAA", "eu.1.AAAAAAAAAAAAAAAAAAAAAA"])
      expect((await find(region, `?run=${unknown}`)).status).toBe(404);
  });
});

test("a shard that is silent is a 503, never a page with a hole in it", async () => {
  const region = await newRegion({
    shards: 3,
    wrapShard: (shard, k) =>
      k === 1 ? { ...bind(shard), findRecords: () => Promise.reject(new Error("secret /path")) } : shard,
  });
  const answer = await find(region, "");
  expect(answer.status).toBe(503);
  expect(await answer.text()).not.toContain("secret");
  expect(region.reads.recorded).toEqual([]);
});

test("a search that cannot be recorded is not answered", async () => {
  const region = await withDecisions(2);
  region.reads.fails = true;
  expect((await find(region, "")).status).toBe(503);
});

test("nobody searches without a credential", async () => {
  const region = await newRegion();
  expect((await call(region, "/lineage/v1/decisions", { token: null })).status).toBe(401);
});
