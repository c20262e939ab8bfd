/** Messages about erasure (docs/object-rpc.md). Nothing here names a person: a shard turns a name into its tag. */

export const ERASURE_GROUNDS = ["subject_request", "retention", "legal", "other"] as const;
export type ErasureGround = (typeof ERASURE_GROUNDS)[number];

/** What an administrator asks for. */
export type ErasureTarget =
  /** Canonical key of a data subject (`trust/keys`). Goes to the shards and is stored nowhere. */
  | { readonly kind: "subject"; readonly key: string }
  /** One decision, or all of a batch. */
  | { readonly kind: "decision"; readonly id: string }
  | { readonly kind: "run"; readonly run: string }
  /** Everything decided before this time, Unix milliseconds. */
  | { readonly kind: "older_than"; readonly t_ms: number };

/**
 * The same for one shard, as the journal keeps it: what is erased follows from this and the shard's records alone, so
 * that it can be done again after a restore. `until`: the shard's newest record when erasure was asked for.
 */
export type ShardSelector =
  | { readonly kind: "tag"; readonly tag: string; readonly until: number }
  | { readonly kind: "range"; readonly from: number; readonly until: number }
  /** A range that has become too old as a whole: its space and its index go too. */
  | { readonly kind: "old"; readonly from: number; readonly until: number }
  | { readonly kind: "run"; readonly run: string; readonly until: number };

/** `selector` null: the shard holds nothing of the kind. */
export type PrepareErasureAnswer =
  | { readonly ok: true; readonly selector: ShardSelector | null }
  | { readonly ok: false; readonly code: "not_found" | "unsupported_version" };

/** Erase the next slice of journal entry `seq`. `acked`: slices up to this one have their leaves. */
export type EraseMessage = {
  readonly v: 1;
  readonly seq: number;
  readonly selector: ShardSelector;
  readonly acked: number;
};

export type EraseAnswer =
  /**
   * `slice`: records whose payloads are gone, on disk, and which have no leaf yet as far as the shard knows; the same
   * again until it is acknowledged. `done`: nothing is left to do, and every slice was acknowledged.
   */
  | {
      readonly ok: true;
      readonly slice: { readonly number: number; readonly sseqs: readonly number[] } | null;
      readonly done: boolean;
    }
  | { readonly ok: false; readonly code: "unsupported_version" };

export type EraseOrder = {
  readonly target: ErasureTarget;
  readonly ground: ErasureGround;
  /** Stays with the authority. */
  readonly reason: string;
  readonly idempotency_key: string | null;
  readonly actor: string;
};

/** One journal entry; `shards` with their selectors are all that doing it again takes. */
export type ErasureView = {
  readonly id: string;
  readonly what: ErasureTarget["kind"];
  readonly ground: ErasureGround;
  readonly reason: string;
  readonly asked_by: string;
  readonly asked_at_ms: number;
  /** `done`: every shard has erased, every payload has its leaf. */
  readonly status: "done" | "pending";
  readonly payloads: number;
  /** Shards that their epoch was ended without, and that did not answer: nothing was erased in them. */
  readonly not_asked: readonly { readonly log_epoch: number; readonly shard: number }[];
  readonly shards: readonly {
    readonly log_epoch: number;
    readonly shard: number;
    readonly status: "done" | "pending";
    readonly payloads: number;
    readonly selector: ShardSelector;
  }[];
};

/** An entry as it comes back from an export of the journal. */
export type JournalEntry = Pick<ErasureView, "id" | "what" | "ground" | "reason" | "asked_by" | "asked_at_ms"> & {
  /** Absent from an older release. */
  readonly not_asked?: ErasureView["not_asked"] | undefined;
  /** Without `log_epoch`, from an older release: that of the id. */
  readonly shards: readonly {
    readonly log_epoch?: number | undefined;
    readonly shard: number;
    readonly selector: ShardSelector;
  }[];
};

/** An `erasure` leaf: in the log of which epoch, its number in the source `trust` there, and which records it names. */
export type ErasureLeaf = {
  readonly log_epoch: number;
  readonly sseq: number;
  readonly leaf: Uint8Array;
  /** Of those asked about. */
  readonly records: readonly number[];
};
