import type { FailedCheck } from "../vocabulary/reasons.ts";
import type { TrustMatch, TrustView } from "../vocabulary/types.ts";
import type { Purpose } from "./bearing.ts";
import type { ShardCondition } from "./checks.ts";

/**
 * What a decision saw beside its request, facts, run state and policy: the trust state as far as it asked for it, and
 * the shard's own condition. Sealed with the record, and committed to, so that a replay can give `decide` the same
 * again (docs/replay.md). Members stand in sorted order: what is committed to is the JCS.
 */
export type Seen = {
  /** Of this decision alone. Absent members are what most decisions have: nothing. */
  readonly asked: {
    /** The consistency token, as it came. */
    readonly at_least?: string;
    /** What it rests on could not be read: it was denied as `internal` without being decided. */
    readonly bug?: true;
    /** What the shard's own rows said against it. */
    readonly found?: readonly FailedCheck[];
    /** Other regions that are home of its keys. */
    readonly homes?: readonly string[];
    /** Of a change to a run: the canonical keys that it rests on. */
    readonly keys?: readonly string[];
    /** Every look at the trust state that found something: the keys that were asked for, and the entries. */
    readonly matched?: readonly { readonly keys: readonly string[]; readonly matches: readonly TrustMatch[] }[];
    /**
     * Pseudonyms of its subject and resource, by canonical key; only where it came with a pass. Records of before have
     * one list of all of them.
     */
    readonly names?: Readonly<Record<string, readonly string[]>> | readonly string[];
    /** `step` where it is absent. */
    readonly purpose?: Purpose;
    /** Of a step that was looked at again: when it was decided. */
    readonly since_ms?: number;
  };
  readonly turn: SeenTurn;
  readonly v: 1;
};

/** The same for every decision of a turn. */
export type SeenTurn = {
  /** Where it is not the policy that decided. */
  readonly active_policy?: string | null;
  readonly anchoring: Pick<ShardCondition, "unanchored_since_ms" | "unlogged_since_ms" | "witnessed">;
  readonly clock_anomaly?: true;
  readonly halted?: string;
  readonly lease_until_ms: number;
  readonly mode: TrustView["mode"];
  readonly origins: Readonly<
    Record<
      string,
      {
        /** `null`: for good. */
        readonly fresh_until_ms: number | null;
        readonly incarnation: number;
        readonly problem: "sync_unsupported" | "sync_equivocation" | null;
        readonly seq: number;
      }
    >
  >;
  readonly own: { readonly incarnation: number; readonly seq: number };
  /** What it was denied for: policies that differ. */
  readonly policy_drift?: string;
  /** Why no policy was in force. */
  readonly policy_problem?: string;
  readonly revision: number;
};

/** What the part of a turn is made of. Maps and objects in it are never changed: what is otherwise is another one. */
const sourceOf = (
  { lease_until_ms, mode, origins, own, revision }: Omit<TrustView, "homes" | "match">,
  { active_policy, clock_anomaly, halted, policy_drift = null, policy_problem = null, ...anchoring }: ShardCondition,
  policy: string,
) => ({
  active_policy: active_policy === policy ? undefined : active_policy,
  clock_anomaly,
  halted,
  lease_until_ms,
  mode,
  origins,
  own,
  policy_drift,
  policy_problem,
  revision,
  unanchored_since_ms: anchoring.unanchored_since_ms,
  unlogged_since_ms: anchoring.unlogged_since_ms,
  witnessed: anchoring.witnessed,
});
type TurnSource = ReturnType<typeof sourceOf>;

/** JSON of a turn's part, the longer one. Kept for the turns that follow: between two leases most see the same. */
export class TurnTexts {
  #turn: { readonly trust: object; readonly condition: object } | null = null;
  #source: TurnSource | null = null;
  #text = "";

