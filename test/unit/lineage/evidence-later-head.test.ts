import { beforeEach, describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { frameLaterHead } from "../../../src/lineage/build-evidence.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import { encodeEvidence, type Evidence, type LaterHeadProof } from "../../../src/lineage/evidence.ts";
import type { EvidenceReport } from "../../../src/lineage/evidence-report.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { formatNote, signNote } from "../../../src/lineage/note.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord, type StateKind } from "../../../src/lineage/state-record.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import type { TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import { verifyEvidence, type VerifyOptions } from "../../../src/lineage/verify-evidence.ts";
import { reportText } from "../../../tools/evidence/report.ts";
import { bytesOf, runOf, sha } from "./build.ts";
import { AP, bundleOf, deps, NOW_S, POLICY, TestLog, US } from "./evidence-build.ts";
import { keyOf, readFrom, tileFiles, type TestKey } from "./log-build.ts";

/** A run whose log ended before anybody asked how long it was: the log of a later epoch says so. */
const originOf = (log_epoch: number): string => `eu.pdp.example/eu/${log_epoch}`;
const KEYS = new Map([1, 2, 3].map((log_epoch) => [log_epoch, keyOf(originOf(log_epoch))]));
const BOTH: TlogPolicy = {
  ...POLICY,
  logs: [...POLICY.logs, ...[2, 3].map((log_epoch) => ({ key: KEYS.get(log_epoch)!.key, url: null }))],
};
const T_MS = NOW_S * 1_000 + 86_400_000;

type Forged = {
  readonly log_epoch?: number;
  readonly region?: string;
  readonly kind?: StateKind;
  readonly origin?: string;
  readonly key?: TestKey;
  /** The checkpoint is of the tree before the leaf. */
  readonly cut?: boolean;
};

let log: TestLog;
/** Run 1, four records, without a head; `short` is that of its first three. */
let bundle: Evidence;
let body: JsonObject;

beforeEach(async () => {
  log = new TestLog();
  log.step(1, { kind: "run.open", decision: null });
  for (let step = 0; step < 3; step++) log.step(1);
  for (let more = 0; more < 4; more++) log.other();
  bundle = await bundleOf(log, 1, { head: "none" });
  const last = log.runs.get(1)!.at(-1)!;
  body = { head: last.hash, log_epoch: 1, run: runOf(1).hash, seq: 4, source: "shard/0" };
});

async function later(says: JsonObject = body, forged: Forged = {}): Promise<LaterHeadProof> {
  const { log_epoch = 2, region = "eu", kind = "run.head" } = forged;
  const at = { log_epoch, region, source: "log" };
  const leaf = encodeStateRecord({ ...at, body: says, kind, prev: null, sseq: 1, t: T_MS, v: 1 });
  const others = [0, 1, 2, 3, 4].map((n) => bytesOf("later", log_epoch, n));
  const whole = [...others.slice(0, 3), leafHash(leaf, sha), ...others.slice(3)];
  const hashes = forged.cut === true ? whole.slice(0, 3) : whole;
  const origin = forged.origin ?? originOf(log_epoch);
  const text = checkpointText({ origin, size: hashes.length, root: treeHash(hashes, sha) });
  const key = forged.key ?? KEYS.get(log_epoch)!;
  const note = formatNote(text, [
    await signNote(text, key.key, key.sign),
    ...(await Promise.all([US, AP].map((witness) => cosign(text, witness.key, NOW_S, witness.sign)))),
  ]);
  const framed = await frameLaterHead(
    { log_epoch, origin, checkpoint: note, head: { index: 3, leaf } },
    new TileTree(hashes.length, readFrom(tileFiles(hashes)), sha),
    sha,
  );
  if (!framed.ok) throw new Error(framed.error.message);
  return framed.value;
}

const check = (
  later_head: LaterHeadProof,
  change: Partial<Evidence> = {},
  policy = BOTH,
  options: VerifyOptions = {},
): Promise<EvidenceReport> =>
  verifyEvidence(encodeEvidence({ ...bundle, ...change, later_head }), policy, deps, options);
const found = ({ problems }: EvidenceReport): string[] =>
  problems.map(({ code, where, field }) => `${code} ${where} ${field}`);

test("a head in the log of the next epoch makes the run complete, and the report says whose word it is", async () => {
  expect(found(await verifyEvidence(encodeEvidence(bundle), BOTH, deps))).toEqual(["head_missing head head"]);
  const report = await check(await later());
  expect(report).toMatchObject({
    status: "verified",
    gaps: { complete: true, head_seq: 4, head_t_ms: T_MS, head_log_epoch: 2 },
    anchored: { records: 4, origin: originOf(1) },
    problems: [],
  });
  expect(reportText(report)).toContain("as the log of epoch 2 says");
  expect((await check(await later(body, { log_epoch: 3 }))).gaps).toMatchObject({ complete: true, head_log_epoch: 3 });
  expect((await check(await later(), {}, BOTH, { head_since_ms: T_MS })).status).toBe("verified");
  expect(found(await check(await later(), {}, BOTH, { head_since_ms: T_MS + 1 }))).toEqual([
    "head_stale later_head.head t",
  ]);
});

test("a head in the run's own log is named as that", async () => {
  log.head(1);
  const report = await verifyEvidence(encodeEvidence(await bundleOf(log, 1)), BOTH, deps);
  expect(report.gaps).toMatchObject({ complete: true, head_log_epoch: 1 });
  expect(reportText(report)).not.toContain("as the log of");
});

