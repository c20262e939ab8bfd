import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Incident } from "../../src/lineage/incident.ts";
import type { RevocationView } from "../../src/objects/revocations.ts";
import { checkLineage } from "../../tools/lineage/check.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { jwksOf, missingFromDisk } from "../support/acknowledged.ts";
import { bearer, evaluate, evaluateNow, post, READ } from "../support/http.ts";
import { evidenceOf, type Acknowledged } from "../support/load.ts";
import { noteOf, proofOf, until } from "../support/log.ts";
import { startRegion, startRegions, type TestRegion } from "../support/region.ts";
import { ownLeavesOf, shardFiles, storedRecords, tamper } from "../support/stored.ts";

/**
 * G7: what a changed disk shows, and what becomes of a restored backup, of a part or of the whole, with peers and
 * without. The gaps are named here as they are in docs/guarantees.md; a test that is marked `fails` turns red on the
 * day that the gap is closed.
 */
let region: TestRegion;
let admin: AdminClient;

beforeEach(async () => {
  region = await startRegion({ packs: ["sovereign", "authzen-certification"], env: { INTERLOCK_LOG: "off" } });
  admin = new AdminClient(region.url, region.admin);
});
afterEach(() => region.remove());

/** Decides `count` times, one after the other, and keeps what the client was told. */
async function decide(count: number): Promise<readonly Acknowledged[]> {
  const told: Acknowledged[] = [];
  for (let i = 0; i < count; i++) {
    // Right after a start there may be no lease yet, and so no record.
    const { answer, decision } = await until(async () => {
      const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, READ);
      const { decision } = JSON.parse(await answer.text()) as { decision: boolean };
      return answer.headers.get("interlock-decision-id") !== null && { answer, decision };
    }, "a decision on record");
    told.push({ what: "decide", keyed: null, ...evidenceOf(answer), reasons: [decision ? null : "policy_denied"] });
  }
  return told;
}

/** Leaves of the authority that the log has. */
const trustMark = async (): Promise<number> =>
  ((await admin.status()) as { log: { marks: Readonly<Record<string, number>> } }).log.marks["trust"] ?? 0;

/** The lines of a process come when they come. */
const logged = (words: string): Promise<unknown> =>
  until(async () => region.log.join("\n").includes(words), `a line with: ${words}`);

const revokeAlice = () => admin.revoke({ key: "subject:user/alice", from: "issue", reason: "test", wait: "local" });

/** Copies what the objects of `kind` hold (all of them by default); call it on a stopped region. */
function backUp(kind = ""): () => void {
  const objects = join(region.dataDir, "do");
  const copy = join(region.base, "copy");
  cpSync(objects, copy, { recursive: true });
  return () => {
    for (const folder of readdirSync(copy).filter((name) => name.includes(kind))) {
      rmSync(join(objects, folder), { recursive: true, force: true });
      cpSync(join(copy, folder), join(objects, folder), { recursive: true });
    }
  };
}

/** The region as it was, then `meanwhile`, then put back to what it was. */
async function rewind<T>(meanwhile: () => Promise<T>, kind = ""): Promise<T> {
  await region.stop();
  const putBack = backUp(kind);
  await region.restart();
  const result = await meanwhile();
  await region.stop();
  putBack();
  return result;
}

/**
 * No lease; or the log is halted, where the events that were entered again reached it under numbers that it had
 * integrated, before the authority had heard of its mark.
 */
const NO_MORE = { decision: false, reason: expect.stringMatching(/^(trust_lease_expired|lineage_halted)$/) };

