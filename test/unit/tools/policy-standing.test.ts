import { expect, test } from "vitest";
import type { PolicyView } from "../../../src/objects/policy.ts";
import type { PolicyTrust } from "../../../src/policy/bundles/state.ts";
import { describeStanding } from "../../../tools/policy/standing.ts";

/** `interlock policy status`, for a person. */
const NOW = Date.UTC(2026, 0, 15, 12);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const DIGEST = `sha256:${"A".repeat(43)}`;

const envelope = { payload: "", signatures: [] };
const held = <D>(version: number, document: D) => ({ version, sha256: DIGEST, document, envelope });
const policyOf = (version: number, not_before_ms: number, expires_ms: number) =>
  held(version, {
    v: 1 as const,
    type: "interlock-policy" as const,
    version,
    expires_ms,
    not_before_ms,
    bundle: { sha256: DIGEST, size: 1 },
    engine_min: "1.0.0",
  });
const TRUST: PolicyTrust = {
  v: 1,
  root: held(2, {
    v: 1 as const,
    type: "interlock-root" as const,
    version: 2,
    expires_ms: NOW + 300 * DAY,
    keys: {},
    roles: {
      root: { kids: ["r1", "r2", "r3"], threshold: 2 },
      policy: { kids: ["p1", "p2"], threshold: 2 },
      timestamp: { kids: ["t1"], threshold: 1 },
    },
  }),
  timestamp: held(41, {
    v: 1 as const,
    type: "interlock-timestamp" as const,
    version: 41,
    issued_at_ms: NOW,
    expires_ms: NOW + 20 * HOUR,
    policy: { version: 8, sha256: DIGEST },
  }),
  policy: policyOf(8, NOW - DAY, NOW + 80 * DAY),
  previous: null,
  floors: { timestamp: null, policy: null },
};
const view = (over: Partial<PolicyView> = {}): PolicyView => ({
  region: "eu",
  source: "signed",
  version: 8,
  bundle: DIGEST,
  digest: DIGEST,
  packs: [{ name: "treasury", status: "active", problem: null }],
  next: null,
  expires_ms: { root: NOW + 300 * DAY, policy: NOW + 80 * DAY, timestamp: NOW + 20 * HOUR },
  problem: null,
  approvals: 1,
  asked: null,
  gate: null,
  trust: TRUST,
  ...over,
});
const said = (over: Partial<PolicyView> = {}): string => describeStanding(view(over), NOW).join("\n");
const next = (over: Partial<PolicyView>): string => describeStanding(view(over), NOW).at(-1)!.slice(13);
const ends = (over: Partial<PolicyView["expires_ms"]>): Partial<PolicyView> => ({
  expires_ms: { ...view().expires_ms, ...over },
});

test("says what is in force, how long, who signs, and when there is something to do", () => {
  expect(said().split("\n")).toEqual([
    "eu: signed policy version 8 is in force",
    "  packs      treasury",
    "  digest     sha256:AAAAAAAAAAAA…, bundle sha256:AAAAAAAAAAAA…",
    "  root       version 2, until 2026-11-11T12:00Z (in 300 days)",
    "             signed by 2 of 3 root keys, 2 of 2 policy keys, 1 of 1 timestamp key",
    "  policy     version 8, until 2026-04-05T12:00Z (in 80 days)",
    "  timestamp  version 41, until 2026-01-16T08:00Z (in 20 hours)",
    "  next       nothing before 2026-01-15T20:00Z (in 8 hours); then bring a new timestamp (interlock policy refresh)",
  ]);
});

test("a policy that waits has dates of its own, beside the one in force", () => {
  const trust = { ...TRUST, policy: policyOf(9, NOW + 3 * DAY, NOW + 90 * DAY), previous: TRUST.policy };
  const text = said({ trust, next: { version: 9, from_ms: NOW + 3 * DAY } });
  expect(text).toContain("  policy     version 8, until 2026-04-05T12:00Z (in 80 days)");
  expect(text).toContain(
    "  pending    version 9 from 2026-01-18T12:00Z (in 3 days), until 2026-04-15T12:00Z (in 90 days)",
  );
});

test("the next thing to do is the most urgent one", () => {
  expect(next(ends({ timestamp: NOW + HOUR }))).toMatch(/^bring a new timestamp/);
  expect(next(ends({ policy: NOW + 2 * DAY }))).toMatch(/^sign and publish a policy of a higher version/);
  expect(next(ends({ root: NOW + DAY, policy: NOW + 13 * DAY }))).toMatch(/^make and sign the next root/);
  expect(next(ends({ timestamp: NOW }))).toBe(
    "the timestamp has expired: bring a new timestamp (interlock policy refresh)",
  );
  // Whatever the root's keys sign ends with it.
  expect(next({ ...ends({ timestamp: NOW - 9 * DAY, root: NOW - 1 }), problem: "expired" })).toMatch(/^the root has/);
  const asked = { asked_by: "admin:a", offer: DIGEST, asked_at_ms: NOW, expires_ms: NOW + HOUR };
  expect(next({ approvals: 2, asked })).toMatch(/^another administrator brings the same release/);
  expect(said({ approvals: 2, asked })).toContain(
    "asked by admin:a for sha256:AAAAAAAAAAAA…, until 2026-01-15T13:00Z (in 60 minutes)",
  );
  const baseline = { source: "baseline", version: null, bundle: null, trust: null } as const;
  const none = { root: null, policy: null, timestamp: null };
  expect(next({ ...baseline, expires_ms: none })).toMatch(/^nothing: a baseline does not expire/);
});

test("where nothing is in force that comes first, and what would mend it last", () => {
  const lost = { problem: "no policy that is trusted is in force", version: null, digest: null, bundle: null };
  const trust = { ...TRUST, policy: null };
  expect(said({ ...lost, trust }).split("\n")[0]).toBe("eu: DENIES EVERYTHING: no policy that is trusted is in force");
  expect(said({ ...lost, trust })).toContain("  policy     none that its root's keys signed");
  expect(next({ ...lost, trust })).toBe("publish a policy and a timestamp that its root's keys signed");
  expect(next({ ...lost, next: { version: 9, from_ms: NOW + DAY } })).toBe(
    "publish a policy without --not-before, or wait for version 9",
  );
});
