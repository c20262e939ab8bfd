import { describe, expect, test } from "vitest";
import { encodeEvidence, type Evidence } from "../../../src/lineage/evidence.ts";
import { exitCodeOf, type EvidenceReport } from "../../../src/lineage/evidence-report.ts";
import { parsePolicy } from "../../../src/lineage/tlog-policy.ts";
import { verifyEvidence, type VerifyOptions } from "../../../src/lineage/verify-evidence.ts";
import type { LineageRecord } from "../../../src/lineage/record.ts";
import { digestFor, hashOf, runOf, sha } from "./build.ts";
import { AP, bundleOf, deps, LOG, noteOver, NOW_S, ORIGIN, POLICY, randomLog, TestLog, US } from "./evidence-build.ts";

const check = (evidence: Evidence, options?: VerifyOptions): Promise<EvidenceReport> =>
  verifyEvidence(encodeEvidence(evidence), POLICY, deps, options);

const found = ({ problems }: EvidenceReport): string[] =>
  problems.map(({ code, where, index, sseq, field }) => `${code} ${where} ${index}/${sseq} ${field}`);

/** Run 1: open, allow, withheld, deny, close; run 2 in between. */
function smallLog(): TestLog {
  const log = new TestLog();
  log.step(1, { kind: "run.open", decision: null });
  const allow = log.step(1);
  log.step(2);
  log.other();
  log.step(1, { kind: "withheld", decision: "deny", refers: allow.hash });
  log.step(1, { decision: "deny" });
  log.step(2);
  log.step(1, { kind: "run.close", decision: null });
  log.head(1);
  log.head(2);
  log.other();
  return log;
}

describe("a whole bundle", () => {
  test("is verified, and says what it shows", async () => {
    const report = await check(await bundleOf(smallLog(), 1), { run: runOf(1).id });
    expect(report).toEqual({
      status: "verified",
      integrity: { ok: true },
      anchored: {
        trusted: true,
        distrust: null,
        origin: ORIGIN,
        size: 12,
        cosigners: [
          { witness: "us", timestamp_s: NOW_S },
          { witness: "ap", timestamp_s: NOW_S + 1 },
        ],
        records: 5,
        seq: [{ first: 1, last: 5 }],
        index: { first: 1, last: 8 },
      },
      unanchored: { records: 0, seq: [] },
      gaps: { complete: true, missing: [], head_t_ms: NOW_S * 1000 + 7, head_seq: 5, head_log_epoch: 1 },
      erased: { records: 0, seq: [], proven: 0, reappeared: 0 },
      info: {
        region: "eu",
        log_epoch: 1,
        source: "shard/0",
        run_hash: runOf(1).hash,
        run: runOf(1).id,
        records: 5,
        allows: 1,
        denies: 1,
        withheld: 1,
        closed: true,
        first_t_ms: NOW_S * 1000 + 1,
        last_t_ms: NOW_S * 1000 + 7,
        opened: 5,
        undisclosed: 0,
        unreadable: 0,
        engines: ["interlock/0.1.0"],
        policies: [expect.stringMatching(/^sha256:/)],
        exported_at_ms: NOW_S * 1000 + 60_000,
      },
      problems: [],
      problems_total: 0,
    });
    expect(exitCodeOf(report)).toBe(0);
  });

  test("of any run of any log is verified, whatever of it is opened", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const log = randomLog(seed);
      for (const n of [1, 2]) {
        const bundle = await bundleOf(log, n, {
          named: seed % 3 !== 0,
          payload: ({ payload, record }) =>
            seed % 2 === 0 ? payload : record.sseq % 2 === 0 ? "undisclosed" : "unreadable",
        });
        expect(found(await check(bundle))).toEqual([]);
      }
    }
  });

  test("may open a part of a payload", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    const records = bundle.records.map((record) => ({
      ...record,
      payload: typeof record.payload === "string" ? record.payload : { ...record.payload, core: null, facts: null },
    }));
    expect((await check({ ...bundle, records })).status).toBe("verified");
  });

  test("needs no cosignature under a policy that asks for none, and no more than the quorum", async () => {
    const log = smallLog();
    const bundle = { ...(await bundleOf(log, 1)), checkpoint: await noteOver(log.hashes(12), LOG, [US]) };
    const source = encodeEvidence(bundle);
    expect((await verifyEvidence(source, { ...POLICY, quorum: null }, deps)).status).toBe("verified");
    expect((await verifyEvidence(source, { ...POLICY, quorum: "us" }, deps)).status).toBe("verified");
    expect((await verifyEvidence(source, POLICY, deps)).anchored.distrust).toBe("no_quorum");
  });

  test("is worth nothing under the policy that came with it alone", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    const carried = parsePolicy(bundle.policy, sha);
    expect(carried.ok && (await verifyEvidence(encodeEvidence(bundle), carried.value, deps)).status).toBe("verified");
    const stranger = { ...POLICY, logs: [], witnesses: [], groups: [], quorum: null };
    const report = await verifyEvidence(encodeEvidence(bundle), stranger, deps);
    expect(report).toMatchObject({
      status: "failed",
      integrity: { ok: true },
      anchored: { trusted: false, records: 0 },
    });
    expect(report.unanchored).toEqual({ records: 5, seq: [{ first: 1, last: 5 }] });
  });
});

