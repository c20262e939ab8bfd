import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromBase64url, fromUtf8 } from "../../src/base/bytes.ts";
import type { PermitClaims } from "../../src/credentials/permit.ts";
import { decodeRecord } from "../../src/lineage/record.ts";
import { shardName, shardOfRun } from "../../src/objects/address.ts";
import {
  LISTEN_HEADER,
  type HaltRequest,
  type HoldNews,
  type HoldView,
  type RedeemMessage,
  type TicketAnswer,
} from "../../src/objects/permits.ts";
import { type PermitAsk } from "../../src/objects/decide.ts";
import type { FoundRecord } from "../../src/objects/records.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { wordOf } from "../../src/replay/tally.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { activate, ask, env, factsOf, read1, region, shard, trust } from "./region.ts";
import { budget, change, delegationTo, open, planOf, revoke, viewOf } from "./run-steps.ts";

beforeAll(activate);

const ASK: PermitAsk = { audience: "door", ttl_ms: null, offline: false };
const stub = () => env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
/** At once, as a crash would have it: an eviction waits longer than a hold lasts. */
const restart = () => runInDurableObject(stub(), (_, state) => state.abort("test")).catch(() => undefined);

type Given = { readonly permit: string | null; readonly claims: PermitClaims; readonly id: string };

const claimsOf = (permit: string): PermitClaims =>
  JSON.parse(fromUtf8(fromBase64url(permit.split(".")[1]!)!)!) as PermitClaims;

async function step(run: string, asked: Partial<CanonicalRequest> = {}, more: object = {}): Promise<Given> {
  const answer = await shard().decide(await ask([{ ...read1, run, ...asked }], { permit: ASK, ...more }));
  if (!answer.ok) throw new Error(answer.code);
  const permit = answer.permit ?? null;
  return { permit, claims: permit === null ? ({} as PermitClaims) : claimsOf(permit), id: answer.decision_id ?? "" };
}

async function redeem(claims: PermitClaims, more: Partial<RedeemMessage> = {}): Promise<TicketAnswer> {
  const { jti, run, step: of, aud, input, exp_ms } = claims;
  const base = { facts: await factsOf("door"), idempotency_key: null, deadline_ms: 5_000, traceparent: null };
  return shard().redeem({ v: 1, permit: { id: jti, run, step: of, aud, input, exp_ms }, ...base, ...more });
}

async function ofHold(hold: string, audiences = ["door"]) {
  return { v: 1, hold, audiences, facts: await factsOf("door"), deadline_ms: 5_000, traceparent: null } as const;
}
const renew = async (hold: string): Promise<TicketAnswer> => shard().renewHold(await ofHold(hold));
const report = async (hold: string, outcome: "completed" | "failed"): Promise<TicketAnswer> =>
  shard().reportHold({ ...(await ofHold(hold)), outcome });

const reasonOf = (answer: TicketAnswer): string | null | undefined =>
  answer.ok ? answer.items[0]?.reason : answer.code;
function held(answer: TicketAnswer): HoldView {
  if (!answer.ok || answer.hold === null) throw new Error(`no hold: ${reasonOf(answer)}`);
  return answer.hold;
}
const viewHold = async (hold: string, audiences = ["door"], pep = "door") =>
  shard().readHold({ v: 1, hold, audiences, pep });

async function recordOf(id: string) {
  const read = await shard().readDecision(id);
  if (!read.ok) throw new Error(read.code);
  const decoded = decodeRecord(fromBase64url(read.value.leaf)!);
  if (!decoded.ok) throw new Error(decoded.error);
  return { record: decoded.value, payload: read.value.payload, leaf_hash: read.value.leaf_hash };
}

/** What a listener has heard, and a way to wait for more. */
async function listen(of: { run?: string; hold?: string }, more: Partial<HaltRequest> = {}, pep = "door") {
  const asked: HaltRequest = {
    v: 1,
    facts: await factsOf(pep),
    audiences: [pep],
    run: of.run ?? null,
    hold: of.hold ?? null,
    after: null,
    ...more,
  };
  return shard().fetch(
    new Request("https://shard/halts", { headers: { [LISTEN_HEADER]: encodeURIComponent(JSON.stringify(asked)) } }),
  );
}

