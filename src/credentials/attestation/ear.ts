import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { isBetter, readTier, tierOfClaim, worse, type Tier } from "./tiers.ts";

/**
 * Profiles of attestation results, and how each spells its claims. draft-ietf-rats-ear-04 (and -03, which it does not
 * contradict) uses underscores; Veraison's services and CoCo's Trustee still emit the dotted names from before.
 */
export const PROFILES = {
  "tag:ietf.org,2026:rats/ear#04": "underscores",
  "tag:ietf.org,2026:rats/ear#03": "underscores",
  "tag:github.com,2023:veraison/ear": "dots",
  "tag:github.com,2024:confidential-containers/Trustee": "dots",
} as const;

export type Profile = keyof typeof PROFILES;

/** What a result says about one part of the attester, in one shape for all profiles. */
export type Appraisal = {
  readonly label: string;
  readonly stated: Tier;
  /** From the vector; `null`: it makes no claim. */
  readonly computed: Tier | null;
  /** The worse of the two. */
  readonly tier: Tier;
  /** The claims that say something; names that nobody here knows count as well. */
  readonly vector: Readonly<Record<string, number>>;
  readonly policies: readonly string[];
  /** Of the *evidence*. */
  readonly nonces: readonly string[];
  /** Attested public key: base64url of a DER SubjectPublicKeyInfo. */
  readonly akpub: string | null;
};

export type Ear = {
  readonly profile: Profile;
  readonly verifier: { readonly developer: string; readonly build: string };
  readonly iat_s: number;
  readonly exp_s: number | null;
  /** The worst of everything stated and computed. */
  readonly tier: Tier;
  /** A tier was stated that is better than what it is made of. */
  readonly inconsistent: boolean;
  /** Of the *result*. */
  readonly nonces: readonly string[];
  readonly submods: readonly Appraisal[];
};

type Names = { readonly [name in "status" | "vector" | "verifier" | "policies" | "key" | "akpub"]: string };

const NAMES: Readonly<Record<"underscores" | "dots", Names>> = {
  underscores: {
    status: "ear_status",
    vector: "ear_trustworthiness_vector",
    verifier: "ear_verifier_id",
    policies: "ear_appraisal_policy_ids",
    key: "ear_veraison_key_attestation",
    akpub: "akpub",
  },
  dots: {
    status: "ear.status",
    vector: "ear.trustworthiness-vector",
    verifier: "ear.verifier-id",
    policies: "ear.appraisal-policy-id",
    key: "ear.veraison.key-attestation",
    akpub: "akpub",
  },
};

const MAX_SUBMODS = 32;
const LATEST_S = 253_402_300_799;

/** Reads a claims set; other claims are ignored (EAR section 4). What it says is not verified here. */
export function readEar(claims: JsonObject): Result<Ear, string> {
  const profile = claims["eat_profile"];
  if (typeof profile !== "string" || !Object.hasOwn(PROFILES, profile))
    return err("its eat_profile is not one that is read here");
  const spelling = PROFILES[profile as Profile];
  const names = NAMES[spelling];
  const { iat, exp, submods } = claims;
  const verifier = claims[names.verifier];
  if (!isSeconds(iat)) return err("its iat is not in whole seconds");
  if (exp !== undefined && !isSeconds(exp)) return err("its exp is not in whole seconds");
  if (!isObject(verifier) || typeof verifier["developer"] !== "string" || typeof verifier["build"] !== "string")
    return err(`it has no ${names.verifier}`);
  const nonces = readNonces(claims["eat_nonce"]);
  if (nonces === null) return err("its eat_nonce is not of 8 to 64 bytes");
  if (!isObject(submods)) return err("it has no submods");
  const labels = Object.keys(submods);
  if (labels.length === 0 || labels.length > MAX_SUBMODS) return err(`it has not 1 to ${MAX_SUBMODS} submods`);
  const read: Appraisal[] = [];
  for (const label of labels) {
    const appraisal = readAppraisal(label, submods[label]!, spelling);
    if (!appraisal.ok) return appraisal;
    read.push(appraisal.value);
  }
  const overall = claims[names.status];
  const stated = overall === undefined ? null : readTier(overall, spelling === "dots");
  if (overall !== undefined && stated === null) return err(`its ${names.status} is no tier`);
  const computed = read.map(({ tier }) => tier).reduce(worse);
  return ok({
    profile: profile as Profile,
    verifier: { developer: verifier["developer"], build: verifier["build"] },
    iat_s: iat,
    exp_s: exp ?? null,
    tier: stated === null ? computed : worse(stated, computed),
    inconsistent: (stated !== null && isBetter(stated, computed)) || read.some(overstated),
    nonces,
    submods: read,
  });
}

