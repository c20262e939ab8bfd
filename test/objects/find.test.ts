import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { mintRunId } from "../../src/base/ids.ts";
import { shardName } from "../../src/objects/address.ts";
import type { FindRecordsMessage, FoundRecord } from "../../src/objects/records.ts";
import { activate, decide, env, factsOf, read1, region, shard, undeclared } from "./region.ts";

/** What one shard finds; the order over several is in test/unit/lineage/found-order.test.ts. */
const question = (subject: string, action: string) => ({
  ...read1,
  subject: { type: "user", id: subject },
  action: { name: action },
});

const find = async (changes: Partial<FindRecordsMessage> = {}, k = 0) => {
  const message: FindRecordsMessage = {
    v: 1,
    from_ms: 0,
    to_ms: Date.now() + 60_000,
    before_sseq: null,
    subject: null,
    run: null,
    reason: null,
    decision: null,
    limit: 200,
    payload: false,
    max_bytes: 1_000_000,
    ...changes,
  };
  const answer = await shard(k).findRecords(message);
  if (!answer.ok) throw new Error(answer.code);
  return answer;
};

/** All pages. */
async function findAll(changes: Partial<FindRecordsMessage>): Promise<FoundRecord[]> {
  const all: FoundRecord[] = [];
  let before_sseq: number | null = null;
  for (let pages = 0; ; pages++) {
    if (pages > 500) throw new Error("no end");
    const { found, next } = await find({ ...changes, before_sseq });
    all.push(...found);
    if (next === null) return all;
    if (before_sseq !== null && next.before_sseq >= before_sseq) throw new Error("no way forward");
    before_sseq = next.before_sseq;
  }
}

const sseqs = (found: readonly FoundRecord[]): number[] => found.map(({ sseq }) => sseq);

let run: string;

beforeAll(async () => {
  await activate();
  // Batches of one call share a flush; single calls have their own.
  await decide([question("alice", "read"), question("bob", "write"), question("alice", "read")]);
  await decide([question("bob", "write")]);
  run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
  const opened = await shard().openRun({
    v: 1,
    run,
    principal: { type: "user", id: "alice" },
    members: [],
    ...undeclared,
    facts: await factsOf(),
    traceparent: null,
  });
  if (!opened.ok) throw new Error(opened.code);
  for (let i = 0; i < 6; i++) {
    await decide([{ ...question("alice", "read"), run }]);
    await decide([question("carol", "write")]);
  }
});

