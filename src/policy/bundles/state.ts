import type { PolicyDocument, RootDocument, TimestampDocument } from "./documents.ts";
import type { Envelope } from "./envelope.ts";

/** A document that was accepted, as it was signed: whoever asks can verify it again. */
export type Held<D> = {
  readonly version: number;
  /** Digest text over the exact payload bytes. */
  readonly sha256: string;
  readonly document: D;
  readonly envelope: Envelope;
};

/** The highest version of a role that was accepted; below it there is no way back. */
export type Mark = { readonly version: number; readonly sha256: string };

/** What a region trusts of its policy: plain data, kept by the authority, changed by `takeOffer` alone. */
export type PolicyTrust = {
  readonly v: 1;
  readonly root: Held<RootDocument>;
  /** Every root after the first one that was pinned, up to `root`; absent in what an earlier version stored. */
  readonly chain?: readonly Envelope[];
  /** `null`: none yet, or its keys were taken away. Nothing is decided without one once a policy was accepted. */
  readonly timestamp: Held<TimestampDocument> | null;
  /** The newest, in force from its `not_before_ms` on. */
  readonly policy: Held<PolicyDocument> | null;
  /** What is in force until then: `baseline`, where no signed one ever was; `null`: it is trusted no more. */
  readonly previous: Held<PolicyDocument> | "baseline" | null;
  readonly floors: { readonly timestamp: Mark | null; readonly policy: Mark | null };
};
