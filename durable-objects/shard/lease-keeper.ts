import type { LeaseAnswer, LeaseRequest } from "../../src/objects/lease.ts";
import { FRESHNESS } from "../../src/region/config.ts";
import type { ShardTrust } from "./trust.ts";

/** After this without an answer a refresh is given up and another may start; its late answer is still good, from its send time. */
const REFRESH_MS = 3_000;

/** What a caller waits for beyond the shard's own lease. */
export type Wanted = Pick<LeaseRequest, "wanted" | "need">;

export const NOTHING_WANTED: Wanted = { wanted: [], need: {} };

export type LeasePorts = {
  readonly trust: ShardTrust;
  /** Resolves when the log has said how far it has this source, which comes before any lease. */
  readonly marked: () => Promise<void> | null;
  /** Whether nothing is decided here any more: no lease is asked for. */
  readonly over: () => boolean;
  readonly now: () => number;
  readonly request: (wanted: Wanted) => LeaseRequest;
  readonly send: (request: LeaseRequest) => Promise<LeaseAnswer>;
  /** Resolves when everything decided so far has been released or withheld. */
  readonly settled: () => Promise<void>;
  readonly failed: (message: string) => void;
};

/** Keeps the shard's lease young while there are requests; an idle shard does not poll. */
export class LeaseKeeper {
  readonly #ports: LeasePorts;
  #refreshing: Promise<void> | null = null;
  #asked: Wanted = NOTHING_WANTED;
  /** When the last poll left that was answered. */
  #answered_ms = Number.NEGATIVE_INFINITY;
  #pages = 0;
  #looking = false;

  constructor(ports: LeasePorts) {
    this.#ports = ports;
  }

  /** By the last poll that was answered, not by what is left: the others' leases end earlier than the own. */
  isYoung(now_ms: number): boolean {
    return now_ms < this.#ports.trust.leaseUntil && now_ms - this.#answered_ms < FRESHNESS.poll_ms;
  }

  /**
   * Refreshes in the background while the lease holds; waits, at most 800 ms, where there is none, or where the caller
   * rests on a region of which nothing fresh is known, or asks for more than is known.
   */
  async ensure(wanted: Wanted = NOTHING_WANTED): Promise<void> {
    const { trust, marked, now, over } = this.#ports;
    const mark = marked();
    if (mark !== null) await Promise.race([mark, pause(FRESHNESS.refresh_wait_ms)]);
    const at = now();
    const more = wanted.wanted.length > 0 || Object.keys(wanted.need).length > 0;
    if (over() || (this.isYoung(at) && !more)) return;
    // A refresh under way may have left without these wishes: the next one takes them along.
    if (more && this.#refreshing !== null && !covers(this.#asked, wanted)) {
      await Promise.race([this.#refreshing, pause(FRESHNESS.refresh_wait_ms / 2)]);
    }
    if (this.#refreshing === null) {
      this.#asked = wanted;
      this.#refreshing = this.#unlessStalled(this.#refresh(wanted)).finally(() => {
        this.#refreshing = null;
      });
    }
    if (at < trust.leaseUntil && !more) return;
    await Promise.race([this.#refreshing, pause(FRESHNESS.refresh_wait_ms)]);
  }

  /** Asks although the lease is young: somebody has seen other key material than there is here. */
  async renew(): Promise<void> {
    if (this.#ports.over()) return;
    this.#refreshing ??= this.#unlessStalled(this.#refresh(NOTHING_WANTED)).finally(() => {
      this.#refreshing = null;
    });
    await Promise.race([this.#refreshing, pause(FRESHNESS.refresh_wait_ms)]);
  }

  /** Something was found that the authority should hear at once: in a poll that leaves after it. Nobody waits. */
  async report(): Promise<void> {
    const under_way = this.#refreshing;
    if (under_way !== null) await under_way;
    await this.renew();
  }

  /**
   * While a lease holds the clock is looked at, requests or not: one that was set back between two requests would make
   * the lease longer, and nobody would see it.
   */
  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    setTimeout(() => {
      this.#looking = false;
      if (this.#ports.now() < this.#ports.trust.leaseUntil) this.#look();
    }, FRESHNESS.poll_ms);
  }

  /** Until it is over, or no page has come for so long: who fetches a million entries goes on, and goes on alone. */
  async #unlessStalled(refresh: Promise<void>): Promise<void> {
    const ended = refresh.then(() => "ended" as const);
    for (;;) {
      const seen = this.#pages;
      const first = await Promise.race([ended, pause(REFRESH_MS)]);
      if (first === "ended" || this.#pages === seen) return;
    }
  }

  async #refresh(wanted: Wanted): Promise<void> {
    const { trust, now, request, send, settled, failed } = this.#ports;
    try {
      for (let more = true; more;) {
        const asked = request(wanted);
        const sent = { ms: now(), clock_steps: trust.clockSteps };
        const answer = await send(asked);
        // Sees a step of the clock that came while the poll was under way.
        now();
        more = trust.takeLease(asked, answer, sent);
        this.#pages++;
        if (answer.ok) this.#answered_ms = sent.ms;
        this.#look();
        const applied = trust.applied;
        await settled();
        trust.markEffective(applied);
      }
    } catch (cause) {
      // No answer: the lease runs out, and decisions are denied with `trust_lease_expired`.
      failed(cause instanceof Error ? cause.message : "unknown");
    }
  }
}

const covers = (asked: Wanted, wanted: Wanted): boolean =>
  wanted.wanted.every((origin) => asked.wanted.includes(origin)) &&
  Object.entries(wanted.need).every(([origin, [incarnation, seq]]) => {
    const known = asked.need[origin];
    return known !== undefined && (known[0] > incarnation || (known[0] === incarnation && known[1] >= seq));
  });

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
