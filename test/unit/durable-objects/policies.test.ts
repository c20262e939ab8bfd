import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { mintRunId } from "../../../src/base/ids.ts";
import { digestText, sha256 } from "../../../src/base/digest.ts";
import type { LeaseRequest } from "../../../src/objects/lease.ts";
import type { DecideAnswer, DecideMessage, ItemAnswer } from "../../../src/objects/decide.ts";
import { activePolicy } from "../../../src/policy/baseline.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadArtefact } from "../../../src/policy/bundles/artefact.ts";
import type { PolicyRef, PolicySchedule } from "../../../src/policy/bundles/schedule.ts";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { FakeStorage } from "../../support/durable-storage.ts";
import { bindings, grant, question, REGION } from "../../support/lone-shard.ts";
import { bundleBytes } from "../../support/policy-documents.ts";

/** A shard under signed policies: which one a decision is made by, and when there is none. */

const PACKS = bundleJson as unknown as Bundle;
const HOUR = 3_600_000;

/** Another bundle each time: what was compiled before is kept. */
let made = 0;
const bundles = new Map<string, Uint8Array>();
function bundle(packs: readonly string[]): Uint8Array {
  const bytes = bundleBytes(PACKS, { "*": packs, [`not-${++made}`]: packs });
  bundles.set(digestText(sha256(bytes)), bytes);
  return bytes;
}
/** Allows alice to read, or nobody anything. */
const lenient = () => bundle(["authzen-certification", "sovereign"]);
const strict = () => bundle(["sovereign"]);

function ref(bytes: Uint8Array, version: number, expires_ms = Date.now() + HOUR): PolicyRef {
  const loaded = loadArtefact(bytes, "eu");
  if (!loaded.ok) throw new Error(loaded.error);
  return { digest: loaded.value.digest, signed: { bundle: digestText(sha256(bytes)), version }, expires_ms };
}

const schedule = (serial: number, policy: PolicyRef, changes: Partial<PolicySchedule> = {}): PolicySchedule => ({
  serial,
  policy,
  from_ms: 0,
  before: null,
  fresh_until_ms: Date.now() + HOUR,
  problem: null,
  ...changes,
});

let shard: Shard;
let told: PolicySchedule;
/** How the authority answers for a bundle. */
let fetched: (bundle: string) => Promise<Uint8Array | null>;
let asked: string[];

beforeAll(() => void vi.spyOn(console, "warn").mockImplementation(() => undefined));
beforeEach(async () => {
  asked = [];
  fetched = async (digest) => bundles.get(digest) ?? null;
  const lease = async (request: LeaseRequest) => ({
    ...grant(request),
    remaining_ms: 60_000,
    policy: "",
    schedule: told,
    certificate: null,
  });
  const policyBundle = async (digest: string) => {
    asked.push(digest);
    return fetched(digest);
  };
  shard = new Shard(new FakeStorage().attach(), bindings({ lease, policyBundle }), REGION, 0);
  await shard.start();
});
afterEach(() => vi.useRealTimers());

async function decide(changes: Partial<DecideMessage> = {}): Promise<ItemAnswer & { readonly policy: string }> {
  return (await answer(changes)).item;
}

async function answer(
  changes: Partial<DecideMessage> = {},
): Promise<{ readonly item: ItemAnswer & { readonly policy: string }; readonly whole: DecideAnswer }> {
  const whole = await shard.decide(question(changes));
  if (!whole.ok) throw new Error(whole.code);
  const read = await shard.lineage.readDecision(whole.decision_id ?? "");
  const policy = read.ok ? (read.value as unknown as { record: { policy: string } }).record.policy : "";
  return { item: { ...whole.items[0]!, policy }, whole };
}

/** As the authority pushes it: the answer says that it is effective. */
async function push(next: PolicySchedule): Promise<void> {
  told = next;
  const message = {
    v: 1,
    from_revision: 0,
    revision: next.serial,
    mode: "active",
    entries: [],
    schedule: next,
  } as const;
  expect(await shard.applyTrust(message)).toMatchObject({ ok: true });
}

test("a shard that lacks the bundle fetches it, and decides by it", async () => {
  const one = lenient();
  told = schedule(1, ref(one, 1));
  expect(await decide()).toMatchObject({ decision: true, policy: told.policy!.digest });
  await decide();
  expect(asked).toHaveLength(1);
});

test("it denies, policy_stale, while it cannot have it, and serves as soon as it can", async () => {
  const one = lenient();
  told = schedule(1, ref(one, 1));
  for (const wrong of [null, strict(), new Uint8Array([1])]) {
    fetched = async () => wrong;
    expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
  }
  fetched = () => Promise.reject(new Error("unreachable"));
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
  const { whole } = await answer();
  expect(whole.continuity.policy).toBe("stale");
  fetched = async () => one;
  expect(await decide()).toMatchObject({ decision: true, policy: told.policy!.digest });
});

