import { createHmac } from "node:crypto";
import { fromBase64url } from "../src/base/bytes.ts";
import type { FederationSecrets } from "../src/region/federation-secrets.ts";
import { pseudonym, secretOf, type Hmac } from "../src/trust/pseudonym.ts";

export const nodeHmac: Hmac = (key, message) => createHmac("sha256", key).update(message).digest();

/** Pseudonyms of keys that decisions ask about again and again: PEPs, agents, accounts. */
const CACHE = 8_192;
const TOKEN = 16;

export type Pseudonym = { readonly text: string; readonly token: Uint8Array };

/**
 * A canonical key under every federation secret that an entry was written under: two while a secret is being changed,
 * one otherwise. The token is what the index holds of it.
 */
export class Pseudonyms {
  readonly #secrets: FederationSecrets;
  readonly #inUse = new Set<string>();
  readonly #cache = new Map<string, readonly Pseudonym[]>();

  constructor(secrets: FederationSecrets) {
    this.#secrets = secrets;
    this.#inUse.add(secrets[0].id);
  }

  /** Id of the current secret. */
  get secret(): string {
    return this.#secrets[0].id;
  }

  /** Under the current secret: what this region writes. */
  current(key: string): string {
    return pseudonym(this.#secrets[0], key, nodeHmac);
  }

  /** Under every secret that is configured, in use or not: what may be named under one later. */
  every(key: string): readonly string[] {
    return this.#secrets.map((secret) => pseudonym(secret, key, nodeHmac));
  }

  /** What another region told by its pseudonym only is looked up as it is. */
  of(key: string): readonly Pseudonym[] {
    if (secretOf(key) !== null) return [{ text: key, token: this.tokenOf(key) }];
    let known = this.#cache.get(key);
    if (known === undefined) {
      known = this.#secrets
        .filter(({ id }) => this.#inUse.has(id))
        .map((secret) => {
          const text = pseudonym(secret, key, nodeHmac);
          return { text, token: this.tokenOf(text) };
        });
      if (this.#cache.size >= CACHE) this.#cache.clear();
      this.#cache.set(key, known);
    }
    return known;
  }

  tokenOf(text: string): Uint8Array {
    return fromBase64url(text.slice(text.indexOf(".") + 1))!.slice(0, TOKEN);
  }

  /** An entry was written under the secret of this pseudonym: from now on keys are looked up under it too. */
  inUse(text: string): void {
    const id = secretOf(text);
    if (id === null || this.#inUse.has(id)) return;
    this.#inUse.add(id);
    this.#cache.clear();
  }
}
