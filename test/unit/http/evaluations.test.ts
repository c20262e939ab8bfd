import { describe, expect, test } from "vitest";
import type { ShardRpc } from "../../../src/objects/shard.ts";
import {
  alice,
  allowed,
  bind,
  bob,
  call,
  denied,
  newRegion,
  read,
  record,
  write,
  type TestRegion,
  jsonOf,
} from "./region.ts";

const EVALUATIONS = "/access/v1/evaluations";
const DENY = { decision: false };
const ALLOW = { decision: true };

const ask = (region: TestRegion, body: object) => call(region, EVALUATIONS, { body });
const evaluations = async (response: Response): Promise<unknown> => (await jsonOf(response))["evaluations"];
const callsOf = (region: TestRegion) => region.shards.flatMap((shard) => shard.calls);

async function openRun(region: TestRegion): Promise<string> {
  const response = await call(region, "/runs/v1/runs", { body: { principal: alice } });
  return (await jsonOf<{ run: string }>(response)).run;
}

/** Opens runs until two live on different shards. */
async function runsOnTwoShards(region: TestRegion): Promise<readonly [string, string]> {
  const home = (run: string) => region.shards.findIndex((shard) => shard.runs.has(run));
  const first = await openRun(region);
  for (;;) {
    const second = await openRun(region);
    if (home(second) !== home(first)) return [first, second];
  }
}

const inRun = (run: string, item: object = {}) => ({ ...item, context: { interlock: { run } } });

test("items are answered in their order, without a top-level decision; a plain deny stands alone", async () => {
  const region = await newRegion();
  const response = await ask(region, {
    action: read,
    resource: record,
    evaluations: [{ subject: alice }, { subject: bob }, { subject: alice, action: write }, { subject: alice }],
  });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({
    evaluations: [
      ALLOW,
      DENY,
      { decision: false, context: { reason: "policy_denied", policy_reason: "records are read-only" } },
      ALLOW,
    ],
  });
  expect(callsOf(region)).toHaveLength(1);
});

test("an item's member replaces the whole default, also where it is null", async () => {
  const region = await newRegion();
  const response = await ask(region, {
    ...allowed,
    resource: { ...record, properties: { status: "archived" } },
    context: { ip: "192.0.2.1" },
    evaluations: [{}, { resource: record }, { context: {} }, { context: null }, { subject: null }],
  });
  expect(await evaluations(response)).toEqual([
    ALLOW,
    ALLOW,
    ALLOW,
    ALLOW,
    { decision: false, context: { error: { status: 400, message: "subject: is required" } } },
  ]);
  const requests = callsOf(region)[0]!.items.map(({ request }) => JSON.parse(request) as Record<string, object>);
  expect(requests.map(({ context }) => context)).toEqual([
    { ip: "192.0.2.1" },
    { ip: "192.0.2.1" },
    undefined,
    undefined,
  ]);
  expect(requests[1]!["resource"]).toEqual(record);
});

test.each([[undefined], [null], [[]]])("evaluations %j is a single evaluation", async (items) => {
  const region = await newRegion();
  expect(await (await ask(region, { ...allowed, evaluations: items })).json()).toEqual(ALLOW);
  expect(await (await ask(region, { ...denied, evaluations: items })).json()).toEqual({
    decision: false,
    context: { reason: "policy_denied" },
  });
});

describe("an item that is no request is a deny of the specified shape and goes to no shard", () => {
  test.each([
    [5, "an evaluation must be a JSON object"],
    [{ subject: "alice" }, "subject: an object is required"],
    [{ subject: { type: "user" } }, "subject.id: is required"],
    [
      { subject: { ...alice, properties: { n: 0.12345 } } },
      "subject.properties.n: a number has more than four decimal places; round it or send it as text",
    ],
    [
      { subject: { ...alice, properties: { n: [null] } } },
      "subject.properties.n[0]: null is only allowed as a member, where it means absent",
    ],
    [{ context: { interlock: { step: "a" } } }, "context.interlock.step: is about a step of a run: send run beside it"],
    [
      { context: { interlock: { idempotency_key: "k" } } },
      "context.interlock.idempotency_key: is for the whole request: send it in the top-level context",
    ],
    [{ context: { interlock: { surprise: 1 } } }, "context.interlock.surprise: is not a known member"],
  ])("%j", async (item, message) => {
    const region = await newRegion();
    const response = await ask(region, { ...allowed, evaluations: [item, {}] });
    expect(response.status).toBe(200);
    expect(await evaluations(response)).toEqual([
      { decision: false, context: { error: { status: 400, message } } },
      ALLOW,
    ]);
    expect(callsOf(region).flatMap(({ items }) => items)).toHaveLength(1);
  });

  test("a batch of nothing else asks nobody", async () => {
    const region = await newRegion();
    const response = await ask(region, { evaluations: [{}] });
    expect(response.status).toBe(200);
    expect(callsOf(region)).toHaveLength(0);
    expect(response.headers.has("interlock-decision-id")).toBe(false);
  });
});

