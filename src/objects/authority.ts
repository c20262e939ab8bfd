import type { FreezeRpc, FreezeStanding, UnfreezeRequest } from "./freeze.ts";
import type { KeysRpc } from "./keys.ts";
import type { PeersRpc } from "./peers.ts";
import type { PolicyRpc, PolicyStanding } from "./policy.ts";
import type { PolicySchedule } from "../policy/bundles/schedule.ts";
import type { ReplayRpc } from "./replay.ts";
import type { Forwarded, RequestsRpc } from "./requests.ts";
import type { IdentityRpc } from "./identity.ts";
import type { SignalsRpc } from "./signals.ts";
import type { IdentityMaterial } from "../credentials/sources/material.ts";
import type { SyncOverview } from "../sync/overview.ts";
import type { PolicyProbe } from "../policy/probe.ts";
import type { DriftRpc, DriftStatus } from "./drift.ts";
import type { TrustEntry } from "../trust/events.ts";
import type { EntryState } from "../trust/levels.ts";
import type { FederationView } from "../trust/federation.ts";
import type { EraseOrder, ErasureLeaf, ErasureView, JournalEntry } from "./erasure.ts";
import type { LogStatus } from "./log.ts";
import type { RegionMode, PepScope } from "../vocabulary/types.ts";

/** Messages to the `TrustAuthority` (docs/object-rpc.md). */

export type PublicJwk = {
  readonly kty: string;
  readonly crv?: string;
  readonly x?: string;
  readonly y?: string;
  readonly n?: string;
  readonly e?: string;
  readonly kid: string;
  readonly alg: string;
  readonly use: "sig";
};

/** A key under which facts may be verified, with what it may verify. */
export type MaterialKey = {
  /** `pep`: signs PEP credentials of `issuer`; `region`: speaks for the region that `issuer` names. */
  readonly use: "pep" | "region";
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string;
  readonly issuer: string;
  readonly jwk: PublicJwk;
};

/** Immutable, named by its digest: an isolate may keep it as long as it likes. */
export type Material = {
  readonly v: 1;
  readonly digest: string;
  readonly keys: readonly MaterialKey[];
  /** What workloads' credentials are verified with. */
  readonly identity: IdentityMaterial;
};

/** What the authority knows of another region, as a lease hands it on. */
export type OriginLease = {
  readonly origin: string;
  readonly incarnation: number;
  readonly seq: number;
  /** Milliseconds left of the authority's own freshness, to be anchored at the shard's send time; `null`: for good. */
  readonly remaining_ms: number | null;
  readonly problem: "sync_unsupported" | "sync_equivocation" | null;
};

export type LeaseRequest = {
  readonly v: 1;
  readonly shard: number;
  readonly nonce: string;
  /** The shard's *effective* revision: applied and durable, and everything decided before it released or withheld. */
  readonly revision: number;
  readonly material: string | null;
  /** Version of the federation that the shard has. */
  readonly federation: number | null;
  /** Regions of which nothing fresh is known and on which somebody who waits rests. */
  readonly wanted: readonly string[];
  /** Events that a caller's consistency token names and the shard lacks: worth asking the peers again. */
  readonly need: Readonly<Record<string, readonly [number, number]>>;
  /** When the shard's key certificate ends, Unix milliseconds; 0: it has none. */
  readonly certified_until_ms: number;
  /** What the shard found of the policy that it decides by; absent or `null`: nothing yet. */
  readonly probe?: PolicyProbe | null;
  /** What the shard's trust entries digest to; absent or `null`: it has not read them yet. */
  readonly state?: ShardState | null;
  /** Public half of the shard's own key, for certification; the kid is `<region>.<log_epoch>.shard-<k>.<n>`. */
  readonly key: PublicJwk;
};

/** `trust/state-digest` over the entries of all origins, at that trust revision. */
export type ShardState = { readonly revision: number; readonly count: number; readonly sum: string };

