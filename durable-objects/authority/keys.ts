import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { thumbprintOf } from "../../src/credentials/thumbprint.ts";
import type { Material, PublicJwk } from "../../src/objects/authority.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import { nodeSha256, type SigningKey } from "../platform.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** Keys of the region's objects: the authority's own, and all that it has certified, current and past. */
export class CertifiedKeys {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly own: SigningKey;
  #material: Material | null = null;

  constructor(region: Region, store: AuthorityStore, writer: EventWriter, own: SigningKey) {
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.own = own;
  }

  /** Certifies a key of one of the region's objects, the first time it is seen. */
  async certify(key: PublicJwk, role: "authority" | "shard" | "log" | "witness"): Promise<void> {
    if (this.find(key.kid) !== undefined) return;
    await this.#writer.append(
      {
        kind: "key",
        key: regionKey(this.#region.name),
        generation: 1,
        reason_code: "certified",
        actor: "region",
        note: key.kid,
      },
      ({ row }) => {
        // Seen twice at once: the second event would say nothing.
        if (this.find(key.kid) !== undefined) return false;
        this.#store.certify(key, role, row);
        this.#material = null;
        return true;
      },
    );
  }

  find(kid: string): PublicJwk | undefined {
    return this.all().find((jwk) => jwk.kid === kid);
  }

  all(): readonly PublicJwk[] {
    return this.#store.certified().map(({ jwk }) => jwk);
  }

  ofRole(role: "authority" | "shard" | "log" | "witness"): readonly PublicJwk[] {
    return this.#store.certified().flatMap((key) => (key.role === role ? [key.jwk] : []));
  }

  /** Keys under which facts are verified. */
  material(): Material {
    if (this.#material === null) {
      const keys = this.#store
        .certified()
        .filter(({ role }) => role === "authority")
        .map(({ jwk }) => ({
          use: "pep" as const,
          issuer: this.#region.pdp,
          jwk,
          thumbprint: thumbprintOf(jwk, nodeSha256),
        }));
      this.#material = { v: 1, digest: digestOf(jcs(keys), nodeSha256), keys };
    }
    return this.#material;
  }
}
