import { expect, test } from "vitest";
import { inForce, scheduleOf } from "../../../../src/policy/bundles/schedule.ts";
import type { PolicyTrust } from "../../../../src/policy/bundles/state.ts";
import { adoptRoot } from "../../../../src/policy/bundles/update.ts";
import { ed25519Verify } from "../../../../durable-objects/platform.ts";
import {
  DAY_MS,
  newSigner,
  policyOf,
  rootOf,
  sign,
  timestampOf,
  type Signer,
} from "../../../support/policy-documents.ts";
import { BUNDLE, keys, offered, OTHER, rooted, T, YEAR } from "./served.ts";

/** A policy that another one has followed does not come back where that one's key is taken away. */

const [a, b] = [await newSigner("a"), await newSigner("b")];
const thresholds = { root: 2, policy: 1, timestamp: 1 };
const rootFor = (version: number, policy: readonly Signer[]) =>
  sign("root", rootOf({ ...keys, policy }, version, T + YEAR, thresholds), keys.root);

async function policyBy(signer: Signer, bundle: Uint8Array, version: number, not_before_ms: number, now = T) {
  const policy = policyOf(bundle, version, now, { not_before_ms, expires_ms: T + YEAR });
  const timestamp = timestampOf(policy, version, now);
  return {
    policy: await sign("policy", policy, [signer]),
    timestamp: await sign("timestamp", timestamp, keys.timestamp),
    bundle,
  };
}

const versionAt = (trust: PolicyTrust, t_ms: number): number | string | null => {
  const now = inForce(
    scheduleOf(trust, 1, "baseline", (bundle) => bundle),
    t_ms,
  );
  return now.ok ? (now.policy.signed?.version ?? "baseline") : null;
};

async function taken(trust: PolicyTrust, offer: Parameters<typeof offered>[1], now: number): Promise<PolicyTrust> {
  const answer = await offered(trust, offer, now);
  expect(answer.said).toBe("taken");
  return answer.trust;
}

/** `from_ms`: of policy 2, which `b` signed, after policy 1, which `a` signed. */
async function afterTwo(from_ms: number): Promise<PolicyTrust> {
  const first = await taken(await rooted(await rootFor(1, [a, b])), await policyBy(a, BUNDLE, 1, T), T);
  return taken(first, await policyBy(b, OTHER, 2, from_ms), T);
}

const NOW = T + 3_600_000;

test("in one offer with the root, and after a root alone", async () => {
  const two = await afterTwo(T);
  expect(versionAt(two, NOW)).toBe(2);
  const roots = [await rootFor(2, [a])];
  const third = await policyBy(a, OTHER, 3, NOW + DAY_MS / 2, NOW);
  const together = await taken(two, { ...third, roots }, NOW);
  const alone = await taken(two, { roots }, NOW);
  expect(versionAt(alone, NOW)).toBeNull();
  const later = await taken(alone, third, NOW);
  for (const trust of [together, later])
    expect([versionAt(trust, NOW), versionAt(trust, NOW + DAY_MS / 2)]).toEqual([null, 3]);
});

test("by a root that the deployment brings", async () => {
  const root = (await rooted(await rootFor(2, [a]))).root;
  const adopted = await adoptRoot(await afterTwo(T), root, ed25519Verify);
  const trust = await taken(adopted, await policyBy(a, OTHER, 3, NOW + DAY_MS / 2, NOW), NOW);
  expect([versionAt(trust, NOW), versionAt(trust, NOW + DAY_MS / 2)]).toEqual([null, 3]);
  // What it signed is still a floor.
  expect(adopted.floors.policy?.version).toBe(1);
});

test("one that still waited was not followed: what is in force stays", async () => {
  const two = await afterTwo(NOW + DAY_MS);
  expect(versionAt(two, NOW)).toBe(1);
  const third = await policyBy(a, OTHER, 3, NOW + DAY_MS / 2, NOW);
  const trust = await taken(two, { ...third, roots: [await rootFor(2, [a])] }, NOW);
  expect([versionAt(trust, NOW), versionAt(trust, NOW + DAY_MS / 2)]).toEqual([1, 3]);
});
