import { err, ok, type Result } from "../base/result.ts";
import type { Facts, PepScope } from "../vocabulary/types.ts";
import { checkClaims, checkHeader, signatureHolds } from "./access-token.ts";
import { gate } from "./gate.ts";
import { type KeySet, MaterialStore, type MaterialLike } from "./material.ts";
import { GenerationCache } from "./token-cache.ts";

/** A PEP whose credential was verified, and the facts about it as the shard reads them. */
export type Caller = {
  readonly pep: string;
  readonly scopes: readonly PepScope[];
  /** Whose permits it redeems: its id, and what it was registered with besides. */
  readonly audiences: readonly string[];
  readonly exp_ms: number;
  /** Digest of the material under which this was verified. */
  readonly material: string;
  /** JCS text of `Facts`; written once for each credential, not once for each request. */
  readonly facts: string;
};

/** `unavailable`: the key material could not be read, so nothing is known about the caller. */
export type PepRefusal = { readonly code: "missing" | "invalid" | "unavailable"; readonly message: string };

export type PepAuthentication = Result<Caller, PepRefusal>;

const SCOPES: readonly PepScope[] = ["approve", "evaluate", "lineage.read", "runs", "search"];
const PEP_ID = /^[A-Za-z0-9._-]{1,128}$/;
const MAX_LIFETIME_MS = 366 * 86_400_000;
const CACHED_TOKENS = 1_024;
const OPEN_EXP_MS = 253_402_300_799_000;

const invalid = (message: string): PepAuthentication => err({ code: "invalid", message });
const UNAVAILABLE: PepAuthentication = err({
  code: "unavailable",
  message: "the region's key material cannot be read, so no credential can be verified; retry",
});

/**
 * Authenticates PEPs of one region in one isolate. A verified token is kept by its text (the gate makes that unique)
 * and answers only while the current material is the one that verified it; its end is checked every time.
 */
export class PepAuthenticator {
  readonly #region: string;
  readonly #pdp: string;
  readonly #open: boolean;
  readonly #material: MaterialStore;
  readonly #verified = new GenerationCache<Caller>(CACHED_TOKENS);
  #anyone: Caller | null = null;

  constructor(
    region: { readonly name: string; readonly pdp: string; readonly open: boolean },
    fetch: () => Promise<MaterialLike>,
  ) {
    this.#region = region.name;
    this.#pdp = region.pdp;
    this.#open = region.open;
    this.#material = new MaterialStore(fetch);
  }

  /** Answers without a promise where the token is known: that is nearly every request. */
  authenticate(authorization: string | null, now_ms: number): PepAuthentication | Promise<PepAuthentication> {
    if (authorization === null) return this.#openCaller(now_ms);
    const token = bearer(authorization);
    if (token === null) return invalid("Authorization is not of the form: Bearer <credential>");
    const known = this.#verified.get(token);
    if (known !== undefined && known.material === this.#material.keys?.digest) {
      return now_ms < known.exp_ms ? ok(known) : invalid("the credential has expired");
    }
    return this.#verify(token, now_ms);
  }

  /** After a shard answered `stale_facts`: once more under newer material. */
  async again(authorization: string | null, stale: Caller, now_ms: number): Promise<PepAuthentication> {
    try {
      await this.#material.newerThan(stale.material, now_ms);
    } catch {
      return UNAVAILABLE;
    }
    return this.authenticate(authorization, now_ms);
  }

  /** Digest of the material in use; `null` before the first request. */
  get material(): string | null {
    return this.#material.keys?.digest ?? null;
  }

  /** The keys in use; `null` before the first request. */
  get keys(): KeySet | null {
    return this.#material.keys;
  }

  /** The keys in use, read where there are none yet; `null` where they cannot be. */
  async loaded(now_ms: number): Promise<KeySet | null> {
    try {
      return this.#material.keys ?? (await this.#material.load(now_ms));
    } catch {
      return null;
    }
  }

