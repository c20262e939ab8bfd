import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { incidentBody, type Incident } from "../../src/lineage/incident.ts";
import { logOrigin } from "../../src/lineage/names.ts";
import { formatVerifierKey, SIGNATURE_TYPE, verifierKey, type VerifierKey } from "../../src/lineage/note-key.ts";
import type { StateKind } from "../../src/lineage/state-record.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type {
  CoverageMessage,
  IntegrateAnswer,
  IntegrateMessage,
  LogEnding,
  LogPosition,
  LogStatus,
  ProofAnswer,
  WitnessTarget,
} from "../../src/objects/log.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256, ownSigningKey, type SigningKey } from "../platform.ts";
import { begin } from "./beginning.ts";
import { carryReads, type CarryPort } from "./carry-reads.ts";
import { signCoverage } from "./coverage.ts";
import { hearWitness } from "./hearing.ts";
import { integrate } from "./integrate.ts";
import { Lifetime } from "./lifetime.ts";
import { LogTree } from "./log-tree.ts";
import { prove, proveLate, type Proving } from "./prove.ts";
import { Publisher } from "./publisher.ts";
import { Reads } from "./reads.ts";
import { Sealing } from "./sealing.ts";
import { SourceCounts } from "./source-counts.ts";
import { LogStore } from "./store.ts";
import { Witnessing } from "./witnessing.ts";

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
/** Shorter than a source waits for an answer. */
const HEARING_MS = 4_000;

type Identity = { readonly origin: string; readonly vkey: string; readonly jwk: PublicJwk };

/**
 * The region's one Merkle log (DESIGN section 9): its parts put together, what it takes, and what it answers. A
 * checkpoint is signed only over what storage holds, after `sync`. A witness that knows a larger log than ours, or a
 * source whose hashes differ from those integrated, halts the log: it is never signed over.
 */
