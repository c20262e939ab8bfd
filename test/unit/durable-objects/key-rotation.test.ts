import { CompactSign, decodeProtectedHeader, importJWK, type JWK } from "jose";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { eventOf } from "../../../durable-objects/authority/sync-messages.ts";
import type { KeysView } from "../../../src/objects/keys.ts";
import { eventClaims } from "../../../src/trust/event-chain.ts";
import { mergeMembers } from "../../../tools/region/next-membership.ts";
import type { MemberRegion } from "../../../tools/region/membership.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** The authority's key changes while the region runs, between authorities in Node (docs/operations/rotate-keys.md). */
const F1 = newSecret("f1");
const K1 = "eu.1.authority.1";
const K2 = "eu.1.authority.2";
const key = (n: number | string): string => `subject:user/u${n}`;

let federation: TestFederation;
const eu = (): TestAuthority => federation.of("eu");
const us = (): TestAuthority => federation.of("us");

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 15_000; Date.now() < end;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not in time: ${what}`);
}
const freshOf = (region: TestAuthority, other: string): Promise<void> =>
  until(async () => (await region.fresh()).includes(other), `${region.name} is fresh of ${other}`);

/** us has heard that eu revoked it. */
const hears = (what: number | string, region = us()): Promise<void> =>
  until(async () => {
    await region.fresh();
    return region.denies(key(what)).join() === "eu";
  }, `${region.name} denies ${what}`);

const held = (): number => us().authority.sync.state.peers["eu"]!.record.mark.seq;
const view = (): KeysView => eu().authority.rotation.view();
const next = (idempotency_key?: string) =>
  eu().authority.rotation.next({
    reason: "yearly",
    actor: "test",
    ...(idempotency_key === undefined ? {} : { idempotency_key }),
  });
const change = (force?: true) =>
  eu().authority.rotation.switch({ reason: "now", actor: "test", ...(force === undefined ? {} : { force }) });

/** The roots sign what eu shows, as `region sign-membership --before` has it. */
async function enrol(
  to?: readonly string[],
  also: (eu: MemberRegion) => MemberRegion = (member) => member,
): Promise<void> {
  const members = mergeMembers(federation.members, [await eu().member()]);
  federation.members = members.map((member) => (member.region === "eu" ? also(member) : member));
  await federation.sign(to);
}
const valid = (kid: string, said: object) => (member: MemberRegion) => ({
  ...member,
  key_validity: [...(member.key_validity ?? []).filter((one) => one.kid !== kid), { kid, ...said }],
});

/** eu's events as `seq reason kid`, from `from` on. */
const events = (from = 1): readonly string[] =>
  eu()
    .authority.store.sets(eu().authority.sync.state.own.mark.incarnation, from, 1_000)
    .map((set) => {
      const event = eventOf(set)!;
      return `${event.seq} ${event.reason_code} ${decodeProtectedHeader(set).kid!.slice(-1)}`;
    });
const pep = async (id: string): Promise<string> => {
  const made = await eu().authority.peps.register({ id, scopes: ["evaluate"], ttl_s: 3_600, actor: "test" });
  if (!made.ok) throw new Error(made.message);
  return decodeProtectedHeader(made.value.credential).kid!;
};
const material = (): readonly string[] =>
  eu()
    .authority.keys.material()
    .keys.flatMap(({ use, jwk }) => (use === "pep" ? [jwk.kid] : []));

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  federation = await TestFederation.start(["eu", "us"], [F1]);
  await freshOf(us(), "eu");
  await freshOf(eu(), "us");
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

describe("a rotation", () => {
  test("goes through its steps: next, listed, in use, closed; and nobody loses anything", async () => {
    const old = (JSON.parse(eu().authority.store.meta("signing_jwk")!) as { d: string }).d;
    expect(old).toMatch(/^[A-Za-z0-9_-]{43}$/);
    await eu().revoke(key("before"));
    expect(await pep("old")).toBe(K1);
    expect(await next()).toMatchObject({
      ok: true,
      value: { next: { kid: K2, membership: "unlisted" }, waits_for: "membership" },
    });
    // Nothing is signed with it yet; it is in the region's JWKS.
    await eu().revoke(key("waiting"));
    expect(events().at(-1)).toMatch(/ admin 1$/);
    expect(
      eu()
        .authority.keys.all()
        .map(({ kid }) => kid),
    ).toContain(K2);
    await enrol();
    await until(() => view().current.kid === K2, "the switch");
    await until(() => events().at(-1)!.includes("in_use"), "said");
    const [last, first] = events().slice(-2);
    expect([last, first]).toEqual([expect.stringMatching(/ rotated 1$/), expect.stringMatching(/ in_use 2$/)]);
    expect(view()).toMatchObject({ next: null, past: [{ kid: K1, membership: "listed", until_seq: view().seq - 1 }] });
    await eu().revoke(key("after"));
    await freshOf(us(), "eu");
    for (const one of ["before", "waiting", "after"]) await hears(one);
    // The old private half is gone, its credentials live on.
    expect(JSON.stringify(eu().rows("SELECT * FROM meta"))).not.toContain(old);
    expect(await pep("new")).toBe(K2);
    expect(material()).toEqual([K1, K2]);
    expect(
      eu()
        .authority.peps.list()
        .map(({ status }) => status),
    ).toEqual(["active", "active"]);
    // Enrolling once more closes the old one after its last event.
    await enrol();
    expect(view().past).toMatchObject([{ kid: K1, membership: "closed" }]);
    expect(federation.members.find(({ region }) => region === "eu")!.key_validity).toEqual([
      { kid: K1, until_seq: view().past[0]!.until_seq },
      { kid: K2, from_seq: view().past[0]!.until_seq + 1 },
    ]);
    await eu().revoke(key("closed"));
    await freshOf(us(), "eu");
    await hears("closed");
    expect(material()).toEqual([K1, K2]);
    // Who joins now verifies the whole chain under both keys.
    const ap = await federation.add("ap", [F1]);
    federation.members = [...federation.members, await ap.member()];
    await federation.sign();
    await freshOf(ap, "eu");
    for (const one of ["before", "waiting", "after", "closed"]) await hears(one, ap);
  });

  test("in the wrong order is refused, and says what is missing", async () => {
    expect(await change()).toMatchObject({
      ok: false,
      code: "wrong_order",
      message: expect.stringContaining("keys next"),
    });
    await next();
    expect(await change()).toMatchObject({
      ok: false,
      code: "wrong_order",
      message: expect.stringContaining("does not list"),
    });
    expect(await change(true)).toMatchObject({ ok: false, code: "wrong_order" });
    // The key in use may not be closed where there is no other.
    const { members } = federation;
    federation.members = members.map((one) => (one.region === "eu" ? valid(K1, { until_seq: 1 })(one) : one));
    await expect(federation.sign(["eu"])).rejects.toThrow(/closes eu.1.authority.1, which is in use/);
    federation.members = members;
    // Nor may it start later than the next event.
    await enrol(undefined, valid(K2, { from_seq: 1_000 }));
    expect(await change()).toMatchObject({
      ok: false,
      code: "wrong_order",
      message: expect.stringContaining("from event 1000"),
    });
    expect(view().current.kid).toBe(K1);
    for (const member of federation.members) delete member.key_validity;
    await enrol();
    await until(() => view().current.kid === K2, "the switch");
    // The old one may not be closed below what others hold of it.
    await expect(enrol(["eu"], valid(K1, { until_seq: 1 }))).rejects.toThrow(/it signed up to/);
  });

  test("waits for a peer that lacks the membership, unless it is forced", async () => {
    await next();
    federation.cut.add("eu").add("us");
    await enrol(["eu"]);
    expect(await change()).toMatchObject({ ok: false, code: "peers_behind", message: expect.stringMatching(/^us: /) });
    expect(view()).toMatchObject({ current: { kid: K1 }, waits_for: "peers", behind: ["us"] });
    expect(await change(true)).toMatchObject({ ok: true, value: { current: { kid: K2 } } });
    await eu().revoke(key("cut"));
    federation.cut.clear();
    // It has to fetch the membership before it believes the new key; then nothing is missing.
    await freshOf(us(), "eu");
    await hears("cut");
    expect(us().authority.sync.state.view.version).toBe(federation.version);
  }, 30_000);

  test("goes by itself when a peer that lacked the membership fetches it", async () => {
    const refused = (): number => us().authority.sync.state.counters.bad_signature;
    const before = refused();
    await next();
    await enrol(["eu"]);
    await until(() => view().current.kid === K2, "the switch");
    await eu().revoke(key("new"));
    await hears("new");
    expect(refused()).toBe(before);
  });

  test("makes one next key, and under an idempotency key no second one after the switch", async () => {
    await Promise.all([next("a"), next()]);
    await next();
    await enrol();
    await until(() => view().current.kid === K2, "the switch");
    expect(await next("a")).toMatchObject({ ok: true, value: { next: null } });
    const other = await eu().authority.rotation.next({ reason: "another", actor: "test", idempotency_key: "a" });
    expect(other).toMatchObject({ ok: false, code: "idempotency_conflict" });
    expect(await next("b")).toMatchObject({ ok: true, value: { next: { kid: "eu.1.authority.3" } } });
  });

  test("goes on after a crash at any point, and gives every number once", async () => {
    let crashes = 0;
    for (let ahead = 4; ahead <= 260; ahead += 8) {
      federation.stop();
      federation = await TestFederation.start(["eu", "us"], [F1]);
      await freshOf(us(), "eu");
      await freshOf(eu(), "us");
      eu().storage.crashAt(eu().storage.calls + ahead, "kept");
      const rotate = async (): Promise<void> => {
        await next("once");
        await enrol(["eu"]);
        await change();
      };
      await Promise.race([
        rotate().catch(() => undefined),
        until(() => eu().storage.dead, "the crash").catch(() => undefined),
      ]);
      if (eu().storage.dead) crashes++;
      await eu().restart([F1]);
      await next("once");
      if (view().current.kid === K1) {
        await enrol();
        await until(() => view().current.kid === K2, `the switch, after a crash at ${ahead}`);
      }
      await until(() => eu().rows("SELECT value FROM meta WHERE key = 'key_unsaid'").length === 0, "said");
      await eu().revoke(key(ahead));
      await freshOf(us(), "eu");
      await hears(ahead);
      const reasons = events().map((event) => event.split(" ").slice(1).join(" "));
      expect(reasons.filter((one) => /next_key|rotated|in_use/.test(one))).toEqual([
        "next_key 1",
        "rotated 1",
        "in_use 2",
      ]);
    }
    expect(crashes).toBeGreaterThan(15);
  }, 120_000);
});

describe("a key in other hands", () => {
  test("is distrusted and replaced in one step: what the region signed behind is signed anew", async () => {
    await pep("old");
    federation.cut.add("us").add("eu");
    const { seq } = view();
    // Nobody else has these yet.
    await eu().revoke(key("late"));
    await next();
    await enrol(undefined, valid(K1, { distrust_after: seq }));
    await until(() => view().current.kid === K2 && events().at(-1)!.includes("in_use 2"), "the replacement");
    expect(events(seq + 1).every((event) => event.endsWith(" 2"))).toBe(true);
    federation.cut.clear();
    await freshOf(us(), "eu");
    await hears("late");
    // What the leaked key signed opens nothing any more.
    expect(material()).toEqual([K2]);
    expect(eu().authority.peps.status("old")).toMatchObject({ status: "revoked" });
    expect(await pep("new")).toBe(K2);
    expect(eu().authority.peps.status("new")).toMatchObject({ status: "active" });
    // Signing anew is done once, and a start changes nothing.
    const before = eu().rows("SELECT set_jws FROM event");
    await eu().restart([F1]);
    await freshOf(us(), "eu");
    expect(eu().rows("SELECT set_jws FROM event").slice(0, before.length)).toEqual(before);
  }, 30_000);

  test("is replaced in one step while the others listen, and what it signs from then on counts nowhere", async () => {
    const leaked = JSON.parse(eu().authority.store.meta("signing_jwk")!) as JWK;
    await next();
    const { seq } = view();
    await until(async () => {
      await us().fresh();
      return held() === seq;
    }, "us has what eu signed");
    await enrol(undefined, valid(K1, { distrust_after: seq }));
    await until(() => view().current.kid === K2 && events().at(-1)!.includes("in_use 2"), "the replacement");
    expect(events(seq + 1)[0]).toMatch(/ membership 2$/);
    await eu().revoke(key("own"));
    await hears("own");
    expect(us().authority.sync.state.peers["eu"]!.record.poison).toBeNull();
    // Who has the old key goes on with it, at the next number.
    const mark = us().authority.sync.state.peers["eu"]!.record.mark;
    const forged = { ...eventOf(eu().authority.store.sets(1, mark.seq, 1)[0]!)!, seq: mark.seq + 1, prev: mark.hash };
    const sign = async (typ: string, payload: object): Promise<string> =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: "Ed25519", kid: K1, typ })
        .sign(await importJWK(leaked, "Ed25519"));
    const set = await sign("secevent+jwt", eventClaims(forged, eu().region.pdp));
    const envelope = { v: 1, iss: "eu", aud: "us" };
    await us().authority.links.takePush(await sign("interlock-sync-push+jws", { ...envelope, events: [set] }));
    const asked = {
      ...envelope,
      nonce: "n".repeat(22),
      membership: 1,
      have: mark,
      applied: mark,
      seen: {},
      named: null,
    };
    expect(await us().authority.links.answerPull(await sign("interlock-sync-pull+jws", asked))).toEqual({
      status: 403,
      body: "unknown_key",
    });
    await freshOf(us(), "eu");
    expect(held()).toBe(mark.seq);
    expect(us().authority.sync.state.peers["eu"]!.record.poison).toBeNull();
  }, 30_000);

  test("that others hold more of: they deny until the roots raise the incarnation, and the region goes on", async () => {
    await next();
    await eu().revoke(key("held"));
    await hears("held");
    const { seq } = view();
    await enrol(undefined, valid(K1, { distrust_after: seq - 1 }));
    expect(us().authority.sync.state.peers["eu"]!.record.poison).toMatchObject({ reason: "distrusted" });
    await until(() => view().current.kid === K2, "the replacement");
    expect(await us().fresh()).toEqual([]);
    await hears("held");
    // The new incarnation has no event of the old key, so the roots list it no more.
    const dropped = (member: MemberRegion): MemberRegion => {
      const keys = member.keys.filter(({ kid }) => kid !== K1);
      return { ...member, incarnation: 2, keys, key_validity: [] };
    };
    await enrol(undefined, dropped);
    await freshOf(us(), "eu");
    await eu().revoke(key("again"));
    await freshOf(us(), "eu");
    await hears("again");
    await hears("held");
    // It is not shown again either.
    expect((await eu().member()).keys.map(({ kid }) => kid)).not.toContain(K1);
  }, 30_000);

  test("without another key leaves the region denied everywhere, and the next membership gives it one", async () => {
    const { seq } = view();
    await enrol(undefined, valid(K1, { distrust_after: seq + 1 }));
    await until(async () => !(await us().fresh()).includes("eu"), "us denies what rests on eu");
    await next();
    await enrol();
    await until(() => view().current.kid === K2, "the replacement");
    await freshOf(us(), "eu");
    expect(events().filter((event) => event.endsWith(" 2")).length).toBeGreaterThan(0);
  }, 30_000);
});

test("the next key never takes a name that the roots know for another", async () => {
  // Storage was put back to before a key was made that the membership lists already.
  federation.members = federation.members.map((member) =>
    member.region === "eu"
      ? { ...member, keys: [...member.keys, { ...us().authority.keys.own.publicJwk, kid: K2 }] }
      : member,
  );
  await federation.sign();
  expect(await next()).toMatchObject({
    ok: true,
    value: { next: { kid: "eu.1.authority.3", membership: "unlisted" } },
  });
});
