import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseJson, type JsonObject } from "../../../../src/base/json.ts";
import { readEar, type Ear } from "../../../../src/credentials/attestation/ear.ts";
import { epochNonce, epochOf, mintNonce, readNonce } from "../../../../src/credentials/attestation/nonce.ts";
import { readTier, tierOfClaim, worse, type Tier } from "../../../../src/credentials/attestation/tiers.ts";
import { readPublicKey } from "../../../../src/credentials/jws/public-key.ts";
import { vectors } from "../../base/vectors.ts";
import { NOW_MS, NOW_S } from "../credentials.ts";
import type { Json } from "../maker.ts";
import {
  AFFIRMING,
  akpub,
  check,
  checkText,
  context,
  overKey,
  POLICY,
  submod,
  verifier,
  verifierKey,
  workload,
  type ResultChange,
} from "./results.ts";

const random = (length: number): Uint8Array => new Uint8Array(length).fill(3);
const verdict = async (change: ResultChange) => {
  const outcome = await check(change);
  if (!outcome.ok) throw new Error(outcome.error.message);
  return outcome.value.verdict;
};
const vector = (change: Json): ResultChange => ({
  submod: { ear_trustworthiness_vector: { ...AFFIRMING, ...change } },
});

describe("tiers", () => {
  test("of every int8, after AR4SI", () => {
    const tiers = (from: number, to: number): Set<unknown> =>
      new Set(Array.from({ length: to - from + 1 }, (_, i) => tierOfClaim(from + i)));
    expect(tierOfClaim(0)).toBe("absent");
    expect([tierOfClaim(-1), tierOfClaim(1)]).toEqual(["none", "none"]);
    expect([tiers(2, 31), tiers(-32, -2)]).toEqual([new Set(["affirming"]), new Set(["affirming"])]);
    expect([tiers(32, 95), tiers(-96, -33)]).toEqual([new Set(["warning"]), new Set(["warning"])]);
    expect([tiers(96, 127), tiers(-128, -97)]).toEqual([new Set(["contraindicated"]), new Set(["contraindicated"])]);
  });

  test("the worse of two, whatever their order", () => {
    const order: readonly Tier[] = ["affirming", "warning", "none", "contraindicated"];
    for (const [i, a] of order.entries())
      for (const [j, b] of order.entries()) expect(worse(a, b)).toBe(order[Math.max(i, j)]);
  });

  test("by number only where the profile has it", () => {
    expect([0, "2", 32, "96"].map((tier) => readTier(tier, true))).toEqual([
      "none",
      "affirming",
      "warning",
      "contraindicated",
    ]);
    expect([0, "2", 3, "toString", null].map((tier) => readTier(tier, false))).toEqual([null, null, null, null, null]);
    expect(readTier("toString", true)).toBeNull();
  });
});