type Heard = HoldNews & { readonly id?: number };
async function events(response: Response) {
  const reader = response.body!.getReader();
  const heard: (Heard | { event: "listening" })[] = [];
  let text = "";
  const until = async (event: string): Promise<Heard> => {
    for (;;) {
      const found = heard.find((one) => one.event === event);
      if (found !== undefined) return found as Heard;
      const { done, value } = await reader.read();
      if (done) throw new Error(`the stream ended before ${event}: ${JSON.stringify(heard)}`);
      text += new TextDecoder().decode(value);
      const blocks = text.split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2) as [string, string]));
        if (lines["event"] === undefined) continue;
        const id = lines["id"] === undefined ? {} : { id: Number(lines["id"]) };
        heard.push({ ...(JSON.parse(lines["data"]!) as HoldNews), event: lines["event"], ...id } as Heard);
      }
    }
  };
  await until("listening");
  return { heard, until, cancel: () => reader.cancel() };
}

/** A hold lives for a second and a half: a machine that stands still for longer ends it, and the step is taken anew. */
const TIMED = { retry: 2 };

describe("a permit", () => {
  it("comes with an allow in an opened run, says what was allowed, and finds its shard", async () => {
    const run = await open({ plan: planOf({ a: [] }) });
    const { claims, id } = await step(run, { step: "a" });
    expect(claims).toMatchObject({
      aud: "door",
      iss: region.pdp,
      run,
      step: id,
      sub: { type: "user", id: "alice" },
      action: "read",
      resource: { type: "record", id: "record-1" },
    });
    expect(claims.exp_ms - claims.iat_ms).toBe(60_000);
    expect(shardOfRun(claims.jti, region.shards)).toBe(0);
    const { record } = await recordOf(id);
    expect([record.core, record.policy]).toEqual([claims.core, claims.policy]);
  });

  it("does not come with a deny or a dry run", async () => {
    const run = await open();
    expect((await step(run, { subject: { type: "user", id: "mallory" } })).permit).toBeNull();
    expect((await step(run, {}, { dry_run: true })).permit).toBeNull();
  });

  it("without redeeming lives no longer than what it rests on is fresh", async () => {
    const { claims } = await step(await open(), {}, { permit: { ...ASK, offline: true } });
    expect(claims.offline).toBe(true);
    expect(claims.exp_ms - claims.iat_ms).toBeGreaterThan(0);
    expect(claims.exp_ms - claims.iat_ms).toBeLessThanOrEqual(1_500);
  });

  it("is the same one for a repetition, none once it was redeemed, and another ask is a conflict", async () => {
    const run = await open({ budgets: [budget("1")] });
    const key = { idempotency_key: crypto.randomUUID() };
    const first = await step(run, {}, key);
    await restart();
    expect((await step(run, {}, key)).permit).toBe(first.permit);
    const other = await shard().decide(
      await ask([{ ...read1, run }], { ...key, permit: { ...ASK, audience: "other" } }),
    );
    expect(other).toMatchObject({ ok: false, code: "idempotency_conflict" });
    held(await redeem(first.claims));
    expect(await step(run, {}, key)).toMatchObject({ permit: null, id: first.id });
  });

  it("is redeemed by exactly one of fifty, recorded beside its step", async () => {
    const run = await open({ budgets: [budget("1")] });
    const { claims, id } = await step(run);
    const answers = await Promise.all(Array.from({ length: 50 }, () => redeem(claims)));
    const won = answers.filter((answer) => answer.ok && answer.items[0]?.decision === true);
    expect(won).toHaveLength(1);
    expect(answers.filter((answer) => reasonOf(answer) === "permit_reused")).toHaveLength(49);
    const winner = won[0]!;
    if (!winner.ok) throw new Error("no winner");
    const { record, payload } = await recordOf(winner.decision_id!);
    expect(record).toMatchObject({
      kind: "permit.redeem",
      decision: "allow",
      parents: [(await recordOf(id)).leaf_hash],
    });
    expect(payload?.["facts"]).toMatchObject({
      pep: { id: "gateway" },
      redeemed: { permit: claims.jti, pep: { id: "door" } },
    });
    const hold = held(winner);
    expect(hold).toMatchObject({ run, step: id, state: "active", audience: "door" });
    expect(hold.valid_until_ms - hold.since_ms).toBeLessThanOrEqual(1_500);
  });

  it("gives the same answer to a retry with its key, and to nobody else", async () => {
    const { claims } = await step(await open());
    const key = { idempotency_key: "once" };
    const first = await redeem(claims, key);
    expect(await redeem(claims, key)).toMatchObject({
      hold: { hold: held(first).hold },
      decision_id: first.ok ? first.decision_id : "",
      receipt: first.ok ? first.receipt : "",
    });
    expect(reasonOf(await redeem(claims))).toBe("permit_reused");
    expect(reasonOf(await redeem(claims, { idempotency_key: "twice" }))).toBe("permit_reused");
    expect(reasonOf(await redeem(claims, { ...key, facts: await factsOf("window") }))).toBe("permit_reused");
    await report(held(first).hold, "completed");
    expect(reasonOf(await redeem(claims, key))).toBe("hold_ended");
  });

  it("outlives a restart, and is redeemed once across it", TIMED, async () => {
    const { claims } = await step(await open());
    await restart();
    const hold = held(await redeem(claims));
    await restart();
    expect(reasonOf(await redeem(claims))).toBe("permit_reused");
    expect(held(await renew(hold.hold)).valid_until_ms).toBeGreaterThan(hold.valid_until_ms);
  });

  it("is refused with other claims than it was issued with, and after its end", async () => {
    const { claims } = await step(await open());
    for (const other of [
      { aud: "gateway" },
      { run: claims.jti },
      { exp_ms: claims.exp_ms + 1 },
      { input: `sha256:${"A".repeat(43)}` },
      { jti: claims.run },
    ])
      expect([other, reasonOf(await redeem({ ...claims, ...other }))]).toEqual([other, "permit_invalid"]);
    const short = await step(await open(), {}, { permit: { ...ASK, ttl_ms: 1 } });
    await new Promise((go) => setTimeout(go, 5));
    expect(reasonOf(await redeem(short.claims))).toBe("permit_expired");
    // What did not win can still be redeemed.
    held(await redeem(claims));
  });

  const revoked: readonly (readonly [string, (given: Given, run: string) => string])[] = [
    ["the permit", ({ claims }) => `permit:${claims.jti}`],
    ["the run", (_, run) => `run:${run}`],
    ["its resource", () => "resource:record/gone"],
    ["the PEP that redeems", () => "pep:eu/exit"],
  ];
  it.each(revoked)("is not redeemed where %s was revoked", async (_name, keyOf) => {
    const run = await open();
    const given = await step(run, { resource: { type: "record", id: "gone" } });
    const entry = await revoke(keyOf(given, run), "issue");
    expect(reasonOf(await redeem(given.claims, { facts: await factsOf("exit") }))).toBe("revoked");
    if (keyOf(given, run).startsWith("run")) return;
    await trust().restore(entry, "cleared", "test");
    // A refusal does not use it up.
    held(await redeem(given.claims, { facts: await factsOf("exit") }));
  });

  it("is not redeemed when its run is closed, its step failed, what that used failed, or a delegation has gone", async () => {
    const closed = await open();
    const first = await step(closed);
    await shard().stopRun(closed, "test");
    expect(reasonOf(await redeem(first.claims))).toBe("run_closed");

    const failed = await step(await open());
    await change(failed.claims.run, { kind: "outcome", step: failed.id, outcome: "failed" });
    expect(reasonOf(await redeem(failed.claims))).toBe("permit_invalid");

    const run = await open({ plan: planOf({ a: [], b: ["a"] }) });
    const [a, b] = [await step(run, { step: "a" }), await step(run, { step: "b" })];
    await change(run, { kind: "outcome", step: a.id, outcome: "failed" });
    expect(reasonOf(await redeem(b.claims))).toBe("parent_denied");

    const delegation = delegationTo("alice", { delegator: "user/boss" });
    const lent = await open({ principal: { type: "user", id: "boss" }, delegations: [delegation] });
    const given = await step(lent);
    await revoke(`delegation:${delegation.id}`, "issue");
    expect(reasonOf(await redeem(given.claims))).toBe("revoked");
  });

  it("is not redeemed where something below its step was revoked from the beginning", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }) });
    await step(run, { step: "a", resource: { type: "record", id: "poisoned" } });
    const b = await step(run, { step: "b" });
    await revoke("resource:record/poisoned");
    expect(reasonOf(await redeem(b.claims))).toBe("ancestor_revoked");
  });

  it("costs nothing a second time, whatever the budgets and the plan say", async () => {
    const run = await open({ plan: planOf({ a: [] }), budgets: [budget("1")] });
    const { claims } = await step(run, { step: "a" });
    held(await redeem(claims));
    expect((await viewOf(run)).budgets[0]?.spent).toBe("1");
  });

  it("keeps nothing about people beside the sealed record", async () => {
    held(await redeem((await step(await open())).claims));
    const rows = await runInDurableObject(stub(), (_, state) => [
      ...state.storage.sql.exec("SELECT * FROM permit").toArray(),
      ...state.storage.sql.exec("SELECT * FROM hold").toArray(),
    ]);
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain("alice");
  });
});

