import { expect, test } from "vitest";
import { policyAspect, policyMetrics } from "../../../src/http/policy-report.ts";
import type { PolicyStanding } from "../../../src/objects/policy.ts";

const T = Date.UTC(2026, 5, 1);
const HOUR = 3_600_000;
const standing = (changes: Partial<PolicyStanding> = {}): PolicyStanding => ({
  source: "signed",
  version: 7,
  bundle: "sha256:b",
  next: null,
  expires_ms: { root: T + 9_000 * HOUR, policy: T + 900 * HOUR, timestamp: T + 13 * HOUR },
  problem: null,
  ...changes,
});
const status = (changes: Partial<PolicyStanding> = {}) => ({
  policy_standing: standing(changes),
  policy_problem: changes.problem ?? null,
});

test("a timestamp with less than twelve hours left is said before it denies", () => {
  expect(policyAspect(status(), null, T)).toMatchObject({ state: "current" });
  expect(policyAspect(status(), null, T + HOUR + 1)).toMatchObject({ state: "expiring" });
  expect(policyAspect(status({ problem: "expired" }), null, T)).toMatchObject({ state: "stale" });
  expect(policyAspect(status(), "us decides otherwise", T)).toMatchObject({ state: "drift" });
  expect(policyAspect(status(), null, T).detail).toContain(new Date(T + 13 * HOUR).toISOString());
  expect(policyAspect(status({ next: { version: 8, from_ms: T } }), null, T).detail).toContain("version 8");
});

test("the baseline does not expire", () => {
  const baseline = status({
    source: "baseline",
    version: null,
    expires_ms: { root: null, policy: null, timestamp: null },
  });
  expect(policyAspect(baseline, null, T)).toMatchObject({ state: "current" });
  expect(policyMetrics("eu", baseline, T).map(({ samples }) => samples.length)).toEqual([0, 1, 1]);
  expect(policyAspect(null, null, T)).toMatchObject({ state: "unknown" });
});

test("each document has its time left", () => {
  const [expires, version, stale] = policyMetrics("eu", status(), T + 14 * HOUR);
  expect(expires!.samples).toContainEqual({ labels: { region: "eu", document: "timestamp" }, value: -3_600 });
  expect(version!.samples[0]!.value).toBe(7);
  expect(stale!.samples[0]!.value).toBe(0);
});
