import type { AdminResult, AuthorityStatus, RevocationStatus, Wait } from "./authority.ts";

/** Freezing takes one administrator, lifting it two (docs/operations/freeze.md). */

export type UnfreezeRequest = {
  readonly asked_by: string;
  readonly reason: string;
  readonly asked_at_ms: number;
  /** Confirmed by another administrator no later than this. Unix milliseconds. */
  readonly expires_ms: number;
};

export type UnfreezeMessage = {
  readonly reason: string;
  readonly actor: string;
  /** Thumbprint of the key that signed the administrator's credential. */
  readonly key: string;
  /** The second credential must be signed with another key too: where the region has more than one. */
  readonly another_key: boolean;
  /** Canonical keys of the credential, its issuer and its key: once one is revoked, the asking counts no more. */
  readonly rests_on: readonly string[];
  /** `local` unless it says otherwise. */
  readonly wait?: "local" | "all";
};

/**
 * What the freeze, or its end, has reached: by region, as for a revocation. Elsewhere `confirmed` says that no shard
 * there allows what is at home in this region alone.
 */
export type FreezeStanding = {
  readonly id: string;
  readonly since_ms: number;
  readonly status: Readonly<Record<string, RevocationStatus>>;
};

/** `status`: by region, whether what was asked is effective there, as for a revocation. */
export type FreezeView = AuthorityStatus & { readonly status: Readonly<Record<string, RevocationStatus>> };

export interface FreezeRpc {
  freeze(reason: string, actor: string, wait?: Wait): Promise<AdminResult<FreezeView>>;
  /** The first administrator asks, another one lifts the freeze. */
  unfreeze(message: UnfreezeMessage): Promise<AdminResult<FreezeView>>;
}
