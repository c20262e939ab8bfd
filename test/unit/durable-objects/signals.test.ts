import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Authority } from "../../../durable-objects/authority/authority.ts";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { IntegrateMessage } from "../../../src/objects/log.ts";
import type { AcceptSignalAnswer } from "../../../src/objects/signals.ts";
import type { ApplyTrustMessage } from "../../../src/objects/shard.ts";
import { readRegion, type Region } from "../../../src/region/config.ts";
import { verifySet } from "../../../src/ssf/set.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { CAEP, claimsOf, ISSUER, RISC, SSF, Transmitter } from "../../support/ssf.ts";
import { sha } from "../lineage/build.ts";

/** The authority as receiver of Shared Signals, in Node: a real store, a transmitter, and a clock that the test sets. */
const REVOKED = `${CAEP}session-revoked`;
const RISK = `${CAEP}risk-level-change`;
const ENDPOINT = "https://idp.example/ssf/verify";
const LIVE = {
  stream_id: "stream-1",
  lease_s: 60,
  verification: { endpoint: ENDPOINT, every_s: 20, authorization: "Bearer t" },
};

let idp: Transmitter;
let region: Region;
beforeAll(async () => {
  idp = await Transmitter.make();
  const read = readRegion({
    INTERLOCK_REGION: "eu",
    INTERLOCK_PDP: "https://eu.pdp.example",
    INTERLOCK_LOG_EPOCH: "1",
    INTERLOCK_SHARDS: "1",
    INTERLOCK_PACKS: "sovereign",
  } as Parameters<typeof readRegion>[0]);
  if (!read.ok) throw new Error(read.error);
  region = read.value;
});

let storage: FakeStorage;
let authority: Authority;
let asked: {
  readonly url: string;
  readonly authorization: string | null;
  readonly stream_id: string;
  readonly state: string;
}[];
let answers: () => Response;

let logMark = 0;
const env = (): Env => {
  const namespace = (stub: object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
  return {
    REGION_LOG: namespace({
      // A log that forgot its mark over a restart would be a rewound one.
      integrate: async ({ from_sseq, hashes }: IntegrateMessage) => ({
        ok: true,
        mark: (logMark = Math.max(logMark, from_sseq + hashes.length / 32 - 1)),
      }),
    }),
    LINEAGE_SHARD: namespace({ applyTrust: async ({ revision }: ApplyTrustMessage) => ({ ok: true, revision }) }),
  } as unknown as Env;
};
const open = async (): Promise<void> => {
  authority = await Authority.open(storage.attach(), env(), region, (async (url: string, init: RequestInit) => {
    asked.push({
      url,
      authorization: new Headers(init.headers).get("authorization"),
      ...(JSON.parse(init.body as string) as { stream_id: string; state: string }),
    });
    return answers();
  }) as unknown as typeof fetch);
};

beforeEach(async () => {
  logMark = 0;
  // Timers never fire: those of a process that was killed would write to its storage.
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: 1_800_000_000_000 });
  // The log is not there while the process is dead.
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  storage = new FakeStorage();
  asked = [];
  answers = () => new Response(null, { status: 204 });
  await open();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const register = async (changes: object = {}) => {
  const registered = await authority.signals.register({ stream: idp.stream(changes), actor: "alice" });
  if (!registered.ok) throw new Error(registered.message);
  return registered.value;
};
/** What the Worker does with a SET that verifies. */
async function push(set: string, stream = "idp"): Promise<AcceptSignalAnswer> {
  const source = authority.signals.source(stream)!;
  const verified = await verifySet(set, source.stream, Date.now());
  if (!verified.ok) throw new Error(verified.error.description);
  const { jti, iat_ms, payload, signal } = verified.value;
  return authority.signals.accept({
    v: 1,
    stream,
    version: source.version,
    jti,
    iat_ms,
    payload: base64url(sha(utf8(payload))),
    signal,
  });
}
const verification = (state: string | undefined, claims: object = {}) =>
  idp.set(`${SSF}verification`, state === undefined ? {} : { state }, {
    sub_id: { format: "opaque", id: "stream-1" },
    ...claims,
  });
const updated = (status: string, claims: object = {}) =>
  idp.set(`${SSF}stream-updated`, { status }, { sub_id: { format: "opaque", id: "stream-1" }, ...claims });
const view = () => {
  const read = authority.signals.read("idp");
  if (!read.ok) throw new Error(read.message);
  return read.value;
};
const revoked = (key: string) => authority.revocations.any([key]);
/** What the region says of the key: revoked, or a level. */
const level = (key: string) => authority.revocations.ownState(key);
const denied = (key: string) => !["restored", "trusted"].includes(level(key));
const head = () => authority.store.head(1).seq;
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000);

