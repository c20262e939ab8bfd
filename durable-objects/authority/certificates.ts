import type { PublicJwk } from "../../src/objects/jwk.ts";
import { CERTIFICATE_MS, CERTIFICATE_TYPE, type CertificateClaims } from "../../src/credentials/between/certificate.ts";
import { signJws, type SigningKey } from "../platform.ts";

export type ShardCertificate = { readonly text: string; readonly exp_ms: number };

/** Made again when half of its life is over, so that what a shard signs now can be verified for a while. */
const RENEW_MS = CERTIFICATE_MS / 2;

/** What this region says to others of its shards' keys (`credentials/between/certificate`). */
export class ShardCertificates {
  readonly #region: string;
  readonly #signing: () => SigningKey;
  readonly #made = new Map<string, ShardCertificate & { readonly signer: string }>();

  constructor(region: string, signing: () => SigningKey) {
    this.#region = region;
    this.#signing = signing;
  }

  /** A certificate for the key, where the one that ends at `until_ms` (0: none) is due; `null`: it is good. */
  async renewed({ kid, x = "" }: PublicJwk, until_ms: number, now_ms: number): Promise<ShardCertificate | null> {
    const signing = this.#signing();
    const known = this.#made.get(kid);
    const young = (exp_ms: number): boolean => exp_ms - now_ms > RENEW_MS && exp_ms - now_ms <= CERTIFICATE_MS;
    if (known !== undefined && known.signer === signing.kid && young(known.exp_ms))
      return known.exp_ms === until_ms ? null : { text: known.text, exp_ms: known.exp_ms };
    const exp_ms = now_ms + CERTIFICATE_MS;
    const claims: CertificateClaims = {
      v: 1,
      iss: this.#region,
      role: "shard",
      jwk: { kty: "OKP", crv: "Ed25519", x, kid },
      iat_ms: now_ms,
      exp_ms,
    };
    const text = await signJws(signing, CERTIFICATE_TYPE, JSON.stringify(claims));
    this.#made.set(kid, { text, exp_ms, signer: signing.kid });
    return { text, exp_ms };
  }
}
