import type { SourceBody, SourceKind } from "../credentials/sources/schema.ts";
import type { AdminResult } from "./admin.ts";

/** Messages about the registered sources of identity (docs/operations/workloads.md). */

export type PutSourceMessage = {
  readonly kind: SourceKind;
  readonly id: string;
  /** As `SOURCE_BODIES[kind]` gives it. */
  readonly body: SourceBody;
  readonly actor: string;
};

/** A source as the routes show it: what is registered, but for its document, and how its keys stand. */
export type SourceView = {
  readonly kind: SourceKind;
  readonly id: string;
  readonly version: string;
  readonly registered_at_ms: number;
  readonly rules: Readonly<Record<string, unknown>>;
  readonly keys: readonly { readonly kid: string; readonly kty: string; readonly thumbprint: string }[];
  /** `spiffe_sequence` of the bundle in use. */
  readonly sequence: number | null;
  /** Digest of the document in use; `null`: none was had yet. */
  readonly document: string | null;
  /** `stale`: nothing of it is accepted. */
  readonly state: "fresh" | "stale";
  /** `null`: they do not age. */
  readonly fresh_until_ms: number | null;
  /** When the fetch left that brought the document in use, or brought it again. */
  readonly fetched_at_ms: number | null;
  readonly asked_ms: number | null;
  /** Why the last fetch brought nothing that counts; `rollback` and `equivocation` are incidents. */
  readonly problem: string | null;
};

/** A worse result than a workload can be trusted with, about this key. */
export type QuarantineMessage = {
  readonly v: 1;
  /** Canonical keys: the proven key, and the workload as the request's subject. */
  readonly keys: readonly string[];
  /** Digest of the result, and who made it. */
  readonly evidence: string;
};

export type IdentityRpc = {
  /** Registers it or replaces its registration. */
  putSource(message: PutSourceMessage): Promise<AdminResult<SourceView>>;
  listSources(): Promise<readonly SourceView[]>;
  readSource(kind: SourceKind, id: string): Promise<AdminResult<SourceView>>;
  removeSource(kind: SourceKind, id: string, actor: string): Promise<AdminResult<SourceView>>;
  /** Quarantines keys everywhere, by events of this region. */
  quarantine(message: QuarantineMessage): Promise<void>;
};
