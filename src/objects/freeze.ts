import type { AdminResult } from "./admin.ts";
import type { AuthorityStatus } from "./authority-status.ts";
import type { RevocationStatus, Wait } from "./revocations.ts";

/** Freezing takes one administrator, lifting it two (docs/operations/freeze.md). */

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

/** `status`: by region, whether what was asked is effective there, as for a revocation. */
export type FreezeView = AuthorityStatus & { readonly status: Readonly<Record<string, RevocationStatus>> };

export interface FreezeRpc {
  freeze(reason: string, actor: string, wait?: Wait): Promise<AdminResult<FreezeView>>;
  /** The first administrator asks, another one lifts the freeze. */
  unfreeze(message: UnfreezeMessage): Promise<AdminResult<FreezeView>>;
}