describe("semantics", () => {
  const items = [{ subject: alice }, { subject: bob }, { subject: alice }];
  const body = { action: read, resource: record };

  test.each([
    ["execute_all", [ALLOW, DENY, ALLOW], 3],
    ["deny_on_first_deny", [ALLOW, DENY], 2],
    ["permit_on_first_permit", [ALLOW], 1],
  ])("%s", async (evaluations_semantic, expected, recorded) => {
    const region = await newRegion();
    const response = await ask(region, { ...body, options: { evaluations_semantic, other: 1 }, evaluations: items });
    expect(await evaluations(response)).toEqual(expected);
    expect(region.shards.flatMap((shard) => shard.records)).toHaveLength(recorded);
  });

  test("an item that is no request is a deny for the short circuit too", async () => {
    const region = await newRegion();
    const options = (evaluations_semantic: string) => ({ options: { evaluations_semantic } });
    const deny = await ask(region, {
      ...body,
      ...options("deny_on_first_deny"),
      evaluations: [{ subject: alice }, {}, { subject: alice }],
    });
    expect(await evaluations(deny)).toHaveLength(2);
    const permit = await ask(region, {
      ...body,
      ...options("permit_on_first_permit"),
      evaluations: [{}, { subject: bob }, { subject: alice }, { subject: bob }],
    });
    expect(await evaluations(permit)).toHaveLength(3);
  });

  test("a batch ends where the shard says that it ended: the deciding allow was withheld", async () => {
    const withholds = (shard: ShardRpc): ShardRpc => ({
      ...bind(shard),
      decide: async (message) => {
        const answer = await shard.decide(message);
        if (!answer.ok) return answer;
        const turned = { decision: false, reason: "withheld", policy_reason: null, valid_until_ms: 0 } as const;
        return { ...answer, items: answer.items.map((item) => (item.decision ? { ...item, ...turned } : item)) };
      },
    });
    const region = await newRegion({ wrapShard: withholds });
    const response = await ask(region, {
      ...body,
      options: { evaluations_semantic: "permit_on_first_permit" },
      evaluations: [{ subject: bob }, { subject: alice }, { subject: bob }, { subject: alice }],
    });
    expect(await evaluations(response)).toEqual([DENY, { decision: false, context: { reason: "withheld" } }]);
  });

  test.each(["xor", 5, "", "EXECUTE_ALL"])("semantic %j is refused", async (evaluations_semantic) => {
    const region = await newRegion();
    const response = await ask(region, { ...body, options: { evaluations_semantic }, evaluations: items });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("options.evaluations_semantic");
  });
});

