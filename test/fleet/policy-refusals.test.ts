import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bundle } from "../../src/policy/bundle.ts";
import { TYPES } from "../../src/policy/bundles/documents.ts";
import type { Offer } from "../../src/policy/bundles/update.ts";
import { offerBody } from "../../tools/policy/release.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { bearer, evaluate, READ } from "../support/http.ts";
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  NOTHING,
  offerOf,
  payloadOf,
  policyOf,
  renamed,
  rootOf,
  sign,
  signature,
  timestampOf,
  type RoleKeys,
} from "../support/policy-documents.ts";
import { until } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { ownLeavesOf, trustLeavesOf } from "../support/stored.ts";

/**
 * Attacks on signed policy over the admin API of a running region, by the names that TUF's conformance suite has for
 * them (docs/policy-tuf-cases.md): each is refused with its code, and the region is what it was.
 */
const PACKS = bundleJson as unknown as Bundle;
/** What alice may read, and what nobody may. */
const LENIENT = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });
const STRICT = bundleBytes(PACKS, { "*": ["sovereign"] });

let region: TestRegion;
let keys: RoleKeys;
let five: Awaited<ReturnType<typeof offerOf>>;

beforeAll(async () => {
  keys = await newRoleKeys();
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    env: {
      INTERLOCK_POLICY_ROOT: JSON.stringify(await sign("root", rootOf(keys, 1, Date.now() + 300 * DAY_MS), keys.root)),
    },
  });
  five = await offer(LENIENT, 5);
  const said = await put(five);
  if (said !== "200 taken") throw new Error(said);
});
afterAll(() => region.remove());

const offer = (bundle: Uint8Array, version: number, more: { stamp?: number; now_ms?: number; changes?: object } = {}) =>
  offerOf(keys, bundle, { version, now_ms: Date.now(), ...more });

async function put(offered: Partial<Offer> | object, body = offerBody({ ...NOTHING, ...offered })): Promise<string> {
  for (;;) {
    const answer = await fetch(`${region.url}/admin/v1/policy`, {
      method: "PUT",
      headers: { ...bearer(region.admin), "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const { code, outcome } = await answer.json<{ code?: string; outcome?: string }>();
    // After a start the log first has to confirm that it knows of nothing later.
    if (code !== "unchecked") return `${answer.status} ${code ?? outcome}`;
    await sleep(50);
  }
}

const client = (): AdminClient => new AdminClient(region.url, region.admin);
const five_hours = 5 * 3_600_000;

/** Every attack, and what is said to it. Each begins where version 5 is in force. */
const attacks: readonly (readonly [name: string, code: string, offer: () => Promise<object>])[] = [
  ["rollback (test_new_timestamp_version_rollback)", "rollback", () => offer(STRICT, 4)],
  ["rollback under a newer timestamp (test_targets_rollback)", "rollback", () => offer(STRICT, 4, { stamp: 6 })],
  ["freeze (test_timestamp_expired)", "expired", () => offer(STRICT, 6, { now_ms: Date.now() - 2 * DAY_MS })],
  [
    "expired (test_targets_expired)",
    "expired",
    () => offer(STRICT, 6, { changes: { not_before_ms: 1, expires_ms: Date.now() - 1 } }),
  ],
  [
    "mix and match: a policy (test_url_and_metadata_version_mismatch)",
    "mix_and_match",
    async () => ({ ...(await offer(STRICT, 6)), policy: (await offer(STRICT, 7)).policy }),
  ],
  [
    "mix and match: a bundle (test_repository_substitutes_target_file)",
    "mix_and_match",
    async () => ({ ...(await offer(STRICT, 6)), bundle: LENIENT }),
  ],
  [
    "stripped (test_unsigned_metadata)",
    "unsigned",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      return { ...rest, policy: { ...policy, signatures: [] } };
    },
  ],
  [
    "stripped, and the document as it is",
    "unsigned",
    async () => ({ ...(await offer(STRICT, 6)), policy: policyOf(STRICT, 6, Date.now()) }),
  ],
  [
    "wrong role (test_incorrect_metadata_type)",
    "wrong_role",
    async () => ({ ...(await offer(STRICT, 6)), timestamp: (await offer(STRICT, 6)).policy }),
  ],
  [
    "wrong role in the header of a signature",
    "wrong_role",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      const signatures = await Promise.all(keys.policy.map((key) => signature(policy.payload, key, TYPES.timestamp)));
      return { ...rest, policy: { ...policy, signatures } };
    },
  ],
  [
    "under the threshold (test_snapshot_does_not_meet_threshold)",
    "under_threshold",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      return { ...rest, policy: { ...policy, signatures: policy.signatures.slice(1) } };
    },
  ],
  [
    "duplicate signer (test_duplicate_keys)",
    "duplicate_signer",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      const [first] = policy.signatures;
      return { ...rest, policy: { ...policy, signatures: [first, first] } };
    },
  ],
  [
    "duplicate signer beside enough others (test_duplicate_sig_keyids)",
    "duplicate_signer",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      return { ...rest, policy: { ...policy, signatures: [...policy.signatures, policy.signatures[0]] } };
    },
  ],
  [
    "a stranger under the name of a key",
    "bad_signature",
    async () => {
      const [stranger] = (await newRoleKeys("x")).policy;
      const document = policyOf(STRICT, 6, Date.now());
      const policy = await sign("policy", document, [keys.policy[0]!, renamed(stranger!, keys.policy[1]!.kid)]);
      return {
        policy,
        timestamp: await sign("timestamp", timestampOf(document, 6, Date.now()), keys.timestamp),
        bundle: STRICT,
      };
    },
  ],
  [
    "alg none",
    "bad_signature",
    async () => {
      const { policy, ...rest } = await offer(STRICT, 6);
      const signatures = await Promise.all(
        keys.policy.map((key) => signature(policy.payload, key, TYPES.policy, { alg: "none" })),
      );
      return { ...rest, policy: { ...policy, signatures: signatures.map((one) => ({ ...one, signature: "" })) } };
    },
  ],
  [
    "a root that its own keys alone signed (test_root_rotation)",
    "root_not_endorsed",
    async () => {
      const thief = await newRoleKeys("y");
      const root = await sign("root", rootOf(thief, 2, Date.now() + DAY_MS), thief.root);
      return { ...(await offerOf(thief, STRICT, { version: 6, now_ms: Date.now() })), roots: [root] };
    },
  ],
  [
    "a root too far (test_new_root_nonconsecutive_version)",
    "root_skipped",
    async () => ({ roots: [await sign("root", rootOf(keys, 3, Date.now() + DAY_MS), keys.root)] }),
  ],
  [
    "from the future",
    "from_the_future",
    () => offer(STRICT, 6, { now_ms: Date.now() + five_hours, changes: { not_before_ms: Date.now() } }),
  ],
  [
    "a member twice in what was signed",
    "malformed",
    async () => {
      const { policy: _, ...rest } = await offer(STRICT, 6);
      const text = Buffer.from(payloadOf(policyOf(STRICT, 6, Date.now())), "base64url").toString();
      const payload = Buffer.from(text.replace('"version":6', '"version":6,"version":6')).toString("base64url");
      const signatures = await Promise.all(keys.policy.map((key) => signature(payload, key, TYPES.policy)));
      return { ...rest, policy: { payload, signatures } };
    },
  ],
  // Both are properly signed: whoever holds the keys has signed two things, and the region says so until it is lifted.
  [
    "equivocation of the timestamp (test_timestamp_content_changes)",
    "equivocation",
    async () => ({
      timestamp: await sign("timestamp", timestampOf(policyOf(LENIENT, 5, 1), 5, Date.now() - 7), keys.timestamp),
    }),
  ],
  ["equivocation of the policy", "equivocation", () => offer(STRICT, 5, { stamp: 6 })],
];

