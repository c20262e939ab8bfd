import { base64url, concat, equalBytes, fromBase64url } from "../../src/base/bytes.ts";
import { formatAddCheckpoint, readCosignatures, readTreeSize } from "../../src/lineage/add-checkpoint.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import { verifierOf } from "../../src/lineage/cosignature.ts";
import { logOrigin } from "../../src/lineage/names.ts";
import {
  formatVerifierKey,
  parseVerifierKey,
  SIGNATURE_TYPE,
  verifierKey,
  type VerifierKey,
} from "../../src/lineage/note-key.ts";
import { formatNote, parseNote, signNote, type NoteSignature } from "../../src/lineage/note.ts";
import { incidentBody, type Incident, type IncidentKind } from "../../src/lineage/incident.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { decodeStateRecord, encodeStateRecord, type StateKind } from "../../src/lineage/state-record.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import { TILE_WIDTH } from "../../src/lineage/tile-path.ts";
import { widthOf } from "../../src/lineage/tiles.ts";
import { formatTlogProof } from "../../src/lineage/tlog-proof.ts";
import { isQuorum, parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { TreeState } from "../../src/lineage/tree-state.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { PublicJwk } from "../../src/objects/authority.ts";
import type {
  CoverageMessage,
  IntegrateAnswer,
  IntegrateMessage,
  LogEnding,
  LogPosition,
  LogState,
  LogStatus,
  ProofAnswer,
  WitnessTarget,
} from "../../src/objects/log.ts";
import type { RunHeadView } from "../../src/objects/shard.ts";
import type { Region } from "../../src/region/config.ts";
import { ed25519Signer, ed25519Verify, nodeSha256, ownSigningKey, type SigningKey } from "../platform.ts";
import { askHeld, readAnswer, type Held } from "./held.ts";
import { hearWitness, type Heard } from "./hearing.ts";
import { signCoverage } from "./coverage.ts";
import { carryReads, type CarryPort } from "./carry-reads.ts";
import { Reads } from "./reads.ts";
import { SourceCounts } from "./source-counts.ts";
import { LogStore } from "./store.ts";

const HASH = 32;
const MAX_HASHES = 8_192;
/** A checkpoint at most this often while the log grows: two peers have cosigned well within the 2 s of `merge_by`. */
const CHECKPOINT_MS = 400;
const HEARTBEAT_MS = 60_000;
const WITNESS_TIMEOUT_MS = 3_000;
const WITNESS_TRIES = 3;
/** Where a witness could not be reached, or a step failed, and the log does not grow meanwhile. */
const RETRY_MS = 5_000;
/** Each wait is twice the one before; after 20 minutes without growth an idle log sleeps until somebody asks. */
const RETRIES = 8;
/** Longer waits are left to the alarm: a timer would keep the object in memory. */
const LONGEST_TIMER_MS = 10_000;
const UNREACHABLE = "unreachable";
const SHOWN_INCIDENTS = 20;

/** What lies around a log: the one before it, and who has to hear that it takes nothing more. */
export type Surroundings = {
  /** Whether this is the log of the epoch that the region is configured for: only that one ever begins. */
  readonly current: boolean;
  /** How the log of the epoch before ended; `null` for the first. */
  readonly previous: (() => Promise<LogEnding>) | null;
  /** In the background; whoever is not reached hears it with its next leaves. */
  readonly tell: (reason: string) => void;
  /** How long a log that starts waits for a witness before it goes on alone (`hearing.ts`); 0: it does not ask. */
  readonly ask_peers_ms: number;
};

const ALONE: Surroundings = { current: true, previous: null, tell: () => undefined, ask_peers_ms: 0 };
const BEGIN_MS = 1_000;
/** Shorter than a source waits for an answer. */
const HEARING_MS = 4_000;

type Identity = { readonly origin: string; readonly vkey: string; readonly jwk: PublicJwk };

/**
 * The region's one Merkle log (DESIGN section 9). Integration is one synchronous transaction: tiles, edge, batch and
 * mark move together. A checkpoint is signed only over what storage holds, after `sync`. A witness that knows a larger
 * log than ours, or a source whose hashes differ from those integrated, halts the log: it is never signed over.
 */
export class Log {
  readonly #region: Region;
  readonly #store: LogStore;
  readonly #send: typeof fetch;
  readonly origin: string;
  readonly reads: Reads;
  readonly #counts: SourceCounts;
  #tree = new TreeState(nodeSha256);
  #signing!: SigningKey;
  #key!: VerifierKey;
  #policy: TlogPolicy | null = null;
  #targets: readonly WitnessTarget[] = [];
  #timer = false;
  #retrying = false;
  #retries = 0;
  #lastHeartbeat = 0;
  /** Size of the tree with the last heartbeat: the marks of what came after are in no leaf yet. */
  #marked = 0;
  #alarm_ms = 0;
  readonly #setAlarm: (t_ms: number) => void;
  readonly #around: Surroundings;
  /** Why it has not begun; `null` once there is a genesis leaf. */
  #waiting: string | null = null;
  /** While no witness has said yet what it holds of this log. */
  #hearing: Promise<void> | null = null;
  #startedAlone = false;
  #left = false;

  constructor(storage: DurableObjectStorage, region: Region, send: typeof fetch, around = ALONE) {
    this.#around = around;
    this.#region = region;
    this.#store = new LogStore(storage);
    this.#counts = new SourceCounts(this.#store);
    this.#send = send;
    this.origin = logOrigin(region.pdp, region.name, region.log_epoch);
    // Where that fails it is set again with the next thing to do.
    this.#setAlarm = (t_ms) => void storage.setAlarm(t_ms).catch(() => (this.#alarm_ms = 0));
    this.reads = new Reads(this.#store, {
      halted: () => this.closed !== null,
      append: (bodies, also) => {
        const leaves = bodies.map((body) => ({ kind: "read" as const, body }));
        this.#appendAll(leaves, also);
      },
      wakeAt: (t_ms) => this.#wakeAt(t_ms),
    });
  }

  async start(): Promise<void> {
    this.#signing = await ownSigningKey(this.#store, `${this.#region.name}.${this.#region.log_epoch}.log.1`);
    this.#key = verifierKey(
      this.origin,
      SIGNATURE_TYPE.ed25519,
      fromBase64url(this.#signing.publicJwk.x!)!,
      nodeSha256,
    );
    this.#targets = JSON.parse(this.#store.meta("witnesses") ?? "[]") as WitnessTarget[];
    this.#readPolicy();
    this.#reload();
    if (this.#tree.size === 0 && this.halted === null) this.#begin();
    this.reads.start();
    // It went away between a growth and its checkpoint.
    if ((this.#store.newest()?.size ?? 0) < this.#tree.size) this.#checkpointSoon();
    const asks = this.#around.current && this.#targets.length > 0;
    if (asks && this.closed === null && this.#around.ask_peers_ms > 0)
      this.#hearing = this.#hearWitnesses().finally(() => {
        this.#hearing = null;
        this.#checkpointSoon();
      });
    const ended = this.halted ?? this.#sealed;
    if (ended !== null) this.#around.tell(ended);
    // A final checkpoint that a witness has not seen yet.
    if (this.#sealed !== null && this.#store.newestAnchored()?.size !== this.#tree.size) this.#checkpointSoon();
  }

  /** What could not be told in the logs before; in the background. */
  async carryReads(epochs: CarryPort["epochs"], logOf: CarryPort["logOf"]): Promise<void> {
    await carryReads({
      log_epoch: this.#region.log_epoch,
      state: () => (this.#left ? "halted" : this.#state),
      epochs,
      logOf,
      carry: (log_epoch, reads) => this.reads.carry(log_epoch, reads),
      isDone: (log_epoch) => this.#store.meta(`reads_of_${log_epoch}`) !== null,
      setDone: (log_epoch) => this.#store.setMeta(`reads_of_${log_epoch}`, "carried"),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    });
  }

  /** There is one alarm: the earliest asker has it, and whoever finds nothing to do when it rings asks again. */
  #wakeAt(t_ms: number): void {
    if (this.#left || (this.#alarm_ms > Date.now() && this.#alarm_ms <= t_ms)) return;
    this.#alarm_ms = t_ms;
    this.#setAlarm(t_ms);
  }

  /** Its storage is about to be emptied: nothing is signed, asked or set any more. */
  leave(): void {
    this.#left = true;
  }

  /** The alarm: what was left to do when the object went away. Must not throw: it would ring again. */
  async wake(): Promise<void> {
    if (this.#left) return;
    this.#alarm_ms = 0;
    try {
      this.reads.wake();
      const unmarked = this.closed === null && this.#tree.size > this.#marked;
      if (unmarked || this.#unreached) await this.publish(unmarked);
    } catch (cause) {
      this.#failed(cause);
    }
  }

  /** Memory from storage, which is the truth; a tree that does not match its last checkpoint halts the log. */
  #reload(): void {
    const bytes = this.#store.tree();
    const tree = bytes === null ? new TreeState(nodeSha256) : TreeState.decode(bytes, nodeSha256);
    if (tree === null) return this.#halt("log_damaged", "the stored tree cannot be read");
    this.#tree = tree;
    const newest = this.#store.newest();
    if (newest === null) return;
    if (newest.size > tree.size)
      return this.#halt(
        "log_damaged",
        `a checkpoint of size ${newest.size} was signed and the tree has ${tree.size}`,
        newest.note,
      );
    if (newest.size === tree.size && !newest.note.startsWith(this.#text()))
      this.#halt("log_damaged", "the tree differs from its signed checkpoint", newest.note);
  }

  /**
   * The first leaf. After another epoch it names that one's last checkpoint, and what ended it, so that one log leads
   * to the next; until that epoch has ended there is nothing to name, and this log takes nothing.
   */
  #begin(): void {
    const { current, previous } = this.#around;
    if (!current) this.#waiting = `log epoch ${this.#region.log_epoch} is not the one that this region runs`;
    else if (previous === null) this.#appendAll([this.#genesis(null)], () => undefined);
    else {
      this.#waiting = `it has not heard how log epoch ${this.#region.log_epoch - 1} ended`;
      void this.#beginAfter(previous);
    }
  }

  async #beginAfter(previous: () => Promise<LogEnding>): Promise<void> {
    const before = this.#region.log_epoch - 1;
    for (;;) {
      try {
        const { state, note, incident } = await previous();
        if (state === "sealed" || state === "halted") {
          const told =
            incident === null ? [] : [{ kind: "incident" as const, body: incidentBody(incident, before, nodeSha256) }];
          this.#appendAll([this.#genesis(note), ...told], (first) => {
            if (incident !== null) this.#store.addIncident(incident, first + 1);
          });
          this.#waiting = null;
          // Reads that came meanwhile.
          this.reads.wake();
          return;
        }
        this.#waiting = `log epoch ${before} is ${state}: seal it first (docs/operations/new-epoch.md)`;
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(JSON.stringify({ level: "warn", event: "previous_log_silent", origin: this.origin, message }));
      }
      await new Promise((resolve) => setTimeout(resolve, BEGIN_MS));
    }
  }

  #genesis(previous: string | null): { readonly kind: StateKind; readonly body: JsonObject } {
    return { kind: "log.genesis", body: { kid: this.#signing.kid, previous, shards: this.#region.shards } };
  }

  get halted(): string | null {
    return this.#store.meta("halted");
  }

  get #sealed(): string | null {
    return this.#store.meta("sealed");
  }

  /** Why this log takes no more leaves; `null` while it does. */
  get closed(): string | null {
    return this.halted ?? this.#sealed ?? this.#waiting;
  }

  get #state(): LogState {
    if (this.halted !== null) return "halted";
    if (this.#sealed !== null) return "sealed";
    if (this.#waiting !== null) return "waiting";
    return this.#store.meta("sealing") === null ? "open" : "sealing";
  }

  // ── before anything is taken ────────────────────────────────────────────────────────────────────────────────────

  async #hearWitnesses(): Promise<void> {
    const heard = await hearWitness(
      () => this.#targets,
      (target) => this.#hears(target),
      () => this.halted !== null,
      this.#around.ask_peers_ms,
    );
    if (heard) return;
    this.#startedAlone = true;
    console.warn(JSON.stringify({ level: "warn", event: "started_alone", origin: this.origin }));
  }

  /** Where what the witness holds contradicts this log, it is halted by then. */
  async #hears(target: WitnessTarget): Promise<Heard> {
    const name = target.vkey.slice(0, target.vkey.indexOf("+"));
    const held = await askHeld(this.#send, target.url, this.#key);
    if (!held.ok) {
      if (held.error.code === "silent") return "silent";
      // One that has cosigned this log, and shows nothing, has said nothing: it may not have the read route.
      return held.error.code === "none" && (this.#store.witness(name)?.size ?? 0) === 0 ? "said" : "useless";
    }
    await this.#judge(name, held.value, "shows a checkpoint", (problem, size) => {
      if (this.halted !== null) this.#store.putWitness({ name, size, t_ms: Date.now(), problem });
    });
    return "said";
  }

  /** Resolves when leaves are taken, or after a while: then `integrate` says that it waits. */
  async heard(): Promise<void> {
    if (this.#hearing === null) return;
    await Promise.race([this.#hearing, new Promise((resolve) => setTimeout(resolve, HEARING_MS))]);
  }

  // ── the end of an epoch ─────────────────────────────────────────────────────────────────────────────────────────

  beginSeal(): LogStatus {
    if (this.#state === "open") this.#store.setMeta("sealing", "1");
    return this.status();
  }

  headsUntil(source: string): string {
    return this.#store.meta(`heads_${source}`) ?? "";
  }

  /** How long each run was: nothing can be exported with a head of its own once this log takes nothing more. */
  appendHeads(source: string, after: string, heads: readonly RunHeadView[]): string {
    const until = this.headsUntil(source);
    const last = heads.at(-1);
    if (this.#state !== "sealing" || until !== after || last === undefined) return until;
    const leaves = heads.map(({ head, run, seq }) => ({ kind: "run.head" as const, body: { head, run, seq } }));
    this.#appendAll(leaves, () => this.#store.setMeta(`heads_${source}`, last.id));
    return last.id;
  }

  findHead({ head, run, seq }: Omit<RunHeadView, "id">): { ok: boolean; sseq: number; index: number } {
    for (const { sseq, leaf } of this.#store.ownWith(`"run":"${run}"`)) {
      const state = decodeStateRecord(leaf);
      if (!state.ok || state.value.kind !== "run.head") continue;
      const { body } = state.value;
      const index = this.indexOf("log", sseq);
      if (body["head"] === head && body["seq"] === seq && index !== null) return { ok: true, sseq, index };
    }
    return { ok: false, sseq: 0, index: 0 };
  }

  async finishSeal(marks: Readonly<Record<string, number>>): Promise<LogStatus> {
    const have = this.#store.marks();
    if (this.#state === "sealing" && Object.entries(marks).every(([source, mark]) => (have[source] ?? 0) >= mark)) {
      const reason = `log epoch ${this.#region.log_epoch} is sealed`;
      this.#appendAll([{ kind: "log.seal", body: { marks: have } }], () => this.#store.setMeta("sealed", reason));
      await this.#store.sync();
      this.#around.tell(reason);
      await this.publish();
    }
    return this.status();
  }

  ending(): LogEnding {
    const halted = this.halted;
    const newest = this.#store.newest();
    if (halted === null) {
      // The last checkpoint covers the last leaf; until it is signed there is nothing to begin the next log with.
      const state = this.#sealed !== null && newest?.size !== this.#tree.size ? "sealing" : this.#state;
      return { state, note: newest?.note ?? null, incident: null };
    }
    const [latest] = this.#store.incidents(1, "log");
    // A halt of a release that kept no incidents has its reason only.
    const unknown = {
      what: "log_damaged",
      source: "log",
      detail: halted,
      evidence: null,
      t_ms: 0,
      sseq: null,
    } as const;
    const { sseq: _, ...incident } = latest ?? unknown;
    return { state: "halted", note: this.bestCheckpoint()?.note ?? null, incident };
  }

  hashes(source: string, from_sseq: number, count: number): Uint8Array {
    const found: Uint8Array[] = [];
    for (let at = 0; at < Math.min(count, MAX_HASHES); at++) {
      const hash = this.#hashOf(source, from_sseq + at);
      if (hash === null) break;
      found.push(hash);
    }
    return concat(...found);
  }

  /** For good: the reason and what proves it are kept, for the log of the next epoch to begin with. */
  #halt(what: IncidentKind, reason: string, evidence: string | null = null): void {
    if (this.halted !== null) return;
    this.#store.transaction(() => {
      this.#store.setMeta("halted", reason);
      this.#store.addIncident({ what, source: "log", detail: reason, evidence, t_ms: Date.now() }, null);
    });
    console.error(JSON.stringify({ level: "error", event: "log_halted", origin: this.origin, reason }));
    this.#around.tell(reason);
  }

  // ── integrating ─────────────────────────────────────────────────────────────────────────────────────────────────

  integrate(message: IntegrateMessage): IntegrateAnswer {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const ended = this.halted ?? this.#sealed;
    if (ended !== null) return { ok: false, code: "halted", reason: ended };
    if (this.#waiting !== null) return { ok: false, code: "waiting", reason: this.#waiting };
    if (this.#hearing !== null)
      return { ok: false, code: "waiting", reason: "no witness has said yet what it holds of the region's log" };
    const { source, from_sseq, hashes, merge_by = null } = message;
    const count = hashes.length / HASH;
    if (
      !Number.isInteger(count) ||
      count > MAX_HASHES ||
      !Number.isSafeInteger(from_sseq) ||
      from_sseq < 1 ||
      (merge_by !== null && !Number.isSafeInteger(merge_by)) ||
      source === "log"
    ) {
      return { ok: false, code: "malformed" };
    }
    const mark = this.#store.mark(source);
    if (from_sseq > mark + 1) return { ok: false, code: "gap", mark };
    const known = Math.min(mark + 1 - from_sseq, count);
    for (let at = 0; at < known; at++) {
      const integrated = this.#hashOf(source, from_sseq + at);
      if (integrated === null || !equalBytes(integrated, hashes.subarray(at * HASH, (at + 1) * HASH))) {
        this.#halt(
          "source_diverged",
          `source ${source} has another record at sseq ${from_sseq + at} than the one integrated`,
        );
        return { ok: false, code: "diverged", sseq: from_sseq + at };
      }
    }
    const fresh = Array.from({ length: count - known }, (_, at) =>
      hashes.slice((known + at) * HASH, (known + at + 1) * HASH),
    );
    if (fresh.length > 0) {
      // Before them: by the log's own clock they were not in the tree when that was promised.
      if (merge_by !== null && Date.now() > merge_by)
        this.#appendOwn("merge.late", { first: from_sseq + known, last: from_sseq + count - 1, merge_by, source });
      this.#grow(source, from_sseq + known, fresh, () => undefined);
      this.#checkpointSoon();
    }
    return {
      ok: true,
      mark: Math.max(mark, from_sseq + count - 1),
      size: this.#tree.size,
      anchored: this.#anchoredMark(source),
    };
  }

  /** How far a source is under a quorum; `null` where the policy asks for none, or cannot be read. */
  #anchoredMark(source: string): number | null {
    if (this.#policy === null || this.#policy.quorum === null) return null;
    const size = this.#store.newestAnchored()?.size ?? 0;
    return size === 0 ? 0 : this.#store.markWithin(source, size);
  }

  /** One transaction: what the leaves change, and `also`. On failure memory is loaded again. */
  #grow(source: string, first_sseq: number, hashes: readonly Uint8Array[], also: () => void): void {
    try {
      this.#store.transaction(() => {
        const first_index = this.#tree.size;
        for (const { level, index, bytes } of this.#tree.append(hashes)) this.#store.putTile(level, index, bytes);
        this.#store.putTree(this.#tree.encode());
        this.#store.addBatch({ first_index, source, first_sseq, count: hashes.length });
        also();
      });
      this.#retries = 0;
    } catch (cause) {
      this.#reload();
      throw cause;
    }
  }

  #appendOwn(kind: StateKind, body: JsonObject): { readonly sseq: number; readonly index: number } {
    return this.#appendAll([{ kind, body }], () => undefined);
  }

  /** Leaves of the log's own source, in one transaction with what `also` changes; gives where the first one stands. */
  #appendAll(
    entries: readonly { readonly kind: StateKind; readonly body: JsonObject }[],
    also: (first_sseq: number) => void,
  ): { readonly sseq: number; readonly index: number } {
    const head = this.#store.ownHead();
    const first = head.sseq + 1;
    let prev = head.leaf_hash;
    const leaves = entries.map(({ kind, body }, at) => {
      const leaf = encodeStateRecord({
        body,
        kind,
        log_epoch: this.#region.log_epoch,
        prev: prev === null ? null : base64url(prev),
        region: this.#region.name,
        source: "log",
        sseq: first + at,
        t: Date.now(),
        v: 1,
      });
      prev = leafHash(leaf, nodeSha256);
      return { leaf, hash: prev };
    });
    const index = this.#tree.size;
    const hashes = leaves.map(({ hash }) => hash);
    this.#grow("log", first, hashes, () => {
      leaves.forEach(({ leaf, hash }, at) => this.#store.addOwn(first + at, leaf, hash));
      also(first);
    });
    this.#checkpointSoon();
    return { sseq: first, index };
  }

  appendOwn(
    kind: StateKind,
    body: JsonObject,
  ): { readonly ok: boolean; readonly sseq: number; readonly index: number } {
    return this.closed === null ? { ok: true, ...this.#appendOwn(kind, body) } : { ok: false, sseq: 0, index: 0 };
  }

  /**
   * What a source or the trust authority met. A log that still signs says so in a leaf at once; one that is halted
   * keeps it. The same one again is no news.
   */
  incident(found: Omit<Incident, "t_ms">): void {
    const incident: Incident = { ...found, t_ms: Date.now() };
    if (this.#store.hasIncident(incident)) return;
    console.error(JSON.stringify({ level: "error", event: "incident", origin: this.origin, ...found, evidence: null }));
    if (this.closed !== null) return this.#store.addIncident(incident, null);
    // Whoever integrated more than this log has knows that it was put back: nothing is signed over that.
    if (found.what === "log_rewound")
      return this.#halt("log_rewound", `${found.source}: ${found.detail}`, found.evidence);
    const body = incidentBody(incident, this.#region.log_epoch, nodeSha256);
    this.#appendAll([{ kind: "incident", body }], (sseq) => this.#store.addIncident(incident, sseq));
  }

  #hashOf(source: string, sseq: number): Uint8Array | null {
    const index = this.indexOf(source, sseq);
    if (index === null) return null;
    const n = Math.floor(index / TILE_WIDTH);
    const tile = this.tile(0, n, widthOf(0, n, this.#tree.size));
    const at = (index % TILE_WIDTH) * HASH;
    return tile?.subarray(at, at + HASH) ?? null;
  }

  indexOf(source: string, sseq: number): number | null {
    const batch = this.#store.batchOf(source, sseq);
    return batch === null ? null : batch.first_index + sseq - batch.first_sseq;
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A tile of any width that the tree has ever had: narrower ones are beginnings of what is there now. */
  tile(level: number, index: number, width: number): Uint8Array | null {
    const full = this.#store.tile(level, index);
    const bytes =
      full ?? this.#tree.partialTiles().find((tile) => tile.level === level && tile.index === index)?.bytes ?? null;
    return bytes === null || bytes.length < width * HASH ? null : bytes.slice(0, width * HASH);
  }

  checkpoint(): string | null {
    return this.#store.newest()?.note ?? null;
  }

  positions(first: number, count: number): readonly LogPosition[] {
    const last = Math.min(first + count, this.#tree.size) - 1;
    return this.#store.batchesAt(first, last).flatMap((batch) => {
      const from = Math.max(first, batch.first_index);
      const to = Math.min(last, batch.first_index + batch.count - 1);
      return Array.from({ length: to - from + 1 }, (_, at) => ({
        source: batch.source,
        sseq: batch.first_sseq + from - batch.first_index + at,
        index: from + at,
      }));
    });
  }

  bestCheckpoint(): { readonly size: number; readonly note: string; readonly anchored: boolean } | null {
    const row = this.#store.newestAnchored() ?? this.#store.newest();
    return row === null ? null : { size: row.size, note: row.note, anchored: row.anchored === 1 };
  }

  ownLeaves(from: number, count: number): readonly Uint8Array[] {
    return this.#store.own(from, count);
  }

  /** Of the newest leaf that says that the record was late. */
  async proveLate(source: string, sseq: number): Promise<ProofAnswer> {
    for (const own of this.#store.ownBack("merge.late")) {
      const state = decodeStateRecord(own.leaf);
      if (!state.ok || state.value.kind !== "merge.late") continue;
      const { first, last, source: of } = state.value.body;
      if (of === source && Number(first) <= sseq && sseq <= Number(last)) return this.prove("log", own.sseq, own.leaf);
    }
    return { ok: false, code: "none" };
  }

  async prove(source: string, sseq: number, extra: Uint8Array | null = null): Promise<ProofAnswer> {
    const halted = this.halted;
    if (halted !== null) return { ok: false, code: "halted", reason: halted };
    const index = this.indexOf(source, sseq);
    const anchored = this.#store.newestAnchored();
    if (index === null || anchored === null || anchored.size <= index) {
      // Somebody waits: a witness that could not be reached a moment ago is asked again.
      this.#checkpointSoon();
      return { ok: false, code: "not_ready", retry_after_s: 1 };
    }
    const path = await new TileTree(
      anchored.size,
      (level, n, width) => this.tile(level, n, width),
      nodeSha256,
    ).inclusion(index);
    if (!path.ok) throw new Error(path.error.message);
    return {
      ok: true,
      proof: formatTlogProof({ index, path: path.value, checkpoint: anchored.note, extra }),
      index,
      anchored: true,
    };
  }

  status(): LogStatus {
    const [newest, anchored] = [this.#store.newest(), this.#store.newestAnchored()];
    return {
      origin: this.origin,
      log_epoch: this.#region.log_epoch,
      state: this.#state,
      closed: this.closed,
      started_alone: this.#startedAlone,
      size: this.#tree.size,
      root: base64url(this.#tree.root()),
      halted: this.halted,
      incidents: this.#store.incidents(SHOWN_INCIDENTS),
      marks: this.#store.marks(),
      checkpoint_size: newest?.size ?? 0,
      checkpoint_t_ms: newest?.t_ms ?? 0,
      anchored_size: anchored?.size ?? 0,
      anchored_t_ms: anchored?.t_ms ?? 0,
      witnesses: this.#store.witnesses(),
    };
  }

  /** What the log covers, signed. */
  async coverage(asked: CoverageMessage): Promise<string> {
    await this.#counts.catchUp();
    const tile = (level: number, n: number, width: number): Uint8Array | null => this.tile(level, n, width);
    const indexOf = (source: string, sseq: number): number | null => this.indexOf(source, sseq);
    const [region, store, signing, status] = [this.#region, this.#store, this.#signing, this.status()];
    const counts = this.#counts.now();
    return signCoverage({ region, store, signing, status, counts, tile, indexOf }, asked);
  }

  identity(): Identity {
    return { origin: this.origin, vkey: formatVerifierKey(this.#key), jwk: this.#signing.publicJwk };
  }

  // ── checkpoints and witnesses ───────────────────────────────────────────────────────────────────────────────────

  configure(witnesses: readonly WitnessTarget[], policy: string): void {
    this.#store.transaction(() => {
      this.#store.setMeta("witnesses", JSON.stringify(witnesses));
      this.#store.setMeta("policy", policy);
      this.#store.keepWitnesses(witnesses.map(({ vkey }) => vkey.slice(0, vkey.indexOf("+"))));
    });
    this.#targets = witnesses;
    this.#readPolicy();
    this.#checkpointSoon();
  }

  tlogPolicy(): string {
    return this.#store.meta("policy") ?? `log ${formatVerifierKey(this.#key)}\nquorum none\n`;
  }

  #readPolicy(): void {
    const parsed = parsePolicy(this.tlogPolicy(), nodeSha256);
    if (!parsed.ok)
      console.error(JSON.stringify({ level: "error", event: "tlog_policy", message: parsed.error.message }));
    this.#policy = parsed.ok ? parsed.value : null;
  }

  #text(): string {
    return checkpointText({ origin: this.origin, size: this.#tree.size, root: this.#tree.root() });
  }

  #checkpointSoon(): void {
    if (this.#timer) return;
    this.#timer = true;
    setTimeout(() => {
      this.#timer = false;
      this.publish().catch((cause: unknown) => this.#failed(cause));
    }, CHECKPOINT_MS);
  }

  #failed(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : "unknown";
    console.error(JSON.stringify({ level: "error", event: "checkpoint_failed", message }));
    this.#checkpointLater();
  }

  #checkpointLater(): void {
    if (this.#retrying || this.#retries >= RETRIES) return;
    const wait_ms = RETRY_MS * 2 ** this.#retries++;
    if (wait_ms > LONGEST_TIMER_MS) return this.#wakeAt(Date.now() + wait_ms);
    this.#retrying = true;
    setTimeout(() => {
      this.#retrying = false;
      this.#checkpointSoon();
    }, wait_ms);
  }

  get #unreached(): boolean {
    return this.#store.witnesses().some(({ problem }) => problem === UNREACHABLE);
  }

  /** Signs the tree as it stands, and asks the witnesses. Ed25519 is deterministic: after a crash the same note. */
  async publish(heartbeat = false): Promise<void> {
    if (this.#left || this.halted !== null || this.#tree.size === 0) return;
    // Whether this log was put back is not known yet: it signs nothing that a witness may know otherwise.
    if (this.#hearing !== null) return;
    const now = Date.now();
    // At the first checkpoint after a start in any case: a log that was put back grows, and meets its witnesses.
    const due = this.#tree.size > this.#marked && now - this.#lastHeartbeat > HEARTBEAT_MS;
    if (this.#sealed === null && (heartbeat || due || this.#lastHeartbeat === 0)) {
      this.#lastHeartbeat = now;
      this.#appendOwn("log.heartbeat", { marks: this.#store.marks() });
      this.#marked = this.#tree.size;
    }
    const [size, text] = [this.#tree.size, this.#text()];
    if (this.#store.checkpointOf(size) === null) {
      // Commit, then sign: never a signature over a root that storage does not hold.
      await this.#store.sync();
      const signature = await signNote(text, this.#key, ed25519Signer(this.#signing));
      // Halted meanwhile: what was signed is dropped, and nobody has seen it.
      if (this.halted !== null) return;
      const anchored = this.#policy !== null && isQuorum(this.#policy, new Set()) ? 1 : 0;
      // Another pass may have been faster, and its note may be cosigned by now.
      if (this.#store.checkpointOf(size) === null)
        this.#store.putCheckpoint({ size, note: formatNote(text, [signature]), t_ms: now, anchored });
      await this.#store.sync();
    }
    await Promise.all(this.#targets.map((target) => this.#ask(target, size, text)));
    if (this.#tree.size > size) this.#checkpointSoon();
    else {
      // The last growth of a region that then is idle gets its heartbeat too, once; then nothing wakes the log.
      if (size > this.#marked) this.#wakeAt(this.#lastHeartbeat + HEARTBEAT_MS);
      if (this.#unreached) this.#checkpointLater();
    }
  }

  async #ask(target: WitnessTarget, size: number, text: string): Promise<void> {
    const key = parseVerifierKey(target.vkey, nodeSha256);
    if (!key.ok) return;
    const { name } = key.value;
    const report = (known: number, problem: string | null): void =>
      this.#store.putWitness({ name, size: known, t_ms: Date.now(), problem });
    let old = this.#store.witness(name)?.size ?? 0;
    if (old >= size) return;
    for (let tries = 0; tries < WITNESS_TRIES; tries++) {
      if (this.halted !== null) return;
      const row = this.#store.checkpointOf(size);
      if (row === null) return;
      const proof = await new TileTree(size, (level, n, width) => this.tile(level, n, width), nodeSha256).consistency(
        old,
      );
      if (!proof.ok) return report(old, proof.error.message);
      const signed = this.#ownSignature(row.note);
      let response: Response;
      let answer: Uint8Array;
      try {
        response = await this.#send(`${target.url}/add-checkpoint`, {
          method: "POST",
          body: formatAddCheckpoint(old, proof.value, formatNote(text, [signed])),
          signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
        });
        answer = await readAnswer(response);
      } catch {
        // Lost cosignatures never deny (DESIGN section 9): the next checkpoint asks again.
        return report(old, UNREACHABLE);
      }
      if (response.status === 200) return this.#take(name, key.value, size, text, answer, report);
      // The old size is the one that it holds (else 409), the signature is ours, and the proof comes from our own tiles:
      // it cosigned another history under this key, or it lies. A rewound log that has grown past the size that the
      // witness holds is met here.
      if (response.status === 422)
        return this.#weigh(name, target, "says that it cosigned another history", (problem) => report(old, problem));
      const said = response.status === 409 ? readTreeSize(new TextDecoder().decode(answer.subarray(0, 32))) : null;
      if (said === null)
        return report(old, `status ${response.status}: ${new TextDecoder().decode(answer.subarray(0, 200)).trim()}`);
      // It remembers more of this log than the log does, or it lies.
      if (said > this.#tree.size)
        return this.#weigh(name, target, `says that it knows size ${said}`, (problem) => report(old, problem));
      // A later checkpoint of ours was faster; if it was not ours, the next one to be asked for shows it.
      if (said > size) return;
      old = said;
    }
  }

  /**
   * A witness contradicts this log. Statuses are not signed, so it is believed only where it shows a checkpoint under
   * this log's own key that this log could not have signed: then the log was rewound, or its key signs elsewhere, and
   * nothing is signed over it. Without that the witness has failed, and the others go on.
   */
  async #weigh(name: string, target: WitnessTarget, says: string, report: (problem: string) => void): Promise<void> {
    const held = await askHeld(this.#send, target.url, this.#key);
    if (!held.ok) return report(`${says}, and proves nothing: ${held.error.message}`);
    await this.#judge(name, held.value, says, report);
  }

  async #judge(name: string, held: Held, says: string, report: (problem: string, size: number) => void): Promise<void> {
    const { size, root } = held.checkpoint;
    if (size > this.#tree.size) {
      const detail = `witness ${name} knows size ${size}, and this log has ${this.#tree.size}: it was rewound`;
      this.#halt("log_rewound", detail, held.note);
      return report(`knows size ${size}`, 0);
    }
    const own = await this.#rootAt(size);
    if (own === null || equalBytes(own, root))
      return report(`${says}, and shows a checkpoint of size ${size} that this log has too`, size);
    this.#halt(
      "log_forked",
      `witness ${name} cosigned another history of this log at size ${size}: it was rewound, or its key signs elsewhere`,
      held.note,
    );
    report("cosigned another history of this log", 0);
  }

  /** Root of the first `size` leaves; `null` where a tile is missing. */
  async #rootAt(size: number): Promise<Uint8Array | null> {
    const tree = new TileTree(this.#tree.size, (level, n, width) => this.tile(level, n, width), nodeSha256);
    const root = await tree.root(size);
    return root.ok ? root.value : null;
  }

  #ownSignature(note: string): NoteSignature {
    const parsed = parseNote(note);
    if (!parsed.ok) throw new Error(parsed.error.message);
    return parsed.value.signatures.find((signature) => signature.name === this.origin)!;
  }

  /** Stores a verified cosignature with its checkpoint; with a quorum the checkpoint is anchored. */
  async #take(
    name: string,
    key: VerifierKey,
    size: number,
    text: string,
    answer: Uint8Array,
    report: (known: number, problem: string | null) => void,
  ): Promise<void> {
    const verifier = verifierOf(key, ed25519Verify);
    const read = verifier === null ? null : await readCosignatures(answer, text, [verifier]);
    if (read?.ok !== true) return report(0, "its cosignature does not verify");
    const row = this.#store.checkpointOf(size);
    const parsed = row === null ? null : parseNote(row.note);
    if (row === null || parsed?.ok !== true) return;
    const others = parsed.value.signatures.filter((signature) => signature.name !== name);
    const signatures = [...others, ...read.value];
    const cosigned = new Set(
      this.#policy?.witnesses
        .filter((witness) => signatures.some((signature) => signature.name === witness.key.name))
        .map((witness) => witness.name),
    );
    const anchored = this.#policy !== null && isQuorum(this.#policy, cosigned) ? 1 : 0;
    this.#store.transaction(() => {
      this.#store.putCheckpoint({ ...row, note: formatNote(text, signatures), anchored });
      report(size, null);
    });
  }
}