describe("a backup put back, of a region without peers", () => {
  test("the region decides on, on a sound chain, and the check cannot know what is missing", async () => {
    await decide(3);
    const lost = await rewind(() => decide(4));
    expect(lost[0]!.ids).toEqual(["eu.1.s0.4"]);
    expect(await checkLineage(region.dataDir)).toMatchObject({ ok: true, records: 3 });
    await region.restart();
    expect((await decide(2)).flatMap(({ ids }) => ids)).toEqual(["eu.1.s0.4", "eu.1.s0.5"]);
    await region.stop();
    expect(await checkLineage(region.dataDir)).toMatchObject({ ok: true, records: 5 });
  });

  test("whoever holds a receipt of what was lost can prove it, also where the number was used again", async () => {
    await decide(3);
    const lost = await rewind(() => decide(4));
    await region.restart();
    const [again] = await decide(1);
    const keys = await jwksOf(region.url);
    const read = async (id: string): Promise<number> =>
      (await fetch(`${region.url}/lineage/v1/decisions/${id}`, { headers: bearer(region.pep) })).status;
    expect(await read(lost[3]!.ids[0]!)).toBe(404);
    await region.stop();
    const disk = storedRecords(region.dataDir);
    const problems = await Promise.all(
      lost.map((one) => missingFromDisk(one, disk, keys, { region: "eu", pdp: region.pdp })),
    );
    expect(problems.map((found) => found[0])).toEqual([
      "eu.1.s0.4: another leaf hash",
      "eu.1.s0.5: 1 records acknowledged, 0 on disk",
      "eu.1.s0.6: 1 records acknowledged, 0 on disk",
      "eu.1.s0.7: 1 records acknowledged, 0 on disk",
    ]);
    // Two receipts under one key for one number, with different leaves: the region has signed two histories.
    expect(again!.ids).toEqual(lost[0]!.ids);
    expect(again!.receipts).not.toEqual(lost[0]!.receipts);
    expect(await missingFromDisk(again!, disk, keys, { region: "eu", pdp: region.pdp })).toEqual([]);
  });

  test.fails("a region without peers notices that the whole of it was put back", async () => {
    await decide(3);
    await rewind(() => decide(4));
    await region.restart();
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "lineage_halted" });
  });

  test.fails("a revocation made after the backup still holds: there is no peer that could give it back", async () => {
    await rewind(revokeAlice);
    await region.restart();
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "revoked" });
  });

  test("an authority put back behind its shards grants no lease: nothing is allowed", async () => {
    await decide(1);
    await rewind(async () => {
      const { id } = await revokeAlice();
      await admin.restore(id, "test over");
      expect(await evaluate(region, READ)).toMatchObject({ decision: true });
    }, "trust-authority");
    await region.restart();
    expect(await evaluateNow(region, READ)).toMatchObject({ decision: false, reason: "trust_lease_expired" });
    // Otherwise the next revocation would carry a number that the shards have passed, be ignored, and be "confirmed".
    for (let i = 0; i < 3; i++) await admin.restore((await revokeAlice()).id, "test over");
    await region.restart();
    expect(await evaluateNow(region, READ)).toMatchObject(NO_MORE);
    await logged("restore the region's whole directory");
    // A leaf says so, once, however often it is met.
    expect((await incidents()).map(({ what, source, sseq }) => [what, source, sseq])).toEqual([
      ["authority_rewound", "trust", expect.any(Number)],
    ]);
  });

  test("an authority put back, and its revocations made again as the manual says: none is called confirmed", async () => {
    const keys = ["subject:user/alice", "subject:user/bob", "resource:record/record-1"];
    const revokeAll = async (): Promise<readonly RevocationView[]> => {
      const made: RevocationView[] = [];
      for (const key of keys) made.push(await admin.revoke({ key, from: "issue", reason: "test", wait: "local" }));
      return made;
    };
    await decide(1);
    await rewind(async () => {
      for (const { id } of await revokeAll()) await admin.restore(id, "test over");
      expect(await evaluate(region, READ)).toMatchObject({ decision: true });
    }, "trust-authority");
    await region.restart();
    for (let i = 0; i < 2; i++) {
      for (const { status } of await revokeAll()) expect(status).toEqual({ eu: "lease_expired" });
      expect(await evaluateNow(region, READ)).toMatchObject(NO_MORE);
      await region.restart();
    }
  });

  test("an authority put back where no shard was told what it forgot: the log knows, and nothing is allowed", async () => {
    await decide(1);
    await rewind(async () => {
      const before = await trustMark();
      for (const id of ["a", "b", "c"]) await admin.registerPep({ id, scopes: ["evaluate"], ttl_s: 60 });
      await until(async () => (await trustMark()) >= before + 3, "the leaves of the three");
    }, "trust-authority");
    await region.restart();
    expect(await evaluateNow(region, READ)).toMatchObject({ decision: false, reason: "trust_lease_expired" });
    await logged("the region log contradicts it");
    await region.restart();
    expect(await evaluateNow(region, READ)).toMatchObject({ decision: false, reason: "trust_lease_expired" });
  });

  test("the log alone: its sources remember how far it was, and it halts", async () => {
    await decide(3);
    await rewind(async () => {
      await decide(4);
      await integrated(7);
      // What a source remembers is at most a second old.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await decide(1);
      await integrated(8);
    }, "region-log");
    await region.restart();
    expect(await evaluate(region, READ)).toEqual({ decision: false, reason: "lineage_halted", id: null });
    await until(async () => (await problems()).some((one) => one.startsWith("the region log is halted")), "halted");
    expect(await problems()).toContainEqual(
      expect.stringMatching(
        /the region log is halted: (shard\/0|trust): the log is at sseq \d+ of this source and was at/,
      ),
    );
    await region.restart();
    expect(await evaluate(region, READ)).toEqual({ decision: false, reason: "lineage_halted", id: null });
    expect((await incidents())[0]).toMatchObject({ what: "log_rewound" });
  });

  test("a shard put back alone is behind the log's mark: it halts, writes nothing, and stays halted", async () => {
    await decide(3);
    await rewind(async () => {
      await decide(4);
      await integrated(7);
    }, "lineage-shard");
    await region.restart();
    // More denies than records were lost: had they been recorded, the shard would have caught up with the mark.
    for (let i = 0; i < 6; i++) {
      expect(await evaluate(region, READ)).toEqual({ decision: false, reason: "lineage_halted", id: null });
    }
    const opened = await post(`${region.url}/runs/v1/runs`, region.pep, {
      principal: READ.subject,
      members: [READ.subject],
    });
    expect(opened.status).toBeGreaterThanOrEqual(400);
    expect(await problems()).toEqual([
      "shard 0 is halted: the log holds sseq 7, and this source ends at 3: it was rewound",
    ]);
    await logged("the log holds sseq 7, and this source ends at 3: it was rewound");
    await region.restart();
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "lineage_halted" });
    const [incident, ...more] = await incidents();
    expect([incident, more]).toMatchObject([{ what: "source_rewound", source: "shard/0", evidence: null }, []]);
    await region.stop();
    expect(ownLeavesOf(region.dataDir)[incident!.sseq! - 1]).toMatchObject({
      kind: "incident",
      sseq: incident!.sseq,
      body: { what: "source_rewound", source: "shard/0", detail: incident!.detail, log_epoch: 1, evidence: null },
    });
    expect([...storedRecords(region.dataDir).values()].flat()).toHaveLength(3);
  });

  test("a shard that has other records than the log integrated, and as many, is found by the record at the mark", async () => {
    await decide(3);
    await rewind(async () => {
      await decide(4);
      await integrated(7);
    }, "lineage-shard");
    // Someone with the disk and the key could make a tail of the right length; here the last hash stands for it.
    const file = shardFiles(region.dataDir)[0]!;
    tamper(
      file,
      ...[4, 5, 6, 7].map(
        (sseq) =>
          `INSERT INTO record SELECT ${sseq}, leaf, leaf_hash, run, prev_sseq, t_ms, sealed FROM record WHERE sseq = 3`,
      ),
    );
    await region.restart();
    expect(await evaluate(region, READ)).toMatchObject({ decision: false, reason: "lineage_halted" });
    expect(await problems()).toContainEqual(expect.stringContaining("another record at sseq 7"));
  });

  test("a shard that lost its storage gets no lease under a key that nobody certified", async () => {
    await decide(3);
    await region.stop();
    rmSync(shardFiles(region.dataDir)[0]!);
    await region.restart();
    expect(await evaluateNow(region, READ)).toMatchObject({ decision: false });
    await until(async () => (await problems()).length > 0, "a problem");
  });
});