test("it waits for a bundle that does not come, and not for ever", async () => {
  told = schedule(1, ref(lenient(), 1));
  fetched = () => new Promise(() => undefined);
  const began = performance.now();
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
  expect(performance.now() - began).toBeGreaterThan(500);
});

test("a bundle whose packs are not what the authority names is none", async () => {
  const one = lenient();
  told = schedule(1, { ...ref(one, 1), digest: "sha256:another" });
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
});

test("once a push is confirmed nothing is decided by the policy before, not even a stored answer", async () => {
  const [one, two] = [lenient(), strict()];
  told = schedule(1, ref(one, 1));
  const kept = { idempotency_key: "k", implicit_run: mintRunId("eu", 1, new Uint8Array(16)) };
  expect(await decide(kept)).toMatchObject({ decision: true });
  expect(await decide(kept)).toMatchObject({ decision: true });
  await push(schedule(2, ref(two, 2)));
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_denied", policy: told.policy!.digest });
  expect(await decide(kept)).toMatchObject({ decision: false, reason: "withheld" });
});

test("a schedule that was overtaken changes nothing", async () => {
  const [one, two] = [lenient(), strict()];
  told = schedule(5, ref(two, 2));
  expect(await decide()).toMatchObject({ reason: "policy_denied" });
  told = schedule(4, ref(one, 1));
  await shard.applyTrust({ v: 1, from_revision: 0, revision: 5, mode: "active", entries: [], schedule: told });
  expect(await decide()).toMatchObject({ reason: "policy_denied" });
});

test("policies change at not_before on the shard's own clock, without another word of the authority", async () => {
  const [one, two] = [lenient(), strict()];
  const [before, after] = [ref(one, 1), ref(two, 2)];
  const from_ms = Date.now() + 400;
  told = schedule(1, after, { before, from_ms });
  const seen = new Map<string, number[]>();
  while (Date.now() < from_ms + 300) {
    const { item, whole } = await answer();
    seen.set(item.policy, [...(seen.get(item.policy) ?? []), whole.t_ms]);
    expect(item.reason === null || item.reason === "policy_denied" || item.reason === "withheld").toBe(true);
  }
  expect([...seen.keys()]).toEqual([before.digest, after.digest]);
  expect(Math.max(...seen.get(before.digest)!)).toBeLessThan(from_ms);
  expect(Math.min(...seen.get(after.digest)!)).toBeGreaterThanOrEqual(from_ms);
});

test("an expiry denies at the decision and at the release", async () => {
  const one = lenient();
  const ends = Date.now() + 300;
  told = schedule(1, ref(one, 1), { fresh_until_ms: ends });
  expect(await decide()).toMatchObject({ decision: true });
  await new Promise((resolve) => setTimeout(resolve, ends - Date.now() + 1));
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
  told = schedule(2, ref(one, 1, Date.now() + HOUR));
  await push(told);
  expect(await decide()).toMatchObject({ decision: true });
  // Decided before, to be released after: the clock passes the expiry while the record is on its way to disk.
  await push(schedule(3, ref(one, 1, Date.now() + 2_000)));
  const real = Date.now;
  const before = shard.store.head().sseq;
  const waiting = decide();
  while (shard.writer.sseq === before) await new Promise((resolve) => setImmediate(resolve));
  vi.spyOn(Date, "now").mockImplementation(() => real() + 2_500);
  expect(await waiting).toMatchObject({ decision: false, reason: "withheld" });
  vi.mocked(Date.now).mockRestore();
});

test("nobody may keep an allow for longer than its policy is in force", async () => {
  const [one, two] = [lenient(), strict()];
  const ends = Date.now() + 20_000;
  const kept = { idempotency_key: "v", implicit_run: mintRunId("eu", 1, new Uint8Array(16)) };
  // The lease is a minute.
  told = schedule(1, ref(one, 1));
  expect((await decide(kept)).valid_until_ms).toBeGreaterThan(ends);
  for (const next of [
    schedule(2, ref(one, 1, ends)),
    schedule(3, ref(one, 1), { fresh_until_ms: ends }),
    schedule(4, ref(two, 2), { before: ref(one, 1), from_ms: ends }),
  ]) {
    await push(next);
    expect((await decide()).valid_until_ms).toBe(ends);
    const again = await decide(kept);
    expect([again.decision, again.valid_until_ms]).toEqual([true, ends]);
  }
});

test("before any signed policy the baseline decides; another deployment's baseline does not", async () => {
  const digest = activePolicy(REGION).digest;
  told = schedule(0, { digest, signed: null, expires_ms: null }, { fresh_until_ms: null });
  expect(await decide()).toMatchObject({ decision: true, policy: digest });
  told = schedule(1, { digest: "sha256:newer", signed: null, expires_ms: null }, { fresh_until_ms: null });
  await push(told);
  expect(await decide()).toMatchObject({ decision: false, reason: "policy_stale" });
});