describe("a SET that lowers", () => {
  test("is one signed trust event with its leaf, and revokes the subject", async () => {
    await register();
    const before = { head: head(), leaves: authority.store.leafHead(1).sseq };
    expect(await push(await idp.set(REVOKED, {}))).toEqual({ ok: true });
    expect(revoked("subject:user/alice")).toBe(true);
    expect(head()).toBe(before.head + 1);
    expect(authority.store.leafHead(1).sseq).toBe(before.leaves + 1);
    const made = authority.store.event(head())!;
    expect(made).toMatchObject({ actor: "ssf/idp", event: { kind: "revoke", reason_code: "ssf", from: "issue" } });
    expect(made.note).toContain("session-revoked");
    expect(made.note).not.toContain("alice");
    expect(view().source.received).toMatchObject({ accepted: 1, lowered: 1, refused: 0 });
  });

  test("changes nothing the second time, also after a restart and signed anew", async () => {
    await register();
    const claims = claimsOf(REVOKED, {});
    await push(await idp.sign(claims));
    const after = head();
    storage.kill("kept");
    storage.revive();
    await open();
    const made = authority.revocations.list(0, 10).revocations[0]!;
    await authority.revocations.restore(made.id, "cleared", "alice");
    const restored = head();
    expect(await push(await idp.sign(claims))).toEqual({ ok: true });
    expect(await push(await idp.sign(claims, { x: 1 }))).toEqual({ ok: true });
    expect(restored).toBe(after + 1);
    expect(head()).toBe(restored);
    expect(revoked("subject:user/alice")).toBe(false);
    expect(view().source.received).toMatchObject({ accepted: 1, repeated: 2 });
  });

  test("taken twice at once is one event", async () => {
    await register();
    const before = head();
    const set = await idp.set(REVOKED, {});
    expect(await Promise.all([push(set), push(set), push(set)])).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    expect(head()).toBe(before + 1);
  });

  test("under a jti that came with another payload is refused", async () => {
    await register();
    const claims = claimsOf(REVOKED, {});
    await push(await idp.sign(claims));
    const other = { ...claims, sub_id: { format: "iss_sub", iss: ISSUER, sub: "bob" } };
    expect(await push(await idp.sign(other))).toMatchObject({ ok: false, code: "refused", err: "invalid_request" });
    expect(revoked("subject:user/bob")).toBe(false);
    expect(view().source).toMatchObject({ state: "degraded", reasons: ["set_refused"] });
  });

  test("and is overtaken by a newer one changes nothing, unless it lowers further", async () => {
    await register();
    const now = Math.floor(Date.now() / 1_000);
    const risk = (level: string, at: number) =>
      idp.set(RISK, { principal: "USER", current_level: level, event_timestamp: at });
    await push(await risk("HIGH", now - 10));
    const made = authority.revocations.list(0, 10).revocations[0]!;
    await authority.revocations.restore(made.id, "attested again", "alice");
    const restored = head();
    await push(await risk("MEDIUM", now - 20));
    await push(await risk("LOW", now - 5));
    expect(head()).toBe(restored);
    expect(denied("subject:user/alice")).toBe(false);
    await push(await idp.set(REVOKED, { event_timestamp: now - 20 }));
    expect(revoked("subject:user/alice")).toBe(true);
  });

  test("falls to the level of the event, and never rises", async () => {
    await register();
    const risk = (current_level: string) => idp.set(RISK, { principal: "USER", current_level });
    await push(await risk("MEDIUM"));
    expect(level("subject:user/alice")).toBe("degraded");
    await push(await risk("HIGH"));
    expect(level("subject:user/alice")).toBe("quarantined");
    const quarantined = head();
    await push(await risk("MEDIUM"));
    expect(view().source.received.last!.notes).toEqual(["as low already"]);
    expect({ head: head(), level: level("subject:user/alice") }).toEqual({ head: quarantined, level: "quarantined" });
    await push(await idp.set(REVOKED, {}));
    await push(await risk("HIGH"));
    expect(level("subject:user/alice")).toBe("revoked");
    expect(view().source.received).toMatchObject({ accepted: 5, lowered: 3 });
  });

  test("for a compromise reaches what already rested on it", async () => {
    await register();
    await push(await idp.set(`${RISC}credential-compromise`, { credential_type: "password" }));
    expect(authority.revocations.list(0, 10).revocations[0]).toMatchObject({ from: "beginning" });
  });

  test.each(["kept", "lost"] as const)(
    "stands with all its events after the process was killed at any instant (%s) and the transmitter pushes again",
    async (how) => {
      const subjects = [
        { member: "session", format: "opaque", to: "session" },
        { member: "user", format: "iss_sub", to: "subject:user" },
      ];
      const session = { format: "opaque", id: "s-1" };
      const user = { format: "iss_sub", iss: ISSUER, sub: "alice" };
      const set = await idp.set(REVOKED, {}, { sub_id: { format: "complex", session, user } });
      await register({ subjects });
      const calls = storage.calls;
      await push(set);
      const used = storage.calls - calls;
      expect(used).toBeGreaterThan(20);
      for (let at = 1; at <= used; at++) {
        storage = new FakeStorage();
        await open();
        await register({ subjects });
        await storage.attach().sync();
        storage.crashAt(storage.calls + at, how);
        await push(set).catch(() => undefined);
        storage.revive();
        await open();
        expect(await push(set)).toEqual({ ok: true });
        const keys = authority.revocations.list(0, 10).revocations.map(({ key, state }) => `${key} ${state}`);
        expect({ at, keys }).toEqual({ at, keys: [`session:${ISSUER}#s-1 revoked`, "subject:user/alice revoked"] });
        expect(view().source.received.accepted).toBe(1);
      }
    },
  );
});

