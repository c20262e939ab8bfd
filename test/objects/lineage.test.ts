import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { mintRunId, parseDecisionId } from "../../src/base/ids.ts";
import { jcs } from "../../src/base/jcs.ts";
import { encodeConsistency } from "../../src/trust/consistency.ts";
import type { Facts } from "../../src/vocabulary/types.ts";
import { checkSource } from "../../src/lineage/chain.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { shardName } from "../../src/objects/address.ts";
import type { DecideAnswer } from "../../src/objects/decide.ts";
import { activate, ask, decide, env, factsOf, read1, region, shard, trust, undeclared } from "./region.ts";

const bobWrites = { ...read1, subject: { type: "user", id: "bob" }, action: { name: "write" } };
const bytes = (text: string): Uint8Array => fromBase64url(text)!;

async function verified(answer: DecideAnswer, leafHashes: readonly Uint8Array[]) {
  const { keys } = await trust().jwks();
  return verifyReceipt(
    answer.receipt!,
    { kind: "records", leafHashes },
    (kid) => keys.find((key) => key.kid === kid) ?? null,
    { region: "eu", pdp: region.pdp },
    sha256,
  );
}

async function recordsOf(answer: DecideAnswer, k = 0) {
  const ids =
    answer.items.length === 1
      ? [answer.decision_id!]
      : answer.items.map((_, index) => `${answer.decision_id}/${index}`);
  return Promise.all(
    ids.map(async (id) => {
      const read = await shard(k).readDecision(id);
      if (!read.ok) throw new Error(`${id}: ${read.code}`);
      return read.value;
    }),
  );
}

beforeAll(activate);

describe("lineage of decisions", () => {
  it("records before it answers, and the receipt covers exactly that record", async () => {
    const answer = await decide([read1]);
    const [record] = await recordsOf(answer);
    expect(leafHash(bytes(record!.leaf), sha256)).toEqual(bytes(record!.leaf_hash));
    expect(record!.record).toMatchObject({ decision: "allow", kind: "decision", region: "eu", seq: 1, prev: null });
    expect(record!.payload).toMatchObject({ input: { subject: { id: "alice" } }, facts: { pep: { id: "gateway" } } });
    expect((await verified(answer, [bytes(record!.leaf_hash)])).ok).toBe(true);
    expect((await verified(answer, [sha256(bytes(record!.leaf_hash))])).ok).toBe(false);
    // Nothing personal in the leaf itself.
    expect(new TextDecoder().decode(bytes(record!.leaf))).not.toMatch(/alice|record-1|gateway/);
  });

  it("gives a batch one id, one receipt and one chain, in item order", async () => {
    const answer = await decide([read1, bobWrites, read1], { inline_evidence: true });
    expect(answer.items.map((item) => item.decision)).toEqual([true, false, true]);
    const records = await recordsOf(answer);
    expect(records.map((record) => record.record["seq"])).toEqual([1, 2, 3]);
    expect(records[1]!.record["prev"]).toBe(records[0]!.leaf_hash);
    expect(
      (
        await verified(
          answer,
          records.map((record) => bytes(record.leaf_hash)),
        )
      ).ok,
    ).toBe(true);
    expect(answer.items.map((item) => item.evidence!.leaf)).toEqual(records.map((record) => record.leaf));
  });

  it("leaves no record of what a short circuit did not reach", async () => {
    const answer = await decide([read1, bobWrites, read1], { semantic: "deny_on_first_deny" });
    expect(answer.items.map((item) => item.decision)).toEqual([true, false]);
    expect((await shard().readDecision(`${answer.decision_id}/2`)).ok).toBe(false);
    const permit = await decide([bobWrites, read1, bobWrites], { semantic: "permit_on_first_permit" });
    expect(permit.items.map((item) => item.decision)).toEqual([false, true]);
  });

  it("keeps a gapless, linked source under 50 concurrent callers", async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => decide(i % 5 === 0 ? [read1, bobWrites] : [read1])),
    );
    expect(new Set(answers.map((answer) => answer.decision_id)).size).toBe(50);
    // Different flushes shared a signature: every receipt still verifies on its own.
    for (const answer of answers) {
      const records = await recordsOf(answer);
      expect(
        (
          await verified(
            answer,
            records.map((record) => bytes(record.leaf_hash)),
          )
        ).ok,
      ).toBe(true);
    }
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
    const rows = await runInDurableObject(stub, (_, state) =>
      state.storage.sql
        .exec<{ sseq: number; leaf: ArrayBuffer; leaf_hash: ArrayBuffer }>(
          "SELECT sseq, leaf, leaf_hash FROM record ORDER BY sseq",
        )
        .toArray()
        .map((row) => ({ sseq: row.sseq, leaf: new Uint8Array(row.leaf), leaf_hash: new Uint8Array(row.leaf_hash) })),
    );
    const checked = checkSource(rows, sha256, { region: "eu", log_epoch: 1, source: "shard/0" });
    expect(checked.ok).toBe(true);
  });

  it("writes nothing on a dry run, and gives the same verdict", async () => {
    const before = (await shard().status()).sseq;
    const answer = await decide([read1, bobWrites], { dry_run: true });
    expect(answer).toMatchObject({ decision_id: null, receipt: null });
    expect(answer.items.map((item) => item.decision)).toEqual([true, false]);
    expect((await shard().status()).sseq).toBe(before);
  });

  it("denies late calls without a record", async () => {
    const before = (await shard().status()).sseq;
    const late = await decide([read1], { deadline_ms: 0 });
    expect(late.items[0]).toMatchObject({ decision: false, reason: "deadline" });
    expect((await shard().status()).sseq).toBe(before);
  });

  it("gives the same core for the same question, whatever the implicit run's id", async () => {
    const cores = await Promise.all(
      [decide([read1]), decide([read1])].map(
        async (answer) => (await recordsOf(await answer))[0]!.payload!["core"] as Record<string, unknown>,
      ),
    );
    expect({ ...cores[0], t_ms: 0 }).toEqual({ ...cores[1], t_ms: 0 });
  });
});

