import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readKeySet } from "../../../../src/credentials/jws/key-set.ts";
import { readBundle, type TrustBundle } from "../../../../src/credentials/workload/bundle.ts";
import { bundleFreshUntil, judgeBundle } from "../../../../src/credentials/workload/bundle-history.ts";
import { vectors } from "../../base/vectors.ts";
import { makeKey } from "../maker.ts";

const ec = makeKey("ES256", "k1");
const key = { ...ec.jwk, kid: "k1", use: "jwt-svid" };
const document = (change: object = {}): string => JSON.stringify({ spiffe_sequence: 7, keys: [key], ...change });
const read = (text: string): TrustBundle => {
  const bundle = readBundle(text, "prod.example");
  if (!bundle.ok) throw new Error(bundle.error);
  return bundle.value;
};

describe("a trust bundle", () => {
  test("keeps the keys for SVIDs and ignores what it does not know", () => {
    const bundle = read(
      document({
        spiffe_refresh_hint: 60,
        keys: [
          key,
          { ...key, use: "wit-svid" },
          { ...key, use: undefined, kid: "no-use" },
          { ...key, use: "JWT-SVID", kid: "other-case" },
          { ...key, use: "sig", kid: "sig" },
          { use: "x509-svid", kty: "EC", x5c: ["AA=="] },
          { use: "jwt-svid", kty: "AKP", kid: "pq", pub: "AA" },
          { use: "jwt-svid", kty: "EC", crv: "secp256k1", kid: "k", x: "AA", y: "AA" },
        ],
      }),
    );
    expect(bundle.keys.map(({ kid, use }) => [kid, use])).toEqual([
      ["k1", "jwt-svid"],
      ["k1", "wit-svid"],
    ]);
    expect(bundle).toMatchObject({ trust_domain: "prod.example", sequence: 7, refresh_hint_ms: 60_000, ignored: 6 });
  });

  test("without keys in its list withdraws all; without a list it is none", () => {
    expect(read(document({ keys: [] })).keys).toEqual([]);
    expect(readBundle(document({ keys: undefined }), "prod.example")).toMatchObject({ ok: false });
  });

  test.each([
    ["a member twice", document().replace("{", '{"spiffe_sequence":6,')],
    ["a member of a key twice", document().replace('"kty"', '"kty":"EC","kty"')],
    ["a kid twice", document({ keys: [key, key] })],
    ["a key without kid", document({ keys: [{ ...key, kid: undefined }] })],
    ["a private key", document({ keys: [{ ...key, d: "AA" }] })],
    ["a coordinate that is too short", document({ keys: [{ ...key, x: "AAAA" }] })],
    ["a sequence with a fraction", document({ spiffe_sequence: 1.5 })],
    ["a sequence below zero", document({ spiffe_sequence: -1 })],
    ["a hint that is a text", document({ spiffe_refresh_hint: "60" })],
    ["a key that is a text", document({ keys: ["k"] })],
    ["too many keys", document({ keys: Array.from({ length: 257 }, () => ({ use: "x" })) })],
    ["no JSON", "{"],
    ["a list", "[]"],
    ["more than 1 MiB", document({ fill: "x".repeat(1_048_576) })],
  ])("is refused with %s", (_, text) => {
    expect(readBundle(text, "prod.example")).toMatchObject({ ok: false, error: expect.any(String) });
  });

  test("is refused under a name that is no trust domain", () => {
    for (const name of ["Prod.example", "prod.example/x", ""]) expect(readBundle(document(), name).ok).toBe(false);
  });

  test("has one digest whatever its white space and order", () => {
    const spaced = JSON.stringify({ keys: [key], spiffe_sequence: 7 }, null, 2);
    expect(read(spaced).digest).toBe(read(document()).digest);
    expect(read(document({ spiffe_sequence: 8 })).digest).not.toBe(read(document()).digest);
  });
});