describe("several shards", () => {
  test("one call for each, in parallel; ids and receipts of both", async () => {
    const region = await newRegion();
    const [one, two] = await runsOnTwoShards(region);
    const response = await ask(region, {
      ...allowed,
      evaluations: [inRun(one), inRun(two), inRun(one, { subject: bob }), inRun(two)],
    });
    expect(await evaluations(response)).toEqual([ALLOW, ALLOW, DENY, ALLOW]);
    expect(callsOf(region).map(({ items }) => items.length)).toEqual([2, 2]);
    expect(callsOf(region).every(({ implicit_run }) => implicit_run === null)).toBe(true);
    expect(response.headers.get("interlock-decision-id")!.split(", ")).toHaveLength(2);
    expect(JSON.parse(`[${response.headers.get("interlock-receipt")!}]`)).toHaveLength(2);
  });

  test("a short circuit goes in item order and asks nothing after the deciding item", async () => {
    const region = await newRegion();
    const [one, two] = await runsOnTwoShards(region);
    const response = await ask(region, {
      ...allowed,
      context: { interlock: { idempotency_key: "k" } },
      options: { evaluations_semantic: "deny_on_first_deny" },
      evaluations: [inRun(one), inRun(two), inRun(two), inRun(one, { subject: bob }), inRun(two)],
    });
    expect(await evaluations(response)).toEqual([ALLOW, ALLOW, ALLOW, DENY]);
    expect(
      region.shards.flatMap((shard) => shard.calls.map(({ idempotency_key }) => idempotency_key ?? "")).toSorted(),
    ).toEqual(["k", "k 1", "k 2"]);
  });

  test("a shard that throws denies its items and no other", async () => {
    const region = await newRegion({ wrapShard: (shard) => shard });
    const [one, two] = await runsOnTwoShards(region);
    region.shards.find((shard) => shard.runs.has(two))!.decide = () => Promise.reject(new Error("storage is gone"));
    const response = await ask(region, { ...allowed, evaluations: [inRun(one), inRun(two), inRun(one)] });
    expect(response.status).toBe(200);
    expect(await evaluations(response)).toEqual([
      ALLOW,
      { decision: false, context: { reason: "lineage_unavailable" } },
      ALLOW,
    ]);
  });

  test("a run of another region is unknown here; the rest is answered", async () => {
    const region = await newRegion();
    const response = await ask(region, { ...allowed, evaluations: [inRun("us.1.AAAAAAAAAAAAAAAAAAAAAA"), {}] });
    expect(await evaluations(response)).toEqual([{ decision: false, context: { reason: "run_unknown" } }, ALLOW]);
  });
});

test("the items without a run share one implicit run", async () => {
  const region = await newRegion();
  await ask(region, { ...allowed, evaluations: [{}, {}, {}] });
  const [message] = callsOf(region);
  expect(new Set(message!.items.map(({ run }) => run))).toEqual(new Set([message!.implicit_run]));
});

test("a repeated batch has the same body", async () => {
  const region = await newRegion();
  const body = { action: read, resource: record, evaluations: [{ subject: alice }, { subject: bob }, 7] };
  const texts = [];
  for (let i = 0; i < 3; i++) texts.push(await (await ask(region, body)).text());
  expect(new Set(texts).size).toBe(1);
});

test("inline evidence names each item's record and brings the receipts", async () => {
  const region = await newRegion();
  const response = await ask(region, {
    ...allowed,
    context: { interlock: { evidence: "inline" } },
    evaluations: [{}, { subject: bob, context: {} }],
  });
  const id = response.headers.get("interlock-decision-id");
  const evidence = (index: number) => ({ decision_id: `${id}/${index}`, leaf: "AQ", path: ["AA"] });
  expect(await response.json()).toEqual({
    evaluations: [
      { decision: true, context: { evidence: evidence(0) } },
      { decision: false, context: { reason: "policy_denied", evidence: evidence(1) } },
    ],
    context: { receipts: [{ decision_id: id, receipt: expect.objectContaining({ signature: expect.any(String) }) }] },
  });
});

test("1,000 items are answered, 1,001 refused; a reused key is a conflict", async () => {
  const region = await newRegion({ deps: (deps) => ({ ...deps, max_body_bytes: 1_048_576 }) });
  const many = (n: number) => ({ ...allowed, evaluations: Array.from({ length: n }, () => ({})) });
  expect(await evaluations(await ask(region, many(1_000)))).toHaveLength(1_000);
  expect((await ask(region, many(1_001))).status).toBe(400);
  const context = { interlock: { idempotency_key: "once" } };
  expect((await ask(region, { ...many(2), context })).status).toBe(200);
  expect((await ask(region, { ...many(3), context })).status).toBe(409);
});

