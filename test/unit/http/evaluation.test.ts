import { expect, test } from "vitest";
import { alice, allowed, bind, bob, call, denied, newRegion, read, record, START_MS, write } from "./region.ts";

const EVALUATION = "/access/v1/evaluation";

test("an allow is the bare decision; what varies stands in headers", async () => {
  const region = await newRegion();
  const response = await call(region, EVALUATION, { body: allowed });
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('{"decision":true}');
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(response.headers.get("interlock-decision-id")).toMatch(/^eu\.1\.s[0-3]\.1$/);
  expect(JSON.parse(response.headers.get("interlock-receipt")!)).toHaveProperty("signature");
  expect(response.headers.get("interlock-valid-until")).toBe(String(START_MS + 1_000));
  expect(response.headers.get("interlock-consistency")).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(response.headers.get("interlock-continuity")).toBe(
    "trust=fresh, orchestration=consistent, policy=current, cryptographic=signed, synchronization=not_built, replay=not_built",
  );
});

test("a deny is 200 and says why", async () => {
  const region = await newRegion();
  const plain = await call(region, EVALUATION, { body: denied });
  expect(plain.status).toBe(200);
  expect(await plain.json()).toEqual({ decision: false, context: { reason: "policy_denied" } });
  expect(plain.headers.get("interlock-valid-until")).toBeNull();
  const withReason = await call(region, EVALUATION, { body: { subject: alice, action: write, resource: record } });
  expect(await withReason.json()).toEqual({
    decision: false,
    context: { reason: "policy_denied", policy_reason: "records are read-only" },
  });
});

test("the shard gets one canonical request and an implicit run of this region", async () => {
  const region = await newRegion();
  await call(region, EVALUATION, {
    body: {
      resource: { id: "record-1", type: "record", extra: 1 },
      subject: { properties: { b: [1, 2.5, -0], a: null, é: { z: null } }, id: "alice", type: "user" },
      action: read,
      context: { interlock: { deadline_ms: 700 }, ip: "192.0.2.1", n: null },
      future: {},
    },
    headers: { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
  });
  const message = region.shards.flatMap((shard) => shard.calls)[0]!;
  expect(message.items[0]!.request).toBe(
    '{"action":{"name":"read"},"context":{"ip":"192.0.2.1"},"resource":{"id":"record-1","type":"record"},"subject":{"id":"alice","properties":{"b":[1,2.5,0],"é":{}},"type":"user"},"v":1}',
  );
  expect(message.items[0]!.run).toMatch(/^eu\.1\.[A-Za-z0-9_-]{22}$/);
  expect(message.implicit_run).toBe(message.items[0]!.run);
  expect(message.deadline_ms).toBe(700);
  expect(message.traceparent).toBe("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  expect(JSON.parse(message.facts)).toMatchObject({ v: 1, keys: ["eu.1.authority.1"], pep: { id: "gateway" } });
});

test("a member called __proto__ is only a name", async () => {
  const region = await newRegion();
  const raw =
    '{"subject":{"type":"user","id":"alice","properties":{"__proto__":{"role":"admin"}}},"action":{"name":"read"},"resource":{"type":"record","id":"1"},"__proto__":{"context":{"interlock":{"run":"x"}}}}';
  const response = await call(region, EVALUATION, { raw });
  expect(response.status).toBe(200);
  const message = region.shards.flatMap((shard) => shard.calls)[0]!;
  expect(message.items[0]!.request).toContain('"properties":{"__proto__":{"role":"admin"}}');
  expect(Object.hasOwn(Object.prototype, "role")).toBe(false);
});

test("an idempotency key finds the same shard and the same answer again; another request is a conflict", async () => {
  const region = await newRegion({ shards: 8 });
  const ask = (subject: object) =>
    call(region, EVALUATION, { body: { ...allowed, subject, context: { interlock: { idempotency_key: "k-1" } } } });
  const first = await ask(alice);
  const again = await ask(alice);
  expect(again.headers.get("interlock-decision-id")).toBe(first.headers.get("interlock-decision-id"));
  const other = await ask(bob);
  expect(other.status).toBe(409);
  expect(other.headers.get("content-type")).toContain("text/plain");
});

test("explain and inline evidence are in the body, because they were asked for", async () => {
  const region = await newRegion();
  const interlock = { explain: true, evidence: "inline" };
  const response = await call(region, EVALUATION, { body: { ...allowed, context: { interlock } } });
  const id = response.headers.get("interlock-decision-id");
  expect(await response.json()).toEqual({
    decision: true,
    context: {
      failed: [],
      determining: [{ policy: "test/p0", reason: null }],
      evidence: { decision_id: `${id}/0`, leaf: "AQ", path: ["AA"] },
      receipt: expect.objectContaining({ payload: "cGF5bG9hZA" }),
    },
  });
});

test("a counterfactual is asked for by name, and shown with what explains the denial", async () => {
  const asked: unknown[] = [];
  const counterfactual = { changes: [], facts: 0, minimal: true, decisions: 2, probes: 0 } as const;
  const explained = {
    failed: [],
    determining: [],
    errors: [],
    unmatched: [],
    not_evaluated: ["policy_error"],
  } as const;
  const region = await newRegion({
    wrapShard: (shard) => ({
      ...bind(shard),
      decide: async (message) => {
        asked.push(message.explain, message.counterfactual);
        const answer = await shard.decide(message);
        return answer.ok
          ? { ...answer, items: answer.items.map((item) => ({ ...item, explained, counterfactual })) }
          : answer;
      },
    }),
  });
  const denied = { ...allowed, subject: bob };
  for (const explain of ["counterfactual", true, "why"])
    await call(region, EVALUATION, { body: { ...denied, context: { interlock: { explain } } } });
  expect(asked).toEqual([true, true, true, undefined]);
  const response = await call(region, EVALUATION, {
    body: { ...denied, context: { interlock: { explain: "counterfactual" } } },
  });
  expect(await response.json()).toEqual({
    decision: false,
    context: { reason: "policy_denied", failed: [], determining: [], not_evaluated: ["policy_error"], counterfactual },
  });
});

test("a dry run has no id and no receipt", async () => {
  const region = await newRegion();
  const response = await call(region, EVALUATION, { body: { ...allowed, context: { interlock: { dry_run: true } } } });
  expect(await response.json()).toEqual({ decision: true, context: { dry_run: true } });
  expect(response.headers.has("interlock-decision-id")).toBe(false);
  expect(response.headers.has("interlock-receipt")).toBe(false);
  expect(response.headers.has("interlock-valid-until")).toBe(false);
});

test("an allow whose time ran out on the way is withheld; a dry run allows nothing anyway", async () => {
  const region = await newRegion({
    wrapShard: (shard) => ({
      ...bind(shard),
      decide: async (message) => {
        const answer = await shard.decide(message);
        region.clock.now_ms += 1_000;
        return answer;
      },
    }),
  });
  const late = await call(region, EVALUATION, { body: allowed });
  expect(await late.json()).toEqual({ decision: false, context: { reason: "withheld" } });
  expect(late.headers.has("interlock-valid-until")).toBe(false);
  expect(late.headers.has("interlock-receipt")).toBe(false);
  expect(JSON.parse(region.lines[0]!)).toMatchObject({ outcome: "deny", reason: "withheld" });
  const dry = await call(region, EVALUATION, { body: { ...allowed, context: { interlock: { dry_run: true } } } });
  expect(await dry.json()).toEqual({ decision: true, context: { dry_run: true } });
});

test.each(["us.1.AAAAAAAAAAAAAAAAAAAAAA", "no-run", "eu.1.short"])(
  "run %s is unknown and asks no shard",
  async (run) => {
    const region = await newRegion();
    const response = await call(region, EVALUATION, { body: { ...allowed, context: { interlock: { run } } } });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ decision: false, context: { reason: "run_unknown" } });
    expect(region.shards.every((shard) => shard.calls.length === 0)).toBe(true);
  },
);

