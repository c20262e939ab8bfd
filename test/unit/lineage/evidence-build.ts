import { base64url } from "../../../src/base/bytes.ts";
import { digestOf } from "../../../src/base/digest.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { buildEvidence, type RecordInput } from "../../../src/lineage/build-evidence.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import type { Evidence } from "../../../src/lineage/evidence.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { formatNote, signNote, type Verify } from "../../../src/lineage/note.ts";
import { commitment, committedState, encodeRecord, leafHash, type LineageRecord } from "../../../src/lineage/record.ts";
import type { OpenedPayload } from "../../../src/lineage/seal.ts";
import { encodeStateRecord, type StateKind } from "../../../src/lineage/state-record.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import { formatPolicy, type TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import { seeded, type Random } from "../../support/random.ts";
import { bytesOf, digestFor, runOf, sha } from "./build.ts";
import { keyOf, readFrom, tileFiles, verifyEd25519, witnessKey, type TestKey } from "./log-build.ts";

/** A region's log with runs in it, as the shard and the log would have written it, and bundles out of it. */

const REGION = "eu";
export const ORIGIN = "eu.pdp.example/eu/1";
export const LOG = keyOf(ORIGIN);
export const US = witnessKey("us.pdp.example");
export const AP = witnessKey("ap.pdp.example");
export const NOW_S = 1_795_000_000;
const START_MS = NOW_S * 1000;

/** Both peers. */
export const POLICY: TlogPolicy = {
  logs: [{ key: LOG.key, url: null }],
  witnesses: [
    { name: "us", key: US.key, url: null },
    { name: "ap", key: AP.key, url: null },
  ],
  groups: [{ name: "peers", threshold: 2, members: ["us", "ap"] }],
  quorum: "peers",
};

/** The signatures of one log are looked at thousands of times; each is verified once. */
const verdicts = new Map<string, boolean>();
export const verify: Verify = (key, message, signature) => {
  const name = [key, message, signature].map(base64url).join();
  const known = verdicts.get(name) ?? (verifyEd25519(key, message, signature) as boolean);
  verdicts.set(name, known);
  return known;
};

export const deps = { sha, verify };

export type LogLeaf = { readonly bytes: Uint8Array; readonly hash: Uint8Array };

/** A record with its place and what it commits to. */
export type Placed = {
  readonly index: number;
  readonly record: LineageRecord;
  readonly leaf: Uint8Array;
  readonly hash: string;
  readonly payload: OpenedPayload;
};

export class TestLog {
  readonly leaves: LogLeaf[] = [];
  /** By number of the run. */
  readonly runs = new Map<number, Placed[]>();
  /** Whether every other record keeps what its decision saw, as regions do. */
  saw = false;
  readonly heads: { readonly run: number; readonly seq: number; readonly index: number }[] = [];
  readonly erasures: { readonly index: number; readonly records: readonly string[] }[] = [];
  readonly #name: string;
  #sseq = 0;
  #stateSseq = 0;
  #statePrev: string | null = null;
  #t = START_MS;

  constructor(name = "log") {
    this.#name = name;
    this.state("log.genesis", { kid: "eu.1.log.1", shards: 1, previous: null });
  }

