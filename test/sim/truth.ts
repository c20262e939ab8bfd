import type { Acknowledgement } from "../../src/sync/acknowledgement.ts";
import type { OriginEntry } from "../../src/trust/merge.ts";

/** What an outside observer with a perfect clock knows, and what no history may show. */
export type Write = {
  readonly key: string;
  readonly origin: string;
  generation: number;
  /** True time at which it was durable at its origin. */
  readonly accepted: number;
  seq: number | null;
  revision: number;
  /** Whether every allow that depends on the key needs a lease of the origin. */
  readonly homed: boolean;
  readonly confirmed: Set<string>;
  barrier: boolean;
  local: boolean;
};

export type Allow = {
  readonly region: string;
  readonly shard: number;
  readonly key: string;
  /** The origins whose freshness it rests on. */
  readonly origins: readonly string[];
  /** When the shard last looked at lease and revocations. */
  readonly looked: number;
  readonly left: number;
  readonly recorded: boolean;
};

export class Violation extends Error {}

export class Truth {
  readonly #delta_ms: number;
  /** Revocations in force, by key and origin. */
  readonly #writes = new Map<string, Map<string, Write>>();
  /** When a region had two histories of an origin in its hands. */
  readonly #evidence = new Map<string, number>();
  /** The revocation for which a shard last denied. */
  readonly #said = new Map<string, { readonly write: Write; readonly at: number }>();
  readonly liars = new Set<string>();
  /**
   * Regions of whose events a restore destroyed the last copy that anybody can ask for, though somebody may have seen
   * them: who did takes the region for one that went back, and is right; and nobody has all of one that was removed.
   */
  readonly amnesiacs = new Set<string>();
  /** Digests of such events. An older copy may still hold one, and a later restore bring it back. */
  readonly lost = new Set<string>();
  allows = 0;
  denies = 0;
  barriers = 0;

  constructor(delta_ms: number) {
    this.#delta_ms = delta_ms;
  }

  revoked(write: Write): void {
    let origins = this.#writes.get(write.key);
    if (origins === undefined) this.#writes.set(write.key, (origins = new Map()));
    origins.set(write.origin, write);
  }

  lifted(key: string, origin: string): void {
    this.#writes.get(key)?.delete(origin);
  }

  /** The only copy was destroyed by a restore before anybody else had it. */
  forget(write: Write): void {
    if (this.inForce(write)) this.lifted(write.key, write.origin);
  }

  inForce = (write: Write): boolean => this.#writes.get(write.key)?.get(write.origin) === write;

  write(key: string, origin: string): Write | undefined {
    return this.#writes.get(key)?.get(origin);
  }

  *all(): Iterable<Write> {
    for (const origins of this.#writes.values()) yield* origins.values();
  }

  acknowledged(write: Write, ack: Acknowledgement, self: string): void {
    if (ack.local) write.local = true;
    for (const [region, standing] of Object.entries(ack.regions)) {
      if (standing === "confirmed") write.confirmed.add(region);
    }
    if (ack.local) write.confirmed.add(self);
    if (ack.barrier && !write.barrier) {
      write.barrier = true;
      this.barriers++;
    }
  }

  fork(region: string, origin: string, at: number): void {
    const id = `${region}|${origin}`;
    if (!this.#evidence.has(id)) this.#evidence.set(id, at);
  }

  resolved(origin: string): void {
    for (const id of this.#evidence.keys()) if (id.endsWith(`|${origin}`)) this.#evidence.delete(id);
  }

  /** A shard denied because these origins revoked the key. */
  denied(region: string, shard: number, key: string, by: readonly OriginEntry[], at: number): void {
    for (const { origin, generation } of by) {
      const write = this.write(key, origin);
      // One that was lifted since is another revocation.
      if (write !== undefined && write.generation === generation)
        this.#said.set(`${region}.${shard}|${key}|${origin}`, { write, at });
    }
  }

  /** An allow has left its region. */
  allowed(allow: Allow): void {
    this.allows++;
    const { region, shard, key, left } = allow;
    if (!allow.recorded) throw new Violation(`record: an allow on ${key} left ${region} without a durable record`);
    for (const origin of allow.origins) {
      const evidence = this.#evidence.get(`${region}|${origin}`);
      if (evidence !== undefined && left > evidence + this.#delta_ms) {
        throw new Violation(
          `fork: ${region} allows on ${key} ${left - evidence} ms after it saw two histories of ${origin}`,
        );
      }
    }
    for (const write of this.#writes.get(key)?.values() ?? []) {
      const { origin, accepted } = write;
      if (this.liars.has(origin)) continue;
      const of = `${key}, revoked by ${origin} at ${accepted.toFixed(1)}`;
      if (write.homed && left > accepted + this.#delta_ms) {
        throw new Violation(
          `bound: ${region} allows on ${of}, at ${left.toFixed(1)}: ${(left - accepted).toFixed(1)} ms`,
        );
      }
      if (write.barrier && write.homed) throw new Violation(`barrier: ${region} allows on ${of}, after the barrier`);
      if (write.confirmed.has(region)) throw new Violation(`confirmed: ${region} allows on ${of}, which it confirmed`);
      const said = this.#said.get(`${region}.${shard}|${key}|${origin}`);
      if (said?.write === write && said.at < allow.looked) {
        throw new Violation(`flicker: shard ${region}.${shard} denied and then allowed on ${of}`);
      }
    }
  }
}
