import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { KEPT_EVENTS, KEPT_MS, PeerStore } from "../../../durable-objects/authority/peer-store.ts";
import { AuthorityStore } from "../../../durable-objects/authority/store.ts";
import type { VerifiedEvent } from "../../../src/sync/events.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** Snapshots, compaction, and the change of the federation secret, between authorities in Node. */
const F1 = newSecret("f1");
const F2 = newSecret("f2");
const key = (n: number | string): string => `subject:user/u${n}`;

let federation: TestFederation;
const eu = (): TestAuthority => federation.of("eu");
const us = (): TestAuthority => federation.of("us");

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 15_000; Date.now() < end;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not in time: ${what}`);
}
/** `region` has fresh word of all the others. */
const freshOf = (region: TestAuthority, others: readonly string[]): Promise<void> =>
  until(async () => {
    const fresh = await region.fresh();
    return others.every((other) => fresh.includes(other));
  }, `${region.name} is fresh of ${others.join()}`);

/** Federation secrets in the names of what a region holds, by origin. */
const names = (region: TestAuthority): Readonly<Record<string, readonly string[]>> => {
  const byOrigin: Record<string, string[]> = {};
  for (const { origin, secret } of region.authority.store.secretsInUse()) (byOrigin[origin] ??= []).push(secret);
  return byOrigin;
};
/** What its shard stores, as `origin secret state`. */
const shardRows = (region: TestAuthority): readonly string[] =>
  region.shardStorage
    .attach()
    .sql.exec<{ row: string }>(
      "SELECT origin || ' ' || substr(key, 1, 2) || ' ' || state AS row FROM trust_entry ORDER BY row",
    )
    .toArray()
    .map(({ row }) => row);

beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  // A process that was killed still has timers.
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

describe("compaction", () => {
  const EVERY = 20;
  beforeEach(async () => {
    federation = await TestFederation.start(["eu", "us"], [F1], EVERY);
    await freshOf(eu(), ["us"]);
  });
  const compacted = (): number => eu().count("event WHERE set_jws = ''");

  test("own events go when a snapshot stands for them and every peer has confirmed them, leaves never", async () => {
    // Both ways: after a new membership it asks for a while by itself, and an answer confirms.
    for (const name of ["eu", "us"]) federation.cut.add(name);
    for (let n = 0; n < EVERY; n++) await eu().revoke(key(n));
    await until(() => eu().rows("SELECT n FROM own_snapshot").length === 1, "a snapshot");
    const { seq } = eu().authority.sync.state.own.mark;
    const leaves = eu().count("leaf");
    await new Promise((resolve) => setTimeout(resolve, 100));
    // A region that is away keeps them there.
    expect(compacted()).toBe(0);
    federation.cut.clear();
    await until(async () => (await us().fresh()).includes("eu") && compacted() >= EVERY, "compacted");
    expect(compacted()).toBeLessThanOrEqual(seq);
    expect(eu().count("leaf")).toBeGreaterThanOrEqual(leaves);
    // Known events can still be compared with what a peer says of them.
    expect(eu().authority.store.digestAt(1, 1)).toMatch(/^sha256:/);
    expect(us().denies(key(0))).toEqual(["eu"]);
  });

  test("who joins later takes the snapshot and the tail, and is asked for nothing that is gone", async () => {
    const first = await eu().revoke(key("first"));
    for (let n = 0; n < EVERY; n++) await eu().revoke(key(n));
    await until(async () => (await us().fresh()).includes("eu") && compacted() >= EVERY, "compacted");
    await eu().revoke(key("tail"));
    await eu().restore(first);
    const ap = await federation.add("ap", [F1]);
    federation.members = [...federation.members, await ap.member("joining")];
    await federation.sign();
    await until(() => (ap.authority.sync.state.peers["eu"]?.fresh_until_ms ?? 0) > 0, "a head of every origin");
    // Joining, it serves nobody and allows nothing.
    expect(await ap.fresh()).toEqual([]);
    expect(await eu().fresh()).toEqual(["us"]);
    federation.members = [...federation.members.slice(0, 2), await ap.member("active")];
    await federation.sign();
    await freshOf(ap, ["eu", "us"]);
    await freshOf(eu(), ["ap", "us"]);
    for (let n = 0; n < EVERY; n++) expect(ap.denies(key(n))).toEqual(["eu"]);
    expect(ap.denies(key("tail"))).toEqual(["eu"]);
    expect(ap.denies(key("first"))).toEqual([]);
    const mark = eu().authority.sync.state.own.mark;
    expect(ap.authority.sync.state.peers["eu"]!.record.mark).toEqual(mark);
    // It came as one snapshot: only what was appended since came as events.
    const events = ap.rows("SELECT seq FROM peer_event WHERE origin = 'eu'").map(({ seq }) => Number(seq));
    expect(Math.min(...events)).toBeGreaterThan(EVERY);
    expect(ap.rows("SELECT page FROM staged_page")).toEqual([]);
  });

  test("a crash anywhere in the installation begins it again", async () => {
    for (let n = 0; n < EVERY; n++) await eu().revoke(key(n));
    await until(async () => (await us().fresh()).includes("eu") && compacted() >= EVERY, "compacted");
    const ap = await federation.add("ap", [F1]);
    federation.members = [...federation.members, await ap.member()];
    // Not to ap yet: it installs when it has the membership.
    await federation.sign(["eu", "us"]);
    let crashes = 0;
    for (const ahead of [40, 55, 70, 85, 100, 130]) {
      ap.storage.crashAt(ap.storage.calls + ahead, "kept");
      await federation.sign(["ap", "eu", "us"]).catch(() => undefined);
      await until(
        async () => ap.storage.dead || (await ap.fresh().catch((): readonly string[] => [])).includes("eu"),
        "dead or done",
      );
      if (ap.storage.dead) crashes++;
      const before = ap.storage.dead;
      await ap.restart([F1]);
      if (!before) break;
      // All of it or nothing: what is counted as applied is there.
      const { mark } = ap.authority.sync.state.peers["eu"]?.record ?? { mark: { seq: 0 } };
      const held = ap.count("entry WHERE origin = 'eu'");
      expect(held).toBe(mark.seq === 0 ? 0 : EVERY);
    }
    expect(crashes).toBeGreaterThan(1);
    await federation.sign();
    await freshOf(ap, ["eu", "us"]);
    for (let n = 0; n < EVERY; n++) expect(ap.denies(key(n))).toEqual(["eu"]);
  });
});

describe("another federation secret", () => {
  let lifted: string;
  beforeEach(async () => {
    federation = await TestFederation.start(["eu", "us"], [F1]);
    await freshOf(eu(), ["us"]);
    await eu().revoke(key(1));
    lifted = await eu().revoke(key(2));
    await us().revoke(key(3));
    await freshOf(us(), ["eu"]);
    await freshOf(eu(), ["us"]);
    // Sees that nothing that is revoked is let through: a decision needs all regions fresh.
  });
  const lets = async (region: TestAuthority, n: number, needs: string): Promise<boolean> => {
    const fresh = await region.fresh();
    return fresh.includes(needs) && region.denies(key(n)).length === 0;
  };
  const nothingLost = async (): Promise<void> => {
    for (const [region, needs] of [
      [eu(), "us"],
      [us(), "eu"],
    ] as const) {
      for (const n of [1, 3]) expect([region.name, n, await lets(region, n, needs)]).toEqual([region.name, n, false]);
    }
  };

  test("added everywhere, then first everywhere, then alone: no revocation is lost, none is stuck", async () => {
    for (const secrets of [[F1, F2], [F2, F1], [F2]]) {
      for (const region of [us(), eu()]) {
        await region.restart(secrets);
        await nothingLost();
        await freshOf(region, [region === us() ? "eu" : "us"]);
        await nothingLost();
      }
      await freshOf(us(), ["eu"]);
    }
    await until(() => names(us())["eu"]?.join() === "f2" && names(eu())["us"]?.join() === "f2", "all anew under f2");
    // The old names are gone in the shards too, so that lifting it once lifts it everywhere.
    expect(eu().denies(key(2))).toEqual(["eu"]);
    await eu().restore(lifted);
    await until(async () => lets(us(), 2, "eu"), "lifted in us");
    await nothingLost();
    expect(shardRows(us()).filter((row) => row.startsWith("eu f1"))).toEqual([]);
    // Whoever joins with the new one only has everything.
    const ap = await federation.add("ap", [F2]);
    federation.members = [...federation.members, await ap.member()];
    await federation.sign();
    await freshOf(ap, ["eu", "us"]);
    expect([1, 2, 3].map((n) => ap.denies(key(n)))).toEqual([["eu"], [], ["us"]]);
  });

  test("a lifted revocation stays lifted while old and new names stand side by side", async () => {
    for (const region of [us(), eu()]) await region.restart([F1, F2]);
    await eu().restart([F2, F1]);
    await freshOf(us(), ["eu"]);
    await until(() => names(us())["eu"]?.join() === "f2", "us has eu's snapshot");
    await eu().restore(lifted);
    await until(async () => lets(us(), 2, "eu"), "lifted in us, which still writes under f1");
    expect(names(us())["us"]).toEqual(["f1"]);
    await nothingLost();
    // And back again, as an operator does who regrets: what was gone is there again.
    await eu().restart([F1, F2]);
    await until(async () => (await us().fresh()).includes("eu") && names(us())["eu"]?.join() === "f1", "back");
    await nothingLost();
    expect(us().denies(key(1))).toEqual(["eu"]);
    expect(await lets(us(), 2, "eu")).toBe(true);
  });

  test("dropped too early it denies, and nothing is lost", async () => {
    await us().restart([F2]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await us().fresh()).toEqual([]);
    expect(us().authority.sync.state.peers["eu"]!.record.secret).toBe("f1");
    await nothingLost();
    // eu has only learnt of it: us names nothing that eu can look up.
    expect(await eu().fresh()).toEqual([]);
    await eu().restart([F2, F1]);
    await freshOf(us(), ["eu"]);
    await freshOf(eu(), ["us"]);
    expect(us().denies(key(1))).toEqual(["eu"]);
    expect(eu().denies(key(3))).toEqual(["us"]);
  });

  test("a secret in the names of a region that is gone must stay", async () => {
    const final = us().authority.sync.state.own.mark;
    federation.members = federation.members.map((member) =>
      member.region === "us" ? { ...member, state: "removed", final: { seq: final.seq, hash: final.hash } } : member,
    );
    await federation.sign(["eu"]);
    await eu().fresh();
    // What it revoked stays, also of keys that are everybody's.
    expect(eu().denies(key(3))).toEqual(["us"]);
    await eu().restart([F2, F1]);
    await eu().fresh();
    expect(eu().denies(key(3))).toEqual(["us"]);
    await expect(eu().restart([F2])).rejects.toThrow(/lacks f1, under which entries of region us/);
  });
});

describe("events of others", () => {
  test("go when they are older than any back-up and not among the newest", () => {
    const storage = new FakeStorage().attach();
    const store = new AuthorityStore(storage);
    const peers = new PeerStore(storage);
    const now = 1_800_000_000_000;
    const at = (seq: number, incarnation = 1): VerifiedEvent => ({
      origin: "eu",
      incarnation,
      seq,
      prev: null,
      digest: `d${seq}`,
      kid: "eu.1.authority.1",
      jws: `j${seq}`,
      supported: true,
    });
    const head = KEPT_EVENTS + 2_000;
    store.transaction(() => {
      for (let seq = 1; seq <= head; seq++) peers.addEvent(at(seq), seq <= 1_500 ? now - KEPT_MS - 1 : now);
    });
    peers.forget(at(head), now);
    // Old, and behind the newest.
    expect(peers.digestAt("eu", 1, 1_500)).toBeNull();
    // Not old.
    expect(peers.digestAt("eu", 1, 1_501)).toBe("d1501");
    expect(peers.sets("eu", 1, 1, 1)).toEqual(["j1501"]);
    // All are old: the newest stay.
    peers.forget(at(head + 1_000), now + KEPT_MS + 1);
    expect(peers.sets("eu", 1, 1, 1)).toEqual([`j${head + 1_000 - KEPT_EVENTS + 1}`]);
    expect(peers.digestAt("eu", 1, head)).toBe(`d${head}`);
  });
});
