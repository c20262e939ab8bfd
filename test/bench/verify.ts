import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { base64url, utf8 } from "../../src/base/bytes.ts";
import { digestOf, sha256, type Sha256 } from "../../src/base/digest.ts";
import { buildEvidence, type RecordInput } from "../../src/lineage/build-evidence.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import { cosign } from "../../src/lineage/cosignature.ts";
import { encodeEvidence } from "../../src/lineage/evidence.ts";
import { formatNote, signNote } from "../../src/lineage/note.ts";
import { commitment, encodeRecord, leafHash, type LineageRecord } from "../../src/lineage/record.ts";
import { encodeStateRecord } from "../../src/lineage/state-record.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import { tilePath } from "../../src/lineage/tile-path.ts";
import { formatPolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { TreeState } from "../../src/lineage/tree-state.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import { ed25519 } from "../../tools/evidence/ed25519.ts";
import { buildSource, runOf } from "../unit/lineage/build.ts";
import { keyOf, readFrom, witnessKey } from "../unit/lineage/log-build.ts";

/**
 * `node test/bench/verify.ts [records]`: what it costs to verify one run of 100,000 records, each beside leaves of
 * other runs (the worst case for the proof: one sibling per record), closed and opened.
 */
const sha: Sha256 = (bytes) => hash("sha256", bytes, "buffer");
const ORIGIN = "eu.pdp.example/eu/1";
const LOG = keyOf(ORIGIN);
const WITNESSES = [witnessKey("us.pdp.example"), witnessKey("ap.pdp.example")];
const POLICY: TlogPolicy = {
  logs: [{ key: LOG.key, url: null }],
  witnesses: WITNESSES.map(({ key }) => ({ name: key.name.slice(0, 2), key, url: null })),
  groups: [{ name: "peers", threshold: 2, members: ["us", "ap"] }],
  quorum: "peers",
};

/** One leaf in so many is of the run. */
const SPREAD = 4;

const DETAIL = JSON.stringify({ pad: "x".repeat(200) });

/** Texts of the size that the AuthZEN certification cases have. */
const textsOf = (record: LineageRecord) => ({
  core: JSON.stringify({
    decision: record.decision,
    policy: record.policy,
    reason: record.reason,
    region: record.region,
    trust: record.trust.digest,
  }),
  facts: `{"n":${record.sseq},"pep":${DETAIL}}`,
  input: `{"action":${DETAIL},"n":${record.sseq}}`,
  run_state: `{"version":${record.seq}}`,
});

const SALT = new Uint8Array(32).fill(7);

function committed(record: LineageRecord): LineageRecord {
  const { core, facts, input, run_state } = textsOf(record);
  const commit = {
    facts: commitment("facts", SALT, facts, sha),
    input: commitment("input", SALT, input, sha),
    run: commitment("run", SALT, run_state, sha),
  };
  return { ...record, commit, core: digestOf(core, sha) };
}

/** A bundle of `count` records as a file, and the seconds that `buildEvidence` took. */
async function writeBundle(file: string, count: number, opened: boolean): Promise<number> {
  const { records } = buildSource(
    Array.from({ length: count }, () => [1]),
    committed,
  );
  const leaves = records.map((record) => encodeRecord(record));
  const tree = new TreeState(sha);
  const files = new Map<string, Uint8Array>();
  const append = (hashes: readonly Uint8Array[]): void => {
    for (const { bytes, ...tile } of tree.append(hashes)) files.set(tilePath(tile), bytes);
  };
  const filler = sha(utf8("of another run"));
  for (const leaf of leaves) append([filler, filler, filler, leafHash(leaf, sha)].slice(-SPREAD));
  const last = records.at(-1)!;
  const head = encodeStateRecord({
    body: { head: base64url(leafHash(leaves.at(-1)!, sha)), run: last.run, seq: last.seq },
    kind: "run.head",
    log_epoch: 1,
    prev: base64url(filler),
    region: "eu",
    source: "log",
    sseq: 2,
    t: last.t,
    v: 1,
  });
  append([leafHash(head, sha)]);
  for (const { bytes, ...tile } of tree.partialTiles()) files.set(tilePath(tile), bytes);
  const text = checkpointText({ origin: ORIGIN, size: tree.size, root: tree.root() });
  const signatures = await Promise.all(WITNESSES.map(({ key, sign }) => cosign(text, key, 1_795_000_000, sign)));
  const payloadOf = (record: LineageRecord): RecordInput["payload"] => {
    const { core, facts, input, run_state } = textsOf(record);
    if (!opened) return "undisclosed";
    const salts = { facts: SALT, input: SALT, run: SALT };
    return { salts, text: `{"core":${core},"facts":${facts},"input":${input},"run_state":${run_state}}` };
  };
  const started = performance.now();
  const built = await buildEvidence(
    {
      region: "eu",
      log_epoch: 1,
      origin: ORIGIN,
      exported_at_ms: last.t,
      run: runOf(1),
      records: leaves.map((leaf, at) => ({ index: at * SPREAD + SPREAD - 1, leaf, payload: payloadOf(records[at]!) })),
      erasures: [],
      head: { index: tree.size - 1, leaf: head },
      checkpoint: formatNote(text, [await signNote(text, LOG.key, LOG.sign), ...signatures]),
      policy: formatPolicy(POLICY),
    },
    new TileTree(tree.size, readFrom(files), sha),
    sha,
  );
  if (!built.ok) throw new Error(built.error.message);
  const build_s = (performance.now() - started) / 1000;
  writeFileSync(file, encodeEvidence(built.value));
  return build_s;
}

/** Verifies `file` in this process and says what it took: a process of its own, so that no builder's memory counts. */
async function verifyHere(file: string, portable: boolean): Promise<string> {
  const bytes = readFileSync(file);
  const started = performance.now();
  const report = await verifyEvidence(bytes, POLICY, { sha: portable ? sha256 : sha, verify: ed25519 });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (report.status !== "verified") throw new Error(JSON.stringify(report.problems.slice(0, 3)));
  return `${seconds} s, ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB of memory`;
}

const [first = "100000", file, hashing] = process.argv.slice(2);
if (first === "--verify") {
  process.stdout.write(await verifyHere(file!, hashing === "portable"));
} else {
  const folder = mkdtempSync(join(tmpdir(), "interlock-verify-"));
  for (const opened of [false, true]) {
    const bundle = join(folder, "bundle.json");
    const build_s = await writeBundle(bundle, Number(first), opened);
    const [native, portable] = ["native", "portable"].map((kind) =>
      execFileSync(process.execPath, [import.meta.filename, "--verify", bundle, kind], { encoding: "utf8" }),
    );
    process.stdout.write(
      `${first} records ${opened ? "opened" : "closed"}: ${(statSync(bundle).size / 1e6).toFixed(0)} MB, ` +
        `built in ${build_s.toFixed(1)} s, verified in ${native} (portable SHA-256: ${portable})\n`,
    );
  }
  rmSync(folder, { recursive: true });
}
