import type { JWK } from "jose";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { PastKey } from "../../src/objects/keys.ts";
import { listedKey, speaks, validityOf } from "../../src/trust/key-validity.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { importSigningKey, newSigningJwk, ownSigningKey, type SigningKey } from "../platform.ts";
import type { AuthorityStore } from "./store.ts";

type Member = Membership["regions"][number];

const CURRENT = "signing_jwk";
const NEXT = "next_signing_jwk";
const PAST = "past_keys";
/** Name of a key that is in use and has not said so in the log yet. */
const UNSAID = "key_unsaid";

/**
 * The authority's own keys: the one in use, the next one while there is one, and where the past ones ended. Storage is
 * the truth, so a change is in force when its transaction is. The private half of a past key is gone with the change.
 */
export class OwnKeys {
  readonly #store: AuthorityStore;
  /** By the stored text. */
  readonly #loaded = new Map<string, SigningKey>();

  private constructor(store: AuthorityStore) {
    this.#store = store;
  }

  /** Makes the region's first key at first start, under that name, and loads what there is ever after. */
  static async open(store: AuthorityStore, kid: string): Promise<OwnKeys> {
    const own = new OwnKeys(store);
    const current = await ownSigningKey(store, kid);
    own.#loaded.set(store.meta(CURRENT)!, current);
    const next = store.meta(NEXT);
    if (next !== null) own.#loaded.set(next, await importSigningKey(JSON.parse(next) as JWK));
    return own;
  }

  get current(): SigningKey {
    return this.#loaded.get(this.#store.meta(CURRENT)!)!;
  }

  get next(): SigningKey | null {
    const text = this.#store.meta(NEXT);
    return text === null ? null : this.#loaded.get(text)!;
  }

  get past(): readonly PastKey[] {
    return JSON.parse(this.#store.meta(PAST) ?? "[]") as PastKey[];
  }

  get unsaid(): string | null {
    return this.#store.meta(UNSAID);
  }

  /** A new key; `keep` makes it the next one, in the caller's transaction. */
  async make(kid: string): Promise<{ readonly publicJwk: PublicJwk; readonly keep: () => void }> {
    const jwk = await newSigningJwk(kid);
    const text = JSON.stringify(jwk);
    const made = await importSigningKey(jwk);
    this.#loaded.set(text, made);
    return { publicJwk: made.publicJwk, keep: () => this.#store.setMeta(NEXT, text) };
  }

  /** The next key is in use from here on, in the caller's transaction. `last`: the last event of the one before. */
  advance(last: { readonly incarnation: number; readonly seq: number }): void {
    const { kid } = this.current;
    this.#store.setMeta(
      PAST,
      JSON.stringify([...this.past, { kid, incarnation: last.incarnation, until_seq: last.seq }]),
    );
    const next = this.#store.meta(NEXT)!;
    this.#store.setMeta(CURRENT, next);
    this.#store.dropMeta(NEXT);
    this.#store.setMeta(UNSAID, (JSON.parse(next) as { readonly kid: string }).kid);
  }

  /** The next key, where the roots take the one in use away and list it. */
  replacement(member: Member | undefined): SigningKey | null {
    const { current, next } = this;
    const said = (key: SigningKey) => listedKey(member, key.kid, key.publicJwk.x);
    return next !== null && !speaks(said(current)) && speaks(said(next)) ? next : null;
  }

  /** The roots took the key in use away: the next one is in use from here on, in the caller's transaction. */
  replace(member: Member | undefined, incarnation: number): void {
    const last = member === undefined ? null : validityOf(member, this.current.kid).last_seq;
    const { seq } = this.#store.head(incarnation);
    this.advance({ incarnation, seq: last === null ? seq : Math.min(last, seq) });
  }

  /** It has said so. */
  said(): void {
    this.#store.dropMeta(UNSAID);
  }
}