describe("a SET that says nothing deny-ward", () => {
  test("is stored and changes no trust; what another lowered stays", async () => {
    await register();
    await push(await idp.set(`${RISC}account-disabled`, {}));
    const before = head();
    await push(await idp.set(`${RISC}account-enabled`, {}));
    await push(await idp.set(RISK, { principal: "USER", current_level: "LOW" }));
    await push(await idp.set(`${CAEP}session-established`, {}));
    expect(head()).toBe(before);
    expect(revoked("subject:user/alice")).toBe(true);
    expect(view().source.received).toMatchObject({ accepted: 4, lowered: 1 });
  });
});

describe("a registration", () => {
  test("is a trust event; secrets are not shown and the push secret is kept as a digest", async () => {
    const before = head();
    const shown = await register({ ...LIVE, authorization: "Bearer push-secret-0123456789" });
    expect(head()).toBe(before + 1);
    expect(authority.store.event(head())).toMatchObject({
      actor: "alice",
      event: { kind: "source", reason_code: "registered" },
    });
    expect(JSON.stringify(shown)).not.toContain("push-secret");
    expect(JSON.stringify(shown)).not.toContain("Bearer t");
    expect(shown).toMatchObject({ authorization: true, push_endpoint: "https://eu.pdp.example/ssf/v1/events/idp" });
    expect(JSON.stringify(authority.signals.source("idp"))).not.toContain("push-secret");
  });

  test("replaces one of the same issuer and keeps what is known of the source; another issuer's is a conflict", async () => {
    await register();
    const version = authority.signals.source("idp")!.version;
    await push(await idp.set(REVOKED, {}));
    await register({ subjects: [] });
    expect(view()).toMatchObject({ subjects: [], source: { received: { accepted: 1 } } });
    expect(authority.signals.source("idp")!.version).not.toBe(version);
    const other = { stream: idp.stream({ issuer: "https://other.example" }), actor: "alice" };
    expect(await authority.signals.register(other)).toMatchObject({ ok: false, code: "conflict" });
  });

  test("that changed since the SET was verified has it verified again", async () => {
    await register();
    const { version } = authority.signals.source("idp")!;
    await register();
    const signal = { type: REVOKED, at_ms: 0, effect: { kind: "none", why: "" } } as const;
    const message = { v: 1, stream: "idp", jti: "1", iat_ms: 0, payload: "p", signal } as const;
    expect(await authority.signals.accept({ ...message, version })).toEqual({ ok: false, code: "stale" });
    expect(await authority.signals.accept({ ...message, stream: "none", version })).toEqual({
      ok: false,
      code: "unknown_stream",
    });
  });

  test("that is removed listens no more, and what it lowered stays", async () => {
    await register();
    await push(await idp.set(REVOKED, {}));
    expect(await authority.signals.remove("idp", "alice")).toMatchObject({ ok: true });
    expect(authority.signals.source("idp")).toBeNull();
    expect(await authority.signals.remove("idp", "alice")).toMatchObject({ ok: false, code: "not_found" });
    expect(revoked("subject:user/alice")).toBe(true);
  });
});

