import { beforeAll, describe, expect, it } from "vitest";
import { activePolicy } from "../../src/policy/baseline.ts";
import type { FoundRecord } from "../../src/objects/records.ts";
import { wordOf } from "../../src/replay/tally.ts";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { claimedIn, policiesOf } from "../../src/replay/policies.ts";
import { replay, replayLine } from "../../src/replay/replay.ts";
import { bitsOf, flippedLine, lineOf } from "../support/flipped.ts";
import { seeded } from "../support/random.ts";
import { flips, judge, portsOf, recordedItem } from "../support/replayed.ts";
import { activate, ask, decide, factsOf, read1, region, shard, trust } from "./region.ts";
import { budget, change, delegationTo, newId, open, planOf, revoke, step, steps, tryOpen } from "./run-steps.ts";

/** A region's records, decided again by the machine that did not decide them: this test, from what a reader gets. */
const policy = activePolicy(region);
const SEED = 20_261_123;
const bob = { type: "user", id: "bob" };

async function all(k = 0): Promise<FoundRecord[]> {
  const message = { v: 1, from_ms: 0, to_ms: Date.now() + 60_000, subject: null, run: null, reason: null } as const;
  const found: FoundRecord[] = [];
  for (let before_sseq: number | null = null; ;) {
    const more = { before_sseq, decision: null, limit: 200, payload: true, max_bytes: 4_000_000 };
    const answer = await shard(k).findRecords({ ...message, ...more });
    if (!answer.ok) throw new Error(answer.code);
    found.push(...answer.found);
    if (answer.next === null) return found;
    before_sseq = answer.next.before_sseq;
  }
}

const kindOf = ({ record }: FoundRecord): string =>
  [record["kind"], record["reason"] ?? record["decision"]]
    .map((part) => JSON.stringify(part).replaceAll('"', ""))
    .join(" ");

let records: FoundRecord[] = [];

beforeAll(async () => {
  await activate();
  await decide([read1, { ...read1, action: { name: "write" } }, { ...read1, action: { name: "unheard-of" } }]);
  const token = (await decide([{ ...read1, context: { note: "ünïcode \u{1F511}", deep: { list: [1, 2, "x"] } } }]))
    .consistency;
  await decide([read1], { at_least: token });
  await decide([read1], { at_least: "no token" });
  await decide([{ ...read1, run: newId() }]);
  await decide([read1, read1, read1], { idempotency_key: "again" });
  await decide([read1, read1, read1], { idempotency_key: "again" });

  const run = await open({
    plan: planOf({ quote: [], pay: ["quote"] }, { repeat: 3 }),
    budgets: [budget("3")],
    members: [bob],
  });
  await step(run, { step: "pay" });
  const quoted = await step(run, { step: "quote" });
  await step(run, { step: "pay", parents: [quoted.id] });
  await step(run, { step: "quote", subject: bob, state_version: 1 });
  await steps(run, [{ step: "quote" }, { step: "quote" }, { step: "pay" }]);
  await change(run, { kind: "outcome", step: quoted.id, outcome: "completed" });
  await change(run, { kind: "amend", plan: planOf({ quote: [], pay: ["quote"], refund: [] }, { repeat: 3 }) });
  await change(run, { kind: "amend", plan: planOf({ pay: [] }) });
  const given = delegationTo("carol", { scopes: ["read"], limits: [budget("1", { id: "once" })] });
  await change(run, { kind: "delegate", delegation: given });
  await change(run, { kind: "delegate", delegation: delegationTo("dave", { parent: newId() }) });
  const carol = { type: "user", id: "carol" };
  await step(run, { step: "refund", subject: carol });
  await revoke(`delegation:${given.id}`, "issue");
  await step(run, { step: "refund", subject: carol });
  const inner = await tryOpen({ above: { run, step: quoted.id } });
  if (inner.ok) await step(inner.run.run);
  await tryOpen({ above: { run: newId(), step: quoted.id } });
  await shard().closeRun({ v: 1, run, facts: await factsOf(), traceparent: null });
  await step(run, { step: "quote" });

  const eve = { type: "user", id: "eve" };
  const lost = await open({ members: [eve] });
  const before = await step(lost, { resource: { type: "record", id: "record-7" } });
  await revoke("resource:record/record-7");
  await revoke("subject:user/eve");
  await step(lost, { subject: eve });
  await step(lost, { parents: [before.id] });
  await decide([{ ...read1, subject: eve }]);
  const level = { key: "resource:record/record-9", level: "degraded", from: "issue" } as const;
  const degraded = await trust().revoke({ ...level, reason: "test", wait: "local", actor: "test" });
  if (!degraded.ok) throw new Error(degraded.message);
  await decide([{ ...read1, resource: { type: "record", id: "record-9" } }]);
  await trust().freeze("test", "test");
  await decide([read1]);
  await tryOpen({});
  records = await all();
});

