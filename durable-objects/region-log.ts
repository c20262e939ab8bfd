import { DurableObject } from "cloudflare:workers";
import type { JsonObject } from "../src/base/json.ts";
import type { Incident } from "../src/lineage/incident.ts";
import type { StateKind } from "../src/lineage/state-record.ts";
import type { Env } from "../src/objects/address.ts";
import type { PublicJwk } from "../src/objects/authority.ts";
import type {
  CoverageMessage,
  IntegrateAnswer,
  IntegrateMessage,
  LogPosition,
  LogStatus,
  ProofAnswer,
  ReadMessage,
  ReadView,
  RegionLogRpc,
  WitnessTarget,
} from "../src/objects/log.ts";
import { readRegion } from "../src/region/config.ts";
import { Log } from "./log/log.ts";

/** One per region: the platform's shell around `Log`. What may be called from outside is what stands here. */
export class RegionLog extends DurableObject<Env> implements RegionLogRpc {
  readonly #log: Log;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    if (!region.ok) throw new Error(region.error);
    this.#log = new Log(ctx.storage, region.value, (input, init) => fetch(input, init));
    void ctx.blockConcurrencyWhile(() => this.#log.start());
  }

  override alarm(): Promise<void> {
    return this.#log.wake();
  }
  async integrate(message: IntegrateMessage): Promise<IntegrateAnswer> {
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
    await this.#log.reads.record(message);
    return { ok: true };
  }
  async listReads(
    after: number,
    limit: number,
  ): Promise<{ readonly reads: readonly ReadView[]; readonly next: number | null }> {
    return this.#log.reads.list(after, limit);
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
