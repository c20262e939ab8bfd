import { describe, expect, test } from "vitest";
import { epochNonce, epochOf, mintNonce, NONCE_LIFE_MS } from "../../../../src/credentials/attestation/nonce.ts";
import type { AttestationCode } from "../../../../src/credentials/failure.ts";
import { BAD_FORMS } from "../bad-forms.ts";
import { NOW_MS, NOW_S } from "../credentials.ts";
import { mint, type Json } from "../maker.ts";
import {
  AFFIRMING,
  akpub,
  check,
  checkText,
  context,
  other,
  overKey,
  POLICY,
  result,
  resultText,
  submod,
  verifier,
  verifierKey,
  type ResultChange,
} from "./results.ts";

const INVALID = "attestation_invalid";
const STALE = "attestation_stale";
const UNBOUND = "attestation_unbound";

describe("an attestation result of a bad form", () => {
  test("is accepted in its good form", async () => {
    expect(await checkText(resultText())).toMatchObject({ ok: true, value: { outcome: "accepted" } });
  });

  test.each(BAD_FORMS)("is refused with $name", async ({ says, text }) => {
    const outcome = await checkText(text(result));
    expect(outcome).toMatchObject({ ok: false, error: { code: INVALID } });
    const { message } = (outcome as { readonly error: { readonly message: string } }).error;
    expect(message).toMatch(says);
    expect(message).not.toContain("secret");
  });
});

const random = (length: number): Uint8Array => new Uint8Array(length).fill(9);
const nonceAt = (now_ms: number, region = "eu"): string => mintNonce({ ...context, region }, now_ms, random);
const vector = (change: Json): ResultChange => ({
  submod: { ear_trustworthiness_vector: { ...AFFIRMING, ...change } },
});
const good = nonceAt(NOW_MS - 1_000);
const flipped = good.slice(0, -1) + (good.endsWith("A") ? "B" : "A");
const epoch = epochOf(NOW_MS, 60_000);

