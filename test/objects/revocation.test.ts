import { runInDurableObject } from "cloudflare:test";
import { calculateJwkThumbprint } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { activate, ask, decide, env, named, read1, readying, region, shard, signMembership, trust } from "./region.ts";
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

  it("refuses a membership that does not list its own key, another region's, an expired one, a lower version and another delta_ms", async () => {
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
    expect(await trust().putMembership(await signMembership(enrolment, 6, { delta_ms: 3_000 }), "t")).toMatchObject({
      ok: false,
      code: "invalid",
      message: "delta_ms is 2000 and stays what it is",
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
    // A machine that stands still lets the leases end instead.
    expect(["confirmed", "lease_expired"]).toContain(revoked.value.status["eu"]);
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
    "key:<the one that signs PEP credentials>",
    "resource:record/record-1",
  ])("takes %s away from every decision that rests on it", async (named) => {
    const { keys } = await trust().jwks();
    const signer = keys.find(({ kid }) => kid === "eu.1.authority.1")!;
    const key = named.startsWith("key:") ? `key:${await calculateJwkThumbprint(signer)}` : named;
    const revoked = await trust().revoke({ key, from: "issue", reason: "test", actor: "t", wait: "local" });
    if (!revoked.ok) throw new Error(revoked.message);
    expect(revoked.value.effect).toBe("denies");
    for (const k of [0, 1])
      expect((await decide([read1], {}, k)).items[0]).toMatchObject({ decision: false, reason: "revoked" });
    await trust().restore(revoked.value.id, "test", "t");
    expect((await decide([read1])).items[0]!.decision).toBe(true);
  });

  it("says so where it is of a kind that no decision rests on yet", async () => {
    const key = `image:sha256:${"0".repeat(64)}`;
    const revoked = await trust().revoke({ key, from: "issue", reason: "test", actor: "t", wait: "local" });
    expect(revoked).toMatchObject({ ok: true, value: { effect: "recorded", status: { eu: "confirmed" } } });
  });

  it("shows a PEP as revoked whose signing key is, and answers which keys are", async () => {
    const { thumbprint } = (await trust().material()).keys[0]!;
    const registered = await trust().registerPep({ id: "shown", scopes: ["evaluate"], ttl_s: 60, actor: "t" });
    expect(registered).toMatchObject({ ok: true, value: { status: "active" } });
    const keys = ["subject:user/nobody", `key:${thumbprint}`];
    const status = async () => (await trust().pepStatus("shown"))!.status;
    expect([await trust().anyRevoked(keys), await status()]).toEqual([false, "active"]);
    const revoked = await trust().revoke({ key: keys[1]!, from: "issue", reason: "", actor: "t", wait: "local" });
    if (!revoked.ok) throw new Error(revoked.message);
    expect([await trust().anyRevoked(keys), await status()]).toEqual([true, "revoked"]);
    expect(await trust().listPeps()).toEqual([await trust().pepStatus("shown")]);
    expect(await trust().pepStatus("hidden")).toBeNull();
    expect(await trust().anyRevoked([])).toBe(false);
    await trust().restore(revoked.value.id, "", "t");
    expect([await trust().anyRevoked(keys), await status()]).toEqual([false, "active"]);
  });

  it("withholds an allow that was decided before a revocation and would leave after it", async () => {
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
    await decide([read1]);
    const [message, other] = [await ask([read1], { idempotency_key: "withheld-1" }), await ask([bobReads])];
    const ready = await readying();
    const { revision } = await shard().status();
    const answers = await runInDurableObject(stub, async (instance, state) => {
      const object = instance as unknown as ShardRpc;
      await ready(object);
      // The turn runs at once, inside the call; the revocation comes while its flush is on the way to disk.
      const answering = object.decide(message);
      const applied = object.applyTrust({
        v: 1,
        from_revision: revision,
        revision: revision + 1,
        mode: "active",
        entries: [
          {
            key: named("subject:user/alice"),
            origin: "eu",
            generation: 3,
            state: "revoked",
            from: "issue",
            until_ms: null,
          },
        ],
      });
      // Shares the next flush with the withheld record.
      const beside = object.decide(other);
      const first = await answering;
      // What a crash at this moment would leave: the withheld record, and a stored answer that allows nothing.
      const { sseq } = state.storage.sql.exec<{ sseq: number }>("SELECT max(sseq) AS sseq FROM record").one();
      const kept = state.storage.sql
        .exec<{ answer: string }>("SELECT answer FROM idempotency ORDER BY first_sseq DESC LIMIT 1")
        .one();
      return [first, await beside, await applied, await object.decide(message), sseq, kept.answer] as const;
    });
    const [withheld, beside, applied, repeated, sseq, kept] = answers;
    if (!withheld.ok || !beside.ok || !repeated.ok) throw new Error("refused");
    expect(applied).toEqual({ ok: true, revision: revision + 1 });
    expect(withheld.items[0]).toMatchObject({ decision: false, reason: "withheld" });
    // The record of the allow stands, and the record that withdraws it follows.
    const allow = await shard().readDecision(withheld.decision_id!);
    if (!allow.ok) throw new Error(allow.code);
    expect(allow.value.record["decision"]).toBe("allow");
    const withdrawn = await shard().readDecision(decisionId("eu", 1, 0, (allow.value.record["sseq"] as number) + 1));
    if (!withdrawn.ok) throw new Error(withdrawn.code);
    expect(sseq).toBeGreaterThanOrEqual(withdrawn.value.record["sseq"] as number);
    expect(JSON.parse(kept)).toMatchObject({ items: [{ decision: false, reason: "withheld" }] });
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

  it("gives a repetition in the same flush what the withheld answer has become", async () => {
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
    await decide([bobReads]);
    const [first, message] = [await ask([bobReads]), await ask([bobReads], { idempotency_key: "withheld-2" })];
    const ready = await readying();
    const { revision } = await shard().status();
    const told = await runInDurableObject(stub, async (instance) => {
      const object = instance as unknown as ShardRpc;
      const applied = (step: number, mode: "frozen" | "active") =>
        object.applyTrust({ v: 1, from_revision: revision, revision: revision + step, mode, entries: [] });
      await ready(object);
      // The first goes alone; the other two share the next flush, and the region freezes while it is being sealed.
      const before = object.decide(first);
      const both = Promise.all([object.decide(message), object.decide(message)]);
      await before;
      const encrypt = crypto.subtle.encrypt.bind(crypto.subtle);
      const freezing: Promise<unknown>[] = [];
      crypto.subtle.encrypt = (...sealing) => {
        if (freezing.length === 0) freezing.push(applied(1, "frozen").then(() => applied(2, "active")));
        return encrypt(...sealing);
      };
      try {
        return [...(await both), await object.decide(message)];
      } finally {
        crypto.subtle.encrypt = encrypt;
        await Promise.all(freezing);
      }
    });
    // Active again at once: only the stored answer stands between the repetition and the allow.
    for (const answer of told) expect(answer).toMatchObject({ items: [{ decision: false, reason: "withheld" }] });
    expect(new Set(told.map((answer) => answer.ok && answer.decision_id)).size).toBe(1);
    // Let the authority catch up with the revisions that this test made up.
    for (const [id, wait] of [
      ["x", "accepted"],
      ["y", "local"],
    ] as const)
      await trust().revoke({ key: `subject:user/${id}`, from: "issue", reason: "t", actor: "t", wait });
  });

  it("freezes and unfreezes the whole region", async () => {
    await trust().freeze("incident", "t");
    for (const k of [0, 1])
      expect((await decide([bobReads], {}, k)).items[0]).toMatchObject({ decision: false, reason: "region_frozen" });
    // Deny-ward writes are accepted while frozen.
    expect(
      await trust().revoke({ key: "subject:user/mallory", from: "issue", reason: "", actor: "t", wait: "local" }),
    ).toMatchObject({ ok: true });
    const unfreeze = (actor: string, key = "k1") =>
      trust().unfreeze({ reason: "over", actor, key, another_key: true, rests_on: [] });
    // Asking twice is asking once; the same key under another name is no second administrator.
    for (let i = 0; i < 2; i++)
      expect(await unfreeze("t")).toMatchObject({
        ok: true,
        value: { mode: "frozen", unfreeze: { asked_by: "t", reason: "over" } },
      });
    expect(await unfreeze("u")).toMatchObject({ ok: false, code: "conflict" });
    // Whoever disagrees freezes again: what was asked is taken back.
    expect(await trust().freeze("not yet", "v")).toMatchObject({
      ok: true,
      value: { mode: "frozen", unfreeze: null, status: { eu: "confirmed" } },
    });
    expect(await unfreeze("u", "k2")).toMatchObject({ ok: true, value: { mode: "frozen" } });
    expect((await decide([bobReads])).items[0]).toMatchObject({ decision: false, reason: "region_frozen" });
    expect(await unfreeze("t")).toMatchObject({ ok: true, value: { mode: "active", unfreeze: null } });
    expect((await decide([bobReads])).items[0]!.decision).toBe(true);
  });
});
