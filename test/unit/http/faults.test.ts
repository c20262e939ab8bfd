import { expect, test } from "vitest";
import type { ShardRpc } from "../../../src/objects/shard.ts";
import { alice, allowed, call, newRegion, newSigner, pepClaims, pepKeyOf, sign, jsonOf } from "./region.ts";

const EVALUATION = "/access/v1/evaluation";
const reasonOf = async (response: Response): Promise<unknown> => {
  expect(response.status).toBe(200);
  const body = await jsonOf<{ decision: boolean; context: { reason: string } }>(response);
  expect(body.decision).toBe(false);
  return body.context.reason;
};

const failing = (decide: ShardRpc["decide"]) => (shard: ShardRpc) =>
  new Proxy(shard, { get: (target, name) => (name === "decide" ? decide : Reflect.get(target, name).bind(target)) });

test("a shard that throws is a deny, and the next request uses a new stub", async () => {
  let stubs = 0;
  const region = await newRegion({
    wrapShard: (shard) =>
      stubs++ === 0 ? failing(() => Promise.reject(new Error("broken /secret/path")))(shard) : shard,
  });
  const first = await call(region, EVALUATION, { body: allowed });
  expect(await reasonOf(first)).toBe("lineage_unavailable");
  expect(first.headers.has("interlock-receipt")).toBe(false);
  expect(await (await call(region, EVALUATION, { body: allowed })).json()).toEqual({ decision: true });
  expect(stubs).toBe(2);
  expect(region.lines.some((line) => line.includes('"event":"fault"'))).toBe(true);
});

test("a stub that throws synchronously is a deny too", async () => {
  const region = await newRegion({
    wrapShard: failing(() => {
      throw new TypeError("no such method");
    }),
  });
  expect(await reasonOf(await call(region, EVALUATION, { body: allowed }))).toBe("lineage_unavailable");
});

test("an overloaded object is not asked again", async () => {
  let asked = 0;
  const region = await newRegion({
    wrapShard: failing(() => {
      asked++;
      return Promise.reject(Object.assign(new Error("queue is full"), { overloaded: true }));
    }),
  });
  expect(await reasonOf(await call(region, EVALUATION, { body: allowed }))).toBe("overloaded");
  expect(asked).toBe(1);
});

test("a shard that hangs is a deny at the deadline", async () => {
  const region = await newRegion({ wrapShard: failing(() => new Promise(() => undefined)) });
  const body = { ...allowed, context: { interlock: { deadline_ms: 20 } } };
  expect(await reasonOf(await call(region, EVALUATION, { body }))).toBe("deadline");
});

test.each(["wrong_region", "unsupported_version"] as const)("refusal %s is an internal deny", async (code) => {
  const region = await newRegion({ wrapShard: failing(async () => ({ ok: false, code })) });
  expect(await reasonOf(await call(region, EVALUATION, { body: allowed }))).toBe("internal");
});

test("an answer without items is no allow", async () => {
  const region = await newRegion({
    wrapShard: (shard) =>
      failing(async (message) => {
        const answer = await shard.decide(message);
        return answer.ok ? { ...answer, items: [] } : answer;
      })(shard),
  });
  expect(await reasonOf(await call(region, EVALUATION, { body: allowed }))).toBe("internal");
});

test("stale facts: new material, the credential verified again, once", async () => {
  const region = await newRegion();
  await call(region, EVALUATION, { body: allowed });
  expect(region.authority.materials).toBe(1);
  const another = await newSigner("eu.1.authority.2");
  region.authority.keys = [pepKeyOf(region.signer), pepKeyOf(another)];
  expect(await (await call(region, EVALUATION, { body: allowed })).json()).toEqual({ decision: true });
  expect(region.authority.materials).toBe(2);
  await call(region, EVALUATION, { body: allowed });
  expect(region.authority.materials).toBe(2);
});