describe("a hold", () => {
  const newHold = async (more: { run?: string; asked?: Partial<CanonicalRequest> } = {}) => {
    const given = await step(more.run ?? (await open()), more.asked ?? {});
    return { ...given, hold: held(await redeem(given.claims)) };
  };

  it("is renewed by records of its own, and ends with the outcome of its step", async () => {
    const { hold, claims, id } = await newHold();
    const renewed = await renew(hold.hold);
    expect(held(renewed).hold).toBe(hold.hold);
    if (!renewed.ok) throw new Error("not renewed");
    expect((await recordOf(renewed.decision_id!)).record).toMatchObject({ kind: "hold.renew", decision: "allow" });
    const told = await report(hold.hold, "completed");
    expect(held(told)).toMatchObject({ state: "ended", outcome: "completed", reason: null });
    if (!told.ok) throw new Error("not told");
    expect((await recordOf(told.decision_id!)).record).toMatchObject({
      kind: "run.outcome",
      parents: [(await recordOf(id)).leaf_hash],
    });
    // Twice is once; otherwise is a conflict; and over is over.
    expect(await report(hold.hold, "completed")).toMatchObject({ ok: true, decision_id: null });
    expect(reasonOf(await report(hold.hold, "failed"))).toBe("conflict");
    expect(reasonOf(await renew(hold.hold))).toBe("hold_ended");
    expect((await viewOf(claims.run)).status).toBe("open");
  });

  it("is known to its audience and to who asked for the step, and to nobody else", async () => {
    const { hold } = await newHold();
    expect(await viewHold(hold.hold)).toMatchObject({ ok: true, value: { state: "active" } });
    expect(await viewHold(hold.hold, ["gateway"], "gateway")).toMatchObject({ ok: true });
    expect(await viewHold(hold.hold, ["window"], "window")).toMatchObject({ ok: false, code: "not_found" });
    expect(await shard().renewHold(await ofHold(hold.hold, ["gateway"]))).toMatchObject({ code: "not_found" });
    expect((await listen({ hold: hold.hold }, {}, "window")).status).toBe(404);
  });

  it("that is not renewed in time is over, without grace, and its listener hears of it", async () => {
    const { hold } = await newHold();
    const { until, cancel } = await events(await listen({ hold: hold.hold }));
    const halt = await until("halt");
    expect(halt).toMatchObject({ hold: hold.hold, reason: "hold_ended" });
    expect(halt.at).toBeGreaterThanOrEqual(hold.valid_until_ms);
    expect(reasonOf(await renew(hold.hold))).toBe("hold_ended");
    expect(await viewHold(hold.hold)).toMatchObject({ value: { state: "ended", reason: "hold_ended" } });
    await cancel();
  });

  const turns: readonly (readonly [string, string, (given: Given) => Promise<unknown>])[] = [
    ["a revoked resource", "revoked", () => revoke("resource:record/halting", "issue")],
    ["a revoked permit", "revoked", ({ claims }) => revoke(`permit:${claims.jti}`, "issue")],
    ["a stopped run", "run_closed", ({ claims }) => shard().stopRun(claims.run, "test")],
    [
      "a step reported failed",
      "hold_ended",
      ({ claims, id }) => change(claims.run, { kind: "outcome", step: id, outcome: "failed" }),
    ],
  ];
  it.each(turns)(
    "is halted by %s before that is acknowledged, and is not renewed",
    TIMED,
    async (_name, reason, turn) => {
      const given = await newHold({ asked: { resource: { type: "record", id: "halting" } } });
      const { until, heard, cancel } = await events(await listen({ run: given.claims.run }));
      expect(held(await renew(given.hold.hold)).state).toBe("active");
      expect(await until("renewed")).toMatchObject({ hold: given.hold.hold });
      const entry = await turn(given);
      // It was over before the one who turned it had an answer.
      expect(await viewHold(given.hold.hold)).toMatchObject({ value: { state: "ended", reason } });
      expect(await until("halt")).toMatchObject({ hold: given.hold.hold, step: given.id, reason });
      expect(reasonOf(await renew(given.hold.hold))).toBe("hold_ended");
      expect(heard.map(({ event }) => event)).toEqual(["listening", "renewed", "halt"]);
      await cancel();
      if (typeof entry === "string") await trust().restore(entry, "cleared", "test");
    },
  );

  it("is halted where what its step used was revoked from the beginning", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }) });
    await step(run, { step: "a", resource: { type: "record", id: "tainted" } });
    const { hold } = await newHold({ run, asked: { step: "b" } });
    const { until, cancel } = await events(await listen({ hold: hold.hold }));
    await revoke("resource:record/tainted");
    expect(await until("halt")).toMatchObject({ hold: hold.hold, reason: "ancestor_revoked" });
    await cancel();
  });

  it("goes on across a restart, and is still halted", TIMED, async () => {
    const { hold } = await newHold({ asked: { resource: { type: "record", id: "later" } } });
    await restart();
    expect(await viewHold(hold.hold)).toMatchObject({ value: { state: "active" } });
    const entry = await revoke("resource:record/later", "issue");
    expect(await viewHold(hold.hold)).toMatchObject({ value: { state: "ended", reason: "revoked" } });
    await trust().restore(entry, "cleared", "test");
    // Restored is not resumed.
    expect(reasonOf(await renew(hold.hold))).toBe("hold_ended");
  });

  it("leaves other runs alone, and tells who comes late what was missed", async () => {
    const [one, two] = [await newHold({ asked: { resource: { type: "record", id: "one" } } }), await newHold()];
    const other = await events(await listen({ run: two.claims.run }));
    const entry = await revoke("resource:record/one", "issue");
    expect(held(await renew(two.hold.hold)).state).toBe("active");
    expect(await other.until("renewed")).toMatchObject({ hold: two.hold.hold });
    expect(other.heard.map(({ event }) => event)).toEqual(["listening", "renewed"]);
    const late = await events(await listen({ hold: one.hold.hold }));
    const halt = await late.until("halt");
    expect(halt).toMatchObject({ hold: one.hold.hold, reason: "revoked" });
    // From that number on there is nothing more; from the one before, it comes again.
    const again = await events(await listen({ run: one.claims.run }, { after: halt.id! - 1 }));
    expect(await again.until("halt")).toMatchObject({ id: halt.id });
    const seen = await events(await listen({ run: one.claims.run }, { after: halt.id! }));
    expect(seen.heard.map(({ event }) => event)).toEqual(["listening"]);
    await Promise.all([other, late, again, seen].map(({ cancel }) => cancel()));
    await trust().restore(entry, "cleared", "test");
  });

  it("has a bounded number of listeners, and none is left behind", async () => {
    const { claims } = await newHold();
    const listening = await Promise.all(
      Array.from({ length: 32 }, async () => events(await listen({ run: claims.run }, {}, "many"))),
    );
    expect((await listen({ run: claims.run }, {}, "many")).status).toBe(503);
    expect((await listen({ run: claims.run })).status).toBe(200);
    await Promise.all(listening.map(({ cancel }) => cancel()));
    expect((await listen({ run: claims.run }, {}, "many")).status).toBe(200);
    expect((await listen({ run: claims.jti })).status).toBe(404);
  });
});

