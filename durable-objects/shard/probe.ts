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
const PROBING = { every_ms: 500, round_ms: 400, busy_ms: 1_000 } as const;

export type ProbePorts = {
  readonly policy: () => LoadedPolicy;
  readonly now: () => number;
  /** The last round found what no poll has said: the authority should hear it now. */
  readonly found: () => void;
};

/**
 * The last round that is over, by the policy that it asked. Shards of one isolate that decide by one compiled policy would
 * all ask the same object, so they share what was found of it; not while it is under way, since what one object waits
 * for must not depend on the life of another.
 */
export type Rounds = WeakMap<LoadedPolicy, { readonly began_ms: number; readonly found: PolicyProbe }>;

type PolicyDrift = NonNullable<ShardCondition["policy_drift"]> | null;

/** Asks the policy that this object decides by, as it lies in memory, again and again while there are requests. */
export class ShardProbe {
  readonly #ports: ProbePorts;
  readonly #rounds: Rounds;
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

  constructor(ports: ProbePorts, rounds: Rounds = new WeakMap()) {
    this.#ports = ports;
    this.#rounds = rounds;
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
    const now_ms = this.#ports.now();
    const policy = this.#ports.policy();
    // One of a sibling counts where it is later than the last one here, and began no longer ago than one is due.
    const shared = this.#rounds.get(policy);
    if (
      shared !== undefined &&
      shared.began_ms > this.#began_ms &&
      !this.#isOlder(shared.began_ms, now_ms, PROBING.every_ms)
    )
      return this.#over(shared.began_ms, shared.found);
    this.#began_ms = now_ms;
    this.#running = this.#ask(policy, now_ms);
  }

  async #ask(policy: LoadedPolicy, began_ms: number): Promise<void> {
    const found = await this.#round(policy, began_ms);
    this.#running = null;
    this.#rounds.set(policy, { began_ms, found });
    this.#over(began_ms, found);
  }

  #over(began_ms: number, found: PolicyProbe): void {
    const before = this.#found;
    this.#found = found;
    this.#began_ms = began_ms;
    this.#over_ms = began_ms;
    this.#judge();
    if (!isSame(before, found)) this.#ports.found();
  }

  /** In some steps, between which whoever asks is answered. */
  async #round(policy: LoadedPolicy, began_ms: number): Promise<PolicyProbe> {
    try {
      const asking = probing(policy, ENGINE, nodeSha256);
      for (;;) {
        const { done, value } = asking.next();
        if (done === true) return value;
        if (!this.#isOlder(began_ms, this.#ports.now(), PROBING.round_ms))
          await new Promise((resolve) => setTimeout(resolve, 0));
      }
    } catch (cause) {
      // A policy that was loaded can be asked: whatever lies there now is another.
      const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      console.error(JSON.stringify({ level: "error", event: "probe_failed", message }));
      return { ...NOTHING_FOUND, policy: policy.digest, set: this.#expected?.set ?? 0 };
    }
  }
}

const isSame = (a: PolicyProbe | null, b: PolicyProbe): boolean =>
  a !== null && a.policy === b.policy && a.engine === b.engine && deviations(a, b).length === 0;

const NOTHING_FOUND: PolicyProbe = { engine: ENGINE, set: 0, policy: "", packs: [], whole: "" };