test("material that turns twice during one request is fetched twice", async () => {
  const region = await newRegion();
  const key = pepKeyOf(region.signer);
  const keys = [[key, pepKeyOf(await newSigner("eu.1.authority.2"))], [key]];
  const homes = new Map<number, string>();
  while (homes.size < 2) {
    const { run } = await jsonOf<{ run: string }>(await call(region, "/runs/v1/runs", { body: { principal: alice } }));
    homes.set(
      region.shards.findIndex((shard) => shard.runs.has(run)),
      run,
    );
  }
  for (const shard of region.shards) {
    const decide = shard.decide.bind(shard);
    let first = true;
    shard.decide = (message) => {
      if (first) region.authority.keys = keys.shift()!;
      first = false;
      return decide(message);
    };
  }
  const before = region.authority.materials;
  const response = await call(region, "/access/v1/evaluations", {
    body: {
      ...allowed,
      options: { evaluations_semantic: "deny_on_first_deny" },
      evaluations: [...homes.values()].map((run) => ({ context: { interlock: { run } } })),
    },
  });
  expect(await response.json()).toEqual({ evaluations: [{ decision: true }, { decision: true }] });
  expect(region.authority.materials).toBe(before + 2);
});

test("stale facts of a credential whose key is gone: 401", async () => {
  const region = await newRegion();
  await call(region, EVALUATION, { body: allowed });
  region.authority.keys = [pepKeyOf(await newSigner("eu.1.authority.2"))];
  const response = await call(region, EVALUATION, { body: allowed });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toContain('error="invalid_token"');
});

test("facts that stay stale are an internal deny after one retry", async () => {
  let asked = 0;
  const region = await newRegion({
    wrapShard: failing(async () => {
      asked++;
      return { ok: false, code: "stale_facts" };
    }),
  });
  expect(await reasonOf(await call(region, EVALUATION, { body: allowed }))).toBe("internal");
  expect(asked).toBe(2);
});

test("without key material nobody can be authenticated: 503, not an allow", async () => {
  const region = await newRegion();
  region.authority.material = () => Promise.reject(new Error("unreachable"));
  const response = await call(region, EVALUATION, { body: allowed });
  expect(response.status).toBe(503);
  expect(response.headers.get("retry-after")).toBe("1");
  expect(await response.text()).not.toContain("unreachable");
});

test("an unknown kid fetches material at most once a second", async () => {
  const region = await newRegion();
  const stranger = await newSigner("eu.1.authority.9");
  const token = await sign(stranger, pepClaims());
  for (let i = 0; i < 5; i++) expect((await call(region, EVALUATION, { body: allowed, token })).status).toBe(401);
  expect(region.authority.materials).toBe(1);
  region.clock.now_ms += 1_000;
  for (let i = 0; i < 5; i++) await call(region, EVALUATION, { body: allowed, token });
  expect(region.authority.materials).toBe(2);
  // Registered meanwhile: the next look finds it.
  region.authority.keys = [pepKeyOf(region.signer), pepKeyOf(stranger)];
  region.clock.now_ms += 1_000;
  expect((await call(region, EVALUATION, { body: allowed, token })).status).toBe(200);
});

test("--open answers those who send no credential, and still refuses a bad one", async () => {
  const region = await newRegion({ open: true });
  expect(await (await call(region, EVALUATION, { body: allowed, token: null })).json()).toEqual({ decision: true });
  expect((await call(region, EVALUATION, { body: allowed, token: "a.b.c" })).status).toBe(401);
  expect((await call(region, "/runs/v1/runs", { body: { principal: allowed.subject }, token: null })).status).toBe(403);
  expect((await call(region, "/admin/v1/status", { token: null })).status).toBe(401);
  const facts = JSON.parse(region.shards.flatMap((shard) => shard.calls)[0]!.facts) as object;
  expect(facts).toMatchObject({ keys: [], thumbprints: [], pep: { id: "open", issuer: "open", credential: "open" } });
});

test("a bug in a handler is a 500 without a stack", async () => {
  const region = await newRegion({
    deps: (deps) => ({
      ...deps,
      homeOf: () => {
        throw new RangeError("secret detail");
      },
    }),
  });
  const response = await call(region, EVALUATION, { body: allowed });
  expect(response.status).toBe(500);
  expect(await response.text()).toBe("the region could not answer; nothing was allowed");
});
