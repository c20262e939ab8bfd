import { exportJWK, generateKeyPair, CompactSign, type CryptoKey } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { readPublicKey, type PublicKey } from "../../../../src/credentials/jws/public-key.ts";
import {
  CERTIFICATE_MS,
  CERTIFICATE_TYPE,
  type CertificateClaims,
} from "../../../../src/credentials/between/certificate.ts";
import {
  MAX_PASS_MS,
  PASS_TYPE,
  passOverflow,
  verifyPass,
  type PassClaims,
} from "../../../../src/credentials/between/pass.ts";
import { joinStatement } from "../../../../src/credentials/between/statement.ts";
import {
  STEP_RECEIPT_TYPE,
  verifyStepReceipt,
  type StepReceiptClaims,
} from "../../../../src/credentials/between/step-receipt.ts";
import type { JsonObject } from "../../../../src/base/json.ts";

const NOW = 1_800_000_000_000;
const HASH = "A".repeat(43);
const PSEUDONYM = `s1.${HASH}`;

type Key = { readonly priv: CryptoKey; readonly pub: PublicKey; readonly jwk: JsonObject };
const makeKey = async (kid: string): Promise<Key> => {
  const { publicKey, privateKey } = await generateKeyPair("Ed25519", { extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  const jwk = { kty: kty!, crv: crv!, x: x!, kid };
  const read = readPublicKey(jwk);
  if (!read.ok) throw new Error(read.error.message);
  return { priv: privateKey, pub: read.value, jwk };
};
const sign = (key: Key, typ: string, claims: object, header: object = {}): Promise<string> =>
  new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "Ed25519", kid: key.pub.kid!, typ, ...header })
    .sign(key.priv);

let eu: Key, us: Key, shard: Key, other: Key;
beforeAll(async () => {
  [eu, us, shard, other] = await Promise.all([
    makeKey("eu.authority.1"),
    makeKey("us.authority.1"),
    makeKey("eu.1.shard-0.1"),
    makeKey("eu.1.shard-0.1"),
  ]);
});
const keysOf = (region: string): readonly PublicKey[] => (region === "eu" ? [eu.pub] : region === "us" ? [us.pub] : []);

const certificate = (): CertificateClaims => ({
  v: 1,
  iss: "eu",
  role: "shard",
  jwk: shard.jwk as CertificateClaims["jwk"],
  iat_ms: NOW - 1_000,
  exp_ms: NOW - 1_000 + CERTIFICATE_MS,
});
const pass: PassClaims = {
  v: 1,
  iss: "eu",
  aud: "us",
  jti: `eu.1.${"a".repeat(22)}`,
  run: HASH,
  node: "quote",
  subject: PSEUDONYM,
  action: "fx.quote",
  labels: ["pii:eu"],
  parents: [HASH],
  resource: { type: "currency", key: PSEUDONYM },
  dependencies: [PSEUDONYM],
  ancestors: [],
  homes: ["ap", "us"],
  iat_ms: NOW - 500,
  exp_ms: NOW + 60_000,
};
const receipt: StepReceiptClaims = {
  v: 1,
  iss: "eu",
  aud: "us",
  pass: `us.1.${"b".repeat(22)}`,
  run: HASH,
  decision: "allow",
  decision_id: "eu.1.s0.7",
  leaf: HASH,
  t_ms: NOW - 100,
  labels: [],
  dependencies: [PSEUDONYM],
  homes: ["us"],
};

const passText = async (change: object = {}, cert: object = {}, signer: Key = shard): Promise<string> =>
  joinStatement(
    await sign(signer, PASS_TYPE, { ...pass, ...change }),
    await sign(eu, CERTIFICATE_TYPE, { ...certificate(), ...cert }),
  );

