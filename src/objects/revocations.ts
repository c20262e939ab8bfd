import type { EntryState } from "../trust/levels.ts";

export type RevokeMessage = {
  readonly key: string;
  readonly from: "issue" | "beginning";
  readonly reason: string;
  readonly actor: string;
  readonly wait: Wait;
  /** `revoked` unless it says otherwise. */
  readonly level?: "degraded" | "quarantined" | "trusted";
  /** For `trusted`: counts as `degraded` from then on, unless it is renewed. Unix milliseconds. */
  readonly until_ms?: number;
  /** The same key with the same content is the same call, for a day. */
  readonly idempotency_key?: string;
};

/**
 * How long a write waits: `accepted`: durable; `local`: effective in this region; `all`: confirmed by every region that
 * serves; `barrier`: nobody can allow on less any more, by confirmation or by the end of its last lease.
 */
export type Wait = "accepted" | "local" | "all" | "barrier";

/** `confirmed`: effective there, not only received. `lease_expired`: it can allow nothing on less any more. */
export type RevocationStatus = "confirmed" | "lease_expired" | "unconfirmed";

export type RevocationView = {
  readonly id: string;
  readonly key: string;
  readonly origin: string;
  readonly generation: number;
  readonly state: EntryState;
  readonly from: "issue" | "beginning";
  /** `trusted` counts as `degraded` from then on. Unix milliseconds. */
  readonly until_ms: number | null;
  readonly reason: string;
  readonly issued_at_ms: number;
  readonly revision: number;
  /** `recorded`: no decision rests on keys of this kind yet, so nothing is denied by it, whatever `status` says. */
  readonly effect: "denies" | "recorded";
  /** Home regions of the key: whose leases bound how long it can still be allowed elsewhere. */
  readonly home: readonly string[];
  /** Regions of the federation where this entry counts: everywhere at home, elsewhere where membership says so. */
  readonly binds: readonly string[];
  readonly status: Readonly<Record<string, RevocationStatus>>;
  /** What the key's home, where that is one other region, made of being asked for the same; empty where nobody is. */
  readonly forwarded: Readonly<Record<string, Forwarded>>;
  readonly consistency: string;
};

/** `unreachable`: no answer of the home has come yet; it is asked on. */
export type Forwarded = "accepted" | "pending" | "refused" | "unreachable";