const overstated = ({ stated, computed }: Appraisal): boolean => computed !== null && isBetter(stated, computed);

function readAppraisal(label: string, value: JsonValue, spelling: "underscores" | "dots"): Result<Appraisal, string> {
  const names = NAMES[spelling];
  if (!isObject(value)) return err("a submod is not an object");
  const stated = readTier(value[names.status], spelling === "dots");
  if (stated === null) return err(`a submod's ${names.status} is missing or no tier`);
  const vector = readVector(value[names.vector]);
  if (vector === null) return err(`a submod's ${names.vector} is not one`);
  const policies = readPolicies(value[names.policies], spelling);
  if (policies === null) return err(`a submod's ${names.policies} is not one`);
  const nonces = readNonces(value["eat_nonce"]);
  if (nonces === null) return err("a submod's eat_nonce is not of 8 to 64 bytes");
  const attested = value[names.key];
  const akpub = isObject(attested) ? attested[names.akpub] : undefined;
  if ((attested !== undefined && !isObject(attested)) || (akpub !== undefined && typeof akpub !== "string"))
    return err(`a submod's ${names.key} is not one`);
  const { claims, computed } = vector;
  const tier = computed === null ? stated : worse(stated, computed);
  return ok({ label, stated, computed, tier, vector: claims, policies, nonces, akpub: akpub ?? null });
}

type Vector = { readonly claims: Readonly<Record<string, number>>; readonly computed: Tier | null };

/** A claim that nobody here knows still counts: leaving it out could only make the result look better. */
function readVector(value: JsonValue | undefined): Vector | null {
  if (value === undefined) return { claims: {}, computed: null };
  if (!isObject(value)) return null;
  const claims: [string, number][] = [];
  let computed: Tier | null = null;
  for (const [name, number] of Object.entries(value)) {
    const tier = tierOfClaim(number);
    if (tier === null) return null;
    if (tier === "absent") continue;
    claims.push([name, number as number]);
    computed = computed === null ? tier : worse(computed, tier);
  }
  return { claims: Object.fromEntries(claims), computed };
}

/** A list since -03, one text before. */
function readPolicies(value: JsonValue | undefined, spelling: "underscores" | "dots"): readonly string[] | null {
  if (value === undefined) return [];
  if (spelling === "dots") return typeof value === "string" ? [value] : null;
  if (!Array.isArray(value) || value.length === 0) return null;
  const ids = value.filter((id) => typeof id === "string");
  return ids.length === value.length ? ids : null;
}

/** One nonce or a list: 8 to 64 bytes, which JSON spells with 12 to 88 characters (RFC 9711 section 4.1). */
function readNonces(value: JsonValue | undefined): readonly string[] | null {
  if (value === undefined) return [];
  const list: readonly JsonValue[] = Array.isArray(value) ? value : [value];
  const fits = (nonce: JsonValue): boolean => typeof nonce === "string" && nonce.length >= 12 && nonce.length <= 88;
  return list.length > 0 && list.length <= 8 && list.every(fits) ? (list as readonly string[]) : null;
}

const isSeconds = (value: JsonValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= LATEST_S;
