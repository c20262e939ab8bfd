import { describe, expect, it } from "vitest";
import { consistent, homesHeard, trustHolds } from "../../../src/decision/checks.ts";
import { freshUntil } from "../../../src/decision/basis.ts";
import type { OriginTrust, TrustView } from "../../../src/vocabulary/types.ts";

const origin = (changes: Partial<OriginTrust> = {}): OriginTrust => ({
  fresh_until_ms: 2_000,
  incarnation: 1,
  seq: 7,
  problem: null,
  ...changes,
});
const trust = (origins: Readonly<Record<string, OriginTrust>>, homes: readonly string[] = []): TrustView => ({
  mode: "active",
  lease_until_ms: 1_500,
  revision: 20,
  own: { incarnation: 2, seq: 3 },
  origins: new Map(Object.entries(origins)),
  homes: () => homes,
  match: () => [],
});

describe("homes of what a decision rests on", () => {
  it("are heard until the last millisecond before their end", () => {
    const view = trust({ us: origin() });
    expect(homesHeard(view, ["us"], 1_999)).toBeNull();
    expect(homesHeard(view, ["us"], 2_000)).toMatchObject({
      reason: "sync_stale",
      detail: expect.stringContaining("us"),
    });
    expect(homesHeard(view, [], 9_999)).toBeNull();
  });

  it("a region that is not known is not heard", () =>
    expect(homesHeard(trust({}), ["us"], 0)?.reason).toBe("sync_stale"));

  it("names what is wrong in the order of the registry", () => {
    const view = trust({
      us: origin({ problem: "sync_equivocation" }),
      in: origin({ problem: "sync_unsupported" }),
      br: origin({ fresh_until_ms: 0 }),
    });
    expect(homesHeard(view, ["us"], 0)?.reason).toBe("sync_equivocation");
    expect(homesHeard(view, ["us", "in"], 0)?.reason).toBe("sync_unsupported");
    expect(homesHeard(view, ["us", "in", "br"], 0)?.reason).toBe("sync_stale");
  });

  it("bound how long an allow may be cached", () => {
    expect(freshUntil(trust({ us: origin({ fresh_until_ms: 900 }) }), ["us"])).toBe(900);
    expect(freshUntil(trust({ us: origin() }), ["us"])).toBe(1_500);
    expect(freshUntil(trust({}), ["us"])).toBe(0);
  });
});

describe("a consistency token", () => {
  const view = trust({ us: origin() });
  it.each([
    [{ region: "eu", revision: 20, events: { eu: [2, 3], us: [1, 7] } }, null],
    [{ region: "eu", revision: 21, events: {} }, "revision 20 is behind 21"],
    // Another region's revision is its own affair; its events are not.
    [{ region: "us", revision: 99, events: { us: [1, 7] } }, null],
    [{ region: "us", revision: 1, events: { us: [1, 8] } }, "event 7 of us is behind 8"],
    [{ region: "us", revision: 1, events: { us: [2, 0] } }, "event 7 of us is behind 0"],
    [{ region: "eu", revision: 1, events: { eu: [1, 99] } }, null],
    [{ region: "mars", revision: 1, events: { mars: [1, 1] } }, "at_least names region mars, which is not a peer"],
  ] as const)("%j", (token, detail) => {
    const check = consistent(token, "eu", view);
    expect(check).toEqual(detail === null ? null : { reason: "consistency_unsatisfied", detail });
  });
});

it("a lowered level denies, the lowest first", () => {
  const match = (key: string, state: string) => ({ key, origin: "eu", generation: 1, state });
  expect(trustHolds([match("subject:user/a", "revoked")], false)).toBeNull();
  expect(trustHolds([match("subject:user/a", "degraded")], false)).toEqual({
    reason: "trust_degraded",
    detail: "subject:user/a",
  });
  expect(trustHolds([match("a", "degraded"), match("b", "quarantined"), match("b", "quarantined")], true)?.detail).toBe(
    "b",
  );
});
