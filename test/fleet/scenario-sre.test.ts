import { afterAll, beforeAll, expect, test } from "vitest";
import { AdminClient } from "../../tools/region/admin-client.ts";
import type { Json } from "../unit/credentials/maker.ts";
import { claimsOf } from "../support/http.ts";
import { patient } from "../support/patient.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { decide, openRun, type Answer, type OpenedRun, type Question } from "../support/runs.ts";
import { unfreeze } from "../support/unfreeze.ts";
import { account, ear, now_s, POD, registerAll, wit, wpt } from "../support/workloads.ts";

/**
 * S2 (SCENARIOS): a cluster change by an AI SRE agent, known by its projected token or a proven key with a verifier's result. What the
 * change window says depends on the time of day, and the golden table of the pack has both sides of it.
 */
let region: TestRegion;
const AGENT = "spiffe://prod.example/ns/ops/sa/sre-agent";
const ATTESTED = "registry.example/payments@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "kubernetes-sre"],
    env: { INTERLOCK_LOG: "off" },
    untouched: true,
  });
  const pep = String(claimsOf(region.pep)["sub"]).split("/")[1]!;
  const accounts = [{ namespace: "ops", service_account: "sre-agent", workload: AGENT }];
  await registerAll(region, pep, { cluster: { accounts } });
});
afterAll(() => region.remove());

const projected = (name = "sre-agent"): string =>
  account({
    claims: {
      sub: `system:serviceaccount:ops:${name}`,
      "kubernetes.io": {
        namespace: "ops",
        pod: { name: "sre-agent-0", uid: POD },
        serviceaccount: { name, uid: "5a1f2c9e-7f0e-4f55-9a3b-5d1c6f1c2b3a" },
      },
    },
  });
/** For reading the projected token is enough; a change takes a proven key, and a result about that key. */
const reading = (): Json => ({ service_account: projected() });
function changing(age_s = 5): Json {
  const text = wit({ claims: { sub: AGENT } });
  return { wit: text, wpt: wpt(text), attestation: [ear({ claims: { iat: now_s() - age_s } })] };
}

const IN_PAYMENTS = { cluster: "prod-eu", namespace: "payments" };
const asked = (name: string, type: string, id: string, properties: object = {}, of: object = {}): Question => ({
  subject: { type: "service-account", id: AGENT },
  action: { name, properties },
  resource: { type, id, properties: { ...IN_PAYMENTS, ...of } },
});
const scale = (replicas: number): Question =>
  asked("scale", "deployment", "payments/api", { replicas }, { replicas: 4 });
const release = (image: string): Question =>
  asked("set-image", "deployment", "payments/api", { image }, { replicas: 4 });
const PODS = asked("get", "pod", "payments/api-1");

const change = (): Promise<OpenedRun> =>
  openRun(region, { principal: { type: "user", id: "carol" }, members: [{ type: "service-account", id: AGENT }] });

/** The clock is the machine's: within the window a change goes through, outside it waits for an approval. */
const inWindow = (): string => {
  const hour = new Date().getUTCHours();
  return hour >= 6 && hour < 20 ? "allow" : "approval_required";
};
/** Each time with proofs of its own, which count once. */
const verdict = async (call: () => Promise<Answer>): Promise<string> => (await patient(call)).verdict;

test("get pods is allowed, list secrets is not, and nothing without who and in what state", async () => {
  expect(await verdict(() => decide(region, PODS, { credentials: reading() }))).toBe("allow");
  const secrets = asked("list", "secret", "payments/db");
  expect(await decide(region, secrets, { credentials: reading() })).toMatchObject({
    verdict: "policy_denied",
    policy_reason: "secrets_are_not_read",
  });
  expect(await verdict(() => decide(region, PODS))).toBe("identity_missing");
  const other = { service_account: projected("intruder") };
  expect(await verdict(() => decide(region, PODS, { credentials: other }))).toBe("identity_mismatch");
  const run = await change();
  expect(await verdict(() => run.step(scale(6), { credentials: reading() }))).toBe("identity_missing");
  const { attestation: _, ...unattested } = changing();
  expect(await verdict(() => run.step(scale(6), { credentials: unattested }))).toBe("attestation_missing");
});

test("another namespace, another cluster", async () => {
  const system = asked("get", "pod", "kube-system/x", {}, { namespace: "kube-system" });
  expect(await verdict(() => decide(region, system, { credentials: reading() }))).toBe("policy_denied");
  const abroad = asked("get", "pod", "payments/api-1", {}, { cluster: "prod-us" });
  expect(await verdict(() => decide(region, abroad, { credentials: reading() }))).toBe("zone_mismatch");
});

test("scale 4 to 6 within the window, 4 to 40 never, and no change outside of a run", async () => {
  const run = await change();
  expect(await verdict(() => run.step(scale(6), { credentials: changing() }))).toBe(inWindow());
  expect(await patient(() => run.step(scale(40), { credentials: changing() }))).toMatchObject({
    verdict: "policy_denied",
    policy_reason: "more_than_10_replicas",
  });
  expect(await verdict(() => decide(region, scale(6), { credentials: changing() }))).toBe("run_required");
});

test("an image that is not pinned, or that nobody attested", async () => {
  const run = await change();
  expect(await patient(() => run.step(release("app:latest"), { credentials: changing() }))).toMatchObject({
    verdict: "policy_denied",
    policy_reason: "image_not_pinned",
  });
  expect(
    await patient(() => run.step(release(ATTESTED.replace("9f86", "0000")), { credentials: changing() })),
  ).toMatchObject({
    policy_reason: "image_not_attested",
  });
  expect(await verdict(() => run.step(release(ATTESTED), { credentials: changing() }))).toBe(inWindow());
});

test("the same as a dry run: the same verdict, and no budget used", async () => {
  const run = await change();
  const before = await run.view();
  for (let i = 0; i < 12; i++)
    expect(await verdict(() => run.step(scale(6), { credentials: changing(), dry_run: true }))).toBe(inWindow());
  expect((await run.view())["budgets"]).toEqual(before["budgets"]);
  // Ten changes are what the pack grants one run; the dry ones were none of them.
  if (inWindow() !== "allow") return;
  for (let i = 0; i < 10; i++)
    expect(await verdict(() => run.step(scale(6), { credentials: changing() }))).toBe("allow");
  expect(await verdict(() => run.step(scale(6), { credentials: changing() }))).toBe("budget_exceeded");
});

test("neither a PVC nor a namespace is ever deleted", async () => {
  const run = await change();
  for (const type of ["persistent-volume-claim", "namespace"])
    expect(
      await patient(() => run.step(asked("delete", type, "payments/data"), { credentials: changing() })),
    ).toMatchObject({
      verdict: "policy_denied",
      policy_reason: "never_deleted",
    });
});

test("attestation 6 min old", async () => {
  const run = await change();
  expect(await verdict(() => run.step(scale(6), { credentials: changing(360) }))).toBe("attestation_stale");
  expect(await verdict(() => run.step(scale(6), { credentials: changing() }))).toBe(inWindow());
});

test("frozen by carol: every call is denied, until two administrators agree", async () => {
  const run = await change();
  await new AdminClient(region.url, region.admin).freeze("carol sees something odd");
  for (let i = 0; i < 5; i++) {
    expect(await verdict(() => run.step(scale(6), { credentials: changing() }))).toBe("region_frozen");
    expect(await verdict(() => decide(region, PODS, { credentials: reading() }))).toBe("region_frozen");
  }
  await unfreeze(region, "it was nothing");
  expect(await verdict(() => decide(region, PODS, { credentials: reading() }))).toBe("allow");
});