describe("idempotency keys", () => {
  it("give the same answer, id and receipt again, also within one flush", async () => {
    const message = await ask([read1, bobWrites], { idempotency_key: "k-1" });
    const answers = await Promise.all([shard().decide(message), shard().decide(message), shard().decide(message)]);
    const later = await shard().decide(message);
    for (const answer of [...answers, later]) {
      if (!answer.ok) throw new Error(answer.code);
      expect(answer.decision_id).toBe((answers[0] as DecideAnswer).decision_id);
      expect(answer.items.map((item) => item.decision)).toEqual([true, false]);
      const records = await recordsOf(answer);
      expect(
        (
          await verified(
            answer,
            records.map((record) => bytes(record.leaf_hash)),
          )
        ).ok,
      ).toBe(true);
    }
  });

  it("refuse another question under the same key, and are the PEP's own", async () => {
    await shard().decide(await ask([read1], { idempotency_key: "k-2" }));
    expect(await shard().decide(await ask([bobWrites], { idempotency_key: "k-2" }))).toEqual({
      ok: false,
      code: "idempotency_conflict",
    });
    const other = await shard().decide(
      await ask([bobWrites], { idempotency_key: "k-2", facts: await factsOf("other") }),
    );
    expect(other.ok).toBe(true);
  });

  it("never turn to allow: a repeated allow is denied once what it rests on is revoked", async () => {
    const message = await ask([read1], { idempotency_key: "k-3" });
    expect(await shard().decide(message)).toMatchObject({ items: [{ decision: true }] });
    const revoked = await trust().revoke({
      key: "resource:record/record-1",
      from: "issue",
      reason: "",
      actor: "t",
      wait: "local",
    });
    if (!revoked.ok) throw new Error(revoked.message);
    expect(await shard().decide(message)).toMatchObject({ items: [{ decision: false, reason: "withheld" }] });
    await trust().restore(revoked.value.id, "", "t");
  });

  it("are looked at with the eyes of who repeats: another credential of the PEP, another at_least", async () => {
    const message = await ask([read1], { idempotency_key: "k-5" });
    expect(await shard().decide(message)).toMatchObject({ items: [{ decision: true }] });
    const facts = JSON.parse(await factsOf()) as Facts;
    const second = jcs({ ...facts, pep: { ...facts.pep, credential: "jti-second" } });
    expect(await shard().decide({ ...message, facts: second })).toMatchObject({ items: [{ decision: true }] });
    const key = "credential:https://eu.pdp.example#jti-second";
    const revoked = await trust().revoke({ key, from: "issue", reason: "", actor: "t", wait: "local" });
    if (!revoked.ok) throw new Error(revoked.message);
    const turned = await shard().decide({ ...message, facts: second });
    expect(turned).toMatchObject({ items: [{ decision: false, reason: "withheld" }], receipt: null });
    expect(await shard().decide(message)).toMatchObject({ items: [{ decision: true }] });
    const at_least = encodeConsistency({ region: "eu", revision: 1_000_000, events: {} });
    expect(await shard().decide({ ...message, at_least })).toMatchObject({ items: [{ decision: false }] });
    expect(await shard().decide({ ...message, dry_run: true })).toMatchObject({ decision_id: null, receipt: null });
    await trust().restore(revoked.value.id, "", "t");
  });

  it("survive a restart of the shard", async () => {
    const message = await ask([read1], { idempotency_key: "k-4" });
    const first = await shard().decide(message);
    await evictDurableObject(env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))));
    const again = await shard().decide(message);
    expect((again as DecideAnswer).decision_id).toBe((first as DecideAnswer).decision_id);
    expect((again as DecideAnswer).receipt).toBe((first as DecideAnswer).receipt);
  });
});