  text(trust: Omit<TrustView, "homes" | "match">, condition: ShardCondition, policy: string): string {
    if (this.#turn?.trust === trust && this.#turn.condition === condition) return this.#text;
    this.#turn = { trust, condition };
    const source = sourceOf(trust, condition, policy);
    if (this.#source === null || !isSame(this.#source, source)) this.#text = turnText(source);
    this.#source = source;
    return this.#text;
  }
}

function isSame(a: TurnSource, b: TurnSource): boolean {
  for (const name in a) if (a[name as keyof TurnSource] !== b[name as keyof TurnSource]) return false;
  return true;
}

function turnText(source: TurnSource): string {
  const { active_policy, halted, policy_drift, policy_problem, mode, revision, lease_until_ms } = source;
  const { unanchored_since_ms, unlogged_since_ms, witnessed } = source;
  const origins = [...source.origins].sort(([a], [b]) => (a < b ? -1 : 1));
  const turn: SeenTurn = {
    ...(active_policy === undefined ? {} : { active_policy }),
    anchoring: { unanchored_since_ms, unlogged_since_ms, witnessed },
    ...(source.clock_anomaly ? { clock_anomaly: true } : {}),
    ...(halted === null ? {} : { halted }),
    lease_until_ms,
    mode,
    origins: Object.fromEntries(
      origins.map(([name, { fresh_until_ms, incarnation, problem, seq }]) => [
        name,
        { fresh_until_ms: Number.isFinite(fresh_until_ms) ? fresh_until_ms : null, incarnation, problem, seq },
      ]),
    ),
    own: { incarnation: source.own.incarnation, seq: source.own.seq },
    ...(policy_drift?.denies === true ? { policy_drift: policy_drift.detail } : {}),
    ...(policy_problem === null ? {} : { policy_problem }),
    revision,
  };
  return JSON.stringify(turn);
}

/** What only the caller knows of what was asked. */
export type AskedBeside = {
  readonly at_least?: string | null;
  readonly bug?: boolean;
  readonly found?: readonly FailedCheck[];
  readonly keys?: readonly string[];
  readonly purpose?: Purpose;
  readonly since_ms?: number;
};

/** Stands between a decision and the trust state, and notes what was asked and found. One for each decision. */
export class Watch {
  readonly trust: TrustView;
  readonly #matched: { keys: readonly string[]; matches: readonly TrustMatch[] }[] = [];
  #homes: readonly string[] = [];
  #names: Map<string, readonly string[]> | null = null;

  constructor(trust: TrustView) {
    this.trust = {
      mode: trust.mode,
      lease_until_ms: trust.lease_until_ms,
      revision: trust.revision,
      origins: trust.origins,
      own: trust.own,
      homes: (keys) => (this.#homes = trust.homes(keys)),
      match: (keys, t_ms) => {
        const matches = trust.match(keys, t_ms);
        if (matches.length > 0) this.#matched.push({ keys: [...keys], matches });
        return matches;
      },
    };
  }

  /** For `DecideInput.names`: a decision asks for its subject's and resource's, and only where it came with a pass. */
  names(of: (key: string) => readonly string[]): (key: string) => readonly string[] {
    return (key) => {
      const names = of(key);
      this.#names = (this.#names ?? new Map<string, readonly string[]>()).set(key, names);
      return names;
    };
  }

  /** Text of `Seen`; `turn` is that of `TurnTexts`. */
  text(turn: string, { at_least = null, bug, found = [], keys, purpose = "step", since_ms }: AskedBeside): string {
    const plain = this.#homes.length === 0 && this.#matched.length === 0 && this.#names === null;
    if (plain && at_least === null && bug !== true && found.length === 0 && keys === undefined && purpose === "step")
      return `{"asked":{},"turn":${turn},"v":1}`;
    const asked: Seen["asked"] = {
      ...(at_least === null ? {} : { at_least }),
      ...(bug === true ? { bug } : {}),
      ...(found.length === 0 ? {} : { found: found.map(sortedCheck) }),
      ...(this.#homes.length === 0 ? {} : { homes: this.#homes }),
      ...(keys === undefined ? {} : { keys }),
      ...(this.#matched.length === 0 ? {} : { matched: this.#matched.map(sortedLook) }),
      ...(this.#names === null
        ? {}
        : { names: Object.fromEntries([...this.#names].sort(([a], [b]) => (a < b ? -1 : 1))) }),
      ...(purpose === "step" ? {} : { purpose }),
      ...(since_ms === undefined ? {} : { since_ms }),
    };
    return `{"asked":${JSON.stringify(asked)},"turn":${turn},"v":1}`;
  }
}

const sortedCheck = ({ reason, detail }: FailedCheck): FailedCheck =>
  detail === undefined ? { reason } : { detail, reason };

const sortedLook = ({ keys, matches }: NonNullable<Seen["asked"]["matched"]>[number]) => ({
  keys,
  matches: matches.map(({ generation, key, origin, state }) => ({ generation, key, origin, state })),
});