describe("what a bundle does not show", () => {
  test("records beyond the checkpoint are unanchored, and the run incomplete", async () => {
    const report = await check(await bundleOf(smallLog(), 1, { size: 7 }));
    expect(report).toMatchObject({
      status: "failed",
      integrity: { ok: true },
      anchored: { trusted: true, size: 7, records: 4, seq: [{ first: 1, last: 4 }], index: { first: 1, last: 6 } },
      unanchored: { records: 1, seq: [{ first: 5, last: 5 }] },
      gaps: { complete: false },
    });
    expect(found(report)).toEqual(["head_not_covered head 9/2 index", "unanchored records null/null index"]);
  });

  test("no checkpoint at all", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    const coverage = { ...bundle.coverage, unanchored: 5 };
    const report = await check({ ...bundle, checkpoint: null, proof: [], coverage });
    expect(found(report)).toEqual(["no_checkpoint checkpoint null/null checkpoint", "head_not_covered head 9/2 index"]);
    expect(report.integrity.ok).toBe(true);
  });

  test("no head", async () => {
    const report = await check(await bundleOf(smallLog(), 1, { head: "none" }));
    expect(found(report)).toEqual(["head_missing head null/null head"]);
    expect(exitCodeOf(report)).toBe(1);
  });

  test("a head that is older than asked for, or of a run that was not asked for", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    expect(found(await check(bundle, { head_since_ms: NOW_S * 1000 + 8 }))).toEqual(["head_stale head 9/2 t"]);
    expect(found(await check(bundle, { run: runOf(2).id }))).toEqual(["other_run run null/null id"]);
    expect(found(await check({ ...bundle, run: null }, { run: runOf(1).id }))).toEqual(["other_run run null/null id"]);
  });

  test("records that follow the head", async () => {
    const log = smallLog();
    log.step(1);
    const report = await check(await bundleOf(log, 1));
    expect(found(report)).toEqual(["head_behind head 9/2 body.seq"]);
    expect(report.gaps).toMatchObject({ complete: false, missing: [], head_seq: 5 });
  });

  test("an erased payload, proven by its erasure leaf", async () => {
    const log = smallLog();
    log.erase(log.runs.get(1)!.slice(1, 3));
    const bundle = await bundleOf(log, 1);
    const erased = { records: 2, seq: [{ first: 2, last: 3 }], reappeared: 0 };
    expect(await check(bundle)).toMatchObject({ status: "verified", erased: { ...erased, proven: 2 } });
    const without = await bundleOf(log, 1);
    const again = { ...without, erasures: [], proof: (await bundleOf(smallLog(), 1)).proof };
    expect((await check(again)).erased).toMatchObject({ records: 2, proven: 0 });
  });

  test("an erased payload that came back", async () => {
    const log = smallLog();
    const [first] = log.runs.get(1)!;
    const whole = await bundleOf(log, 1);
    log.erase([first!]);
    const bundle = await bundleOf(log, 1);
    const back = { ...bundle, records: whole.records, coverage: { ...bundle.coverage, erased: 0, opened: 5 } };
    expect(await check(back)).toMatchObject({ status: "verified", erased: { records: 0, reappeared: 1 } });
  });
});

