import { createHmac, generateKeyPairSync, sign, constants, type KeyObject } from "node:crypto";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { readPublicKey, type PublicKey } from "../../../src/credentials/jws/public-key.ts";

/** A key pair made for one test file, and the JWK that a publisher would list. */
export type Maker = {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** The public members only. */
  readonly jwk: Readonly<Record<string, string>>;
  /** As read by the code under test. */
  readonly key: PublicKey;
};

const CURVES: Readonly<Record<string, string>> = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };

export function makeKey(alg: string, kid: string, extra: Readonly<Record<string, string>> = {}): Maker {
  const { privateKey, publicKey } = pair(alg);
  const jwk = publicKey.export({ format: "jwk" }) as Record<string, string>;
  const key = readPublicKey({ ...jwk, kid, ...extra });
  if (!key.ok) throw new Error(key.error.message);
  return { alg, kid, privateKey, jwk, key: key.value };
}

function pair(alg: string): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  if (alg === "EdDSA" || alg === "Ed25519") return generateKeyPairSync("ed25519");
  const namedCurve = CURVES[alg];
  return namedCurve === undefined
    ? generateKeyPairSync("rsa", { modulusLength: 2_048 })
    : generateKeyPairSync("ec", { namedCurve });
}

export type Json = Readonly<Record<string, unknown>>;

/** A compact JWS over exactly these texts or objects, whatever they say. `alg`: how it is signed. */
export function mint(maker: Pick<Maker, "privateKey" | "alg">, header: Json | string, claims: Json | string): string {
  const input = [header, claims]
    .map((part) => base64url(utf8(typeof part === "string" ? part : JSON.stringify(part))))
    .join(".");
  return `${input}.${base64url(signature(maker, input))}`;
}

function signature({ privateKey: key, alg }: Pick<Maker, "privateKey" | "alg">, input: string): Uint8Array {
  const data = utf8(input);
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith("ES")) return sign(hash, data, { key, dsaEncoding: "ieee-p1363" });
  if (alg.startsWith("RS")) return sign(hash, data, key);
  if (alg.startsWith("PS"))
    return sign(hash, data, {
      key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    });
  return sign(null, data, key);
}

/** The public key taken for a shared secret: what a verifier falls for that lets the token choose the algorithm. */
export function mintHmac(secret: string, header: Json, claims: Json): string {
  const input = `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(JSON.stringify(claims)))}`;
  return `${input}.${base64url(createHmac("sha256", secret).update(input).digest())}`;
}