export type LeaseAnswer =
  | {
      readonly ok: true;
      readonly nonce: string;
      /** Milliseconds left, to be anchored at the shard's own send time. */
      readonly remaining_ms: number;
      readonly from_revision: number;
      readonly revision: number;
      readonly mode: RegionMode;
      readonly entries: readonly TrustEntry[];
      /** More entries than fit: the lease is withheld (`remaining_ms` 0) until the shard asks again and has them all. */
      readonly more: boolean;
      /** Present where the shard's is not current. */
      readonly material: Material | null;
      /** Present where the shard's is not current. */
      readonly federation: FederationView | null;
      readonly own: { readonly incarnation: number; readonly seq: number };
      readonly origins: readonly OriginLease[];
      /** Digest of the policy in force now; empty: none is. */
      readonly policy: string;
      /** Which policy is in force when; missing: `policy` is, without end. */
      readonly schedule?: PolicySchedule;
      /** What every shard should find of it; absent or `null`: not known yet. */
      readonly probe?: PolicyProbe | null;
      /** What is known of policies that differ, and whether everything is denied for it; absent or `null`: nothing. */
      readonly drift?: { readonly detail: string; readonly denies: boolean } | null;
      /** For the shard's key, to be shown to other regions; present where the shard's is due. */
      readonly certificate: { readonly text: string; readonly exp_ms: number } | null;
    }
  /**
   * No lease. `rewound`: the authority knows less than a shard or the log does; `another_key`: the shard has lost its
   * own; `unconfirmed`: the log has not yet confirmed the authority's events, ask again. All of them deny everything.
   */
  | {
      readonly ok: false;
      readonly code: "unsupported_version" | "unknown_shard" | "another_key" | "rewound" | "unconfirmed";
    }
  /** The log epoch is sealed, or about to be: nothing is decided in it any more. */
  | { readonly ok: false; readonly code: "ended"; readonly reason: string };

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

export type AdminResult<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly code:
        | "not_found"
        | "conflict"
        | "invalid"
        | "joining"
        | "foreign_key"
        | "unchecked"
        | "idempotency_conflict"
        | "wrong_order"
        | "peers_behind";
      readonly message: string;
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

export type AuthorityStatus = {
  readonly mode: RegionMode;
  /** Somebody asked to lift the freeze, and another administrator may confirm it. */
  readonly unfreeze: UnfreezeRequest | null;
  /** Where the freeze is effective; `null` where the region is not frozen. */
  readonly freeze: FreezeStanding | null;
  /** Why the configured log epoch is not the one that this region may run; `null` where it is. */
  readonly epoch_problem: string | null;
  /** Why no lease is granted any more: its storage was put back. */
  readonly rewound: string | null;
  readonly revision: number;
  readonly revocations: number;
  readonly membership_version: number | null;
  readonly membership_expires_ms: number | null;
  readonly policy: string;
  readonly policy_problem: string | null;
  readonly policy_standing: PolicyStanding;
  readonly packs: readonly {
    readonly name: string;
    readonly status: "active" | "invalid";
    readonly problem: string | null;
  }[];
  readonly shards: readonly { readonly shard: number; readonly revision: number; readonly leased_for_ms: number }[];
  /** The exchange with other regions. */
  readonly sync: SyncOverview;
  /** Policies that differ and should not; absent where an older version answers. */
  readonly drift?: DriftStatus;
};

/** One lifetime of the log and its shards. All but the last are past. */
export type EpochView = {
  readonly log_epoch: number;
  readonly shards: number;
  readonly began_ms: number;
  /** Why an operator seals, or sealed it; `null` where nobody does. */
  readonly sealing: string | null;
  /** Why an operator let the next one follow; `null` where it may not begin yet. */
  readonly next: string | null;
  /** It was archived, and its objects are emptied: nothing of it is read here any more. */
  readonly dropped: DroppedEpoch | null;
  /** Shards that it was sealed without, since they never answered. */
  readonly left: readonly number[];
};

export type DroppedEpoch = {
  readonly t_ms: number;
  /** Of the log as it was confirmed; the root is base64url. */
  readonly size: number;
  readonly root: string;
  /** Whether every object is empty. */
  readonly done: boolean;
};

/** Size and root of the archive: whoever drops an epoch shows what it holds. */
export type DropEpochMessage = {
  readonly log_epoch: number;
  readonly size: number;
  readonly root: string;
  readonly reason: string;
  readonly actor: string;
};

export type EpochStatus = {
  readonly epochs: readonly EpochView[];
  /** Why the configured epoch is not the one that this region may run; `null` where it is. */
  readonly problem: string | null;
  /** Of the newest epoch; `null` where it does not answer. */
  readonly log: LogStatus | null;
};
/** What the Worker answers to a peer region: a compact JWS where the status is 200. */
export type SyncAnswer = { readonly status: 200 | 202 | 400 | 403; readonly body: string };

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