  #add(bytes: Uint8Array): number {
    return this.leaves.push({ bytes, hash: leafHash(bytes, sha) }) - 1;
  }

  /** A leaf of another source, of which this log knows only the hash. */
  other(): void {
    this.leaves.push({ bytes: new Uint8Array(0), hash: bytesOf(this.#name, "other", this.leaves.length) });
  }

  state(kind: StateKind, body: JsonObject): number {
    const sseq = ++this.#stateSseq;
    const at = { log_epoch: 1, region: REGION, source: "log" };
    const bytes = encodeStateRecord({ ...at, body, kind, prev: this.#statePrev, sseq, t: this.#t, v: 1 });
    this.#statePrev = base64url(leafHash(bytes, sha));
    return this.#add(bytes);
  }

  /**
   * Appends a step to run `n`. `refers` makes it a withheld record. `forge` changes the record before it is hashed: what
   * a region could write that lies under its own signature.
   */
  step(
    n: number,
    say: Partial<Pick<LineageRecord, "decision" | "kind" | "refers">> = {},
    forge: (record: LineageRecord) => LineageRecord = (record) => record,
  ): Placed {
    const records = this.runs.get(n) ?? [];
    this.runs.set(n, records);
    const last = records.at(-1);
    const sseq = ++this.#sseq;
    this.#t += sseq % 3;
    const { kind = "decision", decision = "allow", refers = null } = say;
    const reason = decision === "deny" ? (kind === "withheld" ? "withheld" : "policy_denied") : null;
    const run = runOf(n);
    const policy = digestFor("policy");
    const trust = { digest: digestFor("trust"), revision: 7 };
    const said = {
      core: jcs({ decision, policy, reason, region: REGION, t_ms: this.#t, trust: trust.digest, v: 1 }),
      facts: jcs({ pep: "gateway", subject: `agent/${sseq}`, name: 'Zoë "quoted" \n', "10": 1, "9": 2 }),
      input: jcs({ action: "pay", resource: `invoice/${sseq}`, world: this.#name }),
      run_state: jcs({ id: run.id, version: records.length }),
    };
    const seen = this.saw && sseq % 2 === 0 ? jcs({ asked: {}, turn: { revision: 7 }, v: 1 }) : null;
    const salts = {
      facts: bytesOf(this.#name, "salt", "facts", sseq),
      input: bytesOf(this.#name, "salt", "input", sseq),
      run: bytesOf(this.#name, "salt", "run", sseq),
    };
    const record = forge({
      commit: {
        facts: commitment("facts", salts.facts, said.facts, sha),
        input: commitment("input", salts.input, said.input, sha),
        run: commitment("run", salts.run, committedState(said.run_state, seen), sha),
      },
      core: digestOf(said.core, sha),
      decision,
      decision_id: decisionId(REGION, 1, 0, sseq),
      engine: "interlock/0.1.0",
      kind,
      log_epoch: 1,
      parents: [],
      policy,
      prev: last?.hash ?? null,
      reason,
      refers,
      region: REGION,
      run: run.hash,
      seq: records.length + 1,
      source: "shard/0",
      sseq,
      t: this.#t,
      traceparent: null,
      trust,
      v: 1,
    });
    const leaf = encodeRecord(record);
    const text = `{"core":${said.core},"facts":${said.facts},"input":${said.input},"run":"${run.id}","run_salt":"${base64url(run.salt)}","run_state":${said.run_state}${seen === null ? "" : `,"seen":${seen}`},"determining":[],"errors":[]}`;
    const hash = base64url(leafHash(leaf, sha));
    const placed = { index: this.#add(leaf), record, leaf, hash, payload: { salts, text } };
    records.push(placed);
    return placed;
  }

  /** The log states how long run `n` is now. */
  head(n: number): void {
    const last = this.runs.get(n)!.at(-1)!;
    const { seq } = last.record;
    this.heads.push({ run: n, seq, index: this.state("run.head", { head: last.hash, run: last.record.run, seq }) });
  }

  erase(placed: readonly Placed[]): void {
    const records = placed.map(({ record: { source, sseq } }) => ({ source, sseq }));
    const index = this.state("erasure", { ground: "subject_request", records });
    this.erasures.push({ index, records: placed.map(({ hash }) => hash) });
  }

  tree(size: number): TileTree {
    return new TileTree(size, readFrom(tileFiles(this.hashes(size))), sha);
  }

  hashes(size: number): Uint8Array[] {
    return this.leaves.slice(0, size).map(({ hash }) => hash);
  }
}

/** A checkpoint over `hashes`, signed by `log` and cosigned by `witnesses`. */
export async function noteOver(
  hashes: readonly Uint8Array[],
  log: TestKey | null = LOG,
  witnesses: readonly TestKey[] = [US, AP],
): Promise<string> {
  const text = checkpointText({ origin: ORIGIN, size: hashes.length, root: treeHash(hashes, sha) });
  return formatNote(text, [
    ...(log === null ? [] : [await signNote(text, log.key, log.sign)]),
    ...(await Promise.all(witnesses.map(({ key, sign }, at) => cosign(text, key, NOW_S + at, sign)))),
  ]);
}

export type BundleChoice = {
  /** Size of the checkpoint; the whole log by default. */
  readonly size?: number;
  readonly payload?: (placed: Placed) => RecordInput["payload"];
  /** Which `run.head` leaf of the run; the last by default. */
  readonly head?: "last" | "none";
  readonly named?: boolean;
};

/** The bundle of run `n`. Erased records have their erasure leaf. */
export async function bundleOf(log: TestLog, n: number, choice: BundleChoice = {}): Promise<Evidence> {
  const { size = log.leaves.length, head = "last", named = true } = choice;
  const records = log.runs.get(n)!;
  const erased = log.erasures.filter((erasure) => records.some(({ hash }) => erasure.records.includes(hash)));
  const gone = new Set(erased.flatMap((erasure) => erasure.records));
  const payloadOf = choice.payload ?? (({ payload }: Placed) => payload);
  const index = head === "none" ? undefined : log.heads.findLast(({ run }) => run === n)?.index;
  const leafAt = (at: number) => ({ index: at, leaf: log.leaves[at]!.bytes });
  const built = await buildEvidence(
    {
      region: REGION,
      log_epoch: 1,
      origin: ORIGIN,
      exported_at_ms: START_MS + 60_000,
      run: named ? runOf(n) : null,
      records: records.map((placed) => ({
        index: placed.index,
        leaf: placed.leaf,
        payload: gone.has(placed.hash) ? "erased" : payloadOf(placed),
      })),
      erasures: erased.map((erasure) => leafAt(erasure.index)),
      head: index === undefined ? null : leafAt(index),
      checkpoint: await noteOver(log.hashes(size)),
      policy: formatPolicy(POLICY),
    },
    log.tree(size),
    sha,
  );
  if (!built.ok) throw new Error(built.error.message);
  return built.value;
}

/** A log in which two runs grow side by side, amid leaves of other sources. */
export function randomLog(seed: number): TestLog {
  const random = seeded(seed);
  const log = new TestLog(`world ${seed}`);
  log.saw = true;
  for (const n of [1, 2]) if (random.chance(0.5)) log.step(n, { kind: "run.open", decision: null });
  for (let steps = random.int(4, 14); steps > 0; steps--) randomStep(log, random.int(1, 2), random);
  for (const n of [1, 2]) while ((log.runs.get(n)?.length ?? 0) < 3) randomStep(log, n, random);
  const all = [...log.runs.values()].flat();
  if (random.chance(0.4)) log.erase(all.filter(() => random.chance(0.2)).slice(0, 3));
  for (const n of [1, 2]) {
    if (random.chance(0.3)) log.step(n, { kind: "run.close", decision: null });
    log.head(n);
  }
  for (let more = random.int(0, 5); more > 0; more--) log.other();
  return log;
}

function randomStep(log: TestLog, n: number, random: Random): void {
  for (let more = random.int(0, 3); more > 0; more--) log.other();
  if (random.chance(0.1)) log.state("log.heartbeat", { marks: { "shard/0": 1 } });
  if (random.chance(0.1) && (log.runs.get(n)?.length ?? 0) > 0) log.head(n);
  const records = log.runs.get(n) ?? [];
  const withdrawn = new Set(records.map(({ record }) => record.refers));
  const allow = records.findLast(({ record, hash }) => record.decision === "allow" && !withdrawn.has(hash));
  if (allow !== undefined && random.chance(0.15))
    log.step(n, { kind: "withheld", decision: "deny", refers: allow.hash });
  else log.step(n, { decision: random.chance(0.6) ? "allow" : "deny" });
}
