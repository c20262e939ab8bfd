import type { KeyKind } from "../trust/keys.ts";
import type { AdminResult } from "./admin.ts";
import type { SyncAnswer } from "./peers.ts";
import type { RevocationView, Wait } from "./revocations.ts";

/**
 * A region that takes trust from a key of another one's asks that home to do the same (docs/operations/revoke.md). The
 * request names the key by its pseudonym; the home's own rule, or its administrator, decides.
 */

export type RequestView = {
  /** `<region that asks>.<its id>`. */
  readonly id: string;
  readonly from_region: string;
  /** Pseudonym, under a federation secret that this region holds. */
  readonly key: string;
  /** The canonical key, where this region's authority knows one of that pseudonym; else somebody has to say it. */
  readonly matches: string | null;
  /** As the asking region says; a pseudonym does not show it. */
  readonly kind: KeyKind;
  readonly level: "revoked" | "quarantined" | "degraded";
  readonly from: "issue" | "beginning";
  readonly asked_at_ms: number;
  readonly received_at_ms: number;
  readonly state: "pending" | "accepted" | "refused";
  /** What the asking region's own entry says today, as far as its events are here; `null`: it has none. */
  readonly stands: string | null;
  readonly decided_by: string | null;
  readonly decided_at_ms: number | null;
  readonly reason: string | null;
  /** The entry that accepting it made. */
  readonly revocation: string | null;
};

export type AcceptRequestMessage = {
  readonly id: string;
  /** Canonical key: has to have the request's pseudonym. */
  readonly key: string;
  readonly reason: string;
  readonly actor: string;
  readonly wait: Wait;
};

export interface RequestsRpc {
  /** A peer's request, as it came: compact JWS (docs/sync.md). */
  syncRequest(text: string): Promise<SyncAnswer>;
  /** Oldest first; `key`: only those about that canonical key. */
  listRequests(
    after: number,
    limit: number,
    key: string | null,
  ): Promise<{ readonly requests: readonly RequestView[]; readonly next: number | null }>;
  acceptRequest(
    message: AcceptRequestMessage,
  ): Promise<AdminResult<{ readonly request: RequestView; readonly revocation: RevocationView }>>;
  refuseRequest(id: string, reason: string, actor: string): Promise<AdminResult<RequestView>>;
}