describe("a search in one shard", () => {
  it("gives everything, newest first, in pages of any size the same", async () => {
    const { found, next, scanned } = await find();
    const { sseq } = await shard().status();
    expect(sseqs(found)).toEqual(Array.from({ length: sseq }, (_, at) => sseq - at));
    expect(next).toBeNull();
    expect(scanned).toBe(sseq);
    for (const limit of [1, 3, 200]) expect(sseqs(await findAll({ limit }))).toEqual(sseqs(found));
  });

  it.each([
    ["decision", { decision: "deny" }, (found: FoundRecord) => found.record["decision"] === "deny"],
    ["reason", { reason: "policy_denied" }, (found: FoundRecord) => found.record["reason"] === "policy_denied"],
    ["both", { decision: "allow", reason: "policy_denied" }, () => false],
    ["no such reason", { reason: "revoked" }, () => false],
  ] as const)("by %s finds exactly what says so", async (_, filter, says) => {
    const all = (await find()).found;
    const wanted = sseqs(all.filter(says));
    for (const limit of [2, 200]) expect(sseqs(await findAll({ ...filter, limit }))).toEqual(wanted);
    // A look that finds nothing says how much it has seen.
    expect((await find(filter)).scanned).toBe(all.length);
  });

  it("by subject finds whom it is about, and nobody else", async () => {
    const all = (await find({ payload: true })).found;
    for (const id of ["alice", "bob", "carol", "mallory"]) {
      const about = ({ payload, run: of, record }: FoundRecord): boolean => {
        if (record["kind"] === "run.open") return id === "alice";
        return of !== "" && (payload?.["input"] as { subject?: { id?: string } } | undefined)?.subject?.id === id;
      };
      const wanted = sseqs(all.filter(about));
      for (const limit of [2, 200])
        expect(sseqs(await findAll({ subject: `subject:user/${id}`, limit }))).toEqual(wanted);
    }
    expect(sseqs(await findAll({ subject: "subject:user/alice", decision: "deny" }))).toEqual([]);
  });

  it("by run finds its records, whatever lies between them", async () => {
    const wanted = sseqs((await find()).found.filter((found) => found.run === run));
    expect(wanted).toHaveLength(7);
    for (const limit of [1, 2, 200]) expect(sseqs(await findAll({ run, limit }))).toEqual(wanted);
    expect(sseqs(await findAll({ run, subject: "subject:user/carol" }))).toEqual([]);
    expect(sseqs(await findAll({ run: mintRunId("eu", 1, new Uint8Array(16)) }))).toEqual([]);
  });

  it("by time takes both ends in, and finds them without looking at the rest", async () => {
    const all = (await find()).found;
    const times = [...new Set(all.map(({ t_ms }) => t_ms))].sort((a, b) => a - b);
    const [oldest, newest] = [times[0]!, times.at(-1)!];
    const middle = times[Math.floor(times.length / 2)]!;
    const within = (from_ms: number, to_ms: number) =>
      sseqs(all.filter(({ t_ms }) => t_ms >= from_ms && t_ms <= to_ms));
    for (const [from_ms, to_ms] of [
      [oldest, newest],
      [middle, middle],
      [oldest, middle],
      [middle, newest],
      [newest + 1, newest + 2],
      [0, oldest - 1],
      [0, Number.MAX_SAFE_INTEGER - 1],
    ] as const) {
      const { found, scanned } = await find({ from_ms, to_ms });
      expect(sseqs(found)).toEqual(within(from_ms, to_ms));
      expect(scanned).toBe(found.length);
      for (const filter of [{ subject: "subject:user/alice" }, { run }])
        expect(sseqs(await findAll({ ...filter, from_ms, to_ms, limit: 2 }))).toEqual(
          sseqs((await findAll(filter)).filter(({ t_ms }) => t_ms >= from_ms && t_ms <= to_ms)),
        );
    }
  });

  it("shows the payload only where it is asked for, and says what became of it", async () => {
    const [closed] = (await find({ limit: 1 })).found;
    expect(closed).toMatchObject({ payload: null, payload_status: "opened" });
    const [opened] = (await find({ limit: 1, payload: true })).found;
    expect(opened!.payload).toMatchObject({ input: { subject: { id: "carol" } } });
    await runInDurableObject(env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))), (_, state) => {
      state.storage.sql.exec("UPDATE record SET sealed = NULL WHERE sseq = ?", closed!.sseq);
    });
    const [erased] = (await find({ limit: 1, payload: true })).found;
    expect(erased).toMatchObject({ sseq: closed!.sseq, payload: null, payload_status: "erased" });
  });

  it("ends a page before it grows too large, and goes on there", async () => {
    const wanted = sseqs((await find()).found);
    const { found, next } = await find({ max_bytes: 1 });
    expect(found).toHaveLength(1);
    expect(next!.before_sseq).toBe(found[0]!.sseq);
    expect(sseqs(await findAll({ max_bytes: 1 }))).toEqual(wanted);
    expect(sseqs(await findAll({ max_bytes: 1, subject: "subject:user/alice" }))).toEqual(
      sseqs(await findAll({ subject: "subject:user/alice" })),
    );
  });

  it("of another version is refused", async () => {
    expect(await shard().findRecords({ ...({} as FindRecordsMessage), v: 2 as 1 })).toEqual({
      ok: false,
      code: "unsupported_version",
    });
  });
});

describe("a large shard", () => {
  it("is looked through in bounded parts, and a page may be empty and still have a next", async () => {
    await decide([question("alice", "read")], {}, 1);
    const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 1)));
    await runInDurableObject(stub, (_, state) => {
      state.storage.sql.exec(
        `WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
         INSERT INTO record(sseq, leaf, leaf_hash, run, prev_sseq, t_ms, sealed)
         SELECT i, CAST(replace(CAST(leaf AS TEXT), '"decision":"allow"', '"decision":"deny"') AS BLOB), leaf_hash, run, i - 1, t_ms + i, NULL
         FROM n, record WHERE sseq = 1`,
      );
      state.storage.sql.exec(
        "INSERT INTO run SELECT run, x'00', 'opened', 'open', NULL, '[]', 25000, 25000, leaf_hash, t_ms FROM record WHERE sseq = 1",
      );
    });
    const first = await find({ decision: "allow" }, 1);
    expect(first).toMatchObject({ found: [], scanned: 10_000, next: { before_sseq: 15_001 } });
    const second = await find({ decision: "allow", before_sseq: 15_001 }, 1);
    expect(second).toMatchObject({ found: [], scanned: 10_000, next: { before_sseq: 5_001 } });
    const third = await find({ decision: "allow", before_sseq: 5_001 }, 1);
    expect(third).toMatchObject({ scanned: 5_000, next: null });
    expect(sseqs(third.found)).toEqual([1]);
    // A time in the middle is found by halving, not by looking.
    const { t_ms } = third.found[0]!;
    expect(await find({ from_ms: t_ms + 100, to_ms: t_ms + 102 }, 1)).toMatchObject({ scanned: 3, next: null });
    // Along a run every record on the way counts, also those that are too young.
    const { run: long } = third.found[0]!;
    const followed = await find({ run: long, to_ms: t_ms + 10 }, 1);
    expect(followed).toMatchObject({ found: [], scanned: 2_000, next: { before_sseq: 23_001 } });
    const on = await find({ run: long, to_ms: t_ms + 10, before_sseq: 23_001 }, 1);
    expect(on).toMatchObject({ found: [], scanned: 2_000, next: { before_sseq: 21_001 } });
  });
});