test.each(attacks)("%s: policy_%s, and nothing has changed", async (_, code, make) => {
  const before = await client().policy();
  expect(before).toMatchObject({ version: 5, problem: null });
  expect(await put(await make())).toBe(`422 policy_${code}`);
  expect(await client().policy()).toEqual(before);
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });
});

test("of all that no leaf tells but that of version 5, and of an equivocation the incident", async () => {
  const { policy } = await client()
    .policy()
    .then(({ trust }) => trust!);
  const told = async (): Promise<number> =>
    ((await client().status()) as { log: { incidents: readonly unknown[] } }).log.incidents.length;
  await until(async () => (await told()) === 2, "both incidents in the log");
  await region.kill("SIGKILL");
  const leaves = trustLeavesOf(region.dataDir, 1);
  await region.restart();
  expect(leaves.filter(({ kind }) => kind === "policy").map(({ body }) => body["policy"])).toMatchObject([
    { version: 5, sha256: policy!.sha256 },
  ]);
  const incidents = ownLeavesOf(region.dataDir).filter(({ kind }) => kind === "incident");
  expect(incidents.map(({ body }) => body["what"])).toEqual(["policy_equivocation", "policy_equivocation"]);
  expect(await client().policy()).toMatchObject({ version: 5, problem: null });
});

test("fifty callers bring fifty versions at once: the highest stands, and none came back", async () => {
  const versions = Array.from({ length: 50 }, (_, n) => 6 + ((n * 7) % 50));
  const offers = await Promise.all(versions.map((version) => offer(version % 2 === 0 ? STRICT : LENIENT, version)));
  const answers = await Promise.all(offers.map((one) => put(one)));
  expect(new Set(answers)).toEqual(new Set(["200 taken", "422 policy_rollback"]));
  expect(await client().policy()).toMatchObject({ version: 55, problem: null });
  await region.kill("SIGKILL");
  const taken = trustLeavesOf(region.dataDir, 1).flatMap(({ kind, body }) =>
    kind === "policy" ? [(body["policy"] as { version: number }).version] : [],
  );
  await region.restart();
  expect(taken).toEqual(taken.toSorted((a, b) => a - b));
  expect(taken.slice(1).toSorted((a, b) => a - b)).toEqual(
    versions.filter((_, n) => answers[n] === "200 taken").toSorted((a, b) => a - b),
  );
});