describe("what was redeemed and renewed", () => {
  it("is decided again by a replay, byte for byte", async () => {
    const run = await open({ plan: planOf({ a: [], b: ["a"] }, { repeat: 9 }), budgets: [budget("9")] });
    await step(run, { step: "a" });
    const { claims } = await step(run, { step: "b" });
    const hold = held(await redeem(claims));
    await redeem(claims);
    held(await renew(hold.hold));
    const other = await step(run, { step: "b", resource: { type: "record", id: "replayed" } });
    const entry = await revoke("resource:record/replayed", "issue");
    await redeem(other.claims);
    await trust().restore(entry, "cleared", "test");
    await shard().stopRun(run, "test");
    await redeem(other.claims);
    const found: FoundRecord[] = [];
    const all = { v: 1, from_ms: 0, to_ms: Date.now() + 60_000, subject: null, reason: null, decision: null } as const;
    for (let before_sseq: number | null = null; ;) {
      const page = { before_sseq, run, limit: 100, payload: true, max_bytes: 4_000_000 };
      const answer = await shard().findRecords({ ...all, ...page });
      if (!answer.ok) throw new Error(answer.code);
      found.push(...answer.found);
      if (answer.next === null) break;
      before_sseq = answer.next.before_sseq;
    }
    const policy = activePolicy(region);
    const told = found.map((one) => [
      one.record["kind"],
      one.record["reason"] ?? one.record["decision"],
      wordOf(judge(recordedItem(one), policy)),
    ]);
    const expected = [
      ["permit.redeem", "allow"],
      ["permit.redeem", "permit_reused"],
      ["hold.renew", "allow"],
      ["permit.redeem", "revoked"],
      ["permit.redeem", "run_closed"],
    ].map((words) => [...words, "identical"]);
    expect(told.filter(([kind]) => kind !== "decision" && !(kind as string).startsWith("run.")).toReversed()).toEqual(
      expected,
    );
  });
});
