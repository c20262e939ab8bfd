import type { RegionMode, PepScope } from "../vocabulary/types.ts";
import type { AdminResult } from "./admin.ts";
import type { AuthorityStatus } from "./authority-status.ts";
import type { DriftRpc } from "./drift.ts";
import type { DropEpochMessage, EpochStatus, EpochView } from "./epochs.ts";
import type { EraseOrder, ErasureLeaf, ErasureView, JournalEntry } from "./erasure.ts";
import type { FreezeRpc } from "./freeze.ts";
import type { IdentityRpc } from "./identity.ts";
import type { PublicJwk } from "./jwk.ts";
import type { KeysRpc } from "./keys.ts";
import type { LeaseAnswer, LeaseRequest, Material } from "./lease.ts";
import type { PeersRpc, SyncAnswer } from "./peers.ts";
import type { PolicyRpc } from "./policy.ts";
import type { ReplayRpc } from "./replay.ts";
import type { RequestsRpc } from "./requests.ts";
import type { RevocationView, RevokeMessage, Wait } from "./revocations.ts";
import type { SignalsRpc } from "./signals.ts";

/** Messages to the `TrustAuthority` (docs/object-rpc.md). */

export type RegisterPepMessage = {
  readonly id: string;
  readonly scopes: readonly PepScope[];
  /** Besides its id, whose permits it redeems. */
  readonly audiences?: readonly string[];
  /** Seconds from now, ≤ 366 days. */
  readonly ttl_s: number;
  readonly actor: string;
};

export type PepView = {
  readonly id: string;
  readonly key: string;
  readonly scopes: readonly PepScope[];
  readonly audiences: readonly string[];
  readonly registered_at_ms: number;
  readonly exp_ms: number;
  readonly status: "active" | "revoked" | "expired";
};

export type Enrolment = {
  readonly region: string;
  readonly log_epoch: number;
  readonly pdp: string;
  readonly mode: RegionMode;
  /** The region's public halves that a membership must list. */
  readonly keys: readonly PublicJwk[];
  /** From and up to which of its events the authority's keys sign, where there was more than one. */
  readonly key_validity?: readonly { readonly kid: string; readonly from_seq?: number; readonly until_seq?: number }[];
  readonly membership_version: number | null;
  readonly root_threshold: number;
};

/** A membership as the roots signed it (General JSON, RFC 7515 section 7.2.1), and when this region took it. */
export type SignedMembership = {
  readonly version: number;
  readonly accepted_at_ms: number;
  readonly jws: {
    readonly payload: string;
    readonly signatures: readonly { readonly protected: string; readonly signature: string }[];
  };
};

export interface AuthorityRpc
  extends SignalsRpc, IdentityRpc, PeersRpc, DriftRpc, FreezeRpc, KeysRpc, RequestsRpc, PolicyRpc, ReplayRpc {
  material(): Promise<Material>;
  /** Types of the obligations that the policy in force may issue, and that policy's digest. */
  obligations(): Promise<{ readonly policy: string; readonly types: readonly string[] }>;
  /** Public keys for `/.well-known/jwks.json`, current and past: a receipt stays verifiable. */
  jwks(): Promise<{ readonly keys: readonly PublicJwk[] }>;
  lease(request: LeaseRequest): Promise<LeaseAnswer>;
  /** Verifier keys of the peers' logs that membership lists: whom this region's witness serves. */
  peerLogs(): Promise<readonly string[]>;
  /** Leaf bytes of the `trust` source in a log epoch. */
  leaves(log_epoch: number, from_sseq: number, count: number): Promise<readonly Uint8Array[]>;
  /** Last number of the `trust` source, and payloads that its `erasure` leaves name. */
  sourceHead(): Promise<{ readonly sseq: number; readonly erased: number }>;
  status(): Promise<AuthorityStatus>;
  enrolment(): Promise<Enrolment>;
  /** Memberships of later versions than `after` that this region has held, oldest first. */
  memberships(
    after: number,
    limit: number,
  ): Promise<{ readonly memberships: readonly SignedMembership[]; readonly next: number | null }>;
  /** `jws`: General JSON JWS of a membership, `typ: interlock-membership+jws`. */
  putMembership(jws: unknown, actor: string): Promise<AdminResult<Enrolment>>;
  registerPep(message: RegisterPepMessage): Promise<AdminResult<PepView & { readonly credential: string }>>;
  listPeps(): Promise<readonly PepView[]>;
  /** The PEP as it stands now; `null` where none of that id is registered. */
  pepStatus(id: string): Promise<PepView | null>;
  /** A peer's pull or push, as it came: compact JWS (docs/sync.md). */
  syncPull(text: string): Promise<SyncAnswer>;
  syncPush(text: string): Promise<SyncAnswer>;
  revoke(message: RevokeMessage): Promise<AdminResult<RevocationView>>;
  /** Lifts this region's own entry by a higher generation that cites the revoking event. */
  restore(
    id: string,
    reason: string,
    actor: string,
    wait?: Extract<Wait, "local" | "all">,
  ): Promise<AdminResult<RevocationView>>;
  revocation(id: string, wait: Wait): Promise<AdminResult<RevocationView>>;
  /**
   * Whether an administrator with these keys is shut out: by an entry of this region, or of one that membership lets
   * revoke such keys. Who administers a region is that region's own affair.
   */
  anyRevoked(keys: readonly string[]): Promise<boolean>;
  listRevocations(
    after: number,
    limit: number,
  ): Promise<{ readonly revocations: readonly RevocationView[]; readonly next: number | null }>;
  /** Enters an erasure in the journal and sees to it that every shard carries it out. */
  erase(order: EraseOrder): Promise<AdminResult<ErasureView>>;
  erasure(id: string): Promise<AdminResult<ErasureView>>;
  /** The journal, oldest first. */
  listErasures(
    after: number,
    limit: number,
  ): Promise<{ readonly erasures: readonly ErasureView[]; readonly next: number | null }>;
  /** Entries of an exported journal that a restored one lacks are entered again; those that it has are left alone. */
  reenterErasures(entries: readonly JournalEntry[]): Promise<AdminResult<readonly ErasureView[]>>;
  /**
   * The newest entry of the journal for a shard, 0 where there is none. `position`: how far that shard is. What it has
   * done before and lacks now is sent to it again.
   */
  erasureHead(log_epoch: number, shard: number, position: number): Promise<number>;
  /** The `erasure` leaves that name any of these records, whatever log they are in. */
  erasureLeaves(log_epoch: number, shard: number, sseqs: readonly number[]): Promise<readonly ErasureLeaf[]>;
  epochs(): Promise<readonly EpochView[]>;
  epochStatus(): Promise<EpochStatus>;
  /**
   * Ends the epoch in order. Ask again until the log's state is `sealed`. `without`: shards that it is ended without
   * where they do not answer, which an incident leaf says for good.
   */
  sealEpoch(reason: string, actor: string, without?: readonly number[]): Promise<AdminResult<EpochStatus>>;
  /** Lets the next epoch begin, where the one before is sealed or halted; then the region is configured for it. */
  nextEpoch(reason: string, actor: string): Promise<AdminResult<EpochStatus>>;
  /** Empties the objects of a sealed past epoch, once its archive is confirmed by size and root. Idempotent. */
  dropEpoch(message: DropEpochMessage): Promise<AdminResult<EpochStatus>>;
  /** A compact JWS by the authority over a JSON payload with `iss` and `iat`: for `signed_metadata`. */
  signMetadata(metadata: Readonly<Record<string, unknown>>): Promise<string>;
}
