import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { IdentityMaterial } from "../../src/credentials/sources/material.ts";
import { thumbprintOf } from "../../src/credentials/thumbprint.ts";
import type { Material } from "../../src/objects/lease.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { KeyRole, KeyStanding } from "../../src/objects/keys.ts";
import type { Region } from "../../src/region/config.ts";
import { listedKey } from "../../src/trust/key-validity.ts";
import { regionKey } from "../../src/trust/keys.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { nodeSha256, type SigningKey } from "../platform.ts";
import type { OwnKeys } from "./own-keys.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";
import { isAuthorityKey } from "./sync-messages.ts";
import type { EventWriter } from "./writer.ts";

/** Keys of the region's objects: the authority's own, and all that it has certified, current and past. */
export class CertifiedKeys {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly #standing: Standing;
  readonly #own: OwnKeys;
  readonly #identity: () => IdentityMaterial;
  #material: {
    readonly of: Membership | null;
    readonly identity: IdentityMaterial;
    readonly material: Material;
  } | null = null;

  constructor(
    region: Region,
    store: AuthorityStore,
    writer: EventWriter,
    standing: Standing,
    own: OwnKeys,
    identity: () => IdentityMaterial,
  ) {
    this.#identity = identity;
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.#standing = standing;
    this.#own = own;
  }

  /** What the authority signs with. */
  get own(): SigningKey {
    return this.#own.current;
  }

  /** Certifies a key of one of the region's objects, the first time it is seen. */
  async certify(
    key: PublicJwk,
    role: KeyRole,
    by: { readonly actor: string; readonly reason: string } = { actor: "region", reason: "" },
  ): Promise<void> {
    if (this.find(key.kid) !== undefined) return;
    await this.#writer.append(
      {
        kind: "key",
        key: regionKey(this.#region.name),
        generation: 1,
        reason_code: "certified",
        actor: by.actor,
        note: by.reason === "" ? key.kid : `${key.kid}: ${by.reason}`,
      },
      ({ row }) => {
        // Seen twice at once: the second event would say nothing.
        if (this.find(key.kid) !== undefined) return false;
        this.add(key, role, row);
        return true;
      },
    );
  }

  /** In the transaction of the event that certifies it. */
  add(key: PublicJwk, role: KeyRole, row: number): void {
    this.#store.certify(key, role, row);
    this.#material = null;
  }

  find(kid: string): PublicJwk | undefined {
    return this.all().find((jwk) => jwk.kid === kid);
  }

  all(): readonly PublicJwk[] {
    return this.#store.certified().map(({ jwk }) => jwk);
  }

  ofRole(role: KeyRole): readonly PublicJwk[] {
    return this.#store.certified().flatMap((key) => (key.role === role ? [key.jwk] : []));
  }

  /** What the membership in force says of an own key. */
  standingOf({ kid, x }: PublicJwk): KeyStanding {
    const member = this.#standing.membership?.regions.find(({ region }) => region === this.#region.name);
    const listed = listedKey(member, kid, x);
    if (listed === null) return "unlisted";
    if (listed.distrusted) return "distrusted";
    return listed.last_seq === null ? "listed" : "closed";
  }

  /**
   * Keys under which facts are verified: the authority's, past ones too, so that a credential lives as long as it says;
   * without those that the roots distrust or do not list. Before there is a membership there is nothing to compare with.
   */
  material(): Material {
    const { membership } = this.#standing;
    const identity = this.#identity();
    if (this.#material === null || this.#material.of !== membership || this.#material.identity !== identity) {
      const own = this.ofRole("authority")
        .filter((jwk) => membership === null || this.#counts(jwk))
        .map((jwk) => ({
          use: "pep" as const,
          issuer: this.#region.pdp,
          jwk,
          thumbprint: thumbprintOf(jwk, nodeSha256),
        }));
      const keys = [...own, ...(membership === null ? [] : peerKeys(membership, this.#region.name))];
      const digest = digestOf(jcs({ identity, keys }), nodeSha256);
      this.#material = { of: membership, identity, material: { v: 1, digest, keys, identity } };
    }
    return this.#material.material;
  }

  /** Thumbprint of the authority key that signed a credential; `null` where nothing counts that it signed. */
  signerOf(kid: string): string | null {
    const [first] = this.ofRole("authority");
    const name = kid === "" ? first?.kid : kid;
    return this.material().keys.find(({ jwk }) => jwk.kid === name)?.thumbprint ?? null;
  }

  #counts(jwk: PublicJwk): boolean {
    const standing = this.standingOf(jwk);
    return standing === "listed" || standing === "closed";
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