describe("a pass", () => {
  it.each([
    ["dependencies", 256, 257, /pass itself rests on more than 256 keys/],
    ["parents", 64, 65, /uses more than 64 others/],
    ["ancestors", 1_023, 1_024, /rests on 1024 keys or more/],
  ] as const)(
    "that names too many %s is not given, and what is given is of the form",
    async (member, most, over, why) => {
      const of = (count: number): PassClaims => ({
        ...pass,
        [member]: Array.from({ length: count }, () => (member === "parents" ? HASH : PSEUDONYM)),
      });
      expect(passOverflow(of(most))).toEqual([]);
      expect(await verifyPass(await passText(of(most)), "us", keysOf, NOW)).toMatchObject({ ok: true });
      expect(passOverflow(of(over))).toEqual([expect.stringMatching(why)]);
    },
  );

  it("is knowledge where everything holds", async () => {
    const verified = await verifyPass(await passText(), "us", keysOf, NOW);
    expect(verified).toMatchObject({
      ok: true,
      value: { pass: { id: pass.jti, home: "eu", homes: ["ap", "eu"], subject: PSEUDONYM, expires_ms: NOW + 60_000 } },
    });
    if (!verified.ok) return;
    expect(verified.value.pass.keys).toEqual([`key:${shard.pub.thumbprint}`, `key:${eu.pub.thumbprint}`]);
    expect(verified.value.statement.signer).toEqual({ kid: "eu.authority.1", thumbprint: eu.pub.thumbprint });
  });

  const refused: readonly (readonly [string, object, object, RegExp])[] = [
    ["for another region", { aud: "ap" }, {}, /another region than us/],
    ["issued in another region's name", { iss: "ap" }, {}, /not issued by the region/],
    ["whose id is another region's", { jti: `ap.1.${"a".repeat(22)}` }, {}, /id is of another region/],
    ["at its last millisecond", { exp_ms: NOW }, {}, /has expired/],
    ["that lives too long", { exp_ms: NOW - 500 + MAX_PASS_MS + 1 }, {}, /lifetime/],
    ["that ends before it begins", { iat_ms: NOW + 1_000, exp_ms: NOW + 900 }, {}, /lifetime/],
    ["of a time to come", { iat_ms: NOW + 5_001 }, {}, /in the future/],
    ["with a member nobody knows", { extra: 1 }, {}, /form/],
    ["with a name instead of a pseudonym", { subject: "agent/fx-quoter" }, {}, /form/],
    ["with a wrong version", { v: 2 }, {}, /form/],
    ["under an expired certificate", {}, { exp_ms: NOW }, /certificate has expired/],
    ["under a certificate that lives too long", {}, { exp_ms: NOW + CERTIFICATE_MS }, /certificate's lifetime/],
    ["under a certificate of a time to come", {}, { iat_ms: NOW + 5_001, exp_ms: NOW + 6_000 }, /future/],
    ["under a certificate of another region", {}, { iss: "us" }, /not signed by a key that the membership lists/],
    ["under a certificate of an unknown region", {}, { iss: "zz" }, /not signed by a key/],
    ["under a certificate for another role", {}, { role: "log" }, /form/],
  ];
  it.each(refused)("%s is refused", async (_name, change, cert, message) => {
    const verified = await verifyPass(await passText(change, cert), "us", keysOf, NOW);
    expect(verified).toEqual({ ok: false, error: expect.stringMatching(message) as string });
  });

  it("is refused in its own region", async () => {
    const text = await passText({ aud: "eu" });
    expect(await verifyPass(text, "eu", keysOf, NOW)).toMatchObject({ ok: false });
  });

  it("is refused where the certified key did not sign it, whatever kid it claims", async () => {
    expect(await verifyPass(await passText({}, {}, other), "us", keysOf, NOW)).toEqual({
      ok: false,
      error: "the pass's signature does not verify",
    });
    const named = await sign(shard, PASS_TYPE, pass, { kid: "eu.1.shard-9.1" });
    const text = joinStatement(named, await sign(eu, CERTIFICATE_TYPE, certificate()));
    expect(await verifyPass(text, "us", keysOf, NOW)).toEqual({
      ok: false,
      error: "the pass is not signed by the key that came along",
    });
  });

  it("is refused under a certificate that the region's authority did not sign", async () => {
    const forged = await sign(us, CERTIFICATE_TYPE, certificate());
    const claimed = await sign(us, CERTIFICATE_TYPE, certificate(), { kid: "eu.authority.1" });
    for (const cert of [forged, claimed]) {
      const text = joinStatement(await sign(shard, PASS_TYPE, pass), cert);
      expect(await verifyPass(text, "us", keysOf, NOW)).toMatchObject({ ok: false });
    }
  });

  it("is refused with another type, a header that brings a key, no certificate, or two", async () => {
    const cert = await sign(eu, CERTIFICATE_TYPE, certificate());
    const good = await sign(shard, PASS_TYPE, pass);
    const texts = [
      joinStatement(await sign(shard, STEP_RECEIPT_TYPE, pass), cert),
      joinStatement(await sign(shard, PASS_TYPE, pass, { jwk: shard.jwk }), cert),
      good,
      `${good}~`,
      `${good}~${cert}~${cert}`,
      `${good} ~${cert}`,
      `${good}~${good}`,
      "~",
      "",
      "x".repeat(140_000),
    ];
    for (const text of texts) expect(await verifyPass(text, "us", keysOf, NOW)).toMatchObject({ ok: false });
  });

  it("is refused with any one character changed", async () => {
    const text = await passText();
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
      expect(await verifyPass(changed, "us", keysOf, NOW), `character ${at}`).toMatchObject({ ok: false });
    }
  });
});

describe("a step receipt", () => {
  const text = async (change: object = {}): Promise<string> =>
    joinStatement(
      await sign(shard, STEP_RECEIPT_TYPE, { ...receipt, ...change }),
      await sign(eu, CERTIFICATE_TYPE, certificate()),
    );

  it("is knowledge where everything holds; its own region is among the homes, the reader's is not", async () => {
    expect(await verifyStepReceipt(await text(), "us", keysOf, NOW)).toMatchObject({
      ok: true,
      value: { receipt: { pass: receipt.pass, region: "eu", decision: "allow", homes: ["eu"] } },
    });
  });

  const refused: readonly (readonly [string, object])[] = [
    ["for another region", { aud: "ap" }],
    ["in another region's name", { iss: "ap" }],
    ["about a decision of another region", { decision_id: "us.1.s0.7" }],
    ["for a pass of another region", { pass: `ap.1.${"b".repeat(22)}` }],
    ["of a time to come", { t_ms: NOW + 5_001 }],
    ["with another word for the decision", { decision: "maybe" }],
    ["with a member too many", { subject: "agent/x" }],
    ["with a leaf that is no hash", { leaf: "abc" }],
  ];
  it.each(refused)("%s is refused", async (_name, change) => {
    expect(await verifyStepReceipt(await text(change), "us", keysOf, NOW)).toMatchObject({ ok: false });
  });

  it("is no pass", async () => {
    expect(await verifyPass(await text(), "us", keysOf, NOW)).toMatchObject({ ok: false });
  });
});