describe("a verdict", () => {
  test("says the tier, the binding, how fresh and until when", async () => {
    expect(await verdict({})).toMatchObject({
      tier: "affirming",
      reasons: ["fresh by its time only"],
      binding: "key",
      freshness: { mode: "timestamp", use: null },
      iat_ms: NOW_MS - 10_000,
      valid_until_ms: NOW_MS + 290_000,
      verifier: "veraison-eu",
      signed_by: verifierKey.key.thumbprint,
      policies: [POLICY],
      submods: [{ label: "TPM", tier: "affirming", vector: { "instance-identity": 2, executables: 3, hardware: 2 } }],
    });
    expect(await verdict({ claims: { exp: NOW_S + 5 } })).toMatchObject({ valid_until_ms: NOW_MS + 5_000 });
    expect(await verdict({ claims: { iat: NOW_S + 5 } })).toMatchObject({ iat_ms: NOW_MS + 5_000 });
    expect(await verdict({ now_ms: NOW_MS + 289_999 })).toMatchObject({ tier: "affirming" });
  });

  test.each<[Tier, boolean, ResultChange]>([
    ["warning", true, vector({ executables: 33 })],
    ["none", true, vector({ executables: 1 })],
    ["none", true, vector({ executables: -1 })],
    ["warning", true, vector({ "a-claim-of-tomorrow": 40 })],
    ["warning", false, { submod: { ear_status: "warning" } }],
    ["none", false, { submod: { ear_status: "none" } }],
    ["warning", false, { claims: { ear_status: "warning" } }],
    [
      "warning",
      true,
      { claims: { ear_status: "affirming", submods: { A: submod(), B: submod({ ear_status: "warning" }) } } },
    ],
    ["affirming", false, { claims: { ear_status: "affirming" } }],
  ])("is %s, inconsistent %s", async (tier, inconsistent, change) => {
    const { tier: given, reasons } = await verdict(change);
    expect([given, reasons.some((reason) => reason.startsWith("inconsistent"))]).toEqual([tier, inconsistent]);
  });

  test("contraindicated is an outcome of its own, with the verdict to quarantine by", async () => {
    for (const change of [
      vector({ executables: 96 }),
      vector({ executables: -97 }),
      { submod: { ear_status: "contraindicated" } },
    ])
      expect(await check(change)).toMatchObject({
        ok: true,
        value: {
          outcome: "contraindicated",
          failure: { code: "attestation_contraindicated" },
          verdict: { tier: "contraindicated", binding: "key" },
        },
      });
  });

  test("a bad result about another key, an old one and an unbound one quarantine nobody", async () => {
    const bad = { ear_status: "contraindicated" };
    expect(await check({ submod: { ...bad, ear_veraison_key_attestation: undefined } })).toMatchObject({
      ok: false,
      error: { code: "attestation_unbound" },
    });
    expect(await check({ submod: bad, now_ms: NOW_MS + 290_000 })).toMatchObject({
      ok: false,
      error: { code: "attestation_stale" },
    });
    const unbound = {
      submod: { ...bad, ear_veraison_key_attestation: undefined },
      verifier: { binding: "optional" },
    } as const;
    expect(await check(unbound)).toMatchObject({ ok: false, error: { code: "attestation_contraindicated" } });
  });

  test("without a key it is accepted where no binding is required, and says so", async () => {
    const change = { submod: { ear_veraison_key_attestation: undefined }, verifier: { binding: "optional" } } as const;
    expect(await verdict(change)).toMatchObject({
      binding: "none",
      reasons: expect.arrayContaining(["not bound to the workload's key"]),
    });
  });

  test("a required claim is enough in one of several submods", async () => {
    const realm = submod({ ear_trustworthiness_vector: { executables: 2 }, ear_veraison_key_attestation: undefined });
    expect(await verdict({ claims: { submods: { platform: submod(), realm } } })).toMatchObject({
      tier: "affirming",
      binding: "key",
    });
  });

  test("a header's jwk may be passed over, and is not used", async () => {
    const header = { jwk: verifierKey.jwk, kid: undefined };
    expect(await verdict({ header, verifier: { header_jwk: "pass_over" } })).toMatchObject({ tier: "affirming" });
  });
});

describe("nonces", () => {
  const nonce = mintNonce(context, NOW_MS - 119_999, random);

  test("a challenge is 52 characters, remembers its time, and is good for 120 s", () => {
    expect(nonce).toMatch(/^[A-Za-z0-9_-]{52}$/);
    expect(readNonce(nonce, context, NOW_MS)).toMatchObject({
      ok: true,
      value: { made_ms: NOW_MS - 119_999, exp_ms: NOW_MS + 1, use: expect.stringMatching(/^.{43}$/) },
    });
    expect(readNonce(nonce, context, NOW_MS + 1)).toMatchObject({ ok: false });
    expect(readNonce(nonce, { ...context, key: new Uint8Array(32) }, NOW_MS)).toMatchObject({ ok: false });
    expect(mintNonce(context, NOW_MS, (length) => new Uint8Array(length))).not.toBe(mintNonce(context, NOW_MS, random));
  });

  test("every byte of a challenge counts", () => {
    const bytes = Buffer.from(nonce, "base64url");
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i]! ^= 1;
      expect(readNonce(changed.toString("base64url"), context, NOW_MS)).toMatchObject({ ok: false });
    }
  });

  test("answered in the evidence: plain it is fresh, over the key it binds too", async () => {
    const use = { nonce: expect.any(String), exp_ms: NOW_MS + 1 };
    expect(await verdict({ challenge: nonce, submod: { eat_nonce: nonce } })).toMatchObject({
      freshness: { mode: "challenge", in: "evidence", bound: false, use },
      reasons: [],
    });
    const bound = { eat_nonce: overKey(nonce), ear_veraison_key_attestation: undefined };
    expect(await verdict({ challenge: nonce, submod: bound })).toMatchObject({
      binding: "nonce",
      freshness: { in: "evidence", bound: true, use },
    });
    // One of two parts of the machine answered without knowing the key: then the answer does not bind.
    const half = { A: submod({ eat_nonce: overKey(nonce) }), B: submod({ eat_nonce: nonce }) };
    expect(await verdict({ challenge: nonce, claims: { submods: half } })).toMatchObject({
      freshness: { in: "evidence", bound: false },
    });
    expect(await verdict({ challenge: nonce, claims: { eat_nonce: [nonce] } })).toMatchObject({
      freshness: { in: "result" },
      reasons: ["the nonce is in the result only, not in the evidence"],
    });
  });

  test("an epoch's nonce is good in its epoch and the next", async () => {
    const epoch = epochOf(NOW_MS, 60_000);
    for (const good of [epoch, epoch - 1]) {
      const eat_nonce = epochNonce(context, good);
      expect(await verdict({ submod: { eat_nonce } })).toMatchObject({
        freshness: { mode: "epoch", in: "evidence", use: null },
      });
    }
  });
});