test("a request id comes back, on errors too, and nothing is guessed or stored; one that is not visible ASCII or too long does not", async () => {
  const region = await newRegion();
  const ids = { ok: "bfe9eb29-ab87", long: "x".repeat(129), space: "a b" };
  const inline = { interlock: { evidence: "inline" } };
  const answers = [
    await call(region, EVALUATION, { body: allowed, headers: { "X-Request-ID": ids.ok } }),
    await call(region, EVALUATION, { body: {}, headers: { "X-Request-ID": ids.ok } }),
    await call(region, EVALUATION, { body: allowed, token: null, headers: { "X-Request-ID": ids.ok } }),
    await call(region, "/nowhere", { headers: { "X-Request-ID": ids.ok } }),
    await call(region, EVALUATION, { headers: { "X-Request-ID": ids.ok } }),
    await call(region, "/health", { headers: { "X-Request-ID": ids.ok } }),
    await call(region, EVALUATION, { body: denied, headers: { "X-Request-ID": ids.ok } }),
    ...(await Promise.all(
      [{ evaluations: [{}, {}] }, { evaluations: [{}], context: inline }, { evaluations: [{}], options: [] }].map(
        (asked) =>
          call(region, `${EVALUATION}s`, { body: { ...allowed, ...asked }, headers: { "X-Request-ID": ids.ok } }),
      ),
    )),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 400, 401, 404, 405, 200, 200, 200, 200, 400]);
  for (const [name, value] of [
    ["x-request-id", ids.ok],
    ["x-content-type-options", "nosniff"],
    ["cache-control", "no-store"],
  ] as const)
    expect(answers.map(({ headers }) => headers.get(name))).toEqual(answers.map(() => value));
  for (const id of [ids.long, ids.space]) {
    const response = await call(region, EVALUATION, { body: allowed, headers: { "X-Request-ID": id } });
    expect(response.headers.get("x-request-id")).toBeNull();
  }
});

test("one log line for each decision, without personal data", async () => {
  const region = await newRegion();
  const body = { ...denied, subject: { type: "user", id: "secret-person" }, context: { ip: "192.0.2.77" } };
  await call(region, EVALUATION, { body, headers: { "X-Request-ID": "r-1" } });
  expect(region.lines).toHaveLength(1);
  expect(JSON.parse(region.lines[0]!)).toMatchObject({
    event: "decision",
    outcome: "deny",
    reason: "policy_denied",
    pep: "gateway",
    request_id: "r-1",
    region: "eu",
  });
  expect(region.lines[0]).not.toMatch(/secret-person|record-1|192\.0\.2\.77/);
});