describe("a fault is named with its leaf and field", () => {
  const change = async (edit: (bundle: Evidence) => Evidence): Promise<string[]> =>
    found(await check(edit(await bundleOf(smallLog(), 1))));
  const edit = (at: number, members: Partial<Evidence["records"][number]>) => (bundle: Evidence) => ({
    ...bundle,
    records: bundle.records.with(at, { ...bundle.records[at]!, ...members }),
  });

  test("a leaf exchanged for another", async () => {
    const other = (await bundleOf(smallLog(), 2)).records[0]!;
    expect(await change(edit(1, { leaf: other.leaf }))).toEqual(["leaf_hash records[1] 2/3 leaf"]);
    expect(await change(edit(4, { leaf: "AXt9" }))).toEqual(["leaf_hash records[4] 8/null leaf"]);
    expect(await change(edit(2, { leaf: "!" }))).toEqual(["leaf_hash records[2] 5/null leaf"]);
  });

  test("an opened text, a salt, a core", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    const payload = bundle.records[3]!.payload;
    if (typeof payload === "string") throw new Error("not opened");
    const { input, core } = payload;
    expect(await change(edit(3, { payload: { ...payload, input: { ...input!, text: input!.text + " " } } }))).toEqual([
      "commitment_mismatch records[3] 6/5 payload.input",
    ]);
    expect(await change(edit(3, { payload: { ...payload, facts: input } }))).toEqual([
      "commitment_mismatch records[3] 6/5 payload.facts",
    ]);
    expect(await change(edit(3, { payload: { ...payload, core: core!.replace("deny", "allow") } }))).toEqual([
      "core_mismatch records[3] 6/5 payload.core",
    ]);
  });

  test("a leaf and its hash exchanged: the chain tells which leaf is not in the log", async () => {
    const log = smallLog();
    const forged = new TestLog("another");
    forged.step(1, { kind: "run.open", decision: null });
    const first = (await bundleOf(log, 1)).records[0]!;
    const leaf = forged.leaves[1]!;
    const members = {
      hash: Buffer.from(leaf.hash).toString("base64url"),
      leaf: Buffer.from(leaf.bytes).toString("base64url"),
      payload: "undisclosed" as const,
    };
    expect(first.hash).not.toBe(members.hash);
    const bundle = edit(0, members)(await bundleOf(log, 1));
    const coverage = { ...bundle.coverage, opened: 4, undisclosed: 1 };
    const report = await check({ ...bundle, coverage });
    expect(found(report)).toEqual(["prev_mismatch records[1] 2/2 prev", "not_included records[0] 1/1 hash"]);
    expect(report.anchored.seq).toEqual([{ first: 2, last: 5 }]);
  });
});

describe("a region that lies under signatures that count", () => {
  /** Two honest records, one that `forge` made, a head, and a checkpoint with a quorum over all of it. */
  const forged = async (
    forge: (record: LineageRecord) => LineageRecord,
    say: Parameters<TestLog["step"]>[1] = {},
  ): Promise<string[]> => {
    const log = new TestLog();
    log.step(1, { decision: "deny" });
    log.step(2);
    log.step(1);
    log.step(1, say, forge);
    log.head(1);
    return found(await check(await bundleOf(log, 1)));
  };
  const numbered = (sseq: number) => (record: LineageRecord) => ({
    ...record,
    sseq,
    decision_id: `eu.1.s0.${sseq}`,
  });

  test("without a lie there is none", async () => expect(await forged((record) => record)).toEqual([]));

  test.each<[string, (record: LineageRecord) => LineageRecord, string[]]>([
    ["a clock set back", (record) => ({ ...record, t: record.t - 5 }), ["clock_backwards records[2] 4/4 t"]],
    ["a number of the source twice", numbered(3), ["sseq_order records[2] 4/3 sseq"]],
    ["more numbers than leaves", numbered(5), ["index_order records[2] 4/5 index"]],
    [
      "a decision that its core does not say",
      (record) => ({ ...record, decision: "deny", reason: "policy_denied" }),
      ["core_disagrees records[2] 4/4 decision", "core_disagrees records[2] 4/4 reason"],
    ],
    ["another core", (record) => ({ ...record, core: digestFor("x") }), ["core_mismatch records[2] 4/4 payload.core"]],
    [
      "another region",
      (record) => ({ ...record, region: "us", decision_id: "us.1.s0.4" }),
      ["foreign records[2] 4/4 region", "core_disagrees records[2] 4/4 region"],
    ],
  ])("%s", async (_, forge, problems) => {
    expect(await forged(forge)).toEqual(problems);
  });

  test("a withdrawal of what was no allow, or was withdrawn before", async () => {
    const log = new TestLog();
    const deny = log.step(1, { decision: "deny" });
    const allow = log.step(1);
    for (const refers of [deny.hash, allow.hash, allow.hash])
      log.step(1, { kind: "withheld", decision: "deny", refers });
    log.head(1);
    expect(found(await check(await bundleOf(log, 1)))).toEqual([
      "refers_nowhere records[2] 3/3 refers",
      "refers_nowhere records[4] 5/5 refers",
    ]);
  });

  test("a head that names another leaf; one that came before its record is none", async () => {
    const [honest, log] = [new TestLog(), new TestLog()];
    const { hash, record } = honest.step(1);
    log.state("run.head", { head: hash, run: record.run, seq: 1 });
    log.heads.push({ run: 1, seq: 1, index: 1 });
    log.step(1);
    expect(found(await check(await bundleOf(log, 1)))).toEqual([]);
    log.heads.push({ run: 1, seq: 1, index: log.state("run.head", { head: hashOf("x"), run: record.run, seq: 1 }) });
    expect(found(await check(await bundleOf(log, 1)))).toEqual(["head_mismatch head 3/3 body.head"]);
    log.heads.push({ run: 1, seq: 1, index: log.state("run.head", { head: hash, run: record.run, seq: 1, more: 1 }) });
    expect(found(await check(await bundleOf(log, 1)))).toEqual([
      "undecodable head 4/4 body",
      "head_missing head 4/4 leaf",
    ]);
    log.heads.push({ run: 1, seq: 1, index: 0 });
    const report = await check(await bundleOf(log, 1));
    expect(found(report)).toEqual(["foreign head 0/1 kind", "head_missing head 0/1 leaf"]);
    expect(report.gaps.complete).toBe(false);
  });

  test("an erasure leaf that no checkpoint covers, or of another form", async () => {
    const log = smallLog();
    log.erase([log.runs.get(1)![0]!]);
    const late = await check(await bundleOf(log, 1, { size: log.leaves.length - 1 }));
    expect(found(late)).toEqual(["erasure_unproven records[0] 1/1 payload"]);
    const bundle = await bundleOf(log, 1);
    const index = log.state("erasure", { ground: "x", records: ["shard/0 1"] });
    const odd = { ...log.erasures[0]!, index };
    log.erasures.splice(0, 1, odd);
    expect(found(await check(await bundleOf(log, 1)))).toEqual([
      "undecodable erasures[0] 13/5 body",
      "erasure_unproven records[0] 1/1 payload",
    ]);
    expect(found(await check(bundle))).toEqual([]);
  });
});