const ear = vectors("ear");
describe.skipIf(ear.missing)(`the given attestation results${ear.note}`, () => {
  const file = (path: string): string => readFileSync(join(ear.folder, path), "utf8");
  const object = (text: string): JsonObject => {
    const parsed = parseJson(text);
    if (!parsed.ok) throw new Error(parsed.error.message);
    return parsed.value as JsonObject;
  };
  const read = (claims: JsonObject): Ear => {
    const result = readEar(claims);
    if (!result.ok) throw new Error(result.error);
    return result.value;
  };

  test.each<[string, Tier, number, boolean]>([
    ["ear-json-1", "contraindicated", 1, false],
    ["ear-json-2", "affirming", 2, false],
    ["ext-teep-json-1", "contraindicated", 1, false],
    ["ext-veraison-json-1", "contraindicated", 1, false],
    ["ext-veraison-json-2", "affirming", 1, true],
  ])("draft-03 %s is %s", (name, tier, submods, attested) => {
    const result = read(object(file(`draft-03/examples/${name}.diag`)));
    expect(result).toMatchObject({ profile: "tag:ietf.org,2026:rats/ear#03", tier, inconsistent: false });
    expect([result.submods.length, result.submods[0]!.akpub !== null]).toEqual([submods, attested]);
    expect(result.submods[0]!.policies).toEqual(["https://veraison.example/policy/1/60a0068d"]);
    // -04 has the same claims under another tag; what it adds is ignored.
    const newer = {
      ...object(file(`draft-03/examples/${name}.diag`)),
      eat_profile: "tag:ietf.org,2026:rats/ear#04",
      ear_device_topology: {},
    };
    expect(read(newer)).toMatchObject({ tier });
  });

  test.each<[string, Tier, boolean]>([
    ["veraison-go/ear-claims.json", "affirming", false],
    ["veraison-go/ear-claims-tv-ok.json", "affirming", false],
    ["veraison-go/ear-claims-extension-ok.json", "affirming", false],
    ["veraison-go/ear-claims-key-attestation-ok.json", "affirming", true],
    ["veraison-go/ear-claims-key-attestation-ko.json", "contraindicated", false],
    ["rust-ear/claims.json", "affirming", false],
  ])("%s is %s", (path, tier, attested) => {
    const result = read(object(file(path)));
    expect(result).toMatchObject({ profile: "tag:github.com,2023:veraison/ear", tier, inconsistent: false });
    expect(result.submods[0]!.akpub !== null).toBe(attested);
  });

  const RESULTS: Readonly<Record<string, Tier>> = {
    "cca.end-to-end": "affirming",
    "cca.freshness-fail": "contraindicated",
    "cca.good": "affirming",
    "cca.verify-challenge": "affirming",
    "enacttrust.badnode": "contraindicated",
    "enacttrust.good": "affirming",
    "psa.badcrypto": "contraindicated",
    "psa.badinstance": "contraindicated",
    "psa.badswcomp": "warning",
    "psa.freshness-fail": "contraindicated",
    "psa.good": "affirming",
    "psa.noident": "contraindicated",
  };

  test("the submods of Veraison's services have the tiers that their names say", () => {
    const names = readdirSync(join(ear.folder, "veraison-services-results")).map((name) => name.replace(".json", ""));
    expect(names.sort()).toEqual(Object.keys(RESULTS).sort());
    for (const [name, tier] of Object.entries(RESULTS)) {
      const submods = object(file(`veraison-services-results/${name}.json`));
      const claims = {
        eat_profile: "tag:github.com,2023:veraison/ear",
        iat: 1,
        "ear.verifier-id": { developer: "d", build: "b" },
        submods,
      };
      const result = read(claims);
      expect([name, result.tier, result.inconsistent]).toEqual([name, tier, false]);
    }
  });

  const pinned = () => {
    const key = readPublicKey(object(file("veraison-go/pkey.json")));
    if (!key.ok) throw new Error(key.error.message);
    return {
      keys: [key.value],
      developer: "Acme Inc.",
      policies: ["https://veraison.example/policy/1/60a0068d"],
      binding: "optional" as const,
    };
  };
  const at = { now_ms: 1_666_091_374_000 };

  test("the signed token verifies with the published key, within its age, and with no other key", async () => {
    const text = file("veraison-go/testJWT.jwt").trim();
    expect(await checkText(text, { verifier: pinned(), ...at })).toMatchObject({
      ok: true,
      value: { outcome: "accepted", verdict: { tier: "affirming", binding: "none" } },
    });
    expect(await checkText(text, { verifier: pinned() })).toMatchObject({
      ok: false,
      error: { code: "attestation_stale" },
    });
    expect(await checkText(text, { verifier: { ...pinned(), binding: "required" }, ...at })).toMatchObject({
      ok: false,
      error: { code: "attestation_unbound" },
    });
    expect(await checkText(text, { verifier: { ...pinned(), keys: [workload.key] }, ...at })).toMatchObject({
      ok: false,
      error: { code: "attestation_invalid" },
    });
  });

  test("the key in a token's header is never a key", async () => {
    const text = file("veraison-go/testJWT_JWK.jwt").trim();
    const stranger = { ...pinned(), keys: [verifier.keys[0]!], header_jwk: "pass_over" as const };
    const invalid = { ok: false, error: { code: "attestation_invalid" } };
    expect(await checkText(text, { verifier: stranger, ...at })).toMatchObject(invalid);
    expect(await checkText(text, { verifier: pinned(), ...at })).toMatchObject(invalid);
    // With the pinned key, and told to pass the header's over, it is as good as any.
    expect(await checkText(text, { verifier: { ...pinned(), header_jwk: "pass_over" }, ...at })).toMatchObject({
      ok: true,
    });
  });

  test("Trustee's token is read, and over", async () => {
    const text = file("veraison-go/testRealmJWT.jwt").trim();
    const header = JSON.parse(Buffer.from(text.split(".")[0]!, "base64url").toString()) as { readonly jwk: JsonObject };
    const key = readPublicKey(header.jwk);
    if (!key.ok) throw new Error(key.error.message);
    const trustee = {
      keys: [key.value],
      developer: "https://confidentialcontainers.org",
      profiles: ["tag:github.com,2024:confidential-containers/Trustee"] as const,
      policies: ["default"],
      required: [],
      binding: "optional" as const,
      header_jwk: "pass_over" as const,
    };
    const now = await checkText(text, { verifier: trustee });
    expect(now).toMatchObject({ ok: false, error: { code: "attestation_stale" } });
    const then = await checkText(text, { verifier: trustee, now_ms: 1_752_059_140_000 });
    expect(then).toMatchObject({
      ok: true,
      value: { verdict: { tier: "affirming", valid_until_ms: 1_752_059_439_000 } },
    });
  });

  test("an attested key is the workload's by its very bytes", () => {
    const claims = object(file("veraison-go/ear-claims-key-attestation-ok.json"));
    expect(read(claims).submods[0]!.akpub).toHaveLength(akpub(workload).length);
  });
});
