import { beforeAll, describe, expect, test } from "vitest";
import { activePolicy } from "../../src/policy/baseline.ts";
import { explainRecorded } from "../../tools/explain/explain.ts";
import { recordedItem } from "../support/replayed.ts";
import { activate, ask, decide, named, read1, region, shard, trust } from "./region.ts";
import { open, revoke, step } from "./run-steps.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";

/** Explanations and counterfactuals as the shard gives them (docs/explain.md). */

const harsh: CanonicalRequest = {
  v: 1,
  subject: { type: "user", id: "alice" },
  action: { name: "delete", properties: { soft: false } },
  resource: { type: "record", id: "record-1" },
};
const soft: CanonicalRequest = { ...harsh, action: { name: "delete", properties: { soft: true } } };

beforeAll(activate);

describe("explain", () => {
  test("a denial names the permits that did not hold, with their lines; nothing is said unasked", async () => {
    const { explained, counterfactual } = (await decide([harsh], { explain: true })).items[0]!;
    expect(counterfactual).toBeUndefined();
    expect(explained).toMatchObject({
      failed: [{ reason: "policy_denied", text: expect.any(String), todo: expect.any(String) }],
      determining: [],
      unmatched: [{ policy: "authzen-certification/alice-deletes-softly", file: expect.stringContaining(".cedar") }],
      not_evaluated: [],
    });
    expect((await decide([harsh])).items[0]).not.toHaveProperty("explained");
  });

  test("the counterfactual is what the region then allows", async () => {
    const { items, decision_id } = await decide([harsh], { explain: true, counterfactual: true });
    expect(decision_id).not.toBeNull();
    expect(items[0]).toMatchObject({
      decision: false,
      counterfactual: {
        changes: [{ path: "/action/properties/soft", from: false, to: true }],
        facts: 1,
        minimal: true,
      },
    });
    expect((await decide([soft])).items[0]!.decision).toBe(true);
  });

  test("beside an allow, which leaves as it is", async () => {
    const { items, receipt } = await decide([soft, harsh], { explain: true, counterfactual: true });
    expect(receipt).not.toBeNull();
    expect(items.map(({ decision }) => decision)).toEqual([true, false]);
    expect(items[0]).not.toHaveProperty("counterfactual");
    expect(items[0]!.valid_until_ms).toBeGreaterThan(0);
    expect(items[1]!.counterfactual).toMatchObject({ facts: 1 });
  });

  test("searching changes nothing about the decision, and a dry run stays without a record", async () => {
    const plain = await decide([harsh], { dry_run: true, explain: true });
    const sought = await decide([harsh], { dry_run: true, explain: true, counterfactual: true });
    expect(sought.items[0]).toMatchObject({ reason: plain.items[0]!.reason, failed: plain.items[0]!.failed });
    expect(sought.decision_id).toBeNull();
  });

  test("a repetition explains by the law, and does not search", async () => {
    const message = await ask([harsh], { explain: true, counterfactual: true, idempotency_key: "explained-once" });
    const [first, again] = [await shard().decide(message), await shard().decide(message)];
    if (!first.ok || !again.ok) throw new Error("refused");
    expect(again.decision_id).toBe(first.decision_id);
    expect(again.items[0]!.explained).toEqual(first.items[0]!.explained);
    expect(again.items[0]).not.toHaveProperty("counterfactual");
  });

  test("of others that a step rests on it tells the kind only", async () => {
    const bob = { type: "user", id: "bob" };
    const run = await open({ principal: { type: "user", id: "carol" }, members: [bob] });
    const key = "subject:user/carol";
    const made = await trust().revoke({ key, from: "issue", reason: "left", actor: "t", wait: "local" });
    expect(made).toMatchObject({ ok: true });
    const item = (await decide([{ ...read1, subject: bob, run }], { explain: true })).items[0]!;
    expect(item).toMatchObject({ reason: "revoked", explained: { failed: [{ detail: "another subject" }] } });
    expect(JSON.stringify(item.explained)).not.toContain("carol");
  });

  test("of what an earlier step rested on, and was revoked from the beginning, it does not tell the name", async () => {
    const run = await open();
    const before = await step(run, { resource: { type: "record", id: "record-77" } });
    await revoke("resource:record/record-77");
    const item = (await decide([{ ...read1, run, parents: [before.id] }], { explain: true })).items[0]!;
    const detail = `step ${before.id} rests on something that was revoked`;
    expect(item).toMatchObject({ reason: "ancestor_revoked", explained: { failed: [{ detail }] } });
    // A pseudonym is one only to who does not hold the secret, and of a region without peers that is nobody.
    expect(JSON.stringify(item.explained)).not.toContain(named("resource:record/record-77"));
  });

  test("a record is explained later, from what it holds, as it was then", async () => {
    const asked = (await decide([harsh], { explain: true, counterfactual: true })).items[0]!;
    const found = await shard().findRecords({
      v: 1,
      from_ms: 0,
      to_ms: Date.now() + 60_000,
      subject: null,
      run: null,
      reason: "policy_denied",
      before_sseq: null,
      decision: null,
      limit: 1,
      payload: true,
      max_bytes: 1_000_000,
    });
    if (!found.ok) throw new Error(found.code);
    const policy = activePolicy(region);
    const of = (digest: string) => (digest === policy.digest ? policy : null);
    const explained = explainRecorded(recordedItem(found.found[0]!), of);
    expect(explained).toMatchObject({ recorded: "identical", decision: "deny", reason: "policy_denied" });
    expect(explained!.explanation).toEqual(asked.explained);
    expect(explained!.counterfactual).toEqual(asked.counterfactual);
    expect(() => explainRecorded(recordedItem(found.found[0]!), () => null)).toThrow("is not at hand");
  });
});
