import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { decodeStateRecord, type StateRecord } from "../../src/lineage/state-record.ts";
import { mintRunId, parseDecisionId } from "../../src/base/ids.ts";
import { shardName } from "../../src/objects/address.ts";
import type { EraseOrder, ErasureTarget, ErasureView, ShardSelector } from "../../src/objects/erasure.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import { change, delegationTo, open, step, viewOf } from "./run-steps.ts";
import { readPlan } from "../../src/runs/plan.ts";
import { activate, ask, decide, env, factsOf, read1, region, shard, trust, undeclared } from "./region.ts";

const asked = (id: string) => ({ ...read1, subject: { type: "user", id } });
const subjectOf = (id: string): ErasureTarget => ({ kind: "subject", key: `subject:user/${id}` });
const sseqOf = (id: string | null): number => parseDecisionId(id ?? "")!.sseq;
const stub = (k = 0) => env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, k)));

function valueOf<T>(result: AdminResult<T>): T {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.value;
}

const order = (target: ErasureTarget, changes: Partial<EraseOrder> = {}): EraseOrder => ({
  target,
  ground: "subject_request",
  reason: "ticket 7",
  idempotency_key: null,
  actor: "admin:test",
  ...changes,
});

/** Asks for it, and waits until every shard has carried it out. */
async function erased(target: ErasureTarget, changes: Partial<EraseOrder> = {}): Promise<ErasureView> {
  return finished(valueOf(await trust().erase(order(target, changes))).id);
}