/** Waits until the log has integrated the shard's records up to `sseq` and signed a checkpoint over them. */
const integrated = (sseq: number): Promise<unknown> =>
  until(async () => (await proofOf(region, `eu.1.s0.${sseq}`, 0)) !== null, `eu.1.s0.${sseq} in the tree`);

type Shown = Incident & { readonly sseq: number | null };
const incidents = async (): Promise<readonly Shown[]> =>
  ((await admin.status()) as { log: { incidents: readonly Shown[] } }).log.incidents;

const problems = async (): Promise<readonly string[]> =>
  (JSON.parse(await (await fetch(`${region.url}/health`)).text()) as { problems: readonly string[] }).problems;

describe("a backup put back, of a region with peers", () => {
  let peers: readonly TestRegion[];

  beforeEach(async () => {
    await region.remove();
    [region, ...peers] = (await startRegions(["eu", "us"], {
      packs: ["sovereign", "authzen-certification"],
      env: { INTERLOCK_LOG: "off", INTERLOCK_ASK_PEERS_S: "2" },
    })) as [TestRegion, ...TestRegion[]];
    admin = new AdminClient(region.url, region.admin);
  });
  afterEach(() => Promise.all(peers.map((peer) => peer.remove())));

  /** Decides now and then until the region says `lineage_halted`; how many decisions it let through before. */
  async function untilHalted(patience_ms = 30_000): Promise<number> {
    let allowed = 0;
    await until(
      async () => {
        const { decision, reason } = await evaluateNow(region, READ);
        if (decision) allowed++;
        return reason === "lineage_halted";
      },
      "lineage_halted",
      patience_ms,
    );
    return allowed;
  }

  test("the log alone: the witness knows more than it, and it halts; nothing is signed any more", async () => {
    await decide(3);
    await rewind(async () => {
      await decide(40);
      await integrated(43);
    }, "region-log");
    await region.restart();
    await untilHalted();
    expect(await problems()).toContainEqual(
      expect.stringMatching(
        /the region log is halted: (witness .*(knows size|another history)|(shard\/0|trust): the log is at)/,
      ),
    );
    const note = await (await fetch(`${region.url}/log/checkpoint`)).text();
    await region.restart();
    // A halted log confirms nobody's events either, so the shards have no lease.
    expect(await evaluateNow(region, READ)).toMatchObject({ decision: false, id: null });
    expect(await problems()).toContainEqual(expect.stringContaining("the region log is halted"));
    expect(await (await fetch(`${region.url}/log/checkpoint`)).text()).toBe(note);
  });

  test("the whole region: a peer is asked before anything is decided, and it halts at once", async () => {
    await decide(3);
    await integrated(3);
    await rewind(async () => {
      await decide(4);
      await integrated(7);
    });
    await region.restart();
    expect(await untilHalted()).toBe(0);
    expect(await problems()).toContainEqual(expect.stringMatching(/halted: witness us.*(knows size|another history)/));
  });

  test("a revocation made after the backup comes back from the peer, and nothing that it took away is allowed", async () => {
    await decide(1);
    await integrated(1);
    const { id } = await rewind(async () => {
      // Before: the leaf of the revocation may be in the log by the time that it is answered.
      const { size } = (await admin.status())["log"] as { size: number };
      const revoked = await admin.revoke({ key: "subject:user/alice", from: "issue", reason: "test", wait: "all" });
      expect(revoked.status).toEqual({ eu: "confirmed", us: "confirmed" });
      const note = (): Promise<string> => noteOf(region).catch(() => "");
      await until(async () => /^\d+$/m.test(await note()) && (await sizeOf(region)) > size, "signed");
      await until(async () => (await note()).includes("us."), "cosigned");
      return revoked;
    });
    await region.restart();
    expect(await untilHalted()).toBe(0);
    // The log is halted all the same: its records of the time since the backup are gone.
    const known = async () => ((await admin.revocations("")) as Known).revocations.find((one) => one.id === id);
    expect(await until(async () => (await known()) ?? null, `revocation ${id}`)).toMatchObject({ state: "revoked" });
  });

  test("the whole region while its only peer is away: it decides nothing, and halts when the peer is back", async () => {
    await decide(3);
    await integrated(3);
    await rewind(async () => {
      await decide(4);
      await integrated(7);
    });
    await peers[0]!.stop();
    await region.restart();
    // Longer than a log without peers would wait for a witness.
    for (const end = Date.now() + 5_000; Date.now() < end;)
      expect(await evaluateNow(region, READ)).toMatchObject({ decision: false, id: null });
    expect(await problems()).toContainEqual(expect.stringContaining("no witness has said yet what it holds"));
    await peers[0]!.restart();
    await until(async () => {
      expect(await evaluateNow(region, READ)).toMatchObject({ decision: false });
      return (await problems()).some((one) => /halted: witness us.* (knows size|cosigned another)/.test(one));
    }, "halted by the witness");
  });

  test("a peer's witness alone, put back, asks for an older size and cosigns on: it forks nothing", async () => {
    await decide(3);
    await integrated(3);
    await peers[0]!.stop();
    const objects = join(peers[0]!.dataDir, "do");
    cpSync(objects, join(region.base, "peer"), { recursive: true });
    await peers[0]!.restart();
    await decide(3);
    await integrated(6);
    await peers[0]!.stop();
    for (const folder of readdirSync(objects).filter((name) => name.includes("witness"))) {
      rmSync(join(objects, folder), { recursive: true });
      cpSync(join(region.base, "peer", folder), join(objects, folder), { recursive: true });
    }
    await peers[0]!.restart();
    await decide(3);
    await integrated(9);
    expect(await evaluate(region, READ)).toMatchObject({ decision: true });
  });
});

