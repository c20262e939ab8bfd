import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { thumbprintOf } from "../../src/credentials/thumbprint.ts";
import type { Material, PublicJwk } from "../../src/objects/authority.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { nodeSha256, type SigningKey } from "../platform.ts";
import type { AuthorityStore } from "./store.ts";
import { isAuthorityKey } from "./sync-messages.ts";
import type { EventWriter } from "./writer.ts";

/** Keys of the region's objects: the authority's own, and all that it has certified, current and past. */
export class CertifiedKeys {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly own: SigningKey;
  readonly #membership: () => Membership | null;
  #material: Material | null = null;
  /** Version of the membership that the material was made of. */
  #listed: number | null = null;

  constructor(
    region: Region,
    store: AuthorityStore,
    writer: EventWriter,
    own: SigningKey,
    membership: () => Membership | null,
  ) {
    this.#membership = membership;
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
    const membership = this.#membership();
    if (this.#material === null || this.#listed !== (membership?.version ?? null)) {
      this.#listed = membership?.version ?? null;
      const own = this.#store
        .certified()
        .filter(({ role }) => role === "authority")
        .map(({ jwk }) => ({
          use: "pep" as const,
          issuer: this.#region.pdp,
          jwk,
          thumbprint: thumbprintOf(jwk, nodeSha256),
        }));
      const keys = [...own, ...(membership === null ? [] : peerKeys(membership, this.#region.name))];
      this.#material = { v: 1, digest: digestOf(jcs(keys), nodeSha256), keys };
    }
    return this.#material;
  }
}

/** Keys that speak for the other regions now: of those that serve, and none that is distrusted. */
function peerKeys({ regions }: Membership, self: string): Material["keys"] {
  return regions.flatMap(({ region, state, keys, key_validity }) =>
    region === self || (state !== "active" && state !== "draining")
      ? []
      : keys.flatMap((listed) => {
          const jwk = listed as unknown as PublicJwk;
          // The members of a membership list the keys of their logs and witnesses too.
          if (!isAuthorityKey(jwk.kid)) return [];
          if (key_validity?.find(({ kid }) => kid === jwk.kid)?.distrust_after !== undefined) return [];
          return [{ use: "region" as const, issuer: region, jwk, thumbprint: thumbprintOf(jwk, nodeSha256) }];
        }),
  );
}
