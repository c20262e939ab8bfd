import type { VerifiedEvent } from "./events.ts";
import type { Mark } from "./mark.ts";
import type { HeadBody, PullBody, SnapshotManifest } from "./messages.ts";
import type { MembershipView } from "./view.ts";

/** The moment of a step: this object's clock, and text that no step before had (16 random bytes, base64url). */
export type At = { readonly now_ms: number; readonly entropy: string };

/** `kid` signed the message; the driver has verified it under a key of that region, and checked `typ` and `aud`. */
export type Signed<T> = { readonly from: string; readonly kid: string; readonly jws: string; readonly body: T };

/** A head whose events the driver has parsed and verified; `null`: one of them does not verify. */
export type SignedHead = Signed<HeadFields> & {
  readonly events: readonly VerifiedEvent[] | null;
  /** The verified manifest, where the head carries one. */
  readonly snapshot: SnapshotManifest | null;
};

export type HeadFields = Omit<HeadBody, "v" | "iss" | "aud" | "events" | "snapshot">;
export type PullFields = Omit<PullBody, "v" | "iss" | "aud">;

export type Input =
  /** A timer of the driver; `nextWake` says when the next one is due. */
  | { readonly type: "tick" }
  /** A decision needs `origins` to be fresh. */
  | { readonly type: "request"; readonly origins: readonly string[] }
  /** Own event `mark` is durable; with it the state reached `revision`. */
  | { readonly type: "appended"; readonly mark: Mark; readonly revision: number }
  /**
   * So many deny-ward entries apply here and wait for a number. While there are any, no head is granted: a peer that
   * was given one behind them would not know of them.
   */
  | { readonly type: "unnumbered"; readonly count: number }
  /** What `commit` named is durable; with it the state reached `revision`. */
  | { readonly type: "committed"; readonly origin: string; readonly mark: Mark; readonly revision: number }
  | { readonly type: "membership"; readonly view: MembershipView }
  /** The digest of the active policy: heads name it. */
  | { readonly type: "policy"; readonly digest: string }
  /** Messages from peers. */
  | { readonly type: "pull"; readonly pull: Signed<PullFields> }
  | { readonly type: "head"; readonly head: SignedHead }
  | {
      readonly type: "relay";
      readonly from: string;
      readonly nonce: string;
      readonly origin: string;
      readonly events: readonly VerifiedEvent[] | null;
      readonly more: boolean;
    }
  | { readonly type: "push"; readonly from: string; readonly events: readonly VerifiedEvent[] }
  /** The poll or relay of that nonce had no answer that verifies. */
  | { readonly type: "failed"; readonly from: string; readonly nonce: string }
  | { readonly type: "bad_signature" }
  /** A message in the name of a region, under a key that the membership here does not list: a newer one may. */
  | { readonly type: "unknown_key"; readonly from: string }
  /** Own events up to `seq` are compacted away behind a snapshot. */
  | { readonly type: "compacted"; readonly seq: number }
  /** A snapshot of the own chain is signed and stored. */
  | { readonly type: "offers"; readonly seq: number; readonly secret_id: string }
  /**
   * A shard asks for a lease and reports its effective revision; or confirms one after a push. `more`: the answer will
   * not bring it up to the current revision, so it grants nothing.
   */
  | { readonly type: "shard_asks"; readonly shard: string; readonly effective: number; readonly more: boolean }
  | { readonly type: "shard_confirms"; readonly shard: string; readonly effective: number }
  /** The pages of a snapshot are all stored and verified; the entries were replaced by them in one transaction. */
  | { readonly type: "installed"; readonly origin: string; readonly mark: Mark; readonly revision: number }
  /** A page could not be had, or was not what the origin signed for. */
  | { readonly type: "install_failed"; readonly origin: string; readonly mark: Mark }
  /** An operator: the clock was ahead and is right now. */
  | { readonly type: "reset_clock" };