  /**
   * Newer keys than `seen`, for a caller who is nobody under those: no shard would say that they are stale. Asked for at
   * most once a second; `null`: there are none.
   */
  async fresher(seen: string, now_ms: number): Promise<KeySet | null> {
    if (this.#material.keys?.digest === seen && !this.#material.mayAskForUnknownKid(now_ms)) return null;
    try {
      const keys = this.#material.keys?.digest === seen ? await this.#material.load(now_ms) : this.#material.keys;
      return keys === null || keys.digest === seen ? null : keys;
    } catch {
      return null;
    }
  }

  /** After `stale_facts` for facts made under `seen`. */
  async newerThan(seen: string, now_ms: number): Promise<KeySet | null> {
    try {
      return await this.#material.newerThan(seen, now_ms);
    } catch {
      return null;
    }
  }

  /** Newer keys, where none were asked for just now: what came along may be signed by one that is not known yet. */
  async newerIfDue(now_ms: number): Promise<KeySet | null> {
    const seen = this.keys?.digest ?? null;
    return seen !== null && this.#material.mayAskForUnknownKid(now_ms) ? this.newerThan(seen, now_ms) : this.keys;
  }

  async #verify(text: string, now_ms: number): Promise<PepAuthentication> {
    const token = gate(text);
    if (!token.ok) return invalid(token.error);
    const kid = checkHeader(token.value);
    if (!kid.ok) return invalid(kid.error);
    let keys: KeySet;
    try {
      keys = this.#material.keys ?? (await this.#material.load(now_ms));
      if (!keys.lists(kid.value) && this.#material.mayAskForUnknownKid(now_ms))
        keys = await this.#material.load(now_ms);
    } catch {
      return UNAVAILABLE;
    }
    const verifying = await keys.pepKey(kid.value, this.#pdp);
    if (verifying === null)
      return invalid("no key of this region goes by the credential's kid; credentials are valid in one region only");
    if (!(await signatureHolds(token.value, verifying.key)))
      return invalid("the credential's signature does not verify");
    const claims = checkClaims(
      token.value,
      { issuer: this.#pdp, audience: this.#pdp, max_lifetime_ms: MAX_LIFETIME_MS },
      now_ms,
    );
    if (!claims.ok) return invalid(claims.error);
    const { sub, jti, iss, exp_ms } = claims.value;
    const prefix = `pep:${this.#region}/`;
    const pep = sub.startsWith(prefix) ? sub.slice(prefix.length) : "";
    if (!PEP_ID.test(pep)) return invalid(`the credential's sub is not ${prefix}<id>`);
    if (token.value.claims["client_id"] !== sub) return invalid("the credential's client_id is not its sub");
    const scopes = SCOPES.filter((scope) => claims.value.scopes.includes(scope));
    const audiences = audiencesOf(token.value.claims["audiences"]);
    if (audiences === null) return invalid("the credential's audiences are not a list of texts");
    const caller = callerOf({
      pep,
      credential: jti,
      issuer: iss,
      scopes,
      audiences: [pep, ...audiences],
      exp_ms,
      keys: [kid.value],
      thumbprints: [verifying.thumbprint],
      material: keys.digest,
    });
    this.#verified.set(text, caller);
    return ok(caller);
  }

  #openCaller(now_ms: number): PepAuthentication | Promise<PepAuthentication> {
    if (!this.#open)
      return err({ code: "missing", message: "a PEP credential is required: Authorization: Bearer <credential>" });
    const keys = this.#material.keys;
    if (keys === null)
      return this.#material.load(now_ms).then(
        (loaded) => ok(this.#anyoneUnder(loaded)),
        () => UNAVAILABLE,
      );
    return ok(this.#anyoneUnder(keys));
  }

  #anyoneUnder(keys: KeySet): Caller {
    if (this.#anyone?.material !== keys.digest) {
      this.#anyone = callerOf({
        pep: "open",
        credential: "open",
        issuer: "open",
        scopes: ["evaluate", "search"],
        audiences: ["open"],
        exp_ms: OPEN_EXP_MS,
        keys: [],
        thumbprints: [],
        material: keys.digest,
      });
    }
    return this.#anyone;
  }
}

/** The token of `Bearer <token>`; `null` for another scheme or form. */
export function bearer(authorization: string): string | null {
  if (authorization.length < 8 || authorization.charCodeAt(6) !== 0x20) return null;
  if (authorization.slice(0, 6).toLowerCase() !== "bearer") return null;
  return authorization.slice(7);
}

type CallerParts = Omit<Caller, "facts"> & {
  readonly credential: string;
  readonly issuer: string;
  readonly keys: readonly string[];
  readonly thumbprints: readonly string[];
  /** Of a workload that asks for itself, in place of keys. */
  readonly sources?: readonly string[];
};

/** One that was registered without has none. */
function audiencesOf(claim: unknown): readonly string[] | null {
  if (claim === undefined) return [];
  return Array.isArray(claim) && claim.every((name) => typeof name === "string") ? claim : null;
}

export function callerOf(parts: CallerParts): Caller {
  const { pep, credential, issuer, scopes, audiences, exp_ms, keys, thumbprints, sources, material } = parts;
  // Members in sorted order: `JSON.stringify` of this literal is its JCS; a test holds the two against each other.
  const facts = {
    keys,
    material,
    pep: { credential, exp_ms, id: pep, issuer, scopes },
    ...(sources === undefined ? {} : { sources }),
    thumbprints,
    v: 1,
  } as const satisfies Facts;
  return { pep, scopes, audiences, exp_ms, material, facts: JSON.stringify(facts) };
}
