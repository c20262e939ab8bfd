import { createHash } from "node:crypto";
import type { FreshnessRules } from "../../../../src/credentials/attestation/freshness.ts";
import { verifyAttestation, type Verifier } from "../../../../src/credentials/attestation/verify.ts";
import { ALGORITHMS } from "../../../../src/credentials/jws/algorithms.ts";
import { spki } from "../../../../src/credentials/jws/spki.ts";
import { NOW_MS, NOW_S } from "../credentials.ts";
import { makeKey, mint, type Json, type Maker } from "../maker.ts";

/** A good attestation result about a workload's key, and a way to change it in one place. */
export const verifierKey = makeKey("ES256", "verifier-1");
export const workload = makeKey("ES256", "workload");
export const other = makeKey("ES256", "other");
export const context = { region: "eu", key: new Uint8Array(32).fill(7) };
export const POLICY = "https://verifier.example/policy/1";
const freshness: FreshnessRules = { modes: ["challenge", "epoch", "timestamp"], context, epoch_ms: 60_000 };

export const verifier: Verifier = {
  name: "veraison-eu",
  keys: [verifierKey.key],
  algorithms: ALGORITHMS,
  developer: "https://veraison-project.org",
  profiles: ["tag:ietf.org,2026:rats/ear#04", "tag:github.com,2023:veraison/ear"],
  policies: [POLICY],
  required: [{ claim: "instance-identity", tier: "affirming" }],
  max_age_ms: 300_000,
  freshness,
  binding: "required",
  header_jwk: "refuse",
};

export const akpub = ({ key }: Maker): string => Buffer.from(spki(key.jwk)).toString("base64url");
export const AFFIRMING = { "instance-identity": 2, executables: 3, hardware: 2, configuration: 0 };

export const submod = (change: Json = {}): Json => ({
  ear_status: "affirming",
  ear_trustworthiness_vector: AFFIRMING,
  ear_appraisal_policy_ids: [POLICY],
  ear_veraison_key_attestation: { akpub: akpub(workload) },
  ...change,
});

export const result = {
  maker: verifierKey,
  header: { alg: "ES256", kid: "verifier-1", typ: "JWT" },
  claims: {
    eat_profile: "tag:ietf.org,2026:rats/ear#04",
    iat: NOW_S - 10,
    ear_verifier_id: { developer: "https://veraison-project.org", build: "vts 0.0.1" },
    submods: { TPM: submod() },
  } as Json,
};

export type ResultChange = {
  readonly by?: Pick<Maker, "privateKey" | "alg">;
  readonly header?: Json;
  readonly claims?: Json;
  /** Of the only submod. */
  readonly submod?: Json;
  readonly verifier?: Partial<Verifier>;
  readonly modes?: FreshnessRules["modes"];
  readonly challenge?: string;
  readonly key?: Maker;
  readonly now_ms?: number;
};

export const resultText = ({ by = verifierKey, header, claims, submod: change }: ResultChange = {}): string =>
  mint(by, { ...result.header, ...header }, { ...result.claims, submods: { TPM: submod(change) }, ...claims });

export const checkText = (text: string | undefined, change: ResultChange = {}) =>
  verifyAttestation(
    text,
    { key: (change.key ?? workload).key, challenge: change.challenge ?? null },
    {
      verifiers: [
        {
          ...verifier,
          freshness: { ...freshness, modes: change.modes ?? freshness.modes },
          ...change.verifier,
        },
      ],
    },
    change.now_ms ?? NOW_MS,
  );

export const check = (change: ResultChange = {}) => checkText(resultText(change), change);

/** Made apart from the code under test: SHA-256("pdp-att" ‖ nonce ‖ jkt). */
export const overKey = (nonce: string, { key }: Maker = workload): string =>
  createHash("sha256").update(`pdp-att${nonce}${key.thumbprint}`).digest("base64url");
