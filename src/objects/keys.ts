import type { AdminResult } from "./admin.ts";

/** Messages to the `TrustAuthority` about the region's own keys (docs/operations/rotate-keys.md). */

export type KeyRole = "authority" | "shard" | "log" | "witness";

/** An authority key that is not used any more, and its last event. */
export type PastKey = { readonly kid: string; readonly incarnation: number; readonly until_seq: number };

/**
 * What the membership in force says of a key: `listed`; `closed`: nothing new counts under it; `distrusted`: nor do
 * credentials that it signed; `unlisted`: nothing does.
 */
export type KeyStanding = "listed" | "closed" | "distrusted" | "unlisted";

export type OwnKeyView = {
  readonly kid: string;
  /** RFC 7638, SHA-256, base64url: what `key:<thumbprint>` names. */
  readonly thumbprint: string;
  readonly membership: KeyStanding;
};

export type KeysView = {
  readonly region: string;
  readonly membership_version: number | null;
  /** What the authority signs events, heads and PEP credentials with. */
  readonly current: OwnKeyView;
  readonly next: OwnKeyView | null;
  /** Oldest first. */
  readonly past: readonly (OwnKeyView & Omit<PastKey, "kid">)[];
  /** What the switch to the next key waits for; `null`: nothing, or there is no next key. */
  readonly waits_for: "membership" | "peers" | null;
  /** Regions that have not said since the authority's start that they hold the membership in force. */
  readonly behind: readonly string[];
  /** Newest own event. */
  readonly seq: number;
  /** Every key that the region has certified: what its JWKS shows. */
  readonly certified: readonly { readonly kid: string; readonly role: string }[];
};

export type NextKeyMessage = {
  readonly reason: string;
  readonly actor: string;
  /** The same key is the same call, for a day: it makes no other key after the first was put to use. */
  readonly idempotency_key?: string;
};

export type SwitchKeyMessage = {
  readonly reason: string;
  readonly actor: string;
  /** Also where a peer has not said that it holds the membership: it denies until it does. */
  readonly force?: true;
};

export type RotateShardKeysMessage = {
  /** `null`: each of them. */
  readonly shard: number | null;
  readonly reason: string;
  readonly actor: string;
};

export interface KeysRpc {
  ownKeys(): Promise<KeysView>;
  /** Makes the authority's next key, or shows the one that there is. Nothing is signed with it yet. */
  nextKey(message: NextKeyMessage): Promise<AdminResult<KeysView>>;
  /** Signs with the next key from now on. `wrong_order`: it is not listed yet; `peers_behind`: somebody lacks the list. */
  switchKey(message: SwitchKeyMessage): Promise<AdminResult<KeysView>>;
  /** New receipt keys, certified and in use when it answers. */
  rotateShardKeys(message: RotateShardKeysMessage): Promise<AdminResult<KeysView>>;
}
