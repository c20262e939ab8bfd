import { beforeEach, describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { frameLater } from "../../../src/lineage/build-evidence.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import { encodeEvidence, type Evidence, type LaterErasures } from "../../../src/lineage/evidence.ts";
import type { EvidenceReport } from "../../../src/lineage/evidence-report.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { formatNote, signNote } from "../../../src/lineage/note.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord } from "../../../src/lineage/state-record.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import type { TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../../src/lineage/verify-evidence.ts";
import { bytesOf, sha } from "./build.ts";
import { AP, bundleOf, deps, NOW_S, POLICY, TestLog, US } from "./evidence-build.ts";
import { keyOf, readFrom, tileFiles, type TestKey } from "./log-build.ts";

/** A run of a log that has ended, and erasures that stand in the logs after it. */
const originOf = (log_epoch: number): string => `eu.pdp.example/eu/${log_epoch}`;
const KEYS = new Map([2, 3].map((log_epoch) => [log_epoch, keyOf(originOf(log_epoch))]));
const BOTH: TlogPolicy = {
  ...POLICY,
  logs: [...POLICY.logs, ...[...KEYS.values()].map(({ key }) => ({ key, url: null }))],
};

type Named = { readonly source: string; readonly sseq: number };
type Forged = { readonly region?: string; readonly origin?: string; readonly key?: TestKey; readonly cut?: boolean };

/** The log of a later epoch: its erasure leaf amid five others, and the part of a bundle that it proves. */
async function laterLog(log_epoch: number, records: readonly Named[], forged: Forged = {}): Promise<LaterErasures> {
  const bytes = encodeStateRecord({
    body: { ground: "subject_request", records: records.map(({ source, sseq }) => ({ source, sseq })) },
    kind: "erasure",
    log_epoch,
    prev: null,
    region: forged.region ?? "eu",
    source: "trust",
    sseq: 1,
    t: NOW_S * 1000,
    v: 1,
  });
  const others = [0, 1, 2, 3, 4].map((n) => bytesOf("later", log_epoch, n));
  const whole = [...others.slice(0, 3), leafHash(bytes, sha), ...others.slice(3)];
  const hashes = forged.cut === true ? whole.slice(0, 3) : whole;
  const origin = forged.origin ?? originOf(log_epoch);
  const text = checkpointText({ origin, size: hashes.length, root: treeHash(hashes, sha) });
  const log = forged.key ?? KEYS.get(log_epoch)!;
  const note = formatNote(text, [
    await signNote(text, log.key, log.sign),
    ...(await Promise.all([US, AP].map(({ key, sign }) => cosign(text, key, NOW_S, sign)))),
  ]);
  const tree = new TileTree(hashes.length, readFrom(tileFiles(hashes)), sha);
  const framed = await frameLater(
    { log_epoch, origin, checkpoint: note, erasures: [{ index: 3, leaf: bytes }] },
    tree,
    sha,
  );
  if (!framed.ok) throw new Error(framed.error.message);
  return framed.value;
}

/** Run 1 with its second and third record erased, and nothing that proves it. */
let bundle: Evidence;
const GONE: readonly Named[] = [1, 2].map((sseq) => ({ source: "epoch/1/shard/0", sseq }));

beforeEach(async () => {
  const log = new TestLog();
  log.step(1, { kind: "run.open", decision: null });
  log.step(1);
  log.step(1);
  log.head(1);
  const gone = new Set(log.runs.get(1)!.slice(0, 2));
  bundle = await bundleOf(log, 1, { payload: (placed) => (gone.has(placed) ? "erased" : placed.payload) });
});

const check = (later: readonly LaterErasures[], policy = BOTH): Promise<EvidenceReport> =>
  verifyEvidence(encodeEvidence({ ...bundle, later }), policy, deps);
const found = ({ problems }: EvidenceReport): string[] =>
  problems.map(({ code, where, field }) => `${code} ${where} ${field}`);
const UNPROVEN = ["erasure_unproven records[0] payload", "erasure_unproven records[1] payload"];

test("proven by the log of the next epoch, or by those of two", async () => {
  expect(await check([await laterLog(2, GONE)])).toMatchObject({
    status: "verified",
    erased: { records: 2, proven: 2, seq: [{ first: 1, last: 2 }] },
  });
  const [first, second] = GONE;
  const two = await check([await laterLog(2, [first!]), await laterLog(3, [second!])]);
  expect(two).toMatchObject({ status: "verified", erased: { records: 2, proven: 2 } });
  const half = await check([await laterLog(3, [second!])]);
  expect(half).toMatchObject({ status: "failed", erased: { records: 2, proven: 1 } });
});

