import { describe, expect, test } from "vitest";
import { ALONE, peerOf } from "./memory-peers.ts";
import { adminClaims, call, jsonOf, newRegion, sign, type TestRegion } from "./region.ts";

const look = async (region: TestRegion, path: string): Promise<Record<string, unknown>> => {
  // What `/health` saw is kept for a second.
  region.clock.now_ms += 1_000;
  return jsonOf(await call(region, path));
};
const ofSync = async (region: TestRegion) =>
  ((await look(region, "/health"))["continuity"] as { synchronization: unknown }).synchronization;

test("health names the word, the peers and how old what is known of each is", async () => {
  const region = await newRegion();
  region.authority.sync = {
    ...ALONE,
    word: "stale",
    peers: [peerOf("ap"), peerOf("us", { stale: "lease", fresh_for_ms: 0, heard_ms: 4_200, failures: 3 })],
  };
  expect(await ofSync(region)).toMatchObject({
    state: "stale",
    age_ms: 4_200,
    peers: [
      { region: "ap", state: "fresh", age_ms: 300 },
      { region: "us", state: "lease", age_ms: 4_200 },
    ],
  });
  // One region that goes unheard does not make this one unable to decide.
  expect(await look(region, "/health")).toMatchObject({ status: "ok", problems: [] });
});

test.each([
  ["clock_anomaly", "interlock clock reset"],
  ["halted", "signed twice"],
  ["unchecked", "no peer has yet said"],
  ["membership", "newer membership (version 9)"],
] as const)("health is 503 while this region may allow nothing: %s", async (stale, says) => {
  const region = await newRegion();
  const self = { ...ALONE.self, stale, halted: stale === "halted" ? "us holds another" : null, newer_membership: 9 };
  region.authority.sync = { ...ALONE, self };
  const health = await look(region, "/health");
  expect(health).toMatchObject({ status: "unavailable", problems: [expect.stringContaining(says)] });
});

test("metrics: age and freshness by peer, and the authority's own counts", async () => {
  const region = await newRegion();
  const counters = { ...ALONE.counters, failed: 7, clock_steps: 2 };
  region.authority.sync = {
    ...ALONE,
    word: "stale",
    self: { ...ALONE.self, own: { incarnation: 1, seq: 9, hash: "h" }, unnumbered: 3 },
    peers: [peerOf("us", { stale: "gap", heard_ms: 2_500, confirmed_seq: 4 })],
    counters,
  };
  const text = await (await call(region, "/metrics")).text();
  for (const line of [
    'interlock_sync_peer_fresh{region="eu",peer="us"} 0',
    'interlock_sync_peer_stale{region="eu",peer="us",why="gap"} 1',
    'interlock_sync_peer_age_seconds{region="eu",peer="us"} 2.5',
    'interlock_sync_applied_seq{region="eu",peer="us",incarnation="1"} 4',
    'interlock_sync_unconfirmed_events{region="eu",peer="us"} 5',
    'interlock_sync_unnumbered{region="eu"} 3',
    'interlock_sync_events_total{region="eu",what="failed"} 7',
    'interlock_sync_events_total{region="eu",what="clock_steps"} 2',
  ])
    expect(text.split("\n")).toContain(line);
});

describe("the admin routes", () => {
  test("peers, the proof of an equivocation, and 404 where there is none", async () => {
    const region = await newRegion();
    region.authority.sync = { ...ALONE, word: "equivocation", peers: [peerOf("us", { stale: "equivocation" })] };
    expect(await jsonOf(await call(region, "/admin/v1/peers"))).toMatchObject({
      region: "eu",
      word: "equivocation",
      peers: [{ region: "us", stale: "equivocation" }],
    });
    expect((await call(region, "/admin/v1/peers/us/proof")).status).toBe(404);
    region.authority.proof = {
      v: 1,
      type: "interlock-equivocation",
      origin: "us",
      reason: "fork",
      found_by: "eu",
      found_at_ms: 1,
      held: { incarnation: 1, seq: 4, jws: "a" },
      shown: { incarnation: 1, seq: 4, jws: "b" },
      keys: [],
      membership_version: 1,
    };
    expect(await jsonOf(await call(region, "/admin/v1/peers/us/proof"))).toEqual(region.authority.proof);
  });

  test("a clock is reset with a reason, under the name of who did it", async () => {
    const region = await newRegion();
    const path = "/admin/v1/clock/reset";
    expect((await call(region, path, { body: {} })).status).toBe(400);
    expect(region.authority.resets).toEqual([]);
    expect((await call(region, path, { body: { reason: "NTP repaired" } })).status).toBe(200);
    expect(region.authority.resets).toEqual(["admin:alice: NTP repaired"]);
  });

  test.each([
    ["GET", "/admin/v1/peers", "peers:read"],
    ["GET", "/admin/v1/peers/us/proof", "peers:read"],
    ["POST", "/admin/v1/clock/reset", "clock:write"],
  ])("%s %s needs %s", async (method, path, scope) => {
    const region = await newRegion();
    const others = (adminClaims()["scope"] as string).split(" ").filter((one) => one !== scope);
    const token = await sign(region.adminSigner, adminClaims({ scope: others.join(" ") }));
    const body = method === "POST" ? { body: { reason: "r" } } : {};
    expect((await call(region, path, { method, token, ...body })).status).toBe(403);
    expect((await call(region, path, { method, token: region.pep, ...body })).status).toBe(401);
  });
});
