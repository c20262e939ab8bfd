import type { PublicKey } from "../jws/public-key.ts";
import type { SourceBody, SourceKind } from "./schema.ts";

/** What a registration says besides its keys: those stand beside it, read. */
export type SourceRules<K extends SourceKind = SourceKind> = Omit<SourceBody<K>, "jwks" | "bundle" | "force">;

type Sourced<K extends SourceKind> = {
  readonly kind: K;
  readonly id: string;
  /** Digest over rules and keys: facts name what they rest on as `kind/id@version` (`sourceName`). */
  readonly version: string;
  readonly rules: SourceRules<K>;
  readonly keys: readonly PublicKey[];
  /** Beyond it its keys are stale and nothing of it is accepted. Unix milliseconds. */
  readonly fresh_until_ms: number;
};

/** One registered source of identity as the Worker and the shards have it. */
export type SourceMaterial = { [K in SourceKind]: Sourced<K> }[SourceKind];
export type SourceOf<K extends SourceKind> = Extract<SourceMaterial, { readonly kind: K }>;

/** The part of `Material` (objects/authority) that workloads' credentials are verified with. */
export type IdentityMaterial = {
  /** For nonces; 32 bytes, base64url. Never leaves the region's objects and Workers. */
  readonly nonce_key: string;
  /** By kind, then id. */
  readonly sources: readonly SourceMaterial[];
};

export const sourceName = ({ kind, id, version }: Pick<SourceMaterial, "kind" | "id" | "version">): string =>
  `${kind}/${id}@${version}`;
