import { describe, expect, test } from "vitest";
import { policyOf, rootOf, sign, timestampOf } from "../../../support/policy-documents.ts";
import { keys, offered, OTHER, pick, rooted, served, T, YEAR } from "./served.ts";

/** Rotations of keys as TUF's conformance suite has them (test_updater_key_rotations.py), by their names there. */

/** A version of a role: which of the numbered keys it lists, its threshold, and who signed. */
type Version = readonly [listed: readonly number[], threshold: number, signed: readonly number[]];

const FIVE = [0, 1, 2, 3, 4];
const ONE_NEW = [0, 1, 3, 4, 5];
const ALL_NEW = [5, 6, 7, 8, 9];

describe("test_root_rotation", () => {
  const cases: Readonly<Record<string, readonly [expected: string, ...Version[]]>> = {
    "1-of-1-key-rotation": ["taken", [[1], 1, [1]], [[2], 1, [2, 1]], [[2], 1, [2]]],
    "1-of-1-key-rotation-unused-signatures": [
      "taken",
      [[1], 1, [3, 1, 4]],
      [[2], 1, [3, 2, 1, 4]],
      [[2], 1, [3, 2, 4]],
    ],
    "3-of-5-sign-with-different-keycombos": [
      "taken",
      [FIVE, 3, [0, 2, 4]],
      [FIVE, 3, [0, 4, 1]],
      [FIVE, 3, [0, 1, 3]],
      [FIVE, 3, [0, 1, 3]],
    ],
    "3-of-5-one-key-rotated": ["taken", [FIVE, 3, [0, 2, 4]], [ONE_NEW, 3, [0, 4, 1]]],
    "3-of-5-one-key-rotated-with-intermediate-step": [
      "taken",
      [FIVE, 3, [0, 2, 4]],
      [ONE_NEW, 3, [0, 2, 4, 5]],
      [ONE_NEW, 3, [0, 4, 5]],
    ],
    "3-of-5-all-keys-rotated-with-intermediate-step": [
      "taken",
      [FIVE, 3, [0, 2, 4]],
      [ALL_NEW, 3, [0, 2, 4, 5, 6, 7]],
      [ALL_NEW, 3, [5, 6, 7]],
    ],
    "1-of-3-threshold-increase-to-2-of-3": ["taken", [[1, 2, 3], 1, [1]], [[1, 2, 3], 2, [1, 2]]],
    "2-of-3-threshold-decrease-to-1-of-3": [
      "taken",
      [[1, 2, 3], 2, [1, 2]],
      [[1, 2, 3], 1, [1, 2]],
      [[1, 2, 3], 1, [1]],
    ],
    "1-of-2-threshold-increase-to-2-of-2": ["taken", [[1], 1, [1]], [[1, 2], 2, [1, 2]]],
    "1-of-1-key-rotation-fail-not-signed-with-old-key": ["root root_not_endorsed", [[1], 1, [1]], [[2], 1, [2, 3, 4]]],
    "1-of-1-key-rotation-fail-not-signed-with-new-key": [
      "root root_not_self_signed",
      [[1], 1, [1]],
      [[2], 1, [1, 3, 4]],
    ],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": [
      "root root_not_self_signed",
      [FIVE, 3, [0, 2, 4]],
      [ONE_NEW, 3, [0, 2, 4]],
    ],
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": [
      "root root_not_endorsed",
      [FIVE, 3, [0, 2, 4]],
      [ONE_NEW, 3, [0, 4, 5]],
    ],
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": [
      "root root_not_self_signed",
      [[1, 2, 3], 1, [1]],
      [[1, 2, 3], 2, [2]],
    ],
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": [
      "root root_not_endorsed",
      [[1, 2, 3], 2, [1, 2]],
      [[1, 2, 3], 1, [1]],
    ],
  };

  test.each(Object.entries(cases))("%s", async (_, [expected, first, ...rest]) => {
    const make = ([listed, threshold, by]: Version, version: number) => {
      const document = rootOf({ ...keys, root: pick(listed) }, version, T + YEAR, {
        root: threshold,
        policy: 2,
        timestamp: 1,
      });
      return sign("root", document, pick(by));
    };
    const trust = await rooted(await make(first!, 1));
    const roots = await Promise.all(rest.map((one, n) => make(one, n + 2)));
    const after = await offered(trust, { roots });
    expect(after.said).toBe(expected);
    expect(after.trust.root.version).toBe(expected === "taken" ? rest.length + 1 : 1);
  });
});

describe("test_non_root_rotations", () => {
  const cases: Readonly<Record<string, readonly [expected: string, Version]>> = {
    "1-of-1-key-rotation": ["taken", [[2], 1, [2]]],
    "1-of-1-key-rotation-unused-signatures": ["taken", [[1], 1, [3, 1, 4]]],
    "1-of-1-key-rotation-fail-not-signed-with-new-key": ["unknown_key", [[2], 1, [1, 3, 4]]],
    "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": ["unknown_key", [ONE_NEW, 3, [0, 2, 4]]],
    "2-of-5-one-key-signature-mising-threshold-not-reached": ["under_threshold", [ONE_NEW, 3, [0, 4]]],
    "3-of-5-sign-first-combo": ["taken", [FIVE, 3, [0, 2, 4]]],
    "3-of-5-sign-second-combo": ["taken", [FIVE, 3, [0, 4, 1]]],
    "3-of-5-sign-third-combo": ["taken", [FIVE, 3, [0, 1, 3]]],
    "3-of-5-sign-fourth-combo": ["taken", [FIVE, 3, [1, 2, 3]]],
    "3-of-5-sign-fifth-combo": ["taken", [FIVE, 3, [2, 3, 4]]],
  };
  const both = Object.entries(cases).flatMap(([name, one]) =>
    (["timestamp", "policy"] as const).map((role) => [name, role, ...one] as const),
  );

  test.each(both)("%s, of the %s", async (_, role, expected, [listed, threshold, by]) => {
    const thresholds = { root: 2, policy: 2, timestamp: 1, [role]: threshold };
    const rotated = { ...keys, [role]: pick(listed) };
    const root = await sign("root", rootOf(rotated, 2, T + YEAR, thresholds), keys.root);
    const policy = policyOf(OTHER, 6, T);
    const signers = { policy: keys.policy, timestamp: keys.timestamp, [role]: pick(by) };
    const answer = await offered(served, {
      roots: [root],
      policy: await sign("policy", policy, signers.policy),
      timestamp: await sign("timestamp", timestampOf(policy, 6, T), signers.timestamp),
      bundle: OTHER,
    });
    expect(answer.said).toBe(expected === "taken" ? "taken" : `${role} ${expected}`);
    expect([answer.trust.root.version, answer.trust.policy?.version]).toEqual(expected === "taken" ? [2, 6] : [1, 5]);
  });
});
