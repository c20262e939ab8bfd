import { ENGINE } from "../../src/decision/engine.ts";
import type { ShardCondition } from "../../src/decision/checks.ts";
import type { LeaseAnswer } from "../../src/objects/lease.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { deviations, probing, type PolicyProbe } from "../../src/policy/probe.ts";
import { FRESHNESS } from "../../src/region/config.ts";
import { nodeSha256 } from "../platform.ts";

/**
 * The shard's share of Δ (docs/drift.md): a busy shard begins a round so often, and finishes it in one go where it was
 * kept from it for so long; whoever asks later than that waits for one. What a round finds anew leaves at once.
 */
const PROBING = { every_ms: 400, round_ms: 400, busy_ms: 1_000 } as const;

export type ProbePorts = {
  readonly policy: () => LoadedPolicy;
  readonly now: () => number;
  /** The last round found what no poll has said: the authority should hear it now. */
  readonly found: () => void;
};

type PolicyDrift = NonNullable<ShardCondition["policy_drift"]> | null;

/** Asks the policy that this object decides by, as it lies in memory, again and again while there are requests. */
export class ShardProbe {
  readonly #ports: ProbePorts;
  #found: PolicyProbe | null = null;
  #expected: PolicyProbe | null = null;
  #drift: PolicyDrift = null;
  #condition: PolicyDrift = null;
  #began_ms = Number.NEGATIVE_INFINITY;
  /** When the last round that is over began. */
  #over_ms = Number.NEGATIVE_INFINITY;
  #told_ms = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | null = null;
  #timer = false;

  constructor(ports: ProbePorts) {
    this.#ports = ports;
  }

  /** What the last round found of the policy in force; `null`: none has been over since it is. */
  get report(): PolicyProbe | null {
    return this.#found?.policy === this.#ports.policy().digest ? this.#found : null;
  }

  /** With each answer to a poll: what is expected here, and what the region makes of the others. */
  told(answer: LeaseAnswer): void {
    if (!answer.ok) return;
    this.#expected = answer.probe ?? null;
    this.#drift = answer.drift ?? null;
    this.#told_ms = this.#ports.now();
    this.#judge();
    this.look();
  }

  /** Of the last round and the last answer; every turn reads it. */
  get condition(): PolicyDrift {
    return this.#condition;
  }

  /** A shard whose policy answers otherwise than its siblings' denies, whatever the region does about other regions. */
  #judge(): void {
    const differ = this.#found === null || this.#expected === null ? [] : deviations(this.#expected, this.#found);
    const what = differ.map((name) => (name === "" ? "the packs together" : `pack ${name}`)).join(", ");
    this.#condition =
      differ.length === 0
        ? this.#drift
        : { detail: `this shard decides otherwise than it should: ${what}`, denies: true };
  }

  /** Whether the policy in force was asked lately enough to decide by it. */
  isFresh(now_ms: number): boolean {
    return !this.#isOlder(this.#over_ms, now_ms, FRESHNESS.lease_ms) && this.report !== null;
  }

  /** Resolves when it was: a shard that was idle looks at what it has before it decides. */
  async ready(): Promise<void> {
    if (this.#running !== null) await this.#running;
    if (this.isFresh(this.#ports.now())) return;
    this.#begin();
    await this.#running;
  }

  /** Begins a round where one is due. */
  look(): void {
    const now_ms = this.#ports.now();
    if (this.report === null || this.#isOlder(this.#began_ms, now_ms, PROBING.every_ms)) this.#begin();
    if (this.#timer || this.#isOlder(this.#told_ms, now_ms, PROBING.busy_ms)) return;
    this.#timer = true;
    // Not by the polls, which come when they come.
    const left_ms = this.#running === null ? this.#began_ms + PROBING.every_ms - now_ms : PROBING.every_ms;
    setTimeout(
      () => {
        this.#timer = false;
        this.look();
      },
      Math.max(1, left_ms),
    );
  }

  /** A clock that went back says nothing about how long ago it was. */
  #isOlder(then_ms: number, now_ms: number, than_ms: number): boolean {
    return now_ms - then_ms >= than_ms || now_ms < then_ms;
  }

  #begin(): void {
    if (this.#running !== null) return;
    this.#began_ms = this.#ports.now();
    const before = this.#found;
    this.#running = this.#round().finally(() => {
      this.#running = null;
      this.#over_ms = this.#began_ms;
      this.#judge();
      if (this.#found !== null && !isSame(before, this.#found)) this.#ports.found();
    });
  }

  /** In small steps, between which whoever asks is answered. */
  async #round(): Promise<void> {
    const policy = this.#ports.policy();
    try {
      const asking = probing(policy, ENGINE, nodeSha256);
      for (;;) {
        const { done, value } = asking.next();
        if (done === true) {
          this.#found = value;
          return;
        }
        if (!this.#isOlder(this.#began_ms, this.#ports.now(), PROBING.round_ms))
          await new Promise((resolve) => setTimeout(resolve, 0));
      }
    } catch (cause) {
      // A policy that was loaded can be asked: whatever lies there now is another.
      const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      console.error(JSON.stringify({ level: "error", event: "probe_failed", message }));
      this.#found = { ...NOTHING_FOUND, policy: policy.digest, set: this.#expected?.set ?? 0 };
    }
  }
}

const isSame = (a: PolicyProbe | null, b: PolicyProbe): boolean =>
  a !== null && a.policy === b.policy && a.engine === b.engine && deviations(a, b).length === 0;

const NOTHING_FOUND: PolicyProbe = { engine: ENGINE, set: 0, policy: "", packs: [], whole: "" };
