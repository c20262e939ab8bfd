import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { mintRunId } from "../../src/base/ids.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { RevocationView, RevokeMessage } from "../../src/objects/revocations.ts";
import { activate, decide, env, factsOf, read1, region, shard, trust, undeclared } from "./region.ts";

const message: RevokeMessage = {
  key: "subject:user/ida",
  from: "issue",
  reason: "left",
  actor: "ana",
  wait: "local",
  idempotency_key: "k1",
};
const value = (result: AdminResult<RevocationView>): RevocationView => {
  if (!result.ok) throw new Error(result.message);
  return result.value;
};
const revision = async (): Promise<number> => (await trust().status()).revision;

beforeAll(activate);

describe("an idempotency key", () => {
  it("makes the same call one entry, also after that was lifted; another content is a conflict", async () => {
    const first = value(await trust().revoke(message));
    const before = await revision();
    expect(value(await trust().revoke(message)).id).toBe(first.id);
    expect(value(await trust().revoke({ ...message, wait: "barrier" })).id).toBe(first.id);
    expect(await trust().revoke({ ...message, reason: "another" })).toMatchObject({
      ok: false,
      code: "idempotency_conflict",
    });
    await trust().restore(first.id, "came back", "ana");
    // The late repetition of a call does not take away what was given back since.
    expect(value(await trust().revoke(message))).toMatchObject({ id: first.id, state: "restored" });
    expect(await revision()).toBe(before + 1);
    const ida = { ...read1, subject: { type: "user", id: "ida" } };
    expect((await decide([ida])).items[0]!.reason).not.toBe("revoked");
  });

  it("is the administrator's own", async () => {
    const other = { ...message, actor: "bob", key: "subject:user/jon" };
    expect(value(await trust().revoke(other)).key).toBe("subject:user/jon");
  });

  it("twice at once is once", async () => {
    const twin = { ...message, key: "subject:user/kim", idempotency_key: "k2" };
    const before = await revision();
    const made = await Promise.all([1, 2, 3].map(() => trust().revoke(twin)));
    expect(new Set(made.map((one) => value(one).id)).size).toBe(1);
    expect(await revision()).toBe(before + 1);
  });

  it("of a call that found what it asked for keeps that", async () => {
    const plain = { ...message, key: "subject:user/lea" };
    const { idempotency_key: _, ...unkeyed } = plain;
    const stood = value(await trust().revoke(unkeyed));
    expect(value(await trust().revoke({ ...plain, idempotency_key: "k3" })).id).toBe(stood.id);
    await trust().restore(stood.id, "back", "ana");
    expect(value(await trust().revoke({ ...plain, idempotency_key: "k3" })).state).toBe("restored");
  });
});

describe("stopping a run", () => {
  it("closes it with a record that names the administrator to nobody, once, and without a caller", async () => {
    const run = mintRunId(region.name, region.log_epoch, crypto.getRandomValues(new Uint8Array(16)));
    const principal = { type: "user", id: "alice" };
    const facts = await factsOf();
    await shard().openRun({ v: 1, run, principal, members: [], ...undeclared, facts, traceparent: null });
    const closed = await shard().stopRun(run, "ana");
    if (!closed.ok || closed.decision_id === null) throw new Error("not closed");
    expect(closed).toMatchObject({ ok: true, run: { status: "closed" } });
    const read = await shard().readDecision(closed.decision_id);
    if (!read.ok) throw new Error(read.code);
    expect(read.value.record).toMatchObject({ kind: "run.close" });
    expect(JSON.stringify(read.value.record)).not.toContain("ana");
    expect(read.value.payload_status).toBe("opened");
    expect(JSON.stringify(read.value.payload)).toContain("ana");
    expect(await shard().stopRun(run, "ana")).toMatchObject({ ok: true, decision_id: null });
    expect(await shard().stopRun(`${region.name}.1.${"B".repeat(22)}`, "ana")).toMatchObject({ code: "not_found" });
  });
});

describe("an administrator's act that is no event", () => {
  it("leaves a leaf that names nobody, and what it commits to", async () => {
    const { sseq } = await trust().sourceHead();
    expect(await trust().resetClock("NTP repaired", "ana")).toMatchObject({ ok: true, value: { region: "eu" } });
    const [leaf] = await trust().leaves(region.log_epoch, sseq + 1, 1);
    const text = fromUtf8(leaf!)!;
    expect(JSON.parse(text.slice(1))).toMatchObject({ kind: "admin", body: { what: "clock_reset" } });
    expect(text).not.toContain("ana");
    const stub = env.TRUST_AUTHORITY.get(env.TRUST_AUTHORITY.idFromName(`${region.name}/authority`));
    const acts = await runInDurableObject(stub, (_, state) =>
      state.storage.sql.exec<{ act: string }>("SELECT act FROM admin_act WHERE sseq = ?", sseq + 1).toArray(),
    );
    expect(JSON.parse(acts[0]!.act)).toMatchObject({ what: "clock_reset", actor: "ana", reason: "NTP repaired" });
  });
});
