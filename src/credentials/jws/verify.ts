import { compactVerify, importJWK, type CryptoKey } from "jose";
import { err, ok, type Result } from "../../base/result.ts";
import { gate, type GatedToken } from "../gate.ts";
import { shown } from "../failure.ts";
import { allowed, sameAlgorithm, suits, type Algorithm, type PublicMembers } from "./algorithms.ts";
import type { PublicKey } from "./public-key.ts";

/** TRUST section 1.2: no credential is longer. */
const MAX_CHARS = 16_384;
/** The strict gate with the limits of workload credentials: delegation and attestation results nest deeper. */
const LIMITS = { max_depth: 16, max_values: 4_000 } as const;

export const gateCredential = (text: string, what: string): Result<GatedToken, string> =>
  gate(text, { what, max_chars: MAX_CHARS, limits: LIMITS });

/** What the protected header of one kind of token may be; nothing else is accepted in it. */
export type HeaderRule = {
  readonly what: string;
  readonly algorithms: readonly Algorithm[];
  /** Accepted values of `typ`; `null` among them: it may be absent. */
  readonly typ: readonly (string | null)[];
  /** Members beside `alg` and `typ`. */
  readonly members: readonly string[];
};

export type Header = { readonly alg: Algorithm; readonly kid: string | null };

/**
 * The header, where it is exactly what the rule says. A member that is not listed is refused, known or not: `jku`,
 * `x5u`, `x5c` and `jwk` bring keys along, `crit` and `b64` change what is signed.
 */
export function readHeader({ header }: GatedToken, rule: HeaderRule): Result<Header, string> {
  const members = ["alg", "typ", ...rule.members];
  const extra = Object.keys(header).find((member) => !members.includes(member));
  if (extra !== undefined) return err(`the ${rule.what}'s header has a member that is not accepted: ${shown(extra)}`);
  const { alg, typ, kid } = header;
  const algorithm = allowed(alg, rule.algorithms);
  if (algorithm === null) return err(`the ${rule.what}'s alg is not accepted`);
  if (!rule.typ.some((accepted) => accepted === (typ ?? null)) || typ === null)
    return err(`the ${rule.what}'s typ is not ${rule.typ.filter((one) => one !== null).join(" or ")}`);
  if (kid !== undefined && (typeof kid !== "string" || kid === "" || kid.length > 256))
    return err(`the ${rule.what}'s kid is not a short text`);
  return ok({ alg: algorithm, kid: kid ?? null });
}

/**
 * The one key that may have signed: the key that goes by `kid`, or the only key there is where the header names none.
 * Never more than one is tried.
 */
export function chooseKey(keys: readonly PublicKey[], { kid }: Header): PublicKey | null {
  if (kid === null) return keys.length === 1 ? keys[0]! : null;
  return keys.find((key) => key.kid === kid) ?? null;
}

/** Whether `key` made the token's signature with `alg`, for which it has to be meant. */
export async function signatureHolds(token: GatedToken, key: PublicKey, alg: Algorithm): Promise<boolean> {
  if (!suits(key.jwk, alg) || (key.alg !== null && !sameAlgorithm(key.alg, alg))) return false;
  const imported = await importKey(key.jwk, alg);
  if (imported === null) return false;
  try {
    await compactVerify(token.text, imported, { algorithms: [alg] });
    return true;
  } catch {
    return false;
  }
}

/** Imported once for each key object and algorithm: WebCrypto binds the two. Keys are immutable, so is this. */
const imports = new WeakMap<PublicMembers, Map<Algorithm, CryptoKey>>();

async function importKey(jwk: PublicMembers, alg: Algorithm): Promise<CryptoKey | null> {
  const known = imports.get(jwk)?.get(alg);
  if (known !== undefined) return known;
  try {
    const key = await importJWK({ ...jwk }, alg);
    if (key instanceof Uint8Array) return null;
    const byAlgorithm = imports.get(jwk) ?? new Map<Algorithm, CryptoKey>();
    imports.set(jwk, byAlgorithm.set(alg, key));
    return key;
  } catch {
    return null;
  }
}
