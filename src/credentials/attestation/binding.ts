import { base64url, utf8 } from "../../base/bytes.ts";
import { sha256, type Sha256 } from "../../base/digest.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { spki } from "../jws/spki.ts";
import type { Ear } from "./ear.ts";

/**
 * How an attestation result hangs on the key that the workload proved to hold. Without that, anybody who sees a good
 * result could send it along as their own: EAR has no `cnf`.
 */
export type Binding =
  /** The verifier attested the very key (`akpub`). */
  | "key"
  /** The attester put the key's thumbprint under the nonce that it answered. */
  | "nonce"
  | "none"
  /** A key is attested, and it is another one. */
  | "other_key";

/** The `eat_nonce` that binds: base64url(SHA-256("pdp-att" ‖ nonce ‖ jkt)). `jkt` has 43 characters always. */
export const boundNonce = (nonce: string, jkt: string, hash: Sha256 = sha256): string =>
  base64url(hash(utf8(`pdp-att${nonce}${jkt}`)));

/** `answered`: the nonce in the *evidence* is the one that binds, so the attester itself knew the key. */
export function bindingOf(ear: Ear, key: PublicKey, answered: boolean): Binding {
  const attested = ear.submods.flatMap(({ akpub }) => (akpub === null ? [] : [akpub]));
  if (attested.includes(base64url(spki(key.jwk)))) return "key";
  if (answered) return "nonce";
  return attested.length > 0 ? "other_key" : "none";
}