type Known = { readonly revocations: readonly { readonly id: string; readonly state: string }[] };

const sizeOf = async (of: TestRegion): Promise<number> =>
  Number((await (await fetch(`${of.url}/log/checkpoint`)).text()).split("\n")[1]);

describe("a changed disk", () => {
  const shardFile = (): string => shardFiles(region.dataDir)[0]!;

  test("one byte of a leaf: the check names the record and the field, and the region reads it as it is", async () => {
    const told = await decide(5);
    await region.stop();
    tamper(
      shardFile(),
      // A byte of a hash: it may be the other one already.
      `UPDATE record SET leaf = CAST(substr(leaf, 1, 40) || CASE substr(leaf, 41, 1) WHEN x'58' THEN x'59' ELSE x'58' END
         || substr(leaf, 42) AS BLOB) WHERE sseq = 3`,
    );
    expect(await checkLineage(region.dataDir)).toMatchObject({
      ok: false,
      report: expect.stringMatching(/record 3, leaf_hash: /),
    });
    await region.restart();
    expect((await decide(1))[0]!.ids).toEqual(["eu.1.s0.6"]);
    const read = await fetch(`${region.url}/lineage/v1/decisions/${told[2]!.ids[0]}`, { headers: bearer(region.pep) });
    expect(read.status).toBeLessThan(500);
  });

  test("the tail cut from the records alone: the check says that a signed flush is missing", async () => {
    await decide(5);
    await region.stop();
    tamper(shardFile(), "DELETE FROM record WHERE sseq > 3");
    expect(await checkLineage(region.dataDir)).toMatchObject({
      ok: false,
      report: expect.stringMatching(/record 4, record: .*missing/),
    });
  });

  test("the tail cut cleanly from all tables passes the check, but not a receipt", async () => {
    const told = await decide(5);
    const keys = await jwksOf(region.url);
    await region.stop();
    tamper(shardFile(), "DELETE FROM record WHERE sseq > 3", "DELETE FROM flush WHERE first_sseq > 3");
    expect(await checkLineage(region.dataDir)).toMatchObject({
      ok: true,
      records: 3,
      report: expect.stringContaining("nothing was cut off after them shows only"),
    });
    const disk = storedRecords(region.dataDir);
    expect(await missingFromDisk(told[4]!, disk, keys, { region: "eu", pdp: region.pdp })).toEqual([
      "eu.1.s0.5: 1 records acknowledged, 0 on disk",
    ]);
  });

  test("a record taken out of the middle, two swapped, one forged with its hash: each is named", async () => {
    await decide(6);
    await region.stop();
    const file = shardFile();
    const check = async (): Promise<string> => (await checkLineage(region.dataDir)).report;
    const putBack = backUp();
    tamper(file, "DELETE FROM record WHERE sseq = 4");
    expect(await check()).toMatch(/record 4, sseq: is missing/);
    putBack();
    tamper(
      file,
      "UPDATE record SET sseq = -3 WHERE sseq = 3",
      "UPDATE record SET sseq = 3 WHERE sseq = 4",
      "UPDATE record SET sseq = 4 WHERE sseq = -3",
    );
    expect(await check()).toMatch(/record 3, sseq: the leaf in this row is number 4/);
    putBack();
    tamper(file, "UPDATE flush SET payload = replace(payload, '\"first\":2', '\"first\":3') WHERE first_sseq = 2");
    expect(await check()).toMatch(/record 2, flush\.payload/);
  });
});
