import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, it } from "vitest";
import { activate, decide, decideNow, env, read1, region, shard, trust, named } from "./region.ts";
import { regionLog } from "../../src/objects/address.ts";
import type { RevokeMessage, RevocationView } from "../../src/objects/revocations.ts";

/** The authority alone is put back: by what the shards know, and by what the region log knows, it is found. */
const ALICE = "subject:user/alice";

const authority = (): DurableObjectStub => env.TRUST_AUTHORITY.get(env.TRUST_AUTHORITY.idFromName("eu/authority"));
const log = (): DurableObjectStub => env.REGION_LOG.get(env.REGION_LOG.idFromName("eu/1/log"));
const head = async (): Promise<number> => (await trust().status()).revision;
const leasedFor = (): Promise<number> =>
  trust()
    .status()
    .then(({ shards }) => Math.max(...shards.map(({ leased_for_ms }) => leased_for_ms)));

async function revoke(key: string, from: RevokeMessage["from"] = "issue"): Promise<RevocationView> {
  const revoked = await trust().revoke({ key, from, reason: "t", actor: "t", wait: "local" });
  if (!revoked.ok) throw new Error(revoked.message);
  return revoked.value;
}

/** Makes the authority forget every event after `revision`, and start anew; entries are as they were then: none. */
async function putBack(revision: number): Promise<void> {
  await runInDurableObject(authority(), (_, { storage: { sql } }) => {
    for (const table of ["event", "entry"]) sql.exec(`DELETE FROM ${table} WHERE seq > ?`, revision);
    sql.exec("DELETE FROM leaf WHERE sseq > ?", revision);
  });
  await evictDurableObject(authority());
}

async function integrated(sseq: number): Promise<void> {
  while (((await regionLog(env, region).status()).marks["trust"] ?? 0) < sseq)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** What the region does once the leases that it had have ended. */
async function afterwards(): Promise<object> {
  await new Promise((resolve) => setTimeout(resolve, 1_600));
  const reasons: (string | null)[] = [];
  for (const k of [0, 1]) reasons.push((await decideNow([read1], {}, k)).items[0]!.reason);
  const { status } = await revoke("subject:user/another");
  return { reasons, confirmed: status["eu"] === "confirmed", leased_for_ms: await leasedFor() };
}

const DENIED = { reasons: ["trust_lease_expired", "trust_lease_expired"], confirmed: false, leased_for_ms: 0 };

beforeEach(async () => {
  await reset();
  await activate();
  for (const k of [0, 1]) await decide([read1], {}, k);
  // Both shards are at the head now.
  await revoke("subject:user/nobody");
});

describe("a shard", () => {
  it("says what it did not take: an older revision, an older entry, another one of the same generation", async () => {
    const revision = await head();
    const entry = {
      key: named(ALICE),
      origin: "eu",
      generation: 2,
      state: "restored",
      from: "issue",
      until_ms: null,
    } as const;
    const apply = (to: number, entries: readonly object[]) =>
      shard().applyTrust({ v: 1, from_revision: revision, revision: to, mode: "active", entries: entries as never });
    expect(await apply(revision + 2, [entry])).toEqual({ ok: true, revision: revision + 2 });
    const have = revision + 2;
    expect(await apply(revision + 1, [])).toEqual({ ok: false, code: "ahead", have });
    expect(await apply(have, [{ ...entry, generation: 1, state: "revoked" }])).toEqual({
      ok: false,
      code: "diverged",
      have,
    });
    expect(await apply(have + 1, [{ ...entry, state: "revoked", from: "beginning" }])).toMatchObject({
      code: "diverged",
    });
    expect(await apply(have, [entry])).toEqual({ ok: true, revision: have });
    expect((await shard().status()).revision).toBe(have);
  });
});

describe("an authority that was put back", () => {
  it("is found by a shard that is ahead: the revocation is not confirmed, and everything is denied", async () => {
    const revision = await head();
    // What the authority no longer knows: revoked and restored again, so the shard allows.
    for (const k of [0, 1])
      await shard(k).applyTrust({
        v: 1,
        from_revision: revision,
        revision: revision + 2,
        mode: "active",
        entries: [{ key: named(ALICE), origin: "eu", generation: 2, state: "restored", from: "issue", until_ms: null }],
      });
    expect((await revoke(ALICE)).status).toEqual({ eu: "lease_expired" });
    expect(await afterwards()).toEqual(DENIED);
    await evictDurableObject(authority());
    expect(await afterwards()).toEqual(DENIED);
  });

  it("is found by a shard that is level with it and has another entry", async () => {
    const revision = await head();
    await shard().applyTrust({
      v: 1,
      from_revision: revision,
      revision: revision + 1,
      mode: "active",
      entries: [{ key: named(ALICE), origin: "eu", generation: 2, state: "restored", from: "issue", until_ms: null }],
    });
    expect((await revoke(ALICE)).status).toEqual({ eu: "lease_expired" });
    expect(await afterwards()).toEqual(DENIED);
  });

  it("is found by the log where no shard knows more than it", async () => {
    const revision = await head();
    for (const id of ["a", "b", "c"]) await trust().registerPep({ id, scopes: ["evaluate"], ttl_s: 60, actor: "t" });
    await integrated(revision + 3);
    await putBack(revision);
    expect(await afterwards()).toEqual(DENIED);
  });

  it("is found by the log where it has as many events again, but others", async () => {
    const revision = await head();
    await trust().registerPep({ id: "a", scopes: ["evaluate"], ttl_s: 60, actor: "t" });
    await integrated(revision + 1);
    await putBack(revision);
    // Before the log has answered once; it answers what it knows, and that is another event.
    expect((await revoke(ALICE)).status).not.toEqual({ eu: "confirmed" });
    expect(await afterwards()).toEqual(DENIED);
  });
});

describe("before the log has confirmed the authority's events", () => {
  it("no lease is granted; a log that is halted later takes none away", async () => {
    const halt = (reason: string | null) =>
      runInDurableObject(log(), (_, { storage: { sql } }) =>
        reason === null
          ? sql.exec("DELETE FROM meta WHERE key = 'halted'").toArray()
          : sql.exec("INSERT INTO meta(key, value) VALUES ('halted', ?)", reason).toArray(),
      );
    const request = async () =>
      trust().lease({
        v: 1,
        shard: 0,
        nonce: "n",
        revision: 0,
        material: null,
        federation: null,
        certified_until_ms: 0,
        wanted: [],
        need: {},
        key: (await trust().jwks()).keys.find(({ kid }) => kid === "eu.1.shard-0.1")!,
      });
    await halt("by this test");
    await revoke("subject:user/someone");
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await request()).toMatchObject({ ok: true, remaining_ms: 1_500 });
    await evictDurableObject(authority());
    expect(await request()).toEqual({ ok: false, code: "unconfirmed" });
    await halt(null);
    await evictDurableObject(authority());
    expect(await request()).toMatchObject({ ok: true });
  });
});
