import { CompactSign, exportJWK, generateKeyPair, type CryptoKey, type JWK } from "jose";
import { streamBody, type StreamBody } from "../../src/ssf/stream.ts";

/** A Shared Signals transmitter: its key, and SETs signed with it. */
export const CAEP = "https://schemas.openid.net/secevent/caep/event-type/";
export const RISC = "https://schemas.openid.net/secevent/risc/event-type/";
export const SSF = "https://schemas.openid.net/secevent/ssf/event-type/";
export const ISSUER = "https://idp.example/tenant-1";
export const AUDIENCE = "https://eu.pdp.example/ssf";

export const EVENTS = [
  ...[
    "session-revoked",
    "token-claims-change",
    "credential-change",
    "assurance-level-change",
    "device-compliance-change",
    "session-established",
    "session-presented",
    "risk-level-change",
  ].map((name) => CAEP + name),
  ...["account-disabled", "account-enabled", "credential-compromise"].map((name) => RISC + name),
];

export class Transmitter {
  readonly alg: string;
  readonly jwk: JWK & { kid: string };
  readonly #key: CryptoKey;

  private constructor(alg: string, jwk: JWK & { kid: string }, key: CryptoKey) {
    this.alg = alg;
    this.jwk = jwk;
    this.#key = key;
  }

  static async make(alg = "RS256", kid = "idp-1", options: object = {}): Promise<Transmitter> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
    return new Transmitter(alg, { ...(await exportJWK(publicKey)), kid, alg, use: "sig" }, privateKey);
  }

  stream(changes: object = {}): StreamBody {
    return streamBody.parse({
      id: "idp",
      issuer: ISSUER,
      audience: AUDIENCE,
      jwks: { keys: [this.jwk] },
      events: EVENTS,
      subjects: [
        { format: "iss_sub", to: "subject:user" },
        { member: "user", format: "iss_sub", to: "subject:user" },
        { format: "jwt_id", to: "credential" },
      ],
      ...changes,
    });
  }

  /** Signs exactly this text as the payload. */
  signText(payload: string, header: object = {}): Promise<string> {
    return new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg: this.alg, kid: this.jwk.kid, typ: "secevent+jwt", ...header })
      .sign(this.#key);
  }

  sign(claims: object, header: object = {}): Promise<string> {
    return this.signText(JSON.stringify(claims), header);
  }

  /** A SET about `sub`, now, with one event. */
  set(type: string, event: object, claims: object = {}, sub = "alice"): Promise<string> {
    return this.sign(claimsOf(type, event, claims, sub));
  }
}

let made = 0;
export const claimsOf = (type: string, event: object, claims: object = {}, sub = "alice"): Record<string, unknown> => ({
  iss: ISSUER,
  aud: AUDIENCE,
  jti: `set-${++made}`,
  iat: Math.floor(Date.now() / 1_000),
  sub_id: { format: "iss_sub", iss: ISSUER, sub },
  events: { [type]: event },
  ...claims,
});