test("kill -9 in the middle of taking one: what stands, what decides and what the last leaf says are one", async () => {
  for (let round = 0; round < 5; round++) {
    const version = 56 + round;
    const putting = put(await offer(round % 2 === 0 ? STRICT : LENIENT, version)).catch(() => null);
    await sleep(2 + round * 9);
    await region.kill("SIGKILL");
    const answer = await putting;
    const last = trustLeavesOf(region.dataDir, 1).findLast(({ kind }) => kind === "policy");
    await region.restart();
    const view = await client().policy();
    expect([version - 1, version]).toContain(view.version);
    expect(answer === null || view.version === version).toBe(true);
    expect(last?.body["policy"]).toMatchObject({
      version: view.version,
      bundle: view.bundle,
      digest: view.digest,
      sha256: view.trust!.policy!.sha256,
    });
    await expect
      .poll(() => evaluate(region, READ), { timeout: 30_000 })
      .toMatchObject(view.version! % 2 === 0 ? { reason: "policy_denied" } : { decision: true });
    // The next round starts from this version, whatever became of it.
    expect(
      await put(await offer(round % 2 === 0 ? STRICT : LENIENT, version)).then((said) => said.slice(0, 3)),
    ).toMatch(view.version === version ? /422|200/ : /200/);
  }
});

test("frozen: what ends denies everything, policy_stale, and health and metrics say so; then it is fresh again", async () => {
  const gauge = async (name: string): Promise<number> => {
    const text = await (await fetch(`${region.url}/metrics`)).text();
    return Number(new RegExp(`^${name}\\{[^}]*\\} (.*)$`, "m").exec(text)?.[1]);
  };
  const expiring = async (document: string): Promise<number> => {
    const text = await (await fetch(`${region.url}/metrics`)).text();
    const line = text
      .split("\n")
      .find((one) => one.startsWith("interlock_policy_expires_seconds{") && one.includes(`document="${document}"`));
    return Number(line?.split(" ").at(-1));
  };
  const stale = async (document: "timestamp" | "policy", says: RegExp): Promise<void> => {
    await expect.poll(() => evaluate(region, READ), { timeout: 30_000 }).toMatchObject({ reason: "policy_stale" });
    await expect.poll(async () => (await fetch(`${region.url}/health`)).status, { timeout: 30_000 }).toBe(503);
    expect(await (await fetch(`${region.url}/health`)).text()).toMatch(says);
    expect(await expiring(document)).toBeLessThan(0);
    await expect.poll(() => gauge("interlock_policy_stale"), { timeout: 30_000 }).toBe(1);
    expect(await client().policy()).toMatchObject({ problem: expect.stringMatching(says) as unknown });
  };
  const fresh = async (version: number): Promise<void> => {
    expect(await put(await offer(LENIENT, version))).toBe("200 taken");
    await expect.poll(() => evaluate(region, READ), { timeout: 30_000 }).toMatchObject({ decision: true });
    // What the region says of itself is a second old at most.
    await expect
      .poll(
        async () => [
          (await fetch(`${region.url}/health`)).status,
          await gauge("interlock_policy_stale"),
          await gauge("interlock_policy_version"),
        ],
        { timeout: 30_000 },
      )
      .toEqual([200, 0, version]);
  };

  // The timestamp ends: whoever cuts the region off from its publisher.
  await fresh(100);
  const { document } = (await client().policy()).trust!.policy!;
  const now = Date.now();
  const short = timestampOf(document, 101, now, { expires_ms: now + 4_000 });
  expect(await put({ timestamp: await sign("timestamp", short, keys.timestamp) })).toBe("200 taken");
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });
  await stale("timestamp", /timestamp has expired/);
  // An old one that is still good by its own dates does not thaw it.
  expect(
    await put({ timestamp: await sign("timestamp", timestampOf(document, 100, Date.now()), keys.timestamp) }),
  ).toBe("422 policy_rollback");
  expect(await evaluate(region, READ)).toMatchObject({ reason: "policy_stale" });
  await fresh(102);

  // The policy ends.
  expect(await put(await offer(LENIENT, 103, { changes: { expires_ms: Date.now() + 3_000 } }))).toBe("200 taken");
  await stale("policy", /policy has expired/);
  await region.restart();
  await stale("policy", /policy has expired/);
  await fresh(104);

  // The root ends, and only a next root helps.
  const ends = Date.now() + 3_000;
  expect(await put({ roots: [await sign("root", rootOf(keys, 2, ends), keys.root)] })).toBe("200 taken");
  await expect.poll(() => evaluate(region, READ), { timeout: 30_000 }).toMatchObject({ reason: "policy_stale" });
  expect(await expiring("root")).toBeLessThan(0);
  expect(await put(await offer(LENIENT, 105))).toBe("422 policy_expired");
  expect(await put({ roots: [await sign("root", rootOf(keys, 3, Date.now() + DAY_MS), keys.root)] })).toBe("200 taken");
  await fresh(105);
});