describe("whatever bytes come", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["nothing", "", "malformed"],
    ["no JSON", "evidence", "malformed"],
    ["another document", "{}\n", "schema"],
    ["a list", "[]\n", "schema"],
    ["bytes that are no text", Uint8Array.of(0xff, 0xfe), "not_utf8"],
    ["deep nesting", "[".repeat(100_000), "malformed"],
    ["a member twice", '{"v":1,"v":1}', "malformed"],
  ])("%s is unreadable", async (_, source, code) => {
    const report = await verifyEvidence(source, POLICY, deps);
    expect(report.status).toBe("unreadable");
    expect(report.problems.map((problem) => problem.code)).toEqual([code]);
    expect(exitCodeOf(report)).toBe(2);
  });

  test("too much of it is not read", async () => {
    const source = encodeEvidence(await bundleOf(smallLog(), 1));
    const limit = { max_bytes: source.length - 1 };
    expect((await verifyEvidence(source, POLICY, deps, limit)).problems[0]!.code).toBe("too_large");
    expect((await verifyEvidence(Buffer.from(source), POLICY, deps)).status).toBe("verified");
  });

  test.each<[string, (text: string) => string]>([
    ["no newline at the end", (text) => text.trimEnd()],
    ["two", (text) => text + "\n"],
    ["a space", (text) => text.replace(":", ": ")],
    ["an escape that is not needed", (text) => text.replace("interlock-evidence", "interlock\\u002devidence")],
    ["another order", (text) => text.replace(/("region":"eu"),(.*),("type":.*),"v":1}/, '$1,$2,"v":1,$3}')],
    ["another form of a number", (text) => text.replace('"v":1}', '"v":1.0}')],
  ])("a bundle with %s is not canonical", async (_, spoil) => {
    const text = encodeEvidence(await bundleOf(smallLog(), 1));
    expect(spoil(text)).not.toBe(text);
    expect((await verifyEvidence(spoil(text), POLICY, deps)).problems[0]!.code).toBe("not_canonical");
  });

  test("a verifier that throws verifies nothing", async () => {
    const source = encodeEvidence(await bundleOf(smallLog(), 1));
    const throwing = () => {
      throw new Error("no such key");
    };
    const report = await verifyEvidence(source, POLICY, { sha, verify: throwing });
    expect(report.anchored.distrust).toBe("bad_signature");
  });

  test("a checkpoint that claims the largest tree costs nothing", async () => {
    const bundle = await bundleOf(smallLog(), 1);
    const checkpoint = bundle.checkpoint!.replace("\n12\n", `\n${Number.MAX_SAFE_INTEGER}\n`);
    const report = await check({ ...bundle, checkpoint });
    expect(found(report).map((text) => text.split(" ")[0])).toEqual(["not_included", "untrusted"]);
  });

  test("keys of other witnesses count for nothing", async () => {
    const log = smallLog();
    const bundle = { ...(await bundleOf(log, 1)), checkpoint: await noteOver(log.hashes(12), LOG, [AP]) };
    expect(found(await check(bundle))).toEqual(["untrusted checkpoint null/null no_quorum"]);
  });
});
