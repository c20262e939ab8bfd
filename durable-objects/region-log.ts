import { DurableObject } from "cloudflare:workers";
import type { JsonObject } from "../src/base/json.ts";
import type { Incident } from "../src/lineage/incident.ts";
import type { StateKind } from "../src/lineage/state-record.ts";
import { authority, epochOfName, inEpoch, regionLog, shardAt, type Env } from "../src/objects/address.ts";
import type { PublicJwk } from "../src/objects/jwk.ts";
import type {
  CoverageMessage,
  IntegrateAnswer,
  IntegrateMessage,
  LogEnding,
  LogPosition,
  LogStatus,
  ProofAnswer,
  ReadMessage,
  ReadView,
  RegionLogRpc,
  UntoldRead,
  WitnessTarget,
} from "../src/objects/log.ts";
import type { RunHeadView } from "../src/objects/records.ts";
import { askPeersMs, readRegion, type Region } from "../src/region/config.ts";
import { Log } from "./log/log.ts";

/** One per region: the platform's shell around `Log`. What may be called from outside is what stands here. */
export class RegionLog extends DurableObject<Env> implements RegionLogRpc {
  readonly #log: Log;
  readonly #current: boolean;
  readonly #log_epoch: number;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    if (!region.ok) throw new Error(region.error);
    const log_epoch = epochOfName(ctx.id.name) ?? region.value.log_epoch;
    const here = { ...region.value, log_epoch };
    const current = log_epoch === region.value.log_epoch;
    this.#current = current;
    this.#log_epoch = log_epoch;
    this.#log = new Log(ctx.storage, here, (input, init) => fetch(input, init), {
      current,
      previous: log_epoch === 1 ? null : () => endingBefore(env, here),
      ask_peers_ms: askPeersMs(env),
      // The epochs before have nobody left to tell.
      tell: (reason) => {
        if (current) void tellShards(env, here, reason);
      },
    });
    void ctx.blockConcurrencyWhile(async () => {
      await this.#log.start();
      if (current && log_epoch > 1)
        void this.#log.carryReads(
          () => authority(env, here).epochs(),
          (epoch) => regionLog(env, inEpoch(here, epoch)),
        );
    });
  }

  override alarm(): Promise<void> {
    return this.#log.wake();
  }
  async integrate(message: IntegrateMessage): Promise<IntegrateAnswer> {
    await this.#log.heard();
    return this.#log.integrate(message);
  }
  async checkpoint(): Promise<string | null> {
    return this.#log.checkpoint();
  }
  async tile(level: number, index: number, width: number): Promise<Uint8Array | null> {
    return this.#log.tile(level, index, width);
  }
  async positions(first: number, count: number): Promise<readonly LogPosition[]> {
    return this.#log.positions(first, count);
  }
  async ownLeaves(from_sseq: number, count: number): Promise<readonly Uint8Array[]> {
    return this.#log.ownLeaves(from_sseq, count);
  }
  async indexes(source: string, sseqs: readonly number[]): Promise<readonly (number | null)[]> {
    return sseqs.map((sseq) => this.#log.indexOf(source, sseq));
  }
  async bestCheckpoint(): Promise<{ readonly size: number; readonly note: string; readonly anchored: boolean } | null> {
    return this.#log.bestCheckpoint();
  }
  prove(source: string, sseq: number): Promise<ProofAnswer> {
    return this.#log.prove(source, sseq);
  }
  proveLate(source: string, sseq: number): Promise<ProofAnswer> {
    return this.#log.proveLate(source, sseq);
  }
  async status(): Promise<LogStatus> {
    return this.#log.status();
  }
  async appendOwn(
    kind: StateKind,
    body: JsonObject,
  ): Promise<{ readonly ok: boolean; readonly sseq: number; readonly index: number }> {
    return this.#log.appendOwn(kind, body);
  }
  async recordRead(message: ReadMessage): Promise<{ readonly ok: boolean }> {
    if (message.v !== 1) return { ok: false };
    // The running log carries this one's reads on, once: none may come after that.
    if (!this.#current) return { ok: false };
    await this.#log.reads.record(message);
    return { ok: true };
  }
  async listReads(
    before: number | null,
    limit: number,
  ): Promise<{ readonly reads: readonly ReadView[]; readonly next: number | null }> {
    return this.#log.reads.list(before, limit);
  }
  async untoldReads(limit: number): Promise<readonly UntoldRead[] | null> {
    return this.#current ? null : this.#log.reads.untold(this.#log_epoch, limit);
  }
  async readsTold(log_epoch: number, told: readonly { readonly id: number; readonly sseq: number }[]): Promise<void> {
    this.#log.reads.told(log_epoch, told);
  }
  async beginSeal(): Promise<LogStatus> {
    return this.#log.beginSeal();
  }
  finishSeal(marks: Readonly<Record<string, number>>): Promise<LogStatus> {
    return this.#log.finishSeal(marks);
  }
  async ending(): Promise<LogEnding> {
    return this.#log.ending();
  }
  async headsUntil(source: string): Promise<string> {
    return this.#log.sealing.headsUntil(source);
  }
  async appendHeads(source: string, after: string, heads: readonly RunHeadView[]): Promise<string> {
    return this.#log.sealing.appendHeads(source, after, heads);
  }
  async findHead(body: Omit<RunHeadView, "id">): Promise<{ ok: boolean; sseq: number; index: number }> {
    return this.#log.sealing.findHead(body);
  }
  async drop(): Promise<void> {
    if (this.#current) throw new Error("the log of the epoch that runs is not dropped");
    this.#log.leave();
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
  async hashes(source: string, from_sseq: number, count: number): Promise<Uint8Array> {
    return this.#log.hashes(source, from_sseq, count);
  }
  async incident(found: Omit<Incident, "t_ms">): Promise<void> {
    this.#log.incident(found);
  }
  coverage(message: CoverageMessage): Promise<string> {
    return this.#log.coverage(message);
  }
  async identity(): Promise<{ readonly origin: string; readonly vkey: string; readonly jwk: PublicJwk }> {
    return this.#log.identity();
  }
  async configure(witnesses: readonly WitnessTarget[], policy: string): Promise<void> {
    this.#log.configure(witnesses, policy);
  }
  async tlogPolicy(): Promise<string> {
    return this.#log.tlogPolicy();
  }
}

/**
 * How the epoch before ended. A region that is new, and was given a number above 1 (the one before it was lost), has
 * none: the authority, which lists its epochs, knows that.
 */
async function endingBefore(env: Env, region: Region): Promise<LogEnding> {
  const epochs = await authority(env, region).epochs();
  if (epochs.length > 0 && epochs.every(({ log_epoch }) => log_epoch >= region.log_epoch))
    return { state: "sealed", note: null, incident: null };
  return regionLog(env, { ...region, log_epoch: region.log_epoch - 1 }).ending();
}

/** Tells every shard at once, idle ones too; one that is not reached hears it with its next leaves, or at its start. */
async function tellShards(env: Env, region: Region, reason: string): Promise<void> {
  const shards = Array.from({ length: region.shards }, (_, k) => k);
  await Promise.all(
    shards.map(async (k) => {
      try {
        await shardAt(env, region, k).halt({ v: 1, reason });
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(JSON.stringify({ level: "warn", event: "halt_not_told", shard: k, message }));
      }
    }),
  );
}
