import { exportJWK, generateKeyPair, GeneralSign, type CryptoKey, type JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { MEMBERSHIP_TYP, readRoots, verifyMembership, type Roots } from "../../../src/trust/membership.ts";

type Root = { readonly kid: string; readonly key: CryptoKey; readonly jwk: JWK };
let roots: Root[];
let pinned: Roots;

const membership = {
  v: 1,
  type: "interlock-membership",
  version: 1,
  issued_at_ms: 1,
  expires_ms: 2,
  delta_ms: 2000,
  regions: [
    {
      region: "eu",
      pdp: "https://eu.example",
      endpoint: "https://eu.example",
      log_epoch: 1,
      state: "active",
      keys: [{ kty: "OKP", crv: "Ed25519", x: "AAAA", kid: "eu.1.authority.1", alg: "Ed25519", use: "sig" }],
    },
  ],
  domains: {},
  issuers: {},
  may_revoke: {},
};

async function newRoot(kid: string): Promise<Root> {
  const { privateKey, publicKey } = await generateKeyPair("Ed25519");
  return { kid, key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "Ed25519" } };
}

async function sign(payload: unknown, signers: readonly Root[], typ = MEMBERSHIP_TYP) {
  const general = new GeneralSign(
    new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)),
  );
  for (const { kid, key } of signers) general.addSignature(key).setProtectedHeader({ alg: "Ed25519", kid, typ });
  return general.sign();
}

beforeAll(async () => {
  roots = await Promise.all(["root-1", "root-2", "root-3"].map(newRoot));
  pinned = { threshold: 2, keys: roots.map((root) => root.jwk) };
});

describe("verifyMembership", () => {
  it("accepts a threshold of distinct roots", async () => {
    const verified = await verifyMembership(await sign(membership, roots.slice(0, 2)), pinned);
    expect(verified.ok && verified.value.version).toBe(1);
  });

  it("accepts more than the threshold, and ignores a signature of a stranger", async () => {
    const stranger = await newRoot("stranger");
    expect((await verifyMembership(await sign(membership, [...roots, stranger]), pinned)).ok).toBe(true);
  });

  const refused: Record<string, () => Promise<unknown>> = {
    "one signature": async () => sign(membership, roots.slice(0, 1)),
    "the same root twice": async () => sign(membership, [roots[0]!, roots[0]!]),
    "a stranger under a root's kid": async () => sign(membership, [roots[0]!, { ...(await newRoot("root-2")) }]),
    "a signature made for another role": async () => sign(membership, roots.slice(0, 2), "interlock-policy+jws"),
    "no signatures": async () => ({ payload: "e30", signatures: [] }),
    "an unprotected header": async () => {
      const jws = await sign(membership, roots.slice(0, 2));
      return { ...jws, signatures: jws.signatures.map((signature) => ({ ...signature, header: { kid: "root-1" } })) };
    },
    "a changed payload": async () => {
      const jws = await sign(membership, roots.slice(0, 2));
      return { ...jws, payload: Buffer.from(JSON.stringify({ ...membership, version: 9 })).toString("base64url") };
    },
    "an unknown member": async () => sign({ ...membership, extra: 1 }, roots.slice(0, 2)),
    "a duplicate member": async () => sign(`{"v":1,${JSON.stringify(membership).slice(1)}`, roots.slice(0, 2)),
    "a missing member": async () => sign({ ...membership, regions: undefined }, roots.slice(0, 2)),
    "not an object": async () => sign("[]", roots.slice(0, 2)),
    "not a JWS": async () => "hello",
    null: async () => null,
  };
  it.each(Object.entries(refused))("refuses %s", async (_, make) => {
    const verified = await verifyMembership(await make(), pinned);
    expect(verified.ok).toBe(false);
  });
});

describe("readRoots", () => {
  it.each([
    "",
    "null",
    "{}",
    '{"threshold":1,"keys":[]}',
    '{"threshold":3,"keys":[{"kty":"OKP","kid":"a"},{"kty":"OKP","kid":"a"}]}',
    "[1",
  ])("refuses %s", (text) => expect(readRoots(text).ok).toBe(false));
});