describe("replay", () => {
  it("gives every record of a mixed load again, byte for byte", () => {
    const words = records.map((record) => `${kindOf(record)}: ${wordOf(judge(recordedItem(record), policy))}`);
    const wrong = words.filter((word) => !/: (identical|not_a_decision)$/.test(word));
    expect(wrong).toEqual([]);
    const kinds = new Set(words);
    for (const word of [
      "decision allow: identical",
      "decision policy_denied: identical",
      "decision consistency_unsatisfied: identical",
      "decision run_unknown: identical",
      "decision sequence_violation: identical",
      "decision budget_exceeded: identical",
      "decision state_conflict: identical",
      "decision revoked: identical",
      "decision ancestor_revoked: identical",
      "decision run_closed: identical",
      "decision trust_degraded: identical",
      "decision region_frozen: identical",
      "run.open allow: identical",
      "run.open run_unknown: identical",
      "run.open region_frozen: identical",
      "run.amend allow: identical",
      "run.amend plan_violation: identical",
      "run.delegate allow: identical",
      "run.delegate delegation_exceeded: identical",
      "run.outcome null: not_a_decision",
      "run.close null: not_a_decision",
    ])
      expect(kinds).toContain(word);
  });

  it("finds one changed bit wherever it is", () => {
    const missed: string[] = [];
    let tried = 0;
    for (const [which, record] of records.entries()) {
      for (const { where, recorded } of flips(recordedItem(record), which % 10 === 0 ? 1 : 97)) {
        tried++;
        if (wordOf(judge(recorded, policy)).startsWith("different")) continue;
        missed.push(`${kindOf(record)}: ${where}`);
      }
    }
    expect(missed).toEqual([]);
    expect(tried).toBeGreaterThan(5_000);
  });

  it(
    "finds one changed bit of a line as it is exported: all of one record of each kind, and anywhere",
    { timeout: 120_000 },
    () => {
      const random = seeded(SEED);
      const missed: string[] = [];
      const words = new Map<string, number>();
      const look = (record: FoundRecord, line: string, bit: number): void => {
        const flipped = flippedLine(line, bit);
        if (flipped.same) return;
        const word = wordOf(replayLine(flipped.line, portsOf(policy)));
        words.set(word, (words.get(word) ?? 0) + 1);
        if (!word.startsWith("different")) missed.push(`${kindOf(record)}: ${word}: ${flipped.where}`);
      };
      const each = new Map(records.map((record) => [record.record["kind"], record]));
      for (const record of each.values()) {
        const line = lineOf(record);
        expect(wordOf(replayLine(line, portsOf(policy)))).toMatch(/^(identical|not_a_decision)$/);
        // Every byte, in one of its bits.
        for (let at = 0; at * 8 < bitsOf(line); at++) look(record, line, at * 8 + random.int(0, 7));
      }
      for (let n = 0; n < 3_000; n++) {
        const record = random.pick(records);
        const line = lineOf(record);
        look(record, line, random.int(0, bitsOf(line) - 1));
      }
      expect(missed).toEqual([]);
      expect([...words.keys()].sort()).toEqual([
        "different commitment_mismatch",
        "different core_mismatch",
        "different explanation_differs",
        "different leaf_damaged",
      ]);
    },
  );

  it("takes no policy for another that has one other bit", () => {
    const random = seeded(SEED);
    const used = activePolicy(region).packs.map(({ name }) => name);
    const bundle = bundleJson as unknown as Bundle;
    const text = JSON.stringify({ v: 1, packs: bundle.packs.filter(({ name }) => used.includes(name)) });
    const allow = recordedItem(records.find((record) => kindOf(record) === "decision allow")!);
    // No policy is asked for it: with another one it comes out the same.
    const frozen = recordedItem(records.find((record) => kindOf(record) === "decision region_frozen")!);
    const lawOf = (from: string): string =>
      jcs(
        (JSON.parse(from) as Bundle).packs.map((pack) => {
          const { name, status, digest } = pack;
          if (pack.status === "invalid") return { name, status, digest };
          const { manifest, policies, schema, entities } = pack;
          return { name, status, digest, manifest, policies, schema, entities };
        }),
      );
    const law = lawOf(text);
    const words = new Map<string, number>();
    for (let n = 0; n < 600; n++) {
      const flipped = flippedLine(text, random.int(0, bitsOf(text) - 1));
      let candidate: Bundle;
      try {
        candidate = JSON.parse(flipped.line) as Bundle;
        if (lawOf(flipped.line) === law) continue;
      } catch {
        // It is no bundle any more, and is refused as a whole.
        words.set("refused", (words.get("refused") ?? 0) + 1);
        continue;
      }
      const ports = { sha: sha256, policy: policiesOf([candidate]), damaged: claimedIn([candidate]) };
      for (const one of [allow, frozen]) {
        const word = wordOf(replay(one, ports));
        if (word !== "different policy_damaged" && word !== "unreplayable policy_unknown")
          throw new Error(`${word}: ${flipped.where}`);
        words.set(word, (words.get(word) ?? 0) + 1);
      }
    }
    expect(words.get("different policy_damaged") ?? 0).toBeGreaterThan(300);
  });

  it("says why it cannot decide again", async () => {
    const one = recordedItem(records.find((record) => kindOf(record) === "decision allow")!);
    expect(wordOf(judge({ ...one, payload: "erased" }, policy))).toBe("redacted");
    expect(wordOf(judge({ ...one, payload: "undisclosed" }, policy))).toBe("unreplayable undisclosed");
    const other = { ...policy, digest: `sha256:${"A".repeat(43)}` };
    expect(wordOf(judge(one, other))).toBe("unreplayable policy_unknown");
    // The same name over another law: what is decided differs, and replay says in what.
    const empty = { ...policy, application: [] };
    const differs = judge(one, empty);
    expect(differs).toMatchObject({ verdict: "different", reason: "core_differs" });
    if (differs.verdict !== "different") throw new Error("unreachable");
    expect(differs.differs.map(({ member }) => member)).toEqual(["decision", "failed", "reason"]);
  });

  it("tells a reader nothing more than the payload: no salts where it is not shown", async () => {
    const message = await ask([read1]);
    expect(message.items).toHaveLength(1);
    const closed = await shard().findRecords({
      v: 1,
      from_ms: 0,
      to_ms: Date.now() + 60_000,
      before_sseq: null,
      subject: null,
      run: null,
      reason: null,
      decision: null,
      limit: 1,
      payload: false,
      max_bytes: 1_000_000,
    });
    if (!closed.ok) throw new Error(closed.code);
    expect(closed.found[0]).toMatchObject({ payload: null, salts: null });
  });
});
