import { describe, expect, test } from "vitest";
import { alice, bob, call, newRegion, pepClaims, read, record, sign } from "./region.ts";

const SUBJECT = "/access/v1/search/subject";
const RESOURCE = "/access/v1/search/resource";
const ACTION = "/access/v1/search/action";
const query = { subject: { type: "user" }, action: read, resource: record };

test("results are exactly {type, id} or {name}", async () => {
  const region = await newRegion();
  const subjects = await call(region, SUBJECT, { body: query });
  expect(subjects.status).toBe(200);
  expect(await subjects.json()).toEqual({
    results: [
      { type: "user", id: "alice" },
      { type: "user", id: "zoe" },
    ],
  });
  const actions = await call(region, ACTION, { body: { subject: alice, resource: record } });
  expect(await actions.json()).toEqual({ results: [{ name: "read" }, { name: "list" }] });
});

test("the id of what is searched is ignored, and an action in an action search too", async () => {
  const region = await newRegion();
  await call(region, SUBJECT, { body: { ...query, subject: alice } });
  await call(region, RESOURCE, { body: { subject: alice, action: read, resource: record } });
  await call(region, ACTION, { body: { subject: alice, action: 7, resource: record } });
  const asked = region.shards.flatMap((shard) => shard.searches);
  const of = (kind: string) =>
    JSON.parse(asked.find((message) => message.kind === kind)!.request) as Record<
      string,
      { id?: string; name?: string }
    >;
  expect(of("subject")["subject"]).toEqual({ id: "", type: "user" });
  expect(of("resource")["resource"]).toEqual({ id: "", type: "record" });
  expect(of("action")["action"]).toEqual({ name: "" });
});

test("nothing found is an empty list", async () => {
  const region = await newRegion();
  expect(await (await call(region, SUBJECT, { body: { ...query, subject: { type: "spaceship" } } })).json()).toEqual({
    results: [],
  });
  expect(await (await call(region, ACTION, { body: { subject: bob, resource: record } })).json()).toEqual({
    results: [],
  });
});

test("pages: first key, every shard call the same shard, the end is an empty token", async () => {
  const region = await newRegion({ shards: 8 });
  const first = await call(region, SUBJECT, { body: { ...query, page: { limit: 1 } } });
  const text = await first.text();
  expect(text.startsWith('{"page":{')).toBe(true);
  const { page, results } = JSON.parse(text) as { page: { next_token: string }; results: unknown };
  expect(page).toEqual({ next_token: "1", count: 1, total: 2 });
  expect(results).toEqual([{ type: "user", id: "alice" }]);
  const second = await call(region, SUBJECT, { body: { ...query, page: { limit: 1, token: page.next_token } } });
  expect(await second.json()).toEqual({
    page: { next_token: "", count: 1, total: 2 },
    results: [{ type: "user", id: "zoe" }],
  });
  expect(region.shards.filter((shard) => shard.searches.length > 0)).toHaveLength(1);
});

describe("refused", () => {
  test.each<readonly [string, string, object, string]>([
    ["no action", SUBJECT, { subject: { type: "user" }, resource: record }, "action: is required"],
    ["no subject", RESOURCE, { action: read, resource: { type: "record" } }, "subject: is required"],
    ["no resource", ACTION, { subject: alice }, "resource: is required"],
    ["no resource id", SUBJECT, { ...query, resource: { type: "record" } }, "resource.id: is required"],
    [
      "no subject id",
      RESOURCE,
      { subject: { type: "user" }, action: read, resource: { type: "record" } },
      "subject.id",
    ],
    ["no type", SUBJECT, { ...query, subject: {} }, "subject.type"],
    ["page as text", SUBJECT, { ...query, page: "1" }, "page: an object"],
    ["token as number", SUBJECT, { ...query, page: { token: 1 } }, "page.token"],
    ["unknown token", SUBJECT, { ...query, page: { token: "made up" } }, "page.token"],
    ["a token too long", SUBJECT, { ...query, page: { token: "x".repeat(4_097) } }, "page.token"],
    ["limit 0", SUBJECT, { ...query, page: { limit: 0 } }, "page.limit"],
    ["limit 1.5", SUBJECT, { ...query, page: { limit: 1.5 } }, "page.limit"],
    ["limit as text", SUBJECT, { ...query, page: { limit: "1" } }, "page.limit"],
    [
      "an idempotency key",
      SUBJECT,
      { ...query, context: { interlock: { idempotency_key: "k" } } },
      "not supported in a search",
    ],
    ["a run", SUBJECT, { ...query, context: { interlock: { run: "k" } } }, "not supported in a search"],
  ])("%s", async (_name, path, body, says) => {
    const region = await newRegion();
    const response = await call(region, path, { body });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain(says);
  });
});

test("what cannot be asked is 503, never an empty list", async () => {
  const region = await newRegion();
  for (const shard of region.shards) shard.search = () => Promise.reject(new Error("gone"));
  const response = await call(region, SUBJECT, { body: query });
  expect(response.status).toBe(503);
  expect(await response.text()).toContain("lineage_unavailable");
});

test("a frozen region says why it finds nothing", async () => {
  const region = await newRegion();
  for (const shard of region.shards) {
    const search = shard.search.bind(shard);
    shard.search = async (message) => {
      const answer = await search(message);
      return answer.ok ? { ...answer, results: [], reason: "region_frozen" } : answer;
    };
  }
  const response = await call(region, SUBJECT, { body: query });
  expect(await response.json()).toEqual({ context: { reason: "region_frozen" }, results: [] });
});

test("needs the scope search", async () => {
  const region = await newRegion();
  const token = await sign(region.signer, pepClaims({ scope: "evaluate" }));
  const response = await call(region, SUBJECT, { body: query, token });
  expect(response.status).toBe(403);
  expect(response.headers.get("www-authenticate")).toBe(
    'Bearer realm="https://eu.pdp.example", error="insufficient_scope", scope="search"',
  );
});