describe("runs", () => {
  const run = () => mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));

  it("open, take their members' steps in one chain, and close", async () => {
    const id = run();
    const facts = await factsOf();
    const opened = await shard().openRun({
      v: 1,
      run: id,
      principal: { type: "user", id: "alice" },
      members: [],
      ...undeclared,
      facts,
      traceparent: null,
    });
    expect(opened).toMatchObject({ ok: true, run: { status: "open", version: 1, principal: "user/alice" } });
    const step = { ...read1, run: id };
    expect((await decide([step])).items[0]!.decision).toBe(true);
    expect((await decide([{ ...bobWrites, run: id }], { explain: true })).items[0]).toMatchObject({
      decision: false,
      reason: "run_not_member",
    });
    expect(await shard().closeRun({ v: 1, run: id, facts, traceparent: null })).toMatchObject({
      ok: true,
      run: { status: "closed", version: 4 },
    });
    expect(await shard().closeRun({ v: 1, run: id, facts, traceparent: null })).toMatchObject({
      ok: true,
      run: { version: 4 },
    });
    expect((await decide([step])).items[0]).toMatchObject({ decision: false, reason: "run_closed" });
    const lineage = await shard().readRun(id, 3, null);
    if (!lineage.ok) throw new Error(lineage.code);
    expect(lineage.value.records.map((record) => record.record["seq"])).toEqual([3, 4, 5]);
    const older = await shard().readRun(id, 3, lineage.value.next_before_sseq);
    expect(older.ok && older.value.records.map((record) => record.record["kind"])).toEqual(["run.open", "decision"]);
  });

  it("deny steps of a run nobody opened, with a record", async () => {
    const answer = await decide([{ ...read1, run: run() }]);
    expect(answer.items[0]).toMatchObject({ decision: false, reason: "run_unknown" });
    expect((await recordsOf(answer))[0]!.record).toMatchObject({ decision: "deny", reason: "run_unknown" });
  });

  it("stop when the run itself is revoked", async () => {
    const id = run();
    await shard().openRun({
      v: 1,
      run: id,
      principal: { type: "user", id: "alice" },
      members: [],
      ...undeclared,
      facts: await factsOf(),
      traceparent: null,
    });
    await trust().revoke({ key: `run:${id}`, from: "issue", reason: "stop", actor: "t", wait: "local" });
    expect((await decide([{ ...read1, run: id }])).items[0]).toMatchObject({ decision: false, reason: "revoked" });
    expect((await decide([read1])).items[0]!.decision).toBe(true);
  });
});

