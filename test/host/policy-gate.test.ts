import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bundle } from "../../src/policy/bundle.ts";
import { offerBody } from "../../tools/policy/release.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  policyOf,
  rootOf,
  sign,
  timestampOf,
  type RoleKeys,
  type Signer,
} from "../support/policy-documents.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { replaced, variantOf } from "../support/variant-pack.ts";

/**
 * The gate of a region as it runs, over the admin API: its own recorded decisions are decided again before it takes a
 * policy, and what newly allows what cannot be undone needs two keys, though the root asks for one.
 */
let region: TestRegion;
let keys: RoleKeys;
let admin: AdminClient;
const REGIONS = { "*": ["authzen-certification", "sovereign"] };
const DELETE = { ...READ, action: { name: "delete" } };
const WRITE = { ...READ, subject: { type: "user", id: "bob" }, action: { name: "write" } };
const CAROL = { ...READ, subject: { type: "user", id: "carol" } };

beforeAll(async () => {
  keys = await newRoleKeys();
  const root = rootOf(keys, 1, Date.now() + 300 * DAY_MS, { root: 1, policy: 1, timestamp: 1 });
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    shards: 3,
    env: { INTERLOCK_LOG: "off", INTERLOCK_POLICY_ROOT: JSON.stringify(await sign("root", root, keys.root)) },
  });
  admin = new AdminClient(region.url, region.admin);
});
afterAll(() => region.remove());

/** The shipped pack, which marks deleting now; `more` policies beside its own. */
const variant = (version: string, more: string): Promise<Bundle> =>
  variantOf("authzen-certification", (leaf, text) => {
    if (leaf === "policies.cedar") return text + more;
    if (leaf !== "pack.json") return text;
    const marked = replaced(text, /"delete": \{\}/, '"delete": { "irreversible": true }');
    return replaced(marked, /"version": "[^"]*"/, `"version": "${version}"`);
  });
const BOB_WRITES = '@id("bob") permit (principal == User::"bob", action == Action::"write", resource is Record);\n';
const ALL_DELETE = '@id("all") permit (principal, action == Action::"delete", resource is Record);\n';

async function offer(bundle: Bundle, version: number, signers: readonly Signer[]) {
  const bytes = bundleBytes(bundle, REGIONS);
  const now = Date.now();
  const policy = policyOf(bytes, version, now);
  return offerBody({
    roots: [],
    policy: await sign("policy", policy, signers),
    timestamp: await sign("timestamp", timestampOf(policy, version, now), keys.timestamp),
    bundle: bytes,
  });
}
/** After a policy was taken a shard may still have to fetch its bundle. */
const decidesAnew = (question: object): Promise<unknown> =>
  until(async () => (await evaluate(region, question)).reason !== "policy_stale", "a shard with the new policy");
const one = () => keys.policy.slice(0, 1);
const two = () => keys.policy.slice(0, 2);

test("what was denied here and would be allowed is counted, from records of every shard, without those that are erased", async () => {
  for (let n = 0; n < 12; n++) expect(await evaluate(region, WRITE)).toMatchObject({ decision: false });
  for (let n = 0; n < 6; n++) expect(await evaluate(region, DELETE)).toMatchObject({ decision: false });
  for (let n = 0; n < 4; n++) expect(await evaluate(region, CAROL)).toMatchObject({ decision: false });
  await admin.erase({ subject: CAROL.subject, ground: "subject_request", reason: "asked for" });
  const next = await offer(await variant("2", BOB_WRITES), 1, one());
  await expect
    .poll(async () => (await admin.putPolicy({ ...next, dry_run: true })).gate?.backtest.skipped, { timeout: 20_000 })
    .toEqual({ erased: 4 });
  const before = await admin.policy();
  const { outcome, gate } = await admin.putPolicy({ ...next, dry_run: true });
  expect(outcome).toBe("would_take");
  expect(gate).toMatchObject({
    before: before.digest,
    signatures: 1,
    backtest: {
      decided: 18,
      same: 6,
      counts: { newly_allowed: 12, newly_denied: 0 },
      silent_shards: [],
      groups: [{ change: "newly_allowed", policies_after: ["authzen-certification/bob"], decisions: 12 }],
    },
    newly_allowed: [
      {
        pack: "authzen-certification",
        action: "write",
        irreversible: false,
        why: [
          "permit bob is new or changed",
          expect.stringContaining("question") as string,
          "a recorded denial would be an allow",
        ],
      },
    ],
  });
  // A dry run changes nothing, and neither does what it says.
  expect(await admin.policy()).toEqual(before);
  expect(await admin.putPolicy(next)).toMatchObject({ outcome: "taken", version: 1, gate: { digest: gate!.digest } });
  await decidesAnew(WRITE);
  expect(await evaluate(region, WRITE)).toMatchObject({ decision: true });
});

test("deleting is newly allowed with two signatures and not with one; what is refused changes nothing", async () => {
  const bundle = await variant("3", BOB_WRITES + ALL_DELETE);
  const before = await admin.policy();
  const single = await offer(bundle, 2, one());
  await expect(admin.putPolicy(single)).rejects.toThrow(
    /422: policy_needs_two_signatures.*authzen-certification\/delete \(permit all is new or changed\)/s,
  );
  const twice = await offer(bundle, 2, [keys.policy[0]!, { ...keys.policy[0]!, kid: keys.policy[1]!.kid }]);
  await expect(admin.putPolicy(twice)).rejects.toThrow(/422: policy_needs_two_signatures/);
  const dry = await admin.putPolicy({ ...single, dry_run: true });
  expect(dry).toMatchObject({ outcome: "would_refuse", refusal: { code: "policy_needs_two_signatures" } });
  expect(await admin.policy()).toEqual(before);
  expect(await evaluate(region, DELETE)).toMatchObject({ decision: false });
  expect(await admin.putPolicy(await offer(bundle, 2, two()))).toMatchObject({ outcome: "taken", version: 2 });
  await decidesAnew(DELETE);
  expect(await evaluate(region, DELETE)).toMatchObject({ decision: true });
});
