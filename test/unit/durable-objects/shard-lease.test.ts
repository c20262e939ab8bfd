import { beforeEach, expect, test } from "vitest";
import { ShardStore } from "../../../durable-objects/shard/store.ts";
import { ShardTrust } from "../../../durable-objects/shard/trust.ts";
import { NOTHING_WANTED } from "../../../durable-objects/shard/lease-keeper.ts";
import { Pseudonyms } from "../../../durable-objects/pseudonyms.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import type { LeaseAnswer, LeaseRequest, OriginLease } from "../../../src/objects/lease.ts";
import type { FederationView } from "../../../src/trust/federation.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

/** The rules of test/models/lease.pml as the shard keeps them: what may extend its lease, and what may not. */
let trust: ShardTrust;
const pseudonyms = new Pseudonyms([OPEN_SECRET]);
beforeEach(() => {
  trust = new ShardTrust("eu", new ShardStore(new FakeStorage().attach()), pseudonyms);
});

const ask = () =>
  trust.leaseRequest(0, { kty: "OKP", kid: "eu.1.shard-0.1", alg: "Ed25519", use: "sig" }, NOTHING_WANTED);
const sent = (ms: number) => ({ ms, clock_steps: trust.clockSteps });
const grant = (request: LeaseRequest, revision = 0, key?: string): Extract<LeaseAnswer, { ok: true }> => ({
  ok: true,
  nonce: request.nonce,
  remaining_ms: 1_500,
  from_revision: 0,
  revision,
  mode: "active",
  entries:
    key === undefined
      ? []
      : [
          {
            key: pseudonyms.current(key),
            origin: "eu",
            generation: 1,
            state: "revoked",
            from: "issue",
            until_ms: null,
          },
        ],
  more: false,
  material: null,
  federation: null,
  own: { incarnation: 1, seq: 0 },
  origins: [],
  policy: "policy",
  certificate: null,
});

test("the lease runs from the moment the poll left", () => {
  const request = ask();
  trust.takeLease(request, grant(request), sent(10_000));
  expect(trust.leaseUntil).toBe(11_500);
});

test("an answer to another poll extends nothing", () => {
  const [first, second] = [ask(), ask()];
  trust.takeLease(second, grant(first), sent(10_000));
  expect(trust.leaseUntil).toBe(0);
});

test("a clock that went back ends the lease, and polls under way bring entries but no lease", () => {
  const held = ask();
  trust.takeLease(held, grant(held), sent(10_000));
  const underWay = { request: ask(), sent: sent(10_300) };
  trust.dropLease();
  expect(trust.leaseUntil).toBe(0);
  trust.takeLease(underWay.request, grant(underWay.request, 1, "subject:agent/a"), underWay.sent);
  expect(trust.leaseUntil).toBe(0);
  expect(trust.match(["subject:agent/a"], 0)).toHaveLength(1);
  const next = ask();
  trust.takeLease(next, grant(next, 1), sent(9_000));
  expect(trust.leaseUntil).toBe(10_500);
});

test("a push brings entries but no lease", () => {
  const pushed = grant(ask(), 1, "subject:agent/a");
  trust.apply({ v: 1, from_revision: 0, revision: 1, mode: "active", entries: pushed.entries });
  expect(trust.match(["subject:agent/a"], 0)).toHaveLength(1);
  expect(trust.leaseUntil).toBe(0);
});

const us = (changes: Partial<OriginLease> = {}): OriginLease => ({
  origin: "us",
  incarnation: 1,
  seq: 4,
  remaining_ms: 900,
  problem: null,
  ...changes,
});
const freshUntil = () => trust.view().origins.get("us")?.fresh_until_ms;

test("what is left of another region's lease is anchored where this poll left, so that two hops share one budget", () => {
  const request = ask();
  trust.takeLease(request, { ...grant(request), origins: [us()] }, sent(10_000));
  expect(freshUntil()).toBe(10_900);
  // An older answer that comes late takes nothing away.
  const late = ask();
  trust.takeLease(late, { ...grant(late), origins: [us({ seq: 3 })] }, sent(9_000));
  expect(freshUntil()).toBe(10_900);
  expect(trust.view().origins.get("us")?.seq).toBe(4);
});

test("the authority's word that a region is not fresh ends what was left; a problem denies at once", () => {
  const first = ask();
  trust.takeLease(first, { ...grant(first), origins: [us()] }, sent(10_000));
  const second = ask();
  trust.takeLease(second, { ...grant(second), origins: [us({ remaining_ms: 0 })] }, sent(10_100));
  expect(freshUntil()).toBe(0);
  const third = ask();
  trust.takeLease(third, { ...grant(third), origins: [us({ problem: "sync_equivocation" })] }, sent(10_200));
  expect(trust.view().origins.get("us")?.problem).toBe("sync_equivocation");
  trust.dropLease();
  expect(freshUntil()).toBe(0);
});

test("the newest poll wins, also where it says less; one that it overtook brings entries and nothing else", () => {
  const older = { request: ask(), sent: sent(10_000) };
  const newer = ask();
  const said = { remaining_ms: 0, mode: "joining" as const, policy: "newer" };
  trust.takeLease(
    newer,
    { ...grant(newer), ...said, origins: [us({ remaining_ms: 0, problem: "sync_equivocation" })] },
    sent(10_100),
  );
  const late = { ...grant(older.request, 1, "subject:agent/a"), origins: [us()] };
  trust.takeLease(older.request, late, older.sent);
  expect(trust.leaseUntil).toBe(0);
  expect(trust.schedule?.policy?.digest).toBe("newer");
  expect(trust.view().origins.get("us")).toMatchObject({ fresh_until_ms: 0, problem: "sync_equivocation" });
  expect(trust.match(["subject:agent/a"], 0)).toHaveLength(1);
  // A region that may allow nothing says so with its next answer, and nothing of the one before is left.
  const held = ask();
  trust.takeLease(held, grant(held, 1), sent(10_200));
  expect(trust.leaseUntil).toBe(11_700);
  const halted = ask();
  trust.takeLease(halted, { ...grant(halted, 1), remaining_ms: 0 }, sent(10_300));
  expect(trust.leaseUntil).toBe(0);
});

test("where the only other region was removed, its last event is asked for all the same", () => {
  const request = ask();
  const federation: FederationView = {
    version: 2,
    self: "eu",
    regions: [
      { region: "eu", state: "active" },
      { region: "us", state: "removed" },
    ],
    domains: { "agent/us-": "us", "agent/eu-": "eu" },
    issuers: {},
    keys: {},
    may_revoke: {},
  };
  trust.takeLease(request, { ...grant(request), federation }, sent(10_000));
  const { homes } = trust.view();
  expect(homes(["subject:agent/us-1"])).toEqual(["us"]);
  expect(homes(["subject:agent/unlisted"])).toEqual(["us"]);
  expect(homes(["subject:agent/eu-1"])).toEqual([]);
});
