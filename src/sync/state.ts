import type { Book } from "./book.ts";
import type { VerifiedEvent } from "./events.ts";
import type { Mark } from "./mark.ts";
import type { Timing } from "./timing.ts";
import type { MembershipView } from "./view.ts";

/**
 * State of the sync core of one region. What is under `record` is stored by the driver and comes back after a restart;
 * everything else is lost by one, on purpose: no lease and no pending poll survives.
 */
export type SyncRecord = {
  readonly own: OwnRecord;
  readonly peers: Readonly<Record<string, PeerRecord>>;
  /** High-water mark of the clock. */
  readonly clock_high_ms: number;
};

export type OwnRecord = {
  /** The newest event that this region numbered. */
  readonly mark: Mark;
  /** Own events up to this seq are compacted away; a snapshot that reaches at least so far stands for them. */
  readonly floor: number;
  /** The snapshot that is ready for whoever asks from below `floor` or has the entries under another secret. */
  readonly offers?: { readonly seq: number; readonly secret_id: string } | null;
  /** Why nothing is numbered and nothing granted any more: a peer holds another history of this region. */
  readonly halted: string | null;
};

export type PeerRecord = {
  /** The newest event of this origin that is applied and durable here. */
  readonly mark: Mark;
  /** The key that signed it. */
  readonly kid: string | null;
  readonly poison: Poison | null;
  /** Federation secret under which this origin's entries are named here; `null`: nothing of it is held yet. */
  readonly secret?: string | null;
};

/** An origin that signed two histories. Only a membership with a higher incarnation clears it. */
export type Poison = {
  readonly incarnation: number;
  readonly reason: "fork" | "rollback" | "distrusted";
  readonly at_ms: number;
  readonly proof: Proof;
};

/** Both signed statements; the driver fills in the stored event where `held.jws` is `null`. */
export type Proof = {
  readonly origin: string;
  readonly held: { readonly incarnation: number; readonly seq: number; readonly jws: string | null };
  readonly shown: { readonly incarnation: number; readonly seq: number; readonly jws: string };
};

/** What does not change while the region runs, and the one thing that the core reads from storage. */
export type Core = {
  readonly self: string;
  readonly timing: Timing;
  /** Most events in one answer. */
  readonly page: number;
  /**
   * Whether one answering peer settles that this region's storage was not put back, or every active one must. `all`
   * where the whole region may have been restored from a back-up: then nothing is allowed before every one of them was
   * fresh once, for this region may have confirmed what it does not know any more.
   */
  readonly ask: "one" | "all";
  /** The federation secret in force: its id, and `HMAC(secret, "interlock-key-check")`, base64url. */
  readonly secret: { readonly id: string; readonly check: string };
  /** Other secrets that this region holds: what is named under them can be looked up here too. */
  readonly also?: readonly { readonly id: string; readonly check: string }[];
  /** Digest of the stored event of that origin (this region's own too); `null` where none is stored (any more). */
  readonly held: (origin: string, incarnation: number, seq: number) => string | null;
};

export type SyncState = {
  readonly view: MembershipView;
  readonly own: OwnRecord;
  /** Whether peers have confirmed that nothing of the own chain is missing; until then nothing is numbered. */
  readonly check: Check;
  /** Entries that apply here and wait for a number. */
  readonly unnumbered: number;
  readonly clock: Clock;
  readonly peers: Readonly<Record<string, Peer>>;
  /** Counts every change of this region's trust state, its own events and those of others. */
  readonly revision: number;
  /** Digest of the active policy, which heads name. */
  readonly policy: string;
  /** Peers as holders of leases on the own chain. */
  readonly book: Book;
  /** Shards as holders of leases on this region's state. */
  readonly shards: Book;
  readonly last_request_ms: number;
  /** A newer membership that somebody signed for and that is not here yet. */
  readonly newer: { readonly version: number; readonly since_ms: number; readonly asked_ms: number } | null;
  /** When a newer membership was last asked for because of an unknown key. */
  readonly suspicion: { readonly asked_ms: number };
  readonly counters: Counters;
};

export type Check =
  | { readonly phase: "asking"; readonly answered: readonly string[] }
  /** Own events come back from a peer whose mark is higher. */
  | {
      readonly phase: "fetching";
      readonly answered: readonly string[];
      readonly from: string;
      readonly until: Mark;
      /** The check had passed before: it passes again if the peer cannot show what it claims. */
      readonly resume: boolean;
    }
  | { readonly phase: "passed" };

export type Clock = {
  /** Highest reading so far; below it the clock is not believed. */
  readonly high_ms: number;
  /** The last reading. */
  readonly last_ms: number;
  readonly saved_ms: number;
};

export type Peer = {
  readonly record: PeerRecord;
  /** 0: no lease. On this region's own clock. */
  readonly fresh_until_ms: number;
  /** Whether it was fresh at any time since the start: then everything that it had signed before is applied here. */
  readonly met: boolean;
  readonly pending: Pending | null;
  /** A relayed answer that is awaited from this peer. */
  readonly relay: Relay | null;
  /** Events under way into storage; the lease counts when they are there. */
  readonly staged: Staged | null;
  /** The highest seq that the origin signed, where that is above what is applied: a gap. */
  readonly claim: { readonly seq: number; readonly jws: string } | null;
  /** Seq of an event of an unknown kind. */
  readonly unsupported: number | null;
  /** The peer writes under a secret that this region does not hold. */
  readonly secret_differs: boolean;
  /** Peers whose last signed word about this origin is another history than ours. */
  readonly contradicted_by: readonly string[];
  /** It claimed own events of this region and could not show them: until the next start its word on them is not heard. */
  readonly unfounded: boolean;
  /** A snapshot under way into storage; no poll until it is there or given up. */
  readonly installing: { readonly mark: Mark; readonly record: PeerRecord; readonly since_ms: number } | null;
  /** Applied marks that are not yet effective in every shard, oldest first, with the revision that holds them. */
  readonly settling: readonly { readonly mark: Mark; readonly revision: number }[];
  /** Effective here: what pulls report as `have`. */
  readonly effective: Mark;
  /** What the last answered pull reported. */
  readonly reported: number;
  readonly next_poll_ms: number;
  /** Polls without an answer, since the last answer. */
  readonly failures: number;
  readonly next_push_ms: number;
  readonly pushes: number;
};

export type Pending = {
  readonly nonce: string;
  /** When the poll left, on this region's own clock. */
  readonly sent_ms: number;
  /** What was applied then: the answer goes on from there. */
  readonly applied: Mark;
  /** The highest seq that the origin was known to have signed then: an answer below it is a rollback. */
  readonly known_seq: number;
  /** What the poll reports as effective. */
  readonly have: Mark;
};

/** Events of `origin` from `from_seq`, asked of a peer that has them and is not their origin. */
export type Relay = {
  readonly nonce: string;
  readonly sent_ms: number;
  readonly origin: string;
  readonly from_seq: number;
};

export type Staged = {
  readonly events: readonly VerifiedEvent[];
  readonly mark: Mark;
  readonly kid: string | null;
  /** 0 where no lease comes with it. */
  readonly fresh_until_ms: number;
};

/** Since the start. */
export type Counters = Readonly<
  Record<"bad_signature" | "unmatched" | "malformed" | "refused" | "failed" | "gaps" | "clock_steps", number>
>;
