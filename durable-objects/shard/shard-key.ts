import type { JWK } from "jose";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import { importSigningKey, newSigningJwk, ownSigningKey, type SigningKey } from "../platform.ts";
import type { Rows } from "../rows.ts";

const CURRENT = "signing_jwk";
const NEXT = "next_signing_jwk";

/** The key that a shard signs receipts with, and the next one while the authority certifies it. */
export class ShardKey {
  readonly #rows: Rows;
  #current: SigningKey;
  #next: SigningKey | null;

  private constructor(rows: Rows, current: SigningKey, next: SigningKey | null) {
    this.#rows = rows;
    this.#current = current;
    this.#next = next;
  }

  /** Makes the shard's first key at first start, under that name, and loads what there is ever after. */
  static async open(rows: Rows, kid: string): Promise<ShardKey> {
    const current = await ownSigningKey(rows, kid);
    const next = rows.meta(NEXT);
    return new ShardKey(rows, current, next === null ? null : await importSigningKey(JSON.parse(next) as JWK));
  }

  get current(): SigningKey {
    return this.#current;
  }

  /** Public half of the next key, which is made where there is none. */
  async next(): Promise<PublicJwk> {
    if (this.#next === null) {
      const { kid } = this.#current;
      const end = kid.lastIndexOf(".") + 1;
      const jwk = await newSigningJwk(`${kid.slice(0, end)}${Number(kid.slice(end)) + 1}`);
      const made = await importSigningKey(jwk);
      // Asked twice at once: the first one stays.
      if (this.#next === null && this.#current.kid === kid) {
        this.#rows.setMeta(NEXT, JSON.stringify(jwk));
        this.#next = made;
      }
    }
    await this.#rows.sync();
    return (this.#next ?? this.#current).publicJwk;
  }

  /** Signs with the next key from now on, where it is the one named; the private half of the one before is gone. */
  async use(kid: string): Promise<boolean> {
    const next = this.#next;
    if (next?.kid === kid) {
      this.#rows.transaction(() => {
        this.#rows.setMeta(CURRENT, this.#rows.meta(NEXT)!);
        this.#rows.dropMeta(NEXT);
      });
      this.#current = next;
      this.#next = null;
    }
    // No receipt under a key that a crash could take back.
    await this.#rows.sync();
    return this.#current.kid === kid;
  }
}
