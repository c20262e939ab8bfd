import type { JWK } from "jose";
import { Problem } from "../problem.ts";
import { readJsonFile } from "../cli/target.ts";

/** Name and public half of an Ed25519 key in a file; a private one is read for its public half only. */
export function publicKey(path: string): { readonly kid: string; readonly publicJwk: { readonly x: string } } {
  const { kty, crv, x, kid } = readJsonFile(path, "key") as JWK;
  if (kty !== "OKP" || crv !== "Ed25519" || typeof x !== "string" || typeof kid !== "string")
    throw new Problem(`${path} is not an Ed25519 key with a kid (JWK, RFC 8037)`, "Give the path of such a key.", 2);
  return { kid, publicJwk: { x } };
}