export class Log {
  readonly #region: Region;
  readonly #store: LogStore;
  readonly #send: typeof fetch;
  readonly origin: string;
  readonly reads: Reads;
  readonly sealing: Sealing;
  readonly #counts: SourceCounts;
  readonly #tree: LogTree;
  readonly #life: Lifetime;
  readonly #around: Surroundings;
  readonly #setAlarm: (t_ms: number) => void;
  #signing!: SigningKey;
  #key!: VerifierKey;
  #witnessing!: Witnessing;
  #publisher!: Publisher;
  #alarm_ms = 0;
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
    this.#life = new Lifetime(this.#store, this.origin, around.tell);
    this.#tree = new LogTree(this.#store, region, this.origin, {
      grown: () => this.#publisher.grown(),
      damaged: (reason, evidence) => this.#life.halt("log_damaged", reason, evidence),
    });
    this.sealing = new Sealing(this.#store, this.#tree, this.#life, region.log_epoch);
    // Where that fails it is set again with the next thing to do.
    this.#setAlarm = (t_ms) => void storage.setAlarm(t_ms).catch(() => (this.#alarm_ms = 0));
    this.reads = new Reads(this.#store, {
      halted: () => this.closed !== null,
      append: (bodies, also) => {
        const leaves = bodies.map((body) => ({ kind: "read" as const, body }));
        this.#tree.append(leaves, also);
      },
      wakeAt: (t_ms) => this.#wakeAt(t_ms),
    });
  }

  async start(): Promise<void> {
    const [store, tree, life] = [this.#store, this.#tree, this.#life];
    this.#signing = await ownSigningKey(store, `${this.#region.name}.${this.#region.log_epoch}.log.1`);
    const { publicJwk, kid } = this.#signing;
    this.#key = verifierKey(this.origin, SIGNATURE_TYPE.ed25519, fromBase64url(publicJwk.x!)!, nodeSha256);
    this.#witnessing = new Witnessing(store, tree, life, this.#send, this.#key);
    this.#publisher = new Publisher(
      { store, tree, life, witnessing: this.#witnessing },
      { signing: this.#signing, key: this.#key },
      { wakeAt: (t_ms) => this.#wakeAt(t_ms), hearing: () => this.#hearing !== null, left: () => this.#left },
    );
    tree.reload();
    const { current, previous, ask_peers_ms } = this.#around;
    // Reads that came meanwhile are told then.
    const begun = (): void => this.reads.wake();
    if (tree.size === 0 && this.halted === null)
      begin({ region: this.#region, kid, store, tree, life, current, previous, begun });
    this.reads.start();
    // It went away between a growth and its checkpoint.
    if ((store.newest()?.size ?? 0) < tree.size) this.#publisher.soon();
    if (current && this.#witnessing.targets.length > 0 && this.closed === null && ask_peers_ms > 0)
      this.#hearing = this.#hearWitnesses().finally(() => {
        this.#hearing = null;
        this.#publisher.soon();
      });
    life.tell();
    // A final checkpoint that a witness has not seen yet.
    if (life.sealed !== null && store.newestAnchored()?.size !== tree.size) this.#publisher.soon();
  }

  /** What could not be told in the logs before; in the background. */
  async carryReads(epochs: CarryPort["epochs"], logOf: CarryPort["logOf"]): Promise<void> {
    await carryReads({
      log_epoch: this.#region.log_epoch,
      state: () => (this.#left ? "halted" : this.#life.state),
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

  /** The alarm. Must not throw: it would ring again. */
  async wake(): Promise<void> {
    if (this.#left) return;
    this.#alarm_ms = 0;
    try {
      this.reads.wake();
      await this.#publisher.wake();
    } catch (cause) {
      this.#publisher.failed(cause);
    }
  }

  get halted(): string | null {
    return this.#life.halted;
  }

  /** Why this log takes no more leaves; `null` while it does. */
  get closed(): string | null {
    return this.#life.closed;
  }

  publish(heartbeat = false): Promise<void> {
    return this.#publisher.publish(heartbeat);
  }

  async #hearWitnesses(): Promise<void> {
    const heard = await hearWitness(
      () => this.#witnessing.targets,
      (target) => this.#witnessing.hears(target),
      () => this.halted !== null,
      this.#around.ask_peers_ms,
    );
    if (heard) return;
    this.#startedAlone = true;
    console.warn(JSON.stringify({ level: "warn", event: "started_alone", origin: this.origin }));
  }

  /** Resolves when leaves are taken, or after a while: then `integrate` says that it waits. */
  async heard(): Promise<void> {
    if (this.#hearing === null) return;
    await Promise.race([this.#hearing, new Promise((resolve) => setTimeout(resolve, HEARING_MS))]);
  }

  beginSeal(): LogStatus {
    this.sealing.begin();
    return this.status();
  }

  async finishSeal(marks: Readonly<Record<string, number>>): Promise<LogStatus> {
    if (await this.sealing.finish(marks)) await this.publish();
    return this.status();
  }

  ending(): LogEnding {
    return this.#life.ending(this.#tree);
  }

  integrate(message: IntegrateMessage): IntegrateAnswer {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const { ended } = this.#life;
    if (ended !== null) return { ok: false, code: "halted", reason: ended };
    if (this.#life.waiting !== null) return { ok: false, code: "waiting", reason: this.#life.waiting };
    if (this.#hearing !== null)
      return { ok: false, code: "waiting", reason: "no witness has said yet what it holds of the region's log" };
    return integrate(message, this.#store, this.#tree, this.#life, (source) => this.#witnessing.anchoredMark(source));
  }

  appendOwn(
    kind: StateKind,
    body: JsonObject,
  ): { readonly ok: boolean; readonly sseq: number; readonly index: number } {
    return this.closed === null
      ? { ok: true, ...this.#tree.append([{ kind, body }]) }
      : { ok: false, sseq: 0, index: 0 };
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
      return this.#life.halt("log_rewound", `${found.source}: ${found.detail}`, found.evidence);
    const body = incidentBody(incident, this.#region.log_epoch, nodeSha256);
    this.#tree.append([{ kind: "incident", body }], (sseq) => this.#store.addIncident(incident, sseq));
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  indexOf(source: string, sseq: number): number | null {
    return this.#tree.indexOf(source, sseq);
  }

  hashes(source: string, from_sseq: number, count: number): Uint8Array {
    return this.#tree.hashes(source, from_sseq, count);
  }

  tile(level: number, index: number, width: number): Uint8Array | null {
    return this.#tree.tile(level, index, width);
  }

  checkpoint(): string | null {
    return this.#store.newest()?.note ?? null;
  }

  positions(first: number, count: number): readonly LogPosition[] {
    return this.#tree.positions(first, count);
  }

  bestCheckpoint(): { readonly size: number; readonly note: string; readonly anchored: boolean } | null {
    const row = this.#store.best();
    return row === null ? null : { size: row.size, note: row.note, anchored: row.anchored === 1 };
  }

  ownLeaves(from: number, count: number): readonly Uint8Array[] {
    return this.#store.own(from, count);
  }

  async proveLate(source: string, sseq: number): Promise<ProofAnswer> {
    return proveLate(source, sseq, this.#proving());
  }

  async prove(source: string, sseq: number): Promise<ProofAnswer> {
    return prove(source, sseq, this.#proving());
  }

  #proving(): Proving {
    // Somebody waits: a witness that could not be reached a moment ago is asked again.
    return { store: this.#store, tree: this.#tree, halted: this.halted, wanted: () => this.#publisher.soon() };
  }

  status(): LogStatus {
    const [newest, anchored] = [this.#store.newest(), this.#store.newestAnchored()];
    return {
      origin: this.origin,
      log_epoch: this.#region.log_epoch,
      state: this.#life.state,
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
    const tile = (level: number, n: number, width: number): Uint8Array | null => this.#tree.tile(level, n, width);
    const indexOf = (source: string, sseq: number): number | null => this.#tree.indexOf(source, sseq);
    const [region, store, signing, status] = [this.#region, this.#store, this.#signing, this.status()];
    const counts = this.#counts.now();
    return signCoverage({ region, store, signing, status, counts, tile, indexOf }, asked);
  }

  identity(): Identity {
    return { origin: this.origin, vkey: formatVerifierKey(this.#key), jwk: this.#signing.publicJwk };
  }

  configure(witnesses: readonly WitnessTarget[], policy: string): void {
    this.#witnessing.configure(witnesses, policy);
    this.#publisher.soon();
  }

  tlogPolicy(): string {
    return this.#witnessing.tlogPolicy();
  }
}
