import { CompactSign, exportJWK, generateKeyPair, type CryptoKey } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { readPublicKey, type PublicKey } from "../../../src/credentials/jws/public-key.ts";
import { MAX_PERMIT_MS, PERMIT_TYPE } from "../../../src/credentials/permit-life.ts";
import { verifyPermit, type PermitClaims } from "../../../src/credentials/permit.ts";

const NOW = 1_800_000_000_000;
const PDP = "https://eu.example";
const DIGEST = `sha256:${"A".repeat(43)}`;
const KID = "eu.1.shard-0.1";

const claims: PermitClaims = {
  v: 1,
  iss: PDP,
  aud: "gateway",
  jti: `eu.1.${"p".repeat(22)}`,
  sub: { type: "agent", id: "payer" },
  action: "payment.execute",
  resource: { type: "account", id: "ACC-EU-1" },
  run: `eu.1.${"r".repeat(22)}`,
  step: "eu.1.s0.7",
  input: DIGEST,
  core: DIGEST,
  policy: DIGEST,
  iat_ms: NOW - 500,
  exp: NOW / 1_000 + 60,
  exp_ms: NOW + 60_000,
};

let priv: CryptoKey;
let listed: PublicKey;
beforeAll(async () => {
  const pair = await generateKeyPair("Ed25519", { extractable: true });
  priv = pair.privateKey;
  const { x } = await exportJWK(pair.publicKey);
  const read = readPublicKey({ kty: "OKP", crv: "Ed25519", x: x!, kid: KID });
  if (!read.ok) throw new Error(read.error.message);
  listed = read.value;
});

const sign = (change: object = {}, header: object = {}): Promise<string> =>
  new CompactSign(new TextEncoder().encode(JSON.stringify({ ...claims, ...change })))
    .setProtectedHeader({ alg: "Ed25519", kid: KID, typ: PERMIT_TYPE, ...header })
    .sign(priv);
const verify = (text: string, offline?: { readonly delta_ms: number }, now = NOW) =>
  verifyPermit(
    text,
    { issuer: PDP, keys: [listed], audiences: ["gateway", "other"], ...(offline === undefined ? {} : { offline }) },
    now,
  );
/** A whole life of `ms` from `iat_ms`. */
const living = (ms: number): object => ({ exp_ms: NOW - 500 + ms, exp: Math.ceil((NOW - 500 + ms) / 1_000) });

describe("a permit", () => {
  it("says what it says, to the last millisecond", async () => {
    expect(await verify(await sign())).toEqual({ ok: true, value: claims });
    expect(await verify(await sign(), undefined, NOW + 59_999)).toMatchObject({ ok: true });
    expect(await verify(await sign(), undefined, NOW + 60_000)).toMatchObject({
      ok: false,
      error: { code: "permit_expired" },
    });
    expect(await verify(await sign(living(MAX_PERMIT_MS)))).toMatchObject({ ok: true });
  });

  it("is accepted without redeeming only where it says so, and lives no longer than the bound", async () => {
    const delta = { delta_ms: 2_000 };
    expect(await verify(await sign({ offline: true, ...living(2_000) }), delta)).toMatchObject({ ok: true });
    for (const change of [living(2_000), { offline: true, ...living(2_001) }, { offline: false, ...living(2_000) }])
      expect(await verify(await sign(change), delta)).toMatchObject({ ok: false, error: { code: "permit_invalid" } });
  });

  const refused: readonly (readonly [string, object, object])[] = [
    ["of another region", { iss: "https://us.example" }, {}],
    ["for another audience", { aud: "stranger" }, {}],
    ["for several audiences", { aud: ["gateway", "other"] }, {}],
    ["that lives too long", living(MAX_PERMIT_MS + 1), {}],
    ["that ends before it begins", { iat_ms: NOW + 4_000, exp_ms: NOW + 3_000, exp: NOW / 1_000 + 3 }, {}],
    ["of a time to come", { iat_ms: NOW + 5_001 }, {}],
    ["whose two ends differ", { exp: NOW / 1_000 + 600 }, {}],
    ["with a member nobody knows", { more: true }, {}],
    ["without a step", { step: undefined }, {}],
    ["with a step that is no decision", { step: "eu.1.s0" }, {}],
    ["with a version to come", { v: 2 }, {}],
    ["of another type", {}, { typ: "at+jwt" }],
    ["without a type", {}, { typ: undefined }],
    ["under a key nobody lists", {}, { kid: "eu.1.shard-1.1" }],
    ["without a kid", {}, { kid: undefined }],
    ["that brings a key", {}, { jwk: { kty: "OKP" } }],
  ];
  it.each(refused)("%s is refused", async (_name, change, header) => {
    expect(await verify(await sign(change, header))).toMatchObject({ ok: false, error: { code: "permit_invalid" } });
  });

  it("is refused with any character changed, cut short, or unsigned", async () => {
    const text = await sign();
    for (let at = 0; at < text.length; at += 5) {
      const changed = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
      expect(await verify(changed), `character ${at}`).toMatchObject({ ok: false });
    }
    const [header, payload] = text.split(".") as [string, string, string];
    for (const broken of [`${header}.${payload}.`, `${header}.${payload}`, "", "a.b.c", ` ${text}`])
      expect(await verify(broken)).toMatchObject({ ok: false });
  });
});