describe("a bundle beside the one that is known", () => {
  const mark = (sequence: number | null, digest = "a", trust_domain = "prod.example") => ({
    sequence,
    digest,
    trust_domain,
  });
  test.each([
    ["the first", null, mark(3), "adopt"],
    ["a newer one", mark(3), mark(4, "b"), "adopt"],
    ["a newer one of the same content", mark(3), mark(4), "adopt"],
    ["the same", mark(3), mark(3), "same"],
    ["an older one", mark(3), mark(2, "b"), "rollback"],
    ["an older one of the same content", mark(3), mark(2), "rollback"],
    ["one without the sequence it had", mark(3), mark(null, "b"), "rollback"],
    ["one without the sequence, which was 0", mark(0), mark(null, "b"), "rollback"],
    ["other content under the same sequence", mark(3), mark(3, "b"), "equivocation"],
    ["another domain's", mark(3), mark(4, "b", "evil.example"), "foreign"],
    ["the first with a sequence", mark(null), mark(1, "b"), "adopt"],
    ["the same without a sequence", mark(null), mark(null), "same"],
    ["another without a sequence", mark(null), mark(null, "b"), "adopt"],
  ] as const)("%s", (_, known, received, judgement) => {
    expect(judgeBundle(known, received)).toBe(judgement);
  });

  test("is fresh for twice its hint, or for the floor, from when the fetch left", () => {
    expect(bundleFreshUntil({ refresh_hint_ms: 60_000 }, 1_000, 0)).toBe(121_000);
    expect(bundleFreshUntil({ refresh_hint_ms: 60_000 }, 1_000, 600_000)).toBe(601_000);
    // No hint, a hint of zero, and one of ten years.
    expect(read(document()).refresh_hint_ms).toBe(300_000);
    expect(read(document({ spiffe_refresh_hint: 0 })).refresh_hint_ms).toBe(300_000);
    expect(read(document({ spiffe_refresh_hint: 315_360_000 })).refresh_hint_ms).toBe(86_400_000);
  });
});

const { folder, missing, note } = vectors("spiffe");
describe.skipIf(missing)(`go-spiffe's bundles${note}`, () => {
  const file = (path: string): string => readFileSync(join(folder, "go-spiffe", path), "utf8");
  const spiffe = (name: string): ReturnType<typeof readBundle> =>
    readBundle(file(`bundle/spiffebundle/testdata/${name}.json`), "domain.test");
  const uses = (name: string): Readonly<Record<string, number>> => {
    const bundle = spiffe(name);
    if (!bundle.ok) throw new Error(bundle.error);
    return Object.fromEntries(
      ["jwt-svid", "wit-svid"].map((use) => [use, bundle.value.keys.filter((key) => key.use === use).length]),
    );
  };

  test("every file has a verdict here", () => {
    expect(readdirSync(join(folder, "go-spiffe/bundle/spiffebundle/testdata")).sort()).toEqual([
      "spiffebundle_missing_kid.json",
      "spiffebundle_multiple_x509.json",
      "spiffebundle_no_keys.json",
      "spiffebundle_valid_1.json",
      "spiffebundle_valid_2.json",
      "spiffebundle_valid_with_wit.json",
    ]);
  });

  test("the good ones are read", () => {
    expect(uses("spiffebundle_valid_1")).toEqual({ "jwt-svid": 1, "wit-svid": 0 });
    expect(uses("spiffebundle_multiple_x509")).toEqual({ "jwt-svid": 1, "wit-svid": 0 });
    expect(uses("spiffebundle_valid_with_wit")).toEqual({ "jwt-svid": 2, "wit-svid": 2 });
    const { "jwt-svid": jwt } = uses("spiffebundle_valid_2");
    expect(jwt).toBeGreaterThan(5);
    const withWit = spiffe("spiffebundle_valid_with_wit");
    expect(withWit.ok && withWit.value).toMatchObject({ sequence: 1, refresh_hint_ms: 60_000 });
  });

  test("a key without kid and a document without keys are refused", () => {
    expect(spiffe("spiffebundle_missing_kid")).toMatchObject({ ok: false, error: expect.stringMatching(/no kid/) });
    expect(spiffe("spiffebundle_no_keys")).toMatchObject({ ok: false, error: expect.stringMatching(/keys/) });
  });

  test.each(["bundle/jwtbundle/testdata", "exp/bundle/witbundle/testdata"])("key sets of %s", (path) => {
    expect(readKeySet(file(`${path}/jwks_valid_1.json`))).toMatchObject({ ok: true, value: { keys: [{}] } });
    expect(readKeySet(file(`${path}/jwks_valid_2.json`))).toMatchObject({ ok: true, value: { keys: [{}, {}] } });
    expect(readKeySet(file(`${path}/jwks_missing_kid.json`))).toMatchObject({ ok: false });
    // As a SPIFFE bundle they hold nothing: no key says what it is for.
    expect(readBundle(file(`${path}/jwks_valid_2.json`), "domain.test")).toMatchObject({
      ok: true,
      value: { keys: [], ignored: 2 },
    });
  });
});
