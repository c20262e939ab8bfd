import type { IdentityMaterial } from "../credentials/sources/material.ts";
import type { PolicySchedule } from "../policy/bundles/schedule.ts";
import type { PolicyProbe } from "../policy/probe.ts";
import type { TrustEntry } from "../trust/events.ts";
import type { FederationView } from "../trust/federation.ts";
import type { RegionMode } from "../vocabulary/types.ts";
import type { PublicJwk } from "./jwk.ts";

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