test("without it, nothing is called erased", async () => {
  const report = await verifyEvidence(encodeEvidence(bundle), BOTH, deps);
  expect(found(report)).toEqual(UNPROVEN);
  expect(report.erased).toMatchObject({ records: 2, proven: 0 });
});

describe("a proof that is not one", () => {
  test("names the records of the later epoch itself, or of a third one", async () => {
    for (const source of ["shard/0", "epoch/2/shard/0", "epoch/11/shard/0", "epoch/1/shard/1"]) {
      const later = await laterLog(
        2,
        [1, 2].map((sseq) => ({ source, sseq })),
      );
      expect(found(await check([later]))).toEqual(UNPROVEN);
    }
  });

  test("is in a log that the policy does not know, or that nobody cosigned", async () => {
    const later = await laterLog(2, GONE);
    expect(found(await check([later], POLICY))).toEqual([
      "erasure_untrusted later[0].checkpoint unknown_log",
      ...UNPROVEN,
    ]);
    const alone = later.checkpoint.split("\n").slice(0, 5).join("\n") + "\n";
    expect(found(await check([{ ...later, checkpoint: alone }]))).toEqual([
      "erasure_untrusted later[0].checkpoint no_quorum",
      ...UNPROVEN,
    ]);
  });

  test("was signed by somebody else in the name of the log", async () => {
    const later = await laterLog(2, GONE, { key: keyOf(originOf(2) + "x") });
    expect(found(await check([later]))).toEqual(["erasure_untrusted later[0].checkpoint unknown_log", ...UNPROVEN]);
  });

  test("was changed: its leaf, its hash, its index, its proof, its root", async () => {
    const later = await laterLog(2, GONE);
    const [leaf] = later.erasures;
    const other = await laterLog(2, [GONE[0]!]);
    const changed: readonly [string, LaterErasures][] = [
      ["leaf_hash", { ...later, erasures: [{ ...leaf!, leaf: other.erasures[0]!.leaf }] }],
      ["not_included", { ...later, erasures: other.erasures }],
      ["not_included", { ...later, erasures: [{ ...leaf!, index: 2 }] }],
      ["not_included", { ...later, proof: later.proof.slice(1) }],
      ["not_included", { ...later, proof: [base64url(bytesOf("another node")), ...later.proof.slice(1)] }],
      ["not_included", { ...later, checkpoint: other.checkpoint }],
    ];
    for (const [code, one] of changed) {
      const report = await check([one]);
      expect(report.problems.map((problem) => problem.code)).toContain(code);
      expect(report.problems.find((problem) => problem.code === code)!.where).toMatch(/^later\[0\]\./);
      expect(found(report)).toEqual(expect.arrayContaining([UNPROVEN[1]]));
    }
  });

  test("is beyond its checkpoint", async () => {
    const later = await laterLog(2, GONE, { cut: true });
    expect(found(await check([later]))).toEqual(UNPROVEN);
  });

  test("is of another region, whoever vouches for it", async () => {
    const foreign = keyOf("us.pdp.example/us/2");
    const policy = { ...BOTH, logs: [...BOTH.logs, { key: foreign.key, url: null }] };
    const theirs = await laterLog(2, GONE, { origin: "us.pdp.example/us/2", key: foreign });
    expect(found(await check([theirs], policy))).toEqual(["origin_mismatch later[0].checkpoint origin", ...UNPROVEN]);
    const renamed = { ...theirs, origin: originOf(2) };
    expect(found(await check([renamed], policy))).toEqual(["origin_mismatch later[0].checkpoint origin", ...UNPROVEN]);
    const said = await laterLog(2, GONE, { region: "us" });
    expect(found(await check([said]))).toEqual(["foreign later[0].erasures[0] region", ...UNPROVEN]);
  });

  test("is not of a later epoch, or comes twice", async () => {
    const later = await laterLog(2, GONE);
    expect(found(await check([later, later]))).toEqual(["foreign later[1] log_epoch"]);
    const wrong = found(await check([{ ...later, log_epoch: 1 }]));
    expect(wrong).toEqual(expect.arrayContaining(["foreign later[0] log_epoch", ...UNPROVEN]));
  });
});

test("a list of none is another spelling of nothing, and refused", async () => {
  expect(await check([])).toMatchObject({ status: "unreadable", problems: [{ code: "schema", where: "later" }] });
  const none = { ...(await laterLog(2, GONE)), erasures: [] };
  expect(await check([none])).toMatchObject({ status: "unreadable", problems: [{ code: "schema" }] });
});
