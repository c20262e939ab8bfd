/**
 * Trust events (DESIGN section 5). State is a map (key, origin) → (generation, state): a key is revoked while any
 * origin's entry says so, and only the origin that revoked can lift its own entry, by a higher generation.
 */
export type TrustState = "revoked" | "restored";

export type TrustEvent = {
  readonly v: 1;
  readonly origin: string;
  readonly incarnation: number;
  /** Gapless per origin, from 1. */
  readonly seq: number;
  /** Digest of the previous event of this origin; `null` for the first. */
  readonly prev: string | null;
  readonly kind:
    "revoke" | "restore" | "freeze" | "unfreeze" | "key" | "membership" | "pep" | "seal" | "epoch" | "source";
  /** Canonical key (`trust/keys`). */
  readonly key: string;
  readonly generation: number;
  readonly from: "issue" | "beginning";
  readonly issued_at_ms: number;
  readonly reason_code: string;
  /** For `restore`: seq of the event it lifts. */
  readonly cites: number | null;
};

/** One entry of the state as it travels from the authority to a shard. */
export type TrustEntry = {
  /** Canonical key; for another origin's event its pseudonym. */
  readonly key: string;
  readonly origin: string;
  readonly generation: number;
  readonly state: TrustState;
  readonly from: "issue" | "beginning";
};
