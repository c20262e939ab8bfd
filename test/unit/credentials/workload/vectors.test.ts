import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readPublicKey, type PublicKey } from "../../../../src/credentials/jws/public-key.ts";
import { verifyDpop } from "../../../../src/credentials/workload/dpop.ts";
import { verifyWit, type Wit } from "../../../../src/credentials/workload/wit.ts";
import { verifyWpt } from "../../../../src/credentials/workload/wpt.ts";
import { vectors } from "../../base/vectors.ts";

const keyOf = (jwk: Parameters<typeof readPublicKey>[0]): PublicKey => {
  const key = readPublicKey(jwk);
  if (!key.ok) throw new Error(key.error.message);
  return key.value;
};

const wimse = vectors("wimse");
describe.skipIf(wimse.missing)(`draft-ietf-wimse-s2s-protocol at 40b1c41${wimse.note}`, () => {
  const file = (name: string): string => readFileSync(join(wimse.folder, name), "utf8").trim();
  const vector = () =>
    JSON.parse(file("wpt-vector.json")) as Readonly<Record<"wit" | "wpt" | "access_token" | "audience", string>> & {
      readonly issuer_jwk: Parameters<typeof readPublicKey>[0];
      readonly valid_until_wit: number;
      readonly valid_until_wpt: number;
    };
  const rules = () => ({
    domains: [
      { scheme: "wimse" as const, name: "example.com", keys: [keyOf(vector().issuer_jwk)], fresh_until_ms: Infinity },
    ],
    max_lifetime_ms: 3_600_000,
  });
  const verified = async (): Promise<Wit> => {
    const wit = await verifyWit(vector().wit, rules(), (vector().valid_until_wpt - 60) * 1_000);
    if (!wit.ok) throw new Error(wit.error.message);
    return wit.value;
  };

  test("the WIT verifies until its end and not then", async () => {
    const end_ms = vector().valid_until_wit * 1_000;
    expect(file("wit.txt")).toBe(vector().wit);
    expect(await verifyWit(file("wit.txt"), rules(), end_ms - 1)).toMatchObject({
      ok: true,
      value: { id: { text: "wimse://example.com/specific-workload" }, key_alg: "EdDSA" },
    });
    expect(await verifyWit(vector().wit, rules(), end_ms)).toMatchObject({
      ok: false,
      error: { code: "identity_expired" },
    });
  });

  test("the WPT of revision -01 verifies where that is configured, and in -02 it does not", async () => {
    const { wpt, audience, access_token, valid_until_wpt } = vector();
    const wit = await verified();
    const beside = { txn_token: null, access_token, others: {} };
    const of = (legacy: boolean) => ({ audiences: [audience], legacy, max_ahead_ms: 120_000 });
    const end_ms = valid_until_wpt * 1_000;
    const legacy = await verifyWpt(wpt, wit, beside, of(true), end_ms - 60_000);
    expect(legacy).toMatchObject({ ok: true, value: { covered: ["access_token"], exp_ms: end_ms } });
    const refused = { ok: false, error: { code: "identity_proof_invalid" } };
    expect(await verifyWpt(wpt, wit, beside, of(true), end_ms)).toMatchObject(refused);
    expect(await verifyWpt(wpt, wit, beside, of(false), end_ms - 60_000)).toMatchObject(refused);
    expect(await verifyWpt(wpt, wit, { ...beside, access_token: null }, of(false), end_ms - 60_000)).toMatchObject(
      refused,
    );
  });

  test("the WITs beside the HTTP signatures are of keys that nobody listed", async () => {
    const token = /Workload-Identity-Token: (\S+)/.exec(file("sigs-request.txt"))![1]!;
    expect(await verifyWit(token, rules(), 1_785_155_800_000)).toMatchObject({
      ok: false,
      error: { code: "identity_invalid" },
    });
  });
});

const spiffe = vectors("spiffe");
test.skipIf(spiffe.missing)(
  `the WIT-SVID of SPIFFE's appendix A is read up to its unpublished key${spiffe.note}`,
  async () => {
    const token = readFileSync(join(spiffe.folder, "spec/wit-svid-example.jwt"), "utf8").trim();
    const stranger = keyOf({
      kty: "EC",
      crv: "P-256",
      kid: "lQSi3hZFnda2D-XJkj1zl7foJouiwI4nrAyhy4jZiJg",
      use: "wit-svid",
      x: "rzP7mLCKAHWmsM6X0EwVISC_hI3ujcu95ffUkyeDGGo",
      y: "uOrfDljtX9m3jY-hsyhLJYaxtGkzDv5e5kmCe58Z97g",
    });
    const domain = { scheme: "spiffe" as const, name: "example.com", fresh_until_ms: Infinity };
    const verify = (keys: readonly PublicKey[]) =>
      verifyWit(token, { domains: [{ ...domain, keys }], max_lifetime_ms: 3_600_000 }, 1_765_452_904_000);
    expect(await verify([])).toMatchObject({ ok: false, error: { message: expect.stringMatching(/no WIT key/) } });
    // The key in cnf is the workload's, not the issuer's: it must not verify the WIT itself.
    expect(await verify([stranger])).toMatchObject({
      ok: false,
      error: { message: expect.stringMatching(/signature/) },
    });
  },
);

const dpop = vectors("dpop");
describe.skipIf(dpop.missing)(`the figures of RFC 9449${dpop.note}`, () => {
  const proofIn = (figure: string): string => {
    const text = readFileSync(join(dpop.folder, figure), "utf8");
    return /DPoP: ([A-Za-z0-9_.\\\s-]+?)(?:\n\s*\n|$)/.exec(text)![1]!.replaceAll(/[\\\s]/g, "");
  };
  const jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
  const token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
  const rules = { max_age_ms: 60_000, nonces: null };
  const resource = { method: "GET", uri: "https://resource.example.org/protectedresource" };
  const made_ms = 1_562_262_618_000;

  test("the proof for the protected resource verifies with its token, for as long as it may", async () => {
    const proof = proofIn("fig-12.txt");
    const verify = (now_ms: number) => verifyDpop(proof, resource, { text: token, jkt }, rules, now_ms);
    expect(await verify(made_ms)).toMatchObject({ ok: true, value: { use: { jkt } } });
    expect(await verify(made_ms + 59_999)).toMatchObject({ ok: true });
    expect(await verify(made_ms + 60_000)).toMatchObject({ ok: false, error: { code: "identity_proof_invalid" } });
  });

  test("the proofs for the token endpoint are sound and cover no access token", async () => {
    const endpoint = { method: "POST", uri: "https://server.example.com/token" };
    for (const [figure, at_ms] of [
      ["fig-01.txt", 1_562_262_616_000],
      ["fig-04.txt", 1_562_262_616_000],
      ["fig-06.txt", 1_562_265_296_000],
    ] as const) {
      const result = await verifyDpop(proofIn(figure), endpoint, { text: token, jkt }, rules, at_ms);
      // Check 12 is the last: all before it, the signature among them, held.
      expect(result).toMatchObject({ ok: false, error: { message: expect.stringMatching(/ath/) } });
    }
  });
});
