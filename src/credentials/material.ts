import type { CryptoKey } from "jose";
import { importEd25519 } from "./access-token.ts";
import { IdentitySources } from "./sources/compile.ts";
import type { IdentityMaterial } from "./sources/material.ts";
import { readPublicKey, type PublicKey } from "./jws/public-key.ts";

/** The part of `Material` (objects/authority) that verification needs; the two are structurally the same. */
export type MaterialLike = {
  readonly digest: string;
  readonly keys: readonly {
    readonly use: string;
    readonly issuer: string;
    readonly thumbprint: string;
    readonly jwk: { readonly kty: string; readonly crv?: string; readonly x?: string; readonly kid: string };
  }[];
  readonly identity?: IdentityMaterial;
};

/** A key that verifies, and what revoking it is called. */
type VerifyingKey = { readonly key: CryptoKey; readonly thumbprint: string };

type Listed = {
  readonly issuer: string;
  readonly thumbprint: string;
  readonly jwk: MaterialLike["keys"][number]["jwk"];
  imported: CryptoKey | null;
};

const NO_SOURCES: IdentityMaterial = { nonce_key: "", sources: [] };

/** One immutable set of keys, indexed for verifying PEP credentials; and the registered sources of workload identity. */
export class KeySet {
  readonly digest: string;
  readonly #pep = new Map<string, Listed>();
  readonly #regions = new Map<string, PublicKey[]>();

  readonly #material: IdentityMaterial;
  #identity: IdentitySources | null = null;

  constructor(material: MaterialLike) {
    this.#material = material.identity ?? NO_SOURCES;
    this.digest = material.digest;
    for (const { use, issuer, thumbprint, jwk } of material.keys) {
      if (use === "pep") this.#pep.set(jwk.kid, { issuer, thumbprint, jwk, imported: null });
      if (use === "region") this.#addRegionKey(issuer, jwk);
    }
  }

  #addRegionKey(region: string, jwk: MaterialLike["keys"][number]["jwk"]): void {
    const { kid, kty, crv, x } = jwk;
    const key = readPublicKey({ kid, kty, ...(crv === undefined ? {} : { crv }), ...(x === undefined ? {} : { x }) });
    if (key.ok) this.#regions.set(region, [...(this.#regions.get(region) ?? []), key.value]);
  }

  /** Keys that speak for another region now: what it signed for this one is verified by them. */
  readonly regionKeys = (region: string): readonly PublicKey[] => this.#regions.get(region) ?? [];

  identity(region: string): IdentitySources {
    return (this.#identity ??= new IdentitySources(this.#material, region));
  }

  lists(kid: string): boolean {
    return this.#pep.has(kid);
  }

  /** The key under `kid` where it may verify what `issuer` signed. */
  async pepKey(kid: string, issuer: string): Promise<VerifyingKey | null> {
    const listed = this.#pep.get(kid);
    if (listed === undefined || listed.issuer !== issuer) return null;
    listed.imported ??= await importEd25519(listed.jwk);
    return listed.imported === null ? null : { key: listed.imported, thumbprint: listed.thumbprint };
  }
}

/** At most one fetch a second because of a `kid` nobody lists: the caller chooses the `kid`, so it is free to ask. */
const UNKNOWN_KID_PAUSE_MS = 1_000;

/**
 * The isolate's copy of the region's key material. It shares no promise between requests (workerd cancels a request
 * that waits for another one's), so requests that arrive together on a cold isolate each fetch it: harmless, and it
 * happens once.
 */
export class MaterialStore {
  readonly #fetch: () => Promise<MaterialLike>;
  #keys: KeySet | null = null;
  #fetched_at_ms = Number.NEGATIVE_INFINITY;

  constructor(fetch: () => Promise<MaterialLike>) {
    this.#fetch = fetch;
  }

  get keys(): KeySet | null {
    return this.#keys;
  }

  /** Throws where the authority cannot be asked: nobody can be authenticated then. */
  async load(now_ms: number): Promise<KeySet> {
    this.#fetched_at_ms = now_ms;
    const material = await this.#fetch();
    // Cached tokens hang on the digest: an unchanged digest keeps the imported keys and them.
    if (this.#keys === null || this.#keys.digest !== material.digest) this.#keys = new KeySet(material);
    return this.#keys;
  }

  /** After `stale_facts` for facts made under `seen`: newer material, which another request may have fetched. */
  async newerThan(seen: string, now_ms: number): Promise<KeySet> {
    return this.#keys !== null && this.#keys.digest !== seen ? this.#keys : this.load(now_ms);
  }

  mayAskForUnknownKid(now_ms: number): boolean {
    return now_ms - this.#fetched_at_ms >= UNKNOWN_KID_PAUSE_MS || now_ms < this.#fetched_at_ms;
  }
}
