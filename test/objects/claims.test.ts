import { beforeAll, expect, test } from "vitest";
import type { ClaimMessage } from "../../src/objects/shard.ts";
import { verifyCredentials } from "../../src/credentials/workload-facts.ts";
import { IdentitySources } from "../../src/credentials/sources/compile.ts";
import { activate, region, shard, trust } from "./region.ts";

/** What may be used once, inside workerd: rows, owners, and what is left after the object is gone. */
beforeAll(activate);

const use = (jti: string, life_ms = 60_000): ClaimMessage["uses"][number] => ({
  jkt: "k".repeat(43),
  jti,
  exp_ms: Date.now() + life_ms,
});
const claim = (owner: string, uses: ClaimMessage["uses"], attested: ClaimMessage["attested"] = []) =>
  shard().claim({ v: 1, uses, owner, attested });

test("the first owner has it, and has it again; nobody else does", async () => {
  const proof = use("a");
  expect(await claim("one", [proof])).toEqual({ ok: true, reused: [false], superseded: false });
  expect(await claim("one", [proof])).toMatchObject({ reused: [false] });
  expect(await claim("two", [proof, use("b")])).toMatchObject({ reused: [true, false] });
});

test("of many at once one has it", async () => {
  const proof = use("c");
  const answers = await Promise.all(Array.from({ length: 50 }, (_, at) => claim(`owner ${at}`, [proof])));
  expect(answers.filter((answer) => answer.ok && answer.reused[0] === false)).toHaveLength(1);
});

test("what is over is refused, also where nothing is remembered of it", async () => {
  expect(await claim("one", [use("d", -1)])).toMatchObject({ reused: [true] });
});

test("an older and better result does not count, a newer one by a nonce does", async () => {
  const now = Date.now();
  const says = (tier: "affirming" | "warning", iat_ms: number, by_nonce: boolean): ClaimMessage["attested"] => [
    { jkt: "j".repeat(43), verifier: "v", tier, iat_ms, by_nonce, exp_ms: now + 60_000 },
  ];
  const superseded = async (attested: ClaimMessage["attested"]): Promise<unknown> => {
    const answer = await claim("one", [], attested);
    return answer.ok && answer.superseded;
  };
  expect(await superseded(says("affirming", now - 3_000, false))).toBe(false);
  expect(await superseded(says("warning", now - 2_000, false))).toBe(false);
  expect(await superseded(says("affirming", now - 3_000, false))).toBe(true);
  expect(await superseded(says("affirming", now - 3_000, true))).toBe(true);
  expect(await superseded(says("affirming", now - 1_000, false))).toBe(true);
  expect(await superseded(says("affirming", now - 1_000, true))).toBe(false);
  expect(await superseded(says("affirming", now - 500, false))).toBe(false);
});

test("a request whose proof was used says nothing about its key", async () => {
  const proof = use("e");
  const now = Date.now();
  await claim("one", [proof]);
  const bad = { jkt: "i".repeat(43), verifier: "v", tier: "warning", iat_ms: now, by_nonce: true, exp_ms: now + 9_000 };
  expect(await claim("two", [proof], [{ ...bad, tier: "warning" }])).toMatchObject({ reused: [true] });
  expect(await claim("one", [], [{ ...bad, tier: "affirming", iat_ms: now - 1, by_nonce: false }])).toMatchObject({
    superseded: false,
  });
});

test("a version that nobody knows is not guessed at", async () => {
  expect(await shard().claim({ v: 2, uses: [], owner: "x", attested: [] } as unknown as ClaimMessage)).toEqual({
    ok: false,
    code: "unsupported_version",
  });
});

test("credentials are verified inside workerd, by the region's own material", async () => {
  const { identity } = await trust().material();
  const sources = new IdentitySources(identity, region.name);
  expect(identity.nonce_key).toMatch(/^[A-Za-z0-9_-]{43}$/);
  const towards = { audiences: [region.pdp], targets: [], legacy_wpt: false, allow_bearer: true };
  const verified = await verifyCredentials(
    { jwt_svid: "e30.e30.AA" },
    { sources, caller: null, towards, pdp: region.pdp },
    Date.now(),
  );
  expect(verified).toMatchObject({ identity: null, failed: [{ reason: "identity_invalid" }] });
});