async function finished(id: string): Promise<ErasureView> {
  for (let tries = 0; tries < 750; tries++) {
    const view = valueOf(await trust().erasure(id));
    if (view.status === "done") return view;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${id} is still pending`);
}

async function statusOf(id: string): Promise<string> {
  const read = await shard().readDecision(id);
  return read.ok ? read.value.payload_status : read.code;
}

/** The `trust` source's leaves of a kind. */
async function leaves(kind: StateRecord["kind"]): Promise<readonly StateRecord[]> {
  const all = await trust().leaves(1, 1, 100_000);
  return all.flatMap((leaf) => {
    const decoded = decodeStateRecord(leaf);
    if (!decoded.ok) throw new Error(decoded.error);
    return decoded.value.kind === kind ? [decoded.value] : [];
  });
}

const named = async (): Promise<readonly string[]> =>
  (await leaves("erasure")).flatMap(({ body }) =>
    (body["records"] as readonly { source: string; sseq: number }[]).map(({ source, sseq }) => `${source} ${sseq}`),
  );

const sql = <T>(use: (sql: SqlStorage) => T): Promise<T> =>
  runInDurableObject(stub(), (_, state) => use(state.storage.sql));

beforeAll(activate);

describe("erasure of a data subject", () => {
  it("takes the payloads about it and no others, and leaves the records and a leaf that names them", async () => {
    const batch = await decide([asked("anna"), asked("ben"), asked("anna")]);
    const alone = await decide([asked("anna")]);
    const ids = [`${batch.decision_id}/0`, `${batch.decision_id}/2`, alone.decision_id!];
    const before = await shard().readDecision(ids[0]!);
    const view = await erased(subjectOf("anna"));
    expect(view).toMatchObject({ what: "subject", ground: "subject_request", payloads: 3 });
    // The journal says whom only by the shards' tags.
    expect(JSON.stringify(view)).not.toContain("anna");
    expect(await Promise.all(ids.map(statusOf))).toEqual(["erased", "erased", "erased"]);
    expect(await statusOf(`${batch.decision_id}/1`)).toBe("opened");
    const after = await shard().readDecision(ids[0]!);
    if (!before.ok || !after.ok) throw new Error("unread");
    expect(after.value).toEqual({ ...before.value, payload: null, payload_status: "erased", salts: null });

    const leaf = (await leaves("erasure")).at(-1)!;
    const first = sseqOf(batch.decision_id);
    const sseqs = [first, first + 2, sseqOf(alone.decision_id)];
    expect(leaf.body).toEqual({
      ground: "subject_request",
      records: sseqs.map((sseq) => ({ source: "shard/0", sseq })),
    });
    expect(await leaves("erasure.order")).toHaveLength(1);
    const held = await sql((db) =>
      db
        .exec<{ n: number }>(
          `SELECT count(*) AS n FROM record WHERE sealed IS NOT NULL AND sealed <> zeroblob(length(sealed)) AND sseq IN (${sseqs.join()})`,
        )
        .one(),
    );
    expect(held.n).toBe(0);
    expect(
      await sql((db) =>
        db
          .exec("SELECT * FROM subject_flush")
          .toArray()
          .map(({ sseqs: of }) => of),
      ),
    ).toEqual([`[${first + 1}]`]);
  });

  it("does not reach what is decided afterwards, until it is asked for again", async () => {
    const before = await decide([asked("carl")]);
    expect((await erased(subjectOf("carl"))).payloads).toBe(1);
    const later = await decide([asked("carl")]);
    expect(await statusOf(before.decision_id!)).toBe("erased");
    expect(await statusOf(later.decision_id!)).toBe("opened");
    expect((await erased(subjectOf("carl"))).payloads).toBe(1);
    expect(await statusOf(later.decision_id!)).toBe("erased");
  });

  it("takes the steps of runs that it is a member of, since they are sealed with the members' names", async () => {
    const run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
    const opened = await shard().openRun({
      v: 1,
      run,
      principal: { type: "user", id: "alice" },
      members: [{ type: "user", id: "dora" }],
      ...undeclared,
      facts: await factsOf(),
      traceparent: null,
    });
    const steps = [await decide([{ ...read1, run }]), await decide([{ ...read1, run }])];
    expect((await erased(subjectOf("dora"))).payloads).toBe(3);
    if (!opened.ok) throw new Error(opened.code);
    for (const id of [opened.decision_id!, ...steps.map((step) => step.decision_id!)])
      expect(await statusOf(id)).toBe("erased");
    const described = await shard().describeRun(run);
    expect(described).toMatchObject({ ok: true, value: { principal: "user/alice", members: ["user/alice"] } });
  });

  it("takes names out of what a run declares, which goes on without them", async () => {
    const delegations = [delegationTo("olaf", { depth: 1 }), delegationTo("bob")];
    const below = delegationTo("pia", { delegator: "user/olaf", parent: delegations[0]!.id });
    const nodes = [
      { id: "a", action: "read", subject: { type: "user", id: "olaf" } },
      { id: "b", action: "read", subject: { type: "user", id: "bob" } },
    ];
    const plan = readPlan({ nodes });
    if (!plan.ok) throw new Error(plan.error);
    const run = await open({ delegations, plan: plan.value });
    expect(await change(run, { kind: "delegate", delegation: below })).toMatchObject({ ok: true });
    const text = () =>
      sql((db) => {
        const rows = ["run", "run_plan", "run_delegation"].flatMap((table) =>
          db.exec(`SELECT * FROM ${table}`).toArray(),
        );
        return JSON.stringify(rows);
      });
    expect(await text()).toMatch(/olaf.*pia|pia.*olaf/);
    await erased(subjectOf("pia"));
    expect(await text()).not.toContain("pia");
    await erased(subjectOf("olaf"));
    expect(await text()).not.toContain("olaf");
    const view = await viewOf(run);
    expect(view.delegations).toEqual([delegations[1]]);
    expect(await step(run, { step: "b", subject: { type: "user", id: "bob" } })).toMatchObject({ decision: true });
    const olaf = { step: "a", subject: { type: "user", id: "olaf" } };
    expect(await step(run, olaf)).toMatchObject({ decision: false });
  });

  it("makes a kept answer a conflict: a repetition is not carried out twice", async () => {
    const message = await ask([asked("emil")], { idempotency_key: "pay-1" });
    const first = await shard().decide(message);
    await erased(subjectOf("emil"));
    expect(first.ok && first.items[0]!.decision).toBe(false);
    expect(await shard().decide(message)).toEqual({ ok: false, code: "idempotency_conflict" });
  });

  it("is one entry however often it is asked for with one key, and never another thing under that key", async () => {
    await decide([asked("fred")]);
    const key = { idempotency_key: "ticket-8" };
    const first = await erased(subjectOf("fred"), key);
    expect((await erased(subjectOf("fred"), key)).id).toBe(first.id);
    expect(await trust().erase(order(subjectOf("gina"), key))).toMatchObject({ ok: false, code: "conflict" });
  });
});

describe("erasure of a decision, a run, or what is old", () => {
  it("a batch by its id, an item by its own, and nothing that is not there", async () => {
    const batch = await decide([asked("hans"), asked("ida"), asked("jan")]);
    const other = await decide([asked("hans")]);
    const id = batch.decision_id!;
    expect((await erased({ kind: "decision", id: `${id}/1` }, { ground: "legal" })).payloads).toBe(1);
    expect(await Promise.all([0, 1, 2].map((at) => statusOf(`${id}/${at}`)))).toEqual(["opened", "erased", "opened"]);
    expect((await erased({ kind: "decision", id })).payloads).toBe(2);
    expect(await statusOf(`${id}/2`)).toBe("erased");
    expect(await statusOf(other.decision_id!)).toBe("opened");
    for (const unknown of [`${id}/3`, "eu.1.s0.999999", id.replace("eu", "us"), "eu.2.s0.1", "eu.1.s9.1", "nonsense"])
      expect(await trust().erase(order({ kind: "decision", id: unknown }))).toMatchObject({ code: "not_found" });
    const run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
    for (const unknown of [run, run.replace("eu", "us"), "x"])
      expect(await trust().erase(order({ kind: "run", run: unknown }))).toMatchObject({ code: "not_found" });
  });

  it("old payloads go with their space and their place in the index; retention asks for them once", async () => {
    for (let i = 0; i < 70; i++) await decide([asked("kurt")]);
    const cut = await decide([asked("kurt")]);
    const until = sseqOf(cut.decision_id);
    // The region keeps payloads for 30 days, and looks when its alarm rings, once a day.
    await sql((db) => db.exec("UPDATE record SET t_ms = t_ms - 31 * 86400000").toArray());
    const alarms = env.TRUST_AUTHORITY.get(env.TRUST_AUTHORITY.idFromName("eu/authority"));
    expect(await runDurableObjectAlarm(alarms)).toBe(true);
    expect(await runDurableObjectAlarm(alarms)).toBe(true);
    const { erasures } = await trust().listErasures(0, 1_000);
    const old = erasures.filter(({ what }) => what === "older_than");
    expect(old).toHaveLength(1);
    expect(old[0]).toMatchObject({
      ground: "retention",
      shards: [{ shard: 0, selector: { kind: "old", from: 1, until } }],
    });
    await finished(old[0]!.id);
    expect(await statusOf(cut.decision_id!)).toBe("erased");
    const rows = await sql((db) =>
      db.exec<{ sseq: number }>("SELECT sseq FROM record WHERE sealed IS NOT NULL").toArray(),
    );
    // The newest keep their zeros: to make them shorter could move a neighbour that is not erased yet.
    expect(rows).toHaveLength(64);
    // What is left leads to runs that go on: their later steps are sealed with the same names.
    const kept = await sql((db) => db.exec<{ first_sseq: number }>("SELECT first_sseq FROM subject_flush").toArray());
    for (const { first_sseq } of kept)
      expect(
        await sql((db) =>
          db.exec("SELECT status FROM run JOIN record ON run = id WHERE sseq = ?", first_sseq).toArray(),
        ),
      ).toEqual([{ status: "open" }]);
    const every = await named();
    expect(new Set(every).size).toBe(every.length);
    expect(every).toHaveLength(until);
  });
});

describe("a crash and a restore", () => {
  const journalled = async (id: string): Promise<{ seq: number; selector: ShardSelector }> => {
    const { erasures } = await trust().listErasures(0, 1_000);
    const seq = erasures.findIndex((view) => view.id === id) + 1;
    return { seq, selector: erasures[seq - 1]!.shards[0]!.selector };
  };

  it("between erasing and the leaf: the slice is handed out until it is acknowledged", async () => {
    await decide([asked("lena")]);
    const prepared = await shard().prepareErasure(subjectOf("lena"));
    if (!prepared.ok || prepared.selector === null) throw new Error("nothing");
    // A journal entry that no authority drives.
    const message = { v: 1, seq: 1_000_000, selector: prepared.selector, acked: 0 } as const;
    const first = await shard().erase(message);
    expect(first).toMatchObject({ ok: true, slice: { number: 1 }, done: false });
    await evictDurableObject(stub());
    expect(await shard().erase(message)).toEqual(first);
    let answer = first;
    for (let step = 0; step < 50 && answer.ok && !answer.done; step++)
      answer = await shard().erase({ ...message, acked: 1 });
    expect(answer).toEqual({ ok: true, slice: null, done: true });
    expect(await shard().erase(message)).toEqual({ ok: true, slice: null, done: true });
    await sql((db) => db.exec("DELETE FROM meta WHERE key = 'erasure_position'").toArray());
  });

  it("a shard put back erases again before it shows a payload, and no leaf is written twice", async () => {
    const decided = await decide([asked("mona")]);
    const sseq = sseqOf(decided.decision_id);
    const copy = await sql((db) => ({
      record: db.exec<{ sealed: ArrayBuffer }>("SELECT sealed FROM record WHERE sseq = ?", sseq).one().sealed,
      index: db.exec<{ tag: string }>("SELECT tag FROM subject_flush WHERE first_sseq = ?", sseq).one().tag,
      position: db.exec<{ value: string }>("SELECT value FROM meta WHERE key = 'erasure_position'").toArray()[0]?.value,
    }));
    const view = await erased(subjectOf("mona"));
    const { seq } = await journalled(view.id);
    const leavesBefore = await named();
    await sql((db) => {
      db.exec("UPDATE record SET sealed = ? WHERE sseq = ?", copy.record, sseq);
      db.exec("INSERT INTO subject_flush(tag, first_sseq, sseqs) VALUES (?, ?, ?)", copy.index, sseq, `[${sseq}]`);
      db.exec("UPDATE meta SET value = ? WHERE key = 'erasure_position'", String(seq - 1));
    });
    await evictDurableObject(stub());
    const seen: string[] = [];
    for (let tries = 0; tries < 750 && seen.at(-1) !== "erased"; tries++) {
      seen.push(await statusOf(decided.decision_id!));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(seen.at(-1)).toBe("erased");
    expect(seen.slice(0, -1).filter((status) => status !== "erasing")).toEqual([]);
    await finished(view.id);
    expect(await named()).toEqual(leavesBefore);
  });

  it("an exported journal is entered again where it is missing, and changes nothing where it is not", async () => {
    await decide([asked("nils")]);
    const view = await erased(subjectOf("nils"));
    const count = (await trust().listErasures(0, 1_000)).erasures.length;
    expect(valueOf(await trust().reenterErasures([view]))).toEqual([view]);
    expect((await trust().listErasures(0, 1_000)).erasures).toHaveLength(count);
    const lost = await decide([asked("otto")]);
    const prepared = await shard().prepareErasure(subjectOf("otto"));
    if (!prepared.ok || prepared.selector === null) throw new Error("nothing");
    const entry = { ...view, id: "eu.1.e.lost", shards: [{ shard: 0, selector: prepared.selector }] };
    expect(valueOf(await trust().reenterErasures([entry]))[0]!.id).toBe("eu.1.e.lost");
    await finished("eu.1.e.lost");
    expect(await statusOf(lost.decision_id!)).toBe("erased");
    for (const foreign of [
      { ...entry, id: "us.1.e.1" },
      { ...entry, id: "eu.2.e.1" },
      { ...entry, id: "eu.1.e.2", shards: [{ shard: 7, selector: prepared.selector }] },
    ])
      expect(await trust().reenterErasures([foreign])).toMatchObject({ ok: false, code: "invalid" });
  });
});