describe("a shard", () => {
  it("keeps records, revocations and key over a restart, and holds no lease until it has asked", async () => {
    const before = await shard().status();
    await trust().revoke({ key: "subject:user/carol", from: "issue", reason: "", actor: "t", wait: "local" });
    await evictDurableObject(env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))));
    expect((await decide([{ ...read1, subject: { type: "user", id: "carol" } }])).items[0]).toMatchObject({
      decision: false,
      reason: "revoked",
    });
    expect((await shard().status()).sseq).toBe(before.sseq + 1);
  });

  it("refuses facts under unlisted keys, and an unknown message version", async () => {
    const facts = (await factsOf())
      .replace(/eu\.1\.authority\.1/, "eu.1.authority.9")
      .replace(/sha256:[^"]+/, "sha256:other");
    expect(await shard().decide(await ask([read1], { facts }))).toEqual({ ok: false, code: "stale_facts" });
    expect(await shard().decide({ ...(await ask([read1])), v: 2 as 1 })).toEqual({
      ok: false,
      code: "unsupported_version",
    });
    const nameless = { ...JSON.parse(await factsOf()), thumbprints: [] };
    expect(await shard().decide(await ask([read1], { facts: JSON.stringify(nameless) }))).toEqual({
      ok: false,
      code: "stale_facts",
    });
    const open = { ...JSON.parse(await factsOf()), keys: [], thumbprints: [] };
    expect(await shard().decide(await ask([read1], { facts: JSON.stringify(open) }))).toEqual({
      ok: false,
      code: "stale_facts",
    });
  });

  it("that never held a lease says so, whatever it is asked, and records nothing", async () => {
    // The authority knows shards 0 and 1 only, so it grants this one nothing, as it does to one that lost its key.
    const unleased = shard(7);
    const answer = await unleased.decide(await ask([read1, bobWrites]));
    if (!answer.ok) throw new Error(answer.code);
    const denied = { decision: false, reason: "trust_lease_expired" };
    expect(answer).toMatchObject({ decision_id: null, receipt: null, items: [denied, denied] });
    expect(answer.continuity.trust).toBe("stale");
    const facts = await factsOf();
    const page = { token: null, limit: null };
    const question = { v: 1, kind: "subject", request: JSON.stringify(read1), facts, page } as const;
    expect(await unleased.search(question)).toMatchObject({ ok: true, results: [], reason: "trust_lease_expired" });
    const run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
    const principal = { type: "user", id: "alice" };
    const refused = { ok: false, code: "denied", reason: "trust_lease_expired" };
    const opening = { v: 1, run, principal, members: [], ...undeclared, facts, traceparent: null } as const;
    expect(await unleased.openRun(opening)).toEqual(refused);
    expect(await unleased.closeRun({ v: 1, run, facts, traceparent: null })).toEqual(refused);
    expect(await unleased.status()).toMatchObject({ sseq: 0, denies: "trust_lease_expired" });
  });

  it("finds by search what it would allow, page by page", async () => {
    const request = JSON.stringify({ ...read1, subject: { type: "user", id: "" } });
    const message = {
      v: 1 as const,
      kind: "subject" as const,
      request,
      facts: await factsOf(),
      page: { token: null, limit: 1 },
    };
    const first = await shard().search(message);
    if (!first.ok) throw new Error(first.code);
    expect(first.results).toEqual([{ type: "user", id: "alice" }]);
    const second = await shard().search({ ...message, page: { token: first.next_token, limit: 1 } });
    expect(second).toMatchObject({ results: [{ type: "user", id: "bob" }], next_token: "" });
    expect(await shard().search({ ...message, page: { token: first.next_token, limit: 2 } })).toEqual({
      ok: false,
      code: "bad_page_token",
    });
    await trust().revoke({ key: "subject:user/bob", from: "issue", reason: "", actor: "t", wait: "local" });
    expect(await shard().search({ ...message, page: { token: null, limit: null } })).toMatchObject({
      results: [{ id: "alice" }],
      total: 1,
    });
  });

  it("names its records by ids that parse", async () => {
    const answer = await decide([read1]);
    expect(parseDecisionId(answer.decision_id!)).toMatchObject({ region: "eu", log_epoch: 1, shard: 0 });
    expect((await shard(1).readDecision(answer.decision_id!)).ok).toBe(false);
  });
});
