import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { activate, ask, decide, env, read1, region, shard, signMembership, trust } from "./region.ts";
import { fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { decisionId } from "../../src/base/ids.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import { shardName } from "../../src/objects/address.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";

const bobReads = { ...read1, subject: { type: "user", id: "bob" } };

describe("a region", () => {
  it("is joining and denies everything until it holds a signed membership", async () => {
    const before = await decide([read1]);
    expect(before.items[0]).toMatchObject({ decision: false, reason: "region_joining" });
    expect(before.decision_id).not.toBeNull();
  });

  it("refuses a membership that does not list its own key, another region's, an expired one and a lower version", async () => {
    const enrolment = await trust().enrolment();
    const other = { ...enrolment, keys: [{ ...enrolment.keys[0]!, x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] };
    expect(await trust().putMembership(await signMembership(other), "t")).toMatchObject({ ok: false, code: "invalid" });
    expect(await trust().putMembership(await signMembership(enrolment, 1, { expires_ms: 1 }), "t")).toMatchObject({
      ok: false,
      code: "invalid",
    });
    expect(await trust().putMembership({}, "t")).toMatchObject({ ok: false, code: "invalid" });
    expect(await trust().putMembership(await signMembership(enrolment, 5), "t")).toMatchObject({ ok: true });
    expect(await trust().putMembership(await signMembership(enrolment, 4), "t")).toMatchObject({
      ok: false,
      code: "conflict",
    });
  });

  it("decides once it is active", async () => {
    const answer = await decide([read1]);
    expect(answer.items[0]).toMatchObject({ decision: true, reason: null });
    expect(answer.receipt).toContain('"payload":');
  });
});

describe("revocation inside a region (G3)", () => {
  beforeAll(activate);

  it("denies on every shard once it is acknowledged, and allows again after the restoration", async () => {
    for (const k of [0, 1]) expect((await decide([read1], {}, k)).items[0]!.decision).toBe(true);
    const revoked = await trust().revoke({
      key: "subject:user/alice",
      from: "issue",
      reason: "test",
      actor: "t",
      wait: "local",
    });
    if (!revoked.ok) throw new Error(revoked.message);
    expect(revoked.value.status).toEqual({ eu: "confirmed" });
    for (const k of [0, 1]) {
      const denied = await decide([read1], { explain: true }, k);
      expect(denied.items[0]).toMatchObject({ decision: false, reason: "revoked" });
      expect(denied.items[0]!.failed![0]!.detail).toBe("subject:user/alice");
    }
    const restored = await trust().restore(revoked.value.id, "cleared", "t");
    expect(restored).toMatchObject({ ok: true, value: { state: "restored", generation: 2 } });
    for (const k of [0, 1]) expect((await decide([read1], {}, k)).items[0]!.decision).toBe(true);
  });

  it("is idempotent, and only a stronger revocation is a new event", async () => {
    const message = {
      key: "resource:record/record-9",
      from: "issue" as const,
      reason: "r",
      actor: "t",
      wait: "local" as const,
    };
    const first = await trust().revoke(message);
    const again = await trust().revoke(message);
    const stronger = await trust().revoke({ ...message, from: "beginning" });
    const weaker = await trust().revoke(message);
    if (!first.ok || !again.ok || !stronger.ok || !weaker.ok) throw new Error("refused");
    expect(again.value.id).toBe(first.value.id);
    expect(stronger.value.generation).toBe(2);
    expect(weaker.value.id).toBe(stronger.value.id);
    expect(await trust().restore(first.value.id, "late", "t")).toMatchObject({ ok: false, code: "conflict" });
  });

  it("refuses an unknown kind and restores only what this region revoked", async () => {
    expect(await trust().revoke({ key: "wish:x", from: "issue", reason: "", actor: "t", wait: "local" })).toMatchObject(
      { ok: false, code: "invalid" },
    );
    expect(await trust().restore("us.1.1", "", "t")).toMatchObject({ ok: false, code: "not_found" });
    expect(await trust().restore("eu.1.1", "", "t")).toMatchObject({ ok: false, code: "not_found" });
  });

  it.each([
    "pep:eu/gateway",
    "credential:https://eu.pdp.example#jti-gateway",
    "issuer:https://eu.pdp.example",
    "resource:record/record-1",
  ])("takes %s away from every decision that rests on it", async (key) => {
    const revoked = await trust().revoke({ key, from: "issue", reason: "test", actor: "t", wait: "local" });
    if (!revoked.ok) throw new Error(revoked.message);
    expect((await decide([read1])).items[0]).toMatchObject({ decision: false, reason: "revoked" });
    await trust().restore(revoked.value.id, "test", "t");
    expect((await decide([read1])).items[0]!.decision).toBe(true);
  });

  it("withholds an allow that was decided before a revocation and would leave after it", async () => {
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
    await decide([read1]);
    const [message, other] = [await ask([read1], { idempotency_key: "withheld-1" }), await ask([bobReads])];
    const { revision } = await shard().status();
    const answers = await runInDurableObject(stub, async (instance) => {
      const object = instance as unknown as ShardRpc;
      // The turn runs at once, inside the call; the revocation comes while its flush is on the way to disk.
      const answering = object.decide(message);
      const applied = object.applyTrust({
        v: 1,
        from_revision: revision,
        revision: revision + 1,
        mode: "active",
        entries: [{ key: "subject:user/alice", origin: "eu", generation: 1_000, state: "revoked", from: "issue" }],
      });
      // Shares the next flush with the withheld record.
      const beside = object.decide(other);
      const first = await answering;
      return [first, await beside, await applied, await object.decide(message)] as const;
    });
    const [withheld, beside, applied, repeated] = answers;
    if (!withheld.ok || !beside.ok || !repeated.ok) throw new Error("refused");
    expect(applied).toEqual({ ok: true, revision: revision + 1 });
    expect(withheld.items[0]).toMatchObject({ decision: false, reason: "withheld" });
    // The record of the allow stands, and the record that withdraws it follows.
    const allow = await shard().readDecision(withheld.decision_id!);
    if (!allow.ok) throw new Error(allow.code);
    expect(allow.value.record["decision"]).toBe("allow");
    const withdrawn = await shard().readDecision(decisionId("eu", 1, 0, (allow.value.record["sseq"] as number) + 1));
    if (!withdrawn.ok) throw new Error(withdrawn.code);
    expect(withdrawn.value.record).toMatchObject({
      kind: "withheld",
      decision: "deny",
      refers: allow.value.leaf_hash,
      seq: 2,
    });
    // Receipts of calls that share a flush with it still verify.
    const { keys } = await trust().jwks();
    const record = await shard().readDecision(beside.decision_id!);
    if (!record.ok) throw new Error(record.code);
    const verified = await verifyReceipt(
      beside.receipt!,
      { kind: "records", leafHashes: [fromBase64url(record.value.leaf_hash)!] },
      (kid) => keys.find((key) => key.kid === kid) ?? null,
      { region: "eu", pdp: region.pdp },
      sha256,
    );
    expect(verified.ok).toBe(true);
    // The stored answer of the key has become a deny for good.
    expect(repeated.items[0]).toMatchObject({ decision: false, reason: "withheld" });
    // Let the authority catch up with the revision that this test made up.
    await trust().revoke({ key: "subject:user/alice", from: "issue", reason: "t", actor: "t", wait: "local" });
  });

  it("freezes and unfreezes the whole region", async () => {
    await trust().freeze("incident", "t");
    for (const k of [0, 1])
      expect((await decide([bobReads], {}, k)).items[0]).toMatchObject({ decision: false, reason: "region_frozen" });
    // Deny-ward writes are accepted while frozen.
    expect(
      await trust().revoke({ key: "subject:user/mallory", from: "issue", reason: "", actor: "t", wait: "local" }),
    ).toMatchObject({ ok: true });
    await trust().unfreeze("over", "t");
    expect((await decide([bobReads])).items[0]!.decision).toBe(true);
  });
});
