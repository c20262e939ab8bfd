import { equalBytes } from "../../src/base/bytes.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { inEpoch, regionLog, shardAt, type Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { EpochStatus, EpochView } from "../../src/objects/epochs.ts";
import type { LogState, LogStatus, RegionLogRpc } from "../../src/objects/log.ts";
import { withDeadline } from "../../src/objects/deadline.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import { ofEpoch } from "./erasure-leaves.ts";
import { ErasureRows } from "./erasure-rows.ts";
import { pause } from "./pause.ts";
import type { Rewind } from "./rewind.ts";
import type { AuthorityStore } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** One request of an administrator waits this long for the last leaves to arrive; the next one goes on. */
const SEAL_MS = 5_000;
const AGAIN_MS = 1_000;
/** How long a shard may take to say how far it has come; longer, and an operator may end the epoch without it. */
const ANSWER_MS = 3_000;
const PAGE = 1_000;
/** Runs whose heads are stated in one message. */
const HEADS = 500;

const hasEnded = (state: LogState): boolean => state === "sealed" || state === "halted";

/**
 * Lifetimes of the log (docs/operations/new-epoch.md). The authority outlives them: its events go on, and its source
 * begins again at 1 in each new log with whatever the log before never integrated, so that no event goes unlogged.
 * A new epoch begins only after an operator ended the one before, and let this one follow.
 */
export class Epochs {
  readonly #env: Env;
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly #rewind: Rewind;
  readonly #sync: RegionSync;
  /** Why the configured epoch is not, or not yet, the one to run. */
  #problem: string | null = null;

  readonly #erasures: ErasureRows;