test("what a halted log had not under its last cosigned checkpoint stays unanchored, complete or not", async () => {
  const index = log.runs.get(1)![2]!.index;
  const tail = await bundleOf(log, 1, { head: "none", size: index });
  const report = await check(await later(), tail);
  expect(report).toMatchObject({
    status: "failed",
    anchored: { records: 2, seq: [{ first: 1, last: 2 }] },
    unanchored: { records: 2, seq: [{ first: 3, last: 4 }] },
    gaps: { complete: true, head_seq: 4 },
  });
  expect(found(report)).toEqual(["unanchored records index"]);
});

describe("it does not help", () => {
  test("against a cut: the later log counts more", async () => {
    const coverage = { ...bundle.coverage, records: 3, last_seq: 3, opened: 3 };
    const cut = { ...bundle, coverage, records: bundle.records.slice(0, -1) };
    const report = await check(await later(), cut);
    expect(report.gaps).toMatchObject({ complete: false, missing: [{ first: 4, last: 4 }] });
    expect(found(report)).toContain("seq_missing later_head.head body.seq");
  });

  test.each<[string, JsonObject, string]>([
    ["of another run", { run: runOf(2).hash }, "head_other_run later_head.head body.run"],
    ["with another last record", { head: base64url(bytesOf("x")) }, "head_mismatch later_head.head body.head"],
    ["that counts fewer", { seq: 3 }, "head_behind later_head.head body.seq"],
    ["of another epoch", { log_epoch: 2 }, "foreign later_head.head body.log_epoch"],
    ["of another shard", { source: "shard/1" }, "foreign later_head.head body.source"],
    ["with one member more", { more: 1 }, "undecodable later_head.head body"],
  ])("%s", async (_, change, problem) => {
    const report = await check(await later({ ...body, ...change }));
    expect(report.status).toBe("failed");
    expect(found(report)).toContain(problem);
  });

  test("without its epoch and source, as a log says it of its own runs", async () => {
    const { log_epoch: _, source: __, ...own } = body;
    const report = await check(await later(own));
    expect(found(report)).toEqual(["undecodable later_head.head body", "head_missing later_head.head leaf"]);
    expect(report.gaps.complete).toBe(false);
  });

  test.each<[string, Forged, string]>([
    ["of another region's log", { region: "us" }, "foreign later_head.head region"],
    ["that is another kind of leaf", { kind: "incident" }, "foreign later_head.head kind"],
    ["of the bundle's own epoch", { log_epoch: 1 }, "foreign later_head log_epoch"],
    ["of another origin", { origin: "us.pdp.example/us/2" }, "origin_mismatch later_head.checkpoint origin"],
    ["beyond its checkpoint", { cut: true }, "head_not_covered later_head.head index"],
    ["signed by somebody else", { key: keyOf(originOf(2) + "x") }, "head_untrusted later_head.checkpoint unknown_log"],
  ])("%s", async (_, forged, problem) => {
    const report = await check(await later(body, forged));
    expect(report.status).toBe("failed");
    expect(found(report)).toContain(problem);
  });

  test("where the policy does not know the later log, or nobody cosigned it", async () => {
    const one = await later();
    const unknown = await check(one, {}, POLICY);
    expect(found(unknown)).toEqual(["head_untrusted later_head.checkpoint unknown_log"]);
    expect(unknown).toMatchObject({ status: "failed", anchored: { records: 4 }, gaps: { complete: false } });
    const alone = one.checkpoint.split("\n").slice(0, 5).join("\n") + "\n";
    expect(found(await check({ ...one, checkpoint: alone }))).toEqual([
      "head_untrusted later_head.checkpoint no_quorum",
    ]);
  });

  test("changed: its leaf, its hash, its index, its proof, its root", async () => {
    const one = await later();
    const other = await later({ ...body, seq: 5 });
    const changed: readonly [string, LaterHeadProof][] = [
      ["leaf_hash", { ...one, head: { ...one.head, leaf: other.head.leaf } }],
      ["not_included", { ...one, head: other.head }],
      ["not_included", { ...one, head: { ...one.head, index: 2 } }],
      ["not_included", { ...one, proof: one.proof.slice(1) }],
      ["not_included", { ...one, proof: [base64url(bytesOf("another node")), ...one.proof.slice(1)] }],
      ["not_included", { ...one, checkpoint: other.checkpoint }],
    ];
    for (const [code, forged] of changed) {
      const report = await check(forged);
      const problem = report.problems.find((candidate) => candidate.code === code);
      expect(problem?.where).toMatch(/^later_head\./);
      expect(report.gaps.complete).toBe(false);
    }
  });

  test("beside a head of the run's own log", async () => {
    log.head(1);
    const whole = await bundleOf(log, 1);
    expect(found(await check(await later(), whole))).toEqual(["head_mismatch later_head head"]);
  });
});

test("has one spelling: null, or a member more or less, is refused", async () => {
  const one = await later();
  const text = (later_head: unknown): string => {
    const placed = encodeEvidence({ ...bundle, later_head: one });
    return placed.replace(JSON.stringify(one), JSON.stringify(later_head));
  };
  expect((await verifyEvidence(text(one), BOTH, deps)).status).toBe("verified");
  const { proof: _, ...less } = one;
  for (const wrong of [null, [], { ...one, x: 1 }, less])
    expect(await verifyEvidence(text(wrong), BOTH, deps)).toMatchObject({ problems: [{ code: "schema" }] });
});