describe("an attestation result: what it says", () => {
  test.each<[string, AttestationCode, RegExp, ResultChange]>([
    ["a stranger's signature", INVALID, /no accepted verifier/, { by: other }],
    ["an unknown kid", INVALID, /no accepted verifier/, { header: { kid: "verifier-2" } }],
    ["a jwk beside a good signature", INVALID, /not accepted: "jwk"/, { header: { jwk: verifierKey.jwk } }],
    ["a stranger's signature and its jwk", INVALID, /no accepted verifier/, { by: other, header: { jwk: other.jwk } }],
    [
      "a stranger's signature and its jwk, passed over",
      INVALID,
      /no accepted verifier/,
      { by: other, header: { jwk: other.jwk }, verifier: { header_jwk: "pass_over" } },
    ],
    ["an alg that is not this verifier's", INVALID, /no accepted verifier/, { verifier: { algorithms: ["EdDSA"] } }],
    ["an unknown profile", INVALID, /eat_profile/, { claims: { eat_profile: "tag:ietf.org,2026:rats/ear#05" } }],
    ["no profile", INVALID, /eat_profile/, { claims: { eat_profile: undefined } }],
    ["a profile by the name of a prototype", INVALID, /eat_profile/, { claims: { eat_profile: "constructor" } }],
    [
      "a profile that is not this verifier's",
      INVALID,
      /profile is not accepted/,
      { claims: { eat_profile: "tag:ietf.org,2026:rats/ear#03" } },
    ],
    [
      "dotted names under the profile of underscores",
      INVALID,
      /ear_status/,
      { submod: { ear_status: undefined, "ear.status": "affirming" } },
    ],
    [
      "another verifier's name",
      INVALID,
      /names another verifier/,
      { claims: { ear_verifier_id: { developer: "Acme", build: "1" } } },
    ],
    ["no verifier", INVALID, /ear_verifier_id/, { claims: { ear_verifier_id: undefined } }],
    ["no iat", INVALID, /iat/, { claims: { iat: undefined } }],
    ["an iat with a fraction", INVALID, /iat/, { claims: { iat: NOW_S - 10.5 } }],
    ["an iat 5,001 ms ahead", INVALID, /in the future/, { claims: { iat: NOW_S + 6 }, now_ms: NOW_MS + 999 }],
    ["its greatest age", STALE, /too old/, { now_ms: NOW_MS - 10_000 + 300_000 }],
    ["its exp", STALE, /too old/, { claims: { exp: NOW_S } }],
    ["an exp that is a text", INVALID, /exp/, { claims: { exp: "1" } }],
    ["no submods", INVALID, /submods/, { claims: { submods: undefined } }],
    ["empty submods", INVALID, /submods/, { claims: { submods: {} } }],
    [
      "33 submods",
      INVALID,
      /submods/,
      { claims: { submods: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`s${i}`, {}])) } },
    ],
    ["a submod that is a text", INVALID, /submod/, { claims: { submods: { TPM: "affirming" } } }],
    ["no status", INVALID, /ear_status/, { submod: { ear_status: undefined } }],
    ["a status that nobody knows", INVALID, /ear_status/, { submod: { ear_status: "excellent" } }],
    ["a status by number, which the draft has not in JSON", INVALID, /ear_status/, { submod: { ear_status: 2 } }],
    ["an overall status that nobody knows", INVALID, /ear_status/, { claims: { ear_status: "fine" } }],
    ["a claim of 128", INVALID, /vector/, vector({ hardware: 128 })],
    ["a claim of -129", INVALID, /vector/, vector({ hardware: -129 })],
    ["a claim of 2.5", INVALID, /vector/, vector({ hardware: 2.5 })],
    ["a claim that is a text", INVALID, /vector/, vector({ hardware: "2" })],
    ["a vector that is a list", INVALID, /vector/, { submod: { ear_trustworthiness_vector: [2] } }],
    ["another appraisal policy", INVALID, /appraisal policy/, { submod: { ear_appraisal_policy_ids: ["other"] } }],
    [
      "another appraisal policy beside ours",
      INVALID,
      /appraisal policy/,
      { submod: { ear_appraisal_policy_ids: [POLICY, "other"] } },
    ],
    ["no appraisal policy", INVALID, /appraisal policy/, { submod: { ear_appraisal_policy_ids: undefined } }],
    ["an appraisal policy that is no list", INVALID, /policy_ids/, { submod: { ear_appraisal_policy_ids: POLICY } }],
    [
      "a required claim that nobody makes",
      INVALID,
      /instance-identity/,
      { submod: { ear_trustworthiness_vector: { hardware: 2 } } },
    ],
    ["a required claim of 0", INVALID, /instance-identity/, vector({ "instance-identity": 0 })],
    ["a required claim that is only a warning", INVALID, /instance-identity/, vector({ "instance-identity": 40 })],
    ["a nonce of 11 characters", INVALID, /eat_nonce/, { claims: { eat_nonce: "n".repeat(11) } }],
    ["a nonce of 89 characters", INVALID, /eat_nonce/, { claims: { eat_nonce: "n".repeat(89) } }],
    ["an empty list of nonces", INVALID, /eat_nonce/, { submod: { eat_nonce: [] } }],
    ["a nonce that is a number", INVALID, /eat_nonce/, { submod: { eat_nonce: 1 } }],
    [
      "another workload's key",
      UNBOUND,
      /another key/,
      { submod: { ear_veraison_key_attestation: { akpub: akpub(other) } } },
    ],
    [
      "another workload's key, where none is required",
      UNBOUND,
      /another key/,
      { submod: { ear_veraison_key_attestation: { akpub: akpub(other) } }, verifier: { binding: "optional" } },
    ],
    ["our key asked about by another workload", UNBOUND, /another key/, { key: other }],
    ["no key", UNBOUND, /not bound/, { submod: { ear_veraison_key_attestation: undefined } }],
    ["a key attestation that is empty", UNBOUND, /not bound/, { submod: { ear_veraison_key_attestation: {} } }],
    ["a key attestation that is a text", INVALID, /key_attestation/, { submod: { ear_veraison_key_attestation: "x" } }],
    ["time only, where that is not enough", STALE, /no nonce/, { modes: ["challenge", "epoch"] }],
    ["a nonce that nobody asked for", STALE, /not that of this epoch/, { submod: { eat_nonce: "n".repeat(16) } }],
    [
      "a nonce where only time is accepted",
      STALE,
      /no challenge/,
      { submod: { eat_nonce: good }, modes: ["timestamp"] },
    ],
    ["a challenge that is not answered", STALE, /does not answer/, { challenge: good }],
    [
      "the answer to another challenge",
      STALE,
      /does not answer/,
      { challenge: good, submod: { eat_nonce: nonceAt(NOW_MS - 2_000) } },
    ],
    [
      "the answer in the result and another in the evidence",
      STALE,
      /does not answer/,
      { challenge: good, claims: { eat_nonce: good }, submod: { eat_nonce: "n".repeat(16) } },
    ],
    [
      "a challenge where none is accepted",
      STALE,
      /not accepted/,
      { challenge: good, submod: { eat_nonce: good }, modes: ["epoch"] },
    ],
    [
      "a challenge of another region",
      STALE,
      /not one that this region made/,
      { challenge: nonceAt(NOW_MS, "us"), submod: { eat_nonce: nonceAt(NOW_MS, "us") } },
    ],
    [
      "a challenge with a bit flipped",
      STALE,
      /not one that this region made/,
      { challenge: flipped, submod: { eat_nonce: flipped } },
    ],
    [
      "a challenge that is no base64url",
      STALE,
      /not one that this region made/,
      { challenge: "x y", submod: { eat_nonce: good } },
    ],
    [
      "a challenge at its end",
      STALE,
      /over/,
      { challenge: nonceAt(NOW_MS - NONCE_LIFE_MS), submod: { eat_nonce: nonceAt(NOW_MS - NONCE_LIFE_MS) } },
    ],
    [
      "a challenge from the future",
      STALE,
      /over/,
      { challenge: nonceAt(NOW_MS + 1), submod: { eat_nonce: nonceAt(NOW_MS + 1) } },
    ],
    ["the nonce of two epochs ago", STALE, /epoch/, { submod: { eat_nonce: epochNonce(context, epoch - 2) } }],
    ["the nonce of the next epoch", STALE, /epoch/, { submod: { eat_nonce: epochNonce(context, epoch + 1) } }],
    [
      "another region's epoch",
      STALE,
      /epoch/,
      { submod: { eat_nonce: epochNonce({ ...context, region: "us" }, epoch) } },
    ],
    [
      "a nonce over another key",
      UNBOUND,
      /not bound/,
      {
        challenge: good,
        claims: {
          submods: { A: submod({ ear_veraison_key_attestation: undefined, eat_nonce: [good, overKey(good, other)] }) },
        },
      },
    ],
    [
      "a nonce over the key in the result only",
      UNBOUND,
      /not bound/,
      { challenge: good, claims: { eat_nonce: overKey(good) }, submod: { ear_veraison_key_attestation: undefined } },
    ],
    [
      "one of two submods that does not answer",
      STALE,
      /does not answer/,
      {
        challenge: good,
        claims: { submods: { A: submod({ eat_nonce: good }), B: submod({ eat_nonce: "n".repeat(16) }) } },
      },
    ],
  ])("%s: %s", async (_, code, says, change) => {
    expect(await check(change)).toMatchObject({ ok: false, error: { code, message: expect.stringMatching(says) } });
  });

  test("nothing came along", async () => {
    expect(await checkText(undefined)).toMatchObject({ ok: false, error: { code: "attestation_missing" } });
  });

  test("a verifier's text is no key to its trust: another listed verifier's key does not sign for it", async () => {
    const second = { ...verifier, name: "second", developer: "Acme", keys: [other.key] };
    const text = mint(other, { ...result.header, kid: "other" }, result.claims);
    const { verifyAttestation } = await import("../../../../src/credentials/attestation/verify.ts");
    const rules = { verifiers: [verifier, second] };
    expect(await verifyAttestation(text, { key: other.key, challenge: null }, rules, NOW_MS)).toMatchObject({
      ok: false,
      error: { code: INVALID, message: expect.stringMatching(/names another verifier/) },
    });
  });
});
