import { ENGINE } from "../../src/decision/engine.ts";
import type { ShardCondition } from "../../src/decision/checks.ts";
import type { LeaseAnswer } from "../../src/objects/authority.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { deviations, probing, type PolicyProbe } from "../../src/policy/probe.ts";
import { nodeSha256 } from "../platform.ts";

/**
 * Between the beginnings of two rounds, at most: with the polls of shard, authority and peer behind it, what was changed
 * here is known everywhere within Δ.
 */
const PROBE_EVERY_MS = 500;

type PolicyDrift = NonNullable<ShardCondition["policy_drift"]> | null;

/** Asks the policy that this object decides by, as it lies in memory, again and again while there are requests. */
export class ShardProbe {
  readonly #policy: () => LoadedPolicy;
  #found: PolicyProbe | null = null;
  #expected: PolicyProbe | null = null;
  #drift: PolicyDrift = null;
  #condition: PolicyDrift = null;
  #began_ms = Number.NEGATIVE_INFINITY;
  #running = false;

  constructor(policy: () => LoadedPolicy) {
    this.#policy = policy;
  }

  /** What the last round found of the policy in force; `null`: none has been over since it is. */
  get report(): PolicyProbe | null {
    return this.#found?.policy === this.#policy().digest ? this.#found : null;
  }

  /** With each answer to a poll: what is expected here, and what the region makes of the others. */
  told(answer: LeaseAnswer, now_ms: number): void {
    if (!answer.ok) return;
    this.#expected = answer.probe ?? null;
    this.#drift = answer.drift ?? null;
    this.#judge();
    this.look(now_ms);
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

  look(now_ms: number): void {
    const due = this.report === null || now_ms - this.#began_ms >= PROBE_EVERY_MS || now_ms < this.#began_ms;
    if (this.#running || !due) return;
    this.#running = true;
    this.#began_ms = now_ms;
    void this.#round().finally(() => {
      this.#running = false;
      this.#judge();
    });
  }

  /** In small steps, between which whoever asks is answered. */
  async #round(): Promise<void> {
    const policy = this.#policy();
    try {
      const asking = probing(policy, ENGINE, nodeSha256);
      for (;;) {
        const { done, value } = asking.next();
        if (done === true) {
          this.#found = value;
          return;
        }
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

const NOTHING_FOUND: PolicyProbe = { engine: ENGINE, set: 0, policy: "", packs: [], whole: "" };