describe("a source", () => {
  test("is asked by the alarm, lives by the answer from the moment of asking, and is degraded when that ends", async () => {
    await register(LIVE);
    expect(view().source).toMatchObject({ state: "degraded", reasons: ["never_verified"] });
    expect(storage.alarm).toBe(Date.now() + 1);
    await authority.signals.alarm();
    expect(asked).toMatchObject([{ url: ENDPOINT, authorization: "Bearer t", stream_id: "stream-1" }]);
    const sent = Date.now();
    later(7);
    expect(await push(await verification(asked[0]!.state))).toEqual({ ok: true });
    expect(view().source).toMatchObject({ state: "live", reasons: [], lease_until_ms: sent + 60_000 });
    later(52);
    expect(view().source.state).toBe("live");
    later(1);
    expect(view().source).toMatchObject({ state: "degraded", reasons: ["lease_expired"] });
  });

  test("proves nothing by a state of its own, an old state twice, or none at all", async () => {
    await register(LIVE);
    await authority.signals.alarm();
    expect(await push(await verification("made up"))).toMatchObject({ ok: false, err: "invalid_state" });
    expect(await push(await verification(undefined))).toEqual({ ok: true });
    expect(view().source).toMatchObject({ state: "degraded", confirmed_sent_ms: null });
    const state = asked[0]!.state;
    expect(await push(await verification(state))).toEqual({ ok: true });
    expect(await push(await verification(state))).toMatchObject({ ok: false, err: "invalid_state" });
  });

  test("that is paused is degraded until it is enabled, whatever order the SETs come in", async () => {
    await register({ stream_id: "stream-1" });
    const iat = Math.floor(Date.now() / 1_000);
    await push(await updated("paused", { iat: iat - 20 }));
    expect(view().source).toMatchObject({ state: "degraded", reasons: ["paused"] });
    await push(await updated("enabled", { iat: iat - 5 }));
    await push(await updated("disabled", { iat: iat - 10 }));
    expect(view().source.state).toBe("live");
  });

  test("says what is wrong with its verification endpoint, and is asked again at the next interval", async () => {
    await register(LIVE);
    answers = () => new Response("no", { status: 429 });
    await authority.signals.alarm();
    expect(view().source.problem).toContain("429");
    await authority.signals.alarm();
    expect(asked).toHaveLength(1);
    later(20);
    answers = () => {
      throw new TypeError("network");
    };
    await authority.signals.alarm();
    expect(asked).toHaveLength(2);
    expect(view().source.problem).toContain("does not answer");
  });

  test("that falls silent denies its issuer where that is asked for, and the issuer is back with the source", async () => {
    await register({ ...LIVE, on_degraded: "deny" });
    expect(denied(`issuer:${ISSUER}`)).toBe(true);
    await authority.signals.alarm();
    await push(await verification(asked[0]!.state));
    expect(denied(`issuer:${ISSUER}`)).toBe(false);
    expect(view().source.denied_by).toBeNull();
    later(61);
    await authority.signals.alarm();
    expect(denied(`issuer:${ISSUER}`)).toBe(true);
    expect(view().source.denied_by).not.toBeNull();
  });

  test("that is live again lifts nothing that an administrator revoked meanwhile, before or after", async () => {
    const byHand = {
      key: `issuer:${ISSUER}`,
      from: "issue",
      reason: "by hand",
      actor: "alice",
      wait: "accepted",
    } as const;
    await register({ ...LIVE, on_degraded: "deny" });
    await authority.revocations.revoke(byHand);
    await authority.signals.alarm();
    await push(await verification(asked[0]!.state));
    expect(view().source.state).toBe("live");
    expect(denied(`issuer:${ISSUER}`)).toBe(true);
    later(61);
    await authority.signals.alarm();
    await push(await verification(asked[1]!.state));
    expect(denied(`issuer:${ISSUER}`)).toBe(true);
  });

  test("of which one stream is degraded keeps the issuer denied though another is live", async () => {
    await register({ on_degraded: "deny", stream_id: "stream-1" });
    await register({ id: "idp-2", on_degraded: "deny", stream_id: "stream-1" });
    const push2 = async (set: string) => push(set, "idp-2");
    const iat = Math.floor(Date.now() / 1_000);
    await push(await updated("paused", { iat: iat - 3 }));
    await push2(await updated("paused", { iat: iat - 3 }));
    await push2(await updated("enabled", { iat: iat - 2 }));
    expect(denied(`issuer:${ISSUER}`)).toBe(true);
    await push(await updated("enabled", { iat: iat - 1 }));
    expect(denied(`issuer:${ISSUER}`)).toBe(false);
  });

  test("is degraded by a SET that was refused, until a verification that was asked for later", async () => {
    await register(LIVE);
    await authority.signals.alarm();
    await push(await verification(asked[0]!.state));
    later(1);
    await authority.signals.refused({ v: 1, stream: "idp", err: "invalid_audience", description: "aud" });
    expect(view().source).toMatchObject({
      state: "degraded",
      reasons: ["set_refused"],
      failure: { err: "invalid_audience" },
    });
    later(20);
    await authority.signals.alarm();
    await push(await verification(asked[1]!.state));
    expect(view().source).toMatchObject({ state: "live", failure: null });
  });
});
