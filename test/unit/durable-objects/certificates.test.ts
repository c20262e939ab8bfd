import { expect, it } from "vitest";
import { generateKeyPair, exportJWK } from "jose";
import { ShardCertificates } from "../../../durable-objects/authority/certificates.ts";
import type { SigningKey } from "../../../durable-objects/platform.ts";
import { CERTIFICATE_MS, verifyCertificate } from "../../../src/credentials/between/certificate.ts";
import { readPublicKey, type PublicKey } from "../../../src/credentials/jws/public-key.ts";

const NOW = 1_800_000_000_000;

async function newKey(kid: string): Promise<SigningKey & { readonly listed: PublicKey }> {
  const { publicKey, privateKey } = await generateKeyPair("Ed25519", { extractable: true });
  const { x } = await exportJWK(publicKey);
  const read = readPublicKey({ kty: "OKP", crv: "Ed25519", x: x!, kid });
  if (!read.ok) throw new Error(read.error.message);
  const publicJwk = { kty: "OKP", crv: "Ed25519", x: x!, kid, alg: "Ed25519", use: "sig" } as const;
  return { kid, key: privateKey, publicJwk, listed: read.value };
}

it("a shard's key is certified for an hour, again after half of it, and at once under a new authority key", async () => {
  let own = await newKey("eu.1.authority.1");
  const shard = await newKey("eu.1.shard-0.1");
  const certificates = new ShardCertificates("eu", () => own);
  const first = await certificates.renewed(shard.publicJwk, 0, NOW);
  expect(first?.exp_ms).toBe(NOW + CERTIFICATE_MS);
  const verified = await verifyCertificate(first!.text, (region) => (region === "eu" ? [own.listed] : []), NOW);
  expect(verified).toMatchObject({ ok: true, value: { region: "eu", key: { thumbprint: shard.listed.thumbprint } } });

  expect(await certificates.renewed(shard.publicJwk, first!.exp_ms, NOW + CERTIFICATE_MS / 2 - 1)).toBeNull();
  // A shard that started again has none, and gets the one that there is.
  expect(await certificates.renewed(shard.publicJwk, 0, NOW + 1)).toEqual(first);
  const second = await certificates.renewed(shard.publicJwk, first!.exp_ms, NOW + CERTIFICATE_MS / 2);
  expect(second?.exp_ms).toBe(NOW + CERTIFICATE_MS / 2 + CERTIFICATE_MS);

  own = await newKey("eu.1.authority.2");
  const third = await certificates.renewed(shard.publicJwk, second!.exp_ms, NOW + CERTIFICATE_MS / 2 + 1);
  expect(await verifyCertificate(third!.text, () => [own.listed], NOW + CERTIFICATE_MS)).toMatchObject({ ok: true });
});

it("a clock that stood wrong far ahead leaves no certificate that lasts longer than one may", async () => {
  const own = await newKey("eu.1.authority.1");
  const shard = await newKey("eu.1.shard-0.1");
  const certificates = new ShardCertificates("eu", () => own);
  await certificates.renewed(shard.publicJwk, 0, NOW + 10 * CERTIFICATE_MS);
  const now = await certificates.renewed(shard.publicJwk, 0, NOW);
  expect(now?.exp_ms).toBe(NOW + CERTIFICATE_MS);
});
