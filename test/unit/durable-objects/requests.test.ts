import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RevocationView } from "../../../src/objects/revocations.ts";
import type { RequestView } from "../../../src/objects/requests.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** A key of another region is revoked here, and its home is asked for the same. */
const DOMAINS = { "*/eu-": "eu", "*/us-": "us", "*/ap-": "ap" };
const KEY = "subject:user/us-alice";
const secrets = [newSecret("s1")];
let federation: TestFederation;
let eu: TestAuthority;
let us: TestAuthority;
let ap: TestAuthority;

beforeEach(async () => {
  for (const method of ["error", "warn"] as const) vi.spyOn(console, method).mockImplementation(() => undefined);
  federation = await TestFederation.start(["eu", "us", "ap"], secrets);
  await federation.sign(undefined, { domains: DOMAINS });
  [eu, us, ap] = [federation.of("eu"), federation.of("us"), federation.of("ap")];
  for (const region of federation.regions.values()) await region.fresh();
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

async function revoke(region: TestAuthority, key: string, level?: "quarantined" | "trusted"): Promise<RevocationView> {
  const message = { key, from: "issue", reason: "INC-1 by ana", actor: "ana", wait: "local" } as const;
  const made = await region.authority.revocations.revoke({ ...message, ...(level === undefined ? {} : { level }) });
  if (!made.ok) throw new Error(made.message);
  return made.value;
}
const requestsOf = (region: TestAuthority, key: string | null = null): readonly RequestView[] =>
  region.authority.requests.list(0, 100, key).requests;
const accept = (id: string, key: string) =>
  us.authority.requests.accept({ id, key, reason: "confirmed by phone", actor: "uma", wait: "local" });
const becomes = (id: string, said: string): Promise<void> =>
  vi.waitFor(async () => {
    const read = await eu.authority.revocations.read(id, "local");
    expect(read).toMatchObject({ ok: true, value: { forwarded: { us: said } } });
  }, 6_000);
const claims = (jws: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(jws.split(".")[1]!, "base64url").toString()) as Record<string, unknown>;

describe("the home has no rule for it", () => {
  test("its administrator accepts, and then it counts everywhere; until then it counts where it was made", async () => {
    const made = await revoke(eu, KEY);
    expect(made).toMatchObject({ home: ["us"], binds: ["eu"], forwarded: { us: "pending" } });
    expect(made.status).toMatchObject({ us: "unconfirmed", ap: "unconfirmed" });
    expect(eu.denies(KEY)).toEqual(["eu"]);
    await us.fresh();
    expect(us.denies(KEY)).toEqual([]);
    const [request, ...others] = requestsOf(us);
    expect(others).toEqual([]);
    expect(request).toMatchObject({ from_region: "eu", kind: "subject", level: "revoked", state: "pending" });
    expect(request).toMatchObject({ matches: null, decided_by: null, revocation: null });
    // Which key it is has to be said, and is checked.
    expect(await accept(request!.id, "subject:user/us-bob")).toMatchObject({ ok: false, code: "conflict" });
    expect(requestsOf(us, "subject:user/us-bob")).toEqual([]);
    expect(requestsOf(us, KEY)).toMatchObject([{ id: request!.id, matches: KEY }]);
    expect(us.denies(KEY)).toEqual([]);
    expect(await accept(request!.id, KEY)).toMatchObject({
      ok: true,
      value: { request: { state: "accepted", decided_by: "uma" }, revocation: { home: ["us"], origin: "us" } },
    });
    expect(us.denies(KEY)).toEqual(["us"]);
    await vi.waitFor(async () => {
      await ap.fresh();
      expect(ap.denies(KEY)).toEqual(["us"]);
    }, 5_000);
    await becomes(made.id, "accepted");
    // By its own entry it knows now which key is meant.
    expect(requestsOf(us)).toMatchObject([{ matches: KEY, stands: "revoked" }]);
  });

  test("it refuses, or lifts what it had accepted, and the region that asked is told so", async () => {
    const first = await revoke(eu, KEY);
    const [request] = requestsOf(us);
    expect(us.authority.requests.refuse(request!.id, "is needed", "uma")).toMatchObject({ ok: true });
    expect(await accept(request!.id, KEY)).toMatchObject({ ok: false, code: "conflict" });
    await becomes(first.id, "refused");
    expect(eu.denies(KEY)).toEqual(["eu"]);

    const second = await revoke(eu, "subject:user/us-carl");
    const { id } = requestsOf(us, "subject:user/us-carl")[0]!;
    const accepted = await accept(id, "subject:user/us-carl");
    if (!accepted.ok) throw new Error(accepted.message);
    await us.restore(accepted.value.revocation.id);
    await becomes(second.id, "refused");
    expect(us.authority.requests.refuse(id, "late", "uma")).toMatchObject({ ok: false, code: "conflict" });
  });

  test("a lifted entry asks for nothing any more; what the home entered stays the home's", async () => {
    const made = await revoke(eu, KEY, "quarantined");
    const [request] = requestsOf(us);
    expect(request).toMatchObject({ level: "quarantined" });
    const again = await revoke(eu, KEY);
    expect(requestsOf(us).map(({ level }) => level)).toEqual(["quarantined", "revoked"]);
    await eu.restore(again.id);
    expect(await eu.authority.revocations.read(again.id, "local")).toMatchObject({ value: { forwarded: {} } });
    await vi.waitFor(async () => {
      await us.fresh();
      expect(requestsOf(us).map(({ stands }) => stands)).toEqual(["restored", "restored"]);
    }, 5_000);
    expect(made.forwarded).toEqual({ us: "pending" });
  });

  test("a home that cannot be reached is said to be so, and asked on; nothing is lost by a restart of either", async () => {
    federation.cut.add("us");
    const { id, forwarded } = await revoke(eu, KEY);
    expect(forwarded).toEqual({ us: "unreachable" });
    expect(eu.denies(KEY)).toEqual(["eu"]);
    await eu.restart(secrets);
    federation.cut.clear();
    await becomes(id, "pending");
    const [request] = requestsOf(us);
    await us.restart(secrets);
    await us.fresh();
    expect(requestsOf(us)).toMatchObject([{ id: request!.id, state: "pending" }]);
    // The same request, however often it was sent.
    expect(new Set(federation.requested.map((text) => claims(text)["id"])).size).toBe(1);
    await accept(request!.id, KEY);
    await becomes(id, "accepted");
  });
});

test("where membership lets the region revoke such keys its event counts, and nobody is asked", async () => {
  await federation.sign(undefined, { domains: DOMAINS, may_revoke: { eu: ["subject"] } });
  const made = await revoke(eu, KEY);
  expect(made).toMatchObject({ home: ["us"], forwarded: { us: "accepted" } });
  expect(made.binds).toContain("us");
  expect(federation.requested).toEqual([]);
  // Another kind of key is another matter.
  expect((await revoke(eu, "resource:record/us-1")).forwarded).toEqual({ us: "pending" });
});

test("nobody is asked about a key that is at home here, or everywhere", async () => {
  for (const key of ["subject:user/eu-alice", "subject:user/alice"])
    expect((await revoke(eu, key)).forwarded).toEqual({});
  expect((await revoke(eu, KEY, "trusted")).forwarded).toEqual({});
  expect(federation.requested).toEqual([]);
});

test("a key that the home knows by name is found by its pseudonym; no name crosses the border", async () => {
  const registered = await us.authority.peps.register({ id: "gateway", scopes: ["evaluate"], ttl_s: 60, actor: "uma" });
  expect(registered.ok).toBe(true);
  await revoke(eu, "pep:us/gateway");
  await revoke(eu, KEY);
  expect(requestsOf(us).map(({ matches }) => matches)).toEqual(["pep:us/gateway", null]);
  expect(federation.requested).toHaveLength(2);
  for (const text of federation.requested) {
    const said = claims(text);
    expect(Object.keys(said).sort().join()).toBe("asked_at_ms,aud,from,id,iss,key,kind,level,nonce,v");
    expect(JSON.stringify(said)).not.toMatch(/alice|gateway|ana|INC/);
  }
});

describe("what comes to /sync/v1/request", () => {
  const send = (to: TestAuthority, text: string) =>
    to.authority.links.answerRequest(text, (from, body) => to.authority.requests.take(from, body));

  test("a request for another region, changed, or of another kind is none; sent again it is the same", async () => {
    await revoke(eu, KEY);
    const text = federation.requested[0]!;
    const [head, body, signature] = text.split(".") as [string, string, string];
    const changed = Buffer.from(JSON.stringify({ ...claims(text), level: "degraded" })).toString("base64url");
    for (const bad of [`${head}.${changed}.${signature}`, `${head}.${body}.`, "", "x", text.slice(0, -2)])
      expect(await send(us, bad)).toMatchObject({ status: 400 });
    expect(await send(ap, text)).toMatchObject({ status: 400 });
    expect((await us.authority.links.takePush(text)).status).toBe(400);
    expect((await us.authority.links.answerPull(text)).status).toBe(400);
    expect(await send(us, text)).toMatchObject({ status: 200 });
    expect(requestsOf(us)).toHaveLength(1);
    expect(requestsOf(ap)).toEqual([]);
  });

  test("a region that was removed asks nothing", async () => {
    await revoke(eu, KEY);
    const text = federation.requested[0]!;
    const members = federation.members;
    federation.members = members.map((one) => (one.region === "eu" ? { ...one, state: "removed" as const } : one));
    await federation.sign(["us"], { domains: DOMAINS });
    expect(await send(us, text)).toEqual({ status: 403, body: "not_served" });
  });

  test("one region fills its own list only", async () => {
    const body = { level: "revoked", from: "issue", kind: "subject", asked_at_ms: 1, nonce: "n", v: 1 } as const;
    const { requests } = us.authority;
    const key = "s1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (let i = 0; i < 1_000; i++) requests.take("eu", { ...body, iss: "eu", aud: "us", id: `flood-${i}`, key });
    expect(requests.take("eu", { ...body, iss: "eu", aud: "us", id: "one-more", key })).toBeNull();
    expect(requests.take("eu", { ...body, iss: "eu", aud: "us", id: "flood-7", key })).toBe("pending");
    expect(requests.take("ap", { ...body, iss: "ap", aud: "us", id: "one-more", key })).toBe("pending");
    expect((await revoke(eu, KEY)).forwarded).toEqual({ us: "unreachable" });
  });
});
