import { digestText } from "../../src/base/digest.ts";
import type { ShardCondition } from "../../src/decision/checks.ts";
import { loadArtefact } from "../../src/policy/bundles/artefact.ts";
import { inForce, type PolicyRef, type PolicySchedule } from "../../src/policy/bundles/schedule.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { FRESHNESS } from "../../src/region/config.ts";
import { nodeSha256 } from "../platform.ts";

/**
 * Compiled bundles by digest and region: once per isolate, however many objects live in it. A bundle is named by the
 * digest of its bytes, so what is here is never out of date; a few are kept, since one is in force and one may follow.
 */
const compiled = new Map<string, LoadedPolicy>();
const KEPT = 8;
/** After this a fetch is given up, so that another may start. */
const FETCH_MS = 3_000;
/** That there is no policy of a digest is asked again after this. */
const UNKNOWN_MS = 60_000;

export type PoliciesPorts = {
  readonly region: string;
  readonly baseline: LoadedPolicy;
  /** As the last lease or push had it; `null` before the first. */
  readonly schedule: () => PolicySchedule | null;
  /** Bytes of a bundle from the authority; `null`: it has none of that digest. */
  readonly fetch: (bundle: string) => Promise<Uint8Array | null>;
  /** The bundle that gives a policy of this digest here, with the digest of its bytes; `null`: the authority has none. */
  readonly fetchNamed: (digest: string) => Promise<Uint8Array | null>;
  readonly failed: (message: string) => void;
};

export type PolicyNow = {
  /** What a turn decides by. Where none can be in force it is what was there before, and `condition` denies. */
  readonly policy: LoadedPolicy;
  readonly condition: Pick<ShardCondition, "active_policy" | "policy_problem" | "policy_until_ms">;
};

/** The policies of a shard: which one is in force at a time, and the bundles that the leases name. */
export class Policies {
  readonly #ports: PoliciesPorts;
  readonly #fetching = new Map<string, Promise<void>>();
  /** Of past decisions, for replays. */
  readonly #past = new Map<string, { readonly policy: LoadedPolicy | null; readonly until_ms: number }>();
  #last: LoadedPolicy;

  constructor(ports: PoliciesPorts) {
    this.#ports = ports;
    this.#last = ports.baseline;
  }

  at(t_ms: number): PolicyNow {
    const schedule = this.#ports.schedule();
    if (schedule === null) return this.#without(null, null);
    const now = inForce(schedule, t_ms);
    if (!now.ok) return this.#without(null, now.why);
    const { digest, signed } = now.policy;
    const policy = this.#loaded(now.policy);
    if (policy === null)
      return this.#without(digest, `the bundle of policy version ${signed?.version ?? 0} is not here yet`);
    this.#last = policy;
    return { policy, condition: { active_policy: digest, policy_problem: null, policy_until_ms: now.until_ms } };
  }

  #without(active_policy: string | null, policy_problem: string | null): PolicyNow {
    return { policy: this.#last, condition: { active_policy, policy_problem, policy_until_ms: null } };
  }

  /** Fetches what the schedule names and is not here, and waits a moment for what is in force at `t_ms`. */
  async ensure(t_ms: number): Promise<void> {
    const schedule = this.#ports.schedule();
    if (schedule === null) return;
    const now = inForce(schedule, t_ms);
    const missing = [schedule.policy, schedule.before].filter((ref) => ref !== null && this.#loaded(ref) === null);
    if (missing.length === 0) return;
    const fetches = missing.map((ref) => this.#fetch(ref!));
    // What comes into force later is fetched beside.
    const awaited = now.ok ? missing.indexOf(now.policy) : -1;
    if (awaited >= 0) await Promise.race([fetches[awaited], pause(FRESHNESS.refresh_wait_ms)]);
  }

  /** Whether nothing has to be fetched for a decision at `t_ms`. */
  isReady(t_ms: number): boolean {
    const schedule = this.#ports.schedule();
    const now = schedule === null ? null : inForce(schedule, t_ms);
    return now === null || !now.ok || this.#loaded(now.policy) !== null;
  }

  /** The policy of a past decision, where it is at hand. */
  named(digest: string): LoadedPolicy | null {
    if (this.#ports.baseline.digest === digest) return this.#ports.baseline;
    const past = this.#past.get(digest)?.policy;
    if (past !== undefined && past !== null) return past;
    for (const [key, policy] of compiled)
      if (policy.digest === digest && key.startsWith(`${this.#ports.region} `)) return policy;
    return null;
  }

  /** Fetches it for `named`, where the authority has it. That it has none is believed for a while. */
  async remember(digest: string): Promise<void> {
    const known = this.#past.get(digest);
    if (known !== undefined && (known.policy !== null || Date.now() < known.until_ms)) return;
    let policy: LoadedPolicy | null = null;
    try {
      const bytes = await Promise.race([this.#ports.fetchNamed(digest), pause(FETCH_MS).then(() => null)]);
      const loaded = bytes === null ? null : loadArtefact(bytes, this.#ports.region);
      if (loaded?.ok === true && loaded.value.digest === digest) policy = loaded.value;
    } catch (cause) {
      this.#ports.failed(cause instanceof Error ? cause.message : String(cause));
    }
    const oldest = this.#past.size >= KEPT ? this.#past.keys().next().value : undefined;
    if (oldest !== undefined) this.#past.delete(oldest);
    this.#past.set(digest, { policy, until_ms: Date.now() + UNKNOWN_MS });
  }

  #loaded({ digest, signed }: PolicyRef): LoadedPolicy | null {
    // The baseline of another deployment than the authority's is another law; the check of digests finds it.
    if (signed === null) return this.#ports.baseline;
    const policy = compiled.get(this.#key(signed.bundle));
    return policy?.digest === digest ? policy : null;
  }

  #key(bundle: string): string {
    return `${this.#ports.region} ${bundle}`;
  }

  #fetch({ signed, digest }: PolicyRef): Promise<void> {
    const bundle = signed!.bundle;
    let fetching = this.#fetching.get(bundle);
    if (fetching === undefined) {
      fetching = this.#take(bundle, digest)
        // Asked again by the next decision; until it is here decisions are denied with `policy_stale`.
        .catch((cause: unknown) => this.#ports.failed(cause instanceof Error ? cause.message : String(cause)))
        .finally(() => this.#fetching.delete(bundle));
      this.#fetching.set(bundle, fetching);
    }
    return fetching;
  }

  async #take(bundle: string, digest: string): Promise<void> {
    const bytes = await Promise.race([this.#ports.fetch(bundle), pause(FETCH_MS).then(() => undefined)]);
    if (bytes === undefined) throw new Error(`the authority does not send bundle ${bundle}`);
    if (bytes === null) throw new Error(`the authority has no bundle ${bundle}`);
    if (digestText(nodeSha256(bytes)) !== bundle) throw new Error(`what came is not bundle ${bundle}`);
    const loaded = loadArtefact(bytes, this.#ports.region);
    if (!loaded.ok) throw new Error(`bundle ${bundle}: ${loaded.error}`);
    if (loaded.value.digest !== digest) throw new Error(`bundle ${bundle}: another policy than the authority names`);
    const oldest = compiled.size >= KEPT ? compiled.keys().next().value : undefined;
    if (oldest !== undefined) compiled.delete(oldest);
    compiled.set(this.#key(bundle), loaded.value);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