  constructor(
    env: Env,
    region: Region,
    storage: DurableObjectStorage,
    store: AuthorityStore,
    writer: EventWriter,
    rewind: Rewind,
    sync: RegionSync,
  ) {
    this.#sync = sync;
    this.#erasures = new ErasureRows(storage);
    this.#env = env;
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.#rewind = rewind;
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** Why no lease is granted in this epoch any more; `null` while it goes on. */
  get closed(): string | null {
    const { log_epoch } = this.#region;
    const sealing = this.#store.epochs().find((epoch) => epoch.log_epoch === log_epoch)?.sealing ?? null;
    return sealing === null ? null : `log epoch ${log_epoch} is sealed`;
  }

  /** Goes on in the configured epoch, or enters it; says what stands against that. */
  start(): void {
    const { log_epoch, shards } = this.#region;
    const newest = this.#store.epochs().at(-1);
    if (newest === undefined) this.#store.addEpoch(log_epoch, shards, Date.now());
    else if (newest.log_epoch > log_epoch)
      this.#problem = `INTERLOCK_LOG_EPOCH is ${log_epoch}, and log epoch ${newest.log_epoch} has begun: set it to ${newest.log_epoch}`;
    else if (newest.log_epoch < log_epoch && (newest.next === null || newest.log_epoch + 1 !== log_epoch))
      this.#problem = `log epoch ${newest.log_epoch + 1} was not let in: interlock epoch next, with INTERLOCK_LOG_EPOCH still ${newest.log_epoch}`;
    else if (newest.log_epoch < log_epoch) {
      this.#problem = `log epoch ${log_epoch} has not begun yet`;
      void this.#enter(newest);
      return;
    } else if (newest.shards !== shards)
      this.#problem = `INTERLOCK_SHARDS is ${shards}, and log epoch ${log_epoch} has ${newest.shards}: the number is fixed while a log lives`;
    if (this.#problem === null) this.#writer.start();
    else console.error(JSON.stringify({ level: "error", event: "log_epoch", message: this.#problem }));
  }

  /** Asks the log of the epoch before what it has, until it answers; then one transaction. */
  async #enter(before: EpochView): Promise<void> {
    const { log_epoch, shards } = this.#region;
    for (;;) {
      try {
        const log = this.#logOf(before);
        const { state } = await log.ending();
        if (hasEnded(state)) {
          const integrated = await this.#integrated(log, before.log_epoch);
          this.#store.transaction(() => {
            this.#store.addEpoch(log_epoch, shards, Date.now());
            this.#carry(before.log_epoch, integrated);
            this.#rewind.lift();
          });
          this.#problem = null;
          this.#writer.start();
          return;
        }
        this.#problem = `log epoch ${before.log_epoch} is ${state}: seal it first, with INTERLOCK_LOG_EPOCH ${before.log_epoch}`;
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(JSON.stringify({ level: "warn", event: "log_epoch_not_entered", message }));
      }
      await pause(AGAIN_MS);
    }
  }

  #logOf(epoch: EpochView): RegionLogRpc {
    return regionLog(this.#env, inEpoch(this.#region, epoch));
  }

  /**
   * How many of this source's leaves the log of that epoch has. Each leaf holds the hash of the one before, so one
   * that is equal means that all before it are; a storage that was put back has others from some number on.
   */
  async #integrated(log: RegionLogRpc, log_epoch: number): Promise<number> {
    const equal = async (sseq: number): Promise<boolean> => {
      const theirs = await log.hashes("trust", sseq, 1);
      const [own] = this.#store.leafHashes(log_epoch, sseq, sseq);
      return own !== undefined && equalBytes(own, theirs);
    };
    const { marks } = await log.status();
    let high = Math.min(marks["trust"] ?? 0, this.#store.leafHead(log_epoch).sseq);
    if (high === 0 || (await equal(high))) return high;
    let low = 0;
    for (high--; low < high;) {
      const middle = Math.ceil((low + high) / 2);
      if (await equal(middle)) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #carry(log_epoch: number, integrated: number): void {
    for (let from = integrated + 1; ; from += PAGE) {
      const leaves = this.#store.saltedLeaves(log_epoch, from, PAGE);
      for (const [at, { leaf, salt }] of leaves.entries()) {
        const state = decodeStateRecord(leaf);
        if (!state.ok) throw new Error(`a trust leaf of log epoch ${log_epoch}: ${state.error}`);
        const { kind, body, t } = state.value;
        const sseq = this.#writer.storeLeaf(kind, kind === "erasure" ? ofEpoch(body, log_epoch) : body, t, salt);
        if (kind === "erasure")
          this.#erasures.moveLeaf({ log_epoch, sseq: from + at }, { log_epoch: this.#region.log_epoch, sseq });
      }
      if (leaves.length < PAGE) return;
    }
  }

  async status(): Promise<EpochStatus> {
    const epochs = this.#store.epochs();
    let log: LogStatus | null = null;
    try {
      log = await this.#logOf(epochs.at(-1)!).status();
    } catch {
      // Said by its absence.
    }
    return { epochs, problem: this.#problem, log };
  }

  /** The epoch that is run and that an operator may act on. */
  #running(): AdminResult<EpochView> {
    const epoch = this.#store.epochs().find(({ log_epoch }) => log_epoch === this.#region.log_epoch);
    if (epoch !== undefined && this.#problem === null) return { ok: true, value: epoch };
    return { ok: false, code: "conflict", message: this.#problem ?? "no log epoch runs" };
  }

  /**
   * In this order: an event and a mark that survive a restart, so that no lease is granted any more; every shard, which
   * from then on denies, and says how far it has come; the log, once it has all of that. A crash in between leaves a
   * region that denies and is sealed by asking again.
   *
   * A shard of `without` that does not answer is left out, once no lease lets it decide any more: an incident leaf says
   * so before the seal, which has as many of its records as the log has. What the shard has beyond that stays there.
   */
  async seal(reason: string, actor: string, without: readonly number[] = []): Promise<AdminResult<EpochStatus>> {
    const running = this.#running();
    if (!running.ok) return running;
    const { log_epoch, shards, sealing } = running.value;
    const unknown = without.find((shard) => shard >= shards);
    if (unknown !== undefined)
      return { ok: false, code: "invalid", message: `log epoch ${log_epoch} has no shard ${unknown}` };
    const log = (): RegionLogRpc => this.#logOf(running.value);
    const { state } = await log().status();
    if (state === "halted" || state === "waiting") {
      const message = `the log is ${state}, so it cannot be sealed${state === "halted" ? ": it has ended, go on with interlock epoch next" : ""}`;
      return { ok: false, code: "conflict", message };
    }
    if (state !== "sealed") {
      if (sealing === null)
        await this.#writer.append(
          {
            kind: "seal",
            key: regionKey(this.#region.name),
            generation: log_epoch,
            reason_code: "admin",
            actor,
            note: reason,
          },
          () => this.#once("sealing", () => this.#store.setSealing(log_epoch, reason)),
        );
      await log().beginSeal();
      const { marks, silent } = await this.#sealShards(running.value);
      const unwilling = silent.filter((shard) => !without.includes(shard));
      if (unwilling.length > 0)
        return {
          ok: false,
          code: "conflict",
          message: `${unwilling.map((shard) => `shard ${shard}`).join(", ")} of log epoch ${log_epoch} did not answer: everything is denied already; ask again, or seal without (docs/operations/new-epoch.md)`,
        };
      for (const shard of silent)
        if (!(await this.#leave(log_epoch, shard, reason))) return { ok: true, value: await this.status() };
      // An authority that was put back sends nothing any more; the next epoch begins with what it has.
      if (!this.#rewind.noted) marks["trust"] = this.#store.leafHead(log_epoch).sseq;
      const end = Date.now() + SEAL_MS;
      // A region with very many runs is asked again: it goes on with the page that it had come to.
      if (!(await this.#stateHeads(running.value, silent, end))) return { ok: true, value: await this.status() };
      for (; Date.now() < end; await pause(100)) if ((await log().finishSeal(marks)).state === "sealed") break;
    }
    return { ok: true, value: await this.status() };
  }

  /** Every shard denies from now on, and says how far it has come. `silent`: those that do not say so. */
  async #sealShards(
    epoch: EpochView,
  ): Promise<{ readonly marks: Record<string, number>; readonly silent: readonly number[] }> {
    const marks: Record<string, number> = {};
    const silent: number[] = [];
    const reason = `log epoch ${epoch.log_epoch} is sealed`;
    await Promise.all(
      Array.from({ length: epoch.shards }, async (_, k) => {
        try {
          const stub = shardAt(this.#env, inEpoch(this.#region, epoch), k);
          marks[`shard/${k}`] = (await withDeadline(stub.seal({ v: 1, reason }), ANSWER_MS)).last;
        } catch (cause) {
          const message = cause instanceof Error ? cause.message : "unknown";
          console.warn(JSON.stringify({ level: "warn", event: "shard_not_sealed", shard: k, message }));
          silent.push(k);
        }
      }),
    );
    return { marks, silent: silent.sort((a, b) => a - b) };
  }

  /** `false`: a lease may still let the shard decide. */
  async #leave(log_epoch: number, shard: number, reason: string): Promise<boolean> {
    if (this.#sync.shardLease(shard, Date.now()).leased_for_ms > 0) return false;
    const left = (): readonly number[] =>
      this.#store.epochs().find((epoch) => epoch.log_epoch === log_epoch)?.left ?? [];
    if (left().includes(shard)) return true;
    const detail = `log epoch ${log_epoch} was ended without this shard, which did not answer: ${reason}`;
    // In the log before it is sealed, and before anything here rests on it.
    const at = inEpoch(this.#region, { log_epoch, shards: this.#region.shards });
    await regionLog(this.#env, at).incident({ what: "shard_left", source: `shard/${shard}`, detail, evidence: null });
    this.#store.setLeft(
      log_epoch,
      [...left(), shard].sort((a, b) => a - b),
    );
    return true;
  }

  /** Has the log state how long every opened run was; whether it is done. */
  async #stateHeads(epoch: EpochView, silent: readonly number[], end: number): Promise<boolean> {
    for (let k = 0; k < epoch.shards; k++) {
      if (silent.includes(k)) continue;
      const source = `shard/${k}`;
      for (let after = await this.#logOf(epoch).headsUntil(source); ;) {
        const heads = await shardAt(this.#env, inEpoch(this.#region, epoch), k).runHeads(after, HEADS);
        if (heads.length === 0) break;
        if (Date.now() >= end) return false;
        const until = await this.#logOf(epoch).appendHeads(source, after, heads);
        // It was sealed meanwhile, by another call that had come to the end.
        if (until === after) return true;
        after = until;
      }
    }
    return true;
  }

  /** Somebody else may have asked for the same meanwhile: then there is no second event. */
  #once(what: "sealing" | "next", set: () => void): boolean {
    const { log_epoch } = this.#region;
    if (this.#store.epochs().find((epoch) => epoch.log_epoch === log_epoch)?.[what] !== null) return false;
    set();
    return true;
  }

  async next(reason: string, actor: string): Promise<AdminResult<EpochStatus>> {
    const running = this.#running();
    if (!running.ok) return running;
    const { log_epoch, next } = running.value;
    if (next === null) {
      const { state } = await this.#logOf(running.value).ending();
      if (!hasEnded(state))
        return { ok: false, code: "conflict", message: `log epoch ${log_epoch} is ${state}: seal it first` };
      await this.#writer.append(
        {
          kind: "epoch",
          key: regionKey(this.#region.name),
          generation: log_epoch + 1,
          reason_code: "admin",
          actor,
          note: reason,
        },
        () => this.#once("next", () => this.#store.setNext(log_epoch, reason)),
      );
    }
    return { ok: true, value: await this.status() };
  }
}