test("4,096 parents are taken in one batch, 4,097 refused, named by each item or by the default", async () => {
  const region = await newRegion({ deps: (deps) => ({ ...deps, max_body_bytes: 1_048_576 }) });
  const run = "eu.1.AAAAAAAAAAAAAAAAAAAAAA";
  const ids = (count: number): string[] => Array.from({ length: count }, (_, at) => `eu.1.s0.${at + 1}`);
  const contextOf = (count: number) => ({ interlock: { run, parents: ids(count) } });
  const items = (...counts: readonly number[]) => ({
    ...allowed,
    evaluations: counts.map((count) => ({ context: contextOf(count) })),
  });
  const full = Array.from({ length: 64 }, () => 64);
  const refused = await ask(region, items(...full, 1));
  expect(refused.status).toBe(400);
  expect(await refused.text()).toMatch(/^evaluations: at most 4096 parents .*split the batch$/);
  const copied = { ...allowed, context: contextOf(64), evaluations: Array.from({ length: 65 }, () => ({})) };
  expect((await ask(region, copied)).status).toBe(400);
  expect(callsOf(region)).toHaveLength(0);
  expect(await evaluations(await ask(region, items(...full, 0)))).toHaveLength(65);
});

test("defaults that 1,000 items copy are bounded: 413 above four times the largest body", async () => {
  const max_body_bytes = 1_048_576;
  const region = await newRegion({ deps: (deps) => ({ ...deps, max_body_bytes }) });
  const batch = (chars: number, items: number) => ({
    ...allowed,
    context: { text: "x".repeat(chars) },
    evaluations: Array.from({ length: items }, () => ({})),
  });
  const started_ms = performance.now();
  const tooMuch = await ask(region, batch(900_000, 1_000));
  expect(performance.now() - started_ms).toBeLessThan(1_000);
  expect(tooMuch.status).toBe(413);
  expect(await tooMuch.text()).toMatch(/^evaluations: .*more than 4194304 characters; .*split the batch$/);
  expect(callsOf(region)).toHaveLength(0);

  const empty = JSON.stringify({ action: read, context: { text: "" }, resource: record, subject: alice, v: 1 });
  const most = (4 * max_body_bytes) / 8 - empty.length;
  expect(await evaluations(await ask(region, batch(most, 8)))).toHaveLength(8);
  expect((await ask(region, batch(most + 1, 8))).status).toBe(413);
});

test("receipts that do not fit are left out of the headers; many ids too", async () => {
  const big = (shard: ShardRpc): ShardRpc => ({
    ...bind(shard),
    decide: async (message) => {
      const answer = await shard.decide(message);
      return answer.ok ? { ...answer, receipt: JSON.stringify({ payload: "x".repeat(5_000) }) } : answer;
    },
  });
  const region = await newRegion({ wrapShard: big });
  const [one, two] = await runsOnTwoShards(region);
  const response = await ask(region, { ...allowed, evaluations: [inRun(one), inRun(two)] });
  expect(response.headers.has("interlock-receipt")).toBe(false);
  expect(response.headers.get("interlock-decision-id")).toContain(", ");
});

test("the items of a dry run say so, denied or not", async () => {
  const region = await newRegion();
  const context = { interlock: { dry_run: true } };
  const response = await ask(region, { ...allowed, context, evaluations: [{}, { subject: bob }] });
  expect(await evaluations(response)).toEqual([
    { decision: true, context: { dry_run: true } },
    { decision: false, context: { reason: "policy_denied", dry_run: true } },
  ]);
  expect(response.headers.has("interlock-valid-until")).toBe(false);
});

test("an allow that ran out while the Worker waited for another shard is withheld, and only that one", async () => {
  const region = await newRegion();
  const [one, two] = await runsOnTwoShards(region);
  const second = region.shards.find((shard) => shard.runs.has(two))!;
  const decide = second.decide.bind(second);
  second.decide = async (message) => {
    region.clock.now_ms += 1_000;
    return decide(message);
  };
  const response = await ask(region, {
    ...allowed,
    options: { evaluations_semantic: "deny_on_first_deny" },
    evaluations: [inRun(one), inRun(two)],
  });
  expect(await evaluations(response)).toEqual([{ decision: false, context: { reason: "withheld" } }, ALLOW]);
  expect(response.headers.get("interlock-valid-until")).toBe(String(region.clock.now_ms + 1_000));
});
