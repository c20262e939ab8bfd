import { isRegionName, parseRunId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";

/**
 * Canonical keys: `kind ":" form` (DESIGN section 5). What can be revoked has exactly one text here, so that two
 * regions, a decision and an administrator always mean the same thing. Forms are compared byte for byte; nothing is
 * normalized, and a form that does not fit its kind is refused rather than repaired. The list is closed: an event
 * about an unknown kind denies everything from its origin (`sync_unsupported`).
 */
export const KEY_KINDS = [
  "subject",
  "session",
  "credential",
  "key",
  "issuer",
  "trust-domain",
  "pep",
  "image",
  "attestation-policy",
  "run",
  "delegation",
  "permit",
  "approval",
  "consent",
  "resource",
  "pod",
  "region",
] as const;

export type KeyKind = (typeof KEY_KINDS)[number];

export type CanonicalKey = { readonly kind: KeyKind; readonly form: string };

const MAX_FORM = 2_048;
// Control characters, and the separators that a log line or a header would break on.
// oxlint-disable-next-line no-control-regex -- refusing control characters is the point
const UNPRINTABLE = /[\u0000-\u001f\u007f\u2028\u2029]/;

const regionIssued = (form: string): boolean => parseRunId(form) !== null;
const entity = (form: string): boolean =>
  /^[^/]+\/.+$/su.test(form) && !/%(?!2F|25)/.test(form.slice(0, form.indexOf("/")));
const issued = (form: string): boolean => /^[^#]+#.+$/su.test(form);

type Form = { readonly fits: (form: string) => boolean; readonly shape: string };

/** One row per kind; `docs/vectors/trust-keys.json` holds one vector per row. */
const FORMS: Readonly<Record<KeyKind, Form>> = {
  subject: { fits: entity, shape: "<type>/<id>, with % and / in the type as %25 and %2F" },
  session: { fits: issued, shape: "<issuer>#<session id>" },
  credential: { fits: issued, shape: "<issuer>#<jti>" },
  key: { fits: (form) => /^[A-Za-z0-9_-]{43}$/.test(form), shape: "<RFC 7638 SHA-256 thumbprint, base64url>" },
  issuer: { fits: (form) => !/[\s#]/.test(form), shape: "<issuer URI>" },
  "trust-domain": { fits: (form) => /^[a-z0-9._-]{1,255}$/.test(form), shape: "<SPIFFE trust domain>" },
  pep: { fits: (form) => /^[a-z][a-z0-9-]{0,30}\/[A-Za-z0-9._-]{1,128}$/.test(form), shape: "<region>/<pep id>" },
  image: { fits: (form) => /^sha256:[0-9a-f]{64}$/.test(form), shape: "sha256:<64 hex digits>" },
  "attestation-policy": { fits: issued, shape: "<verifier>#<policy id>" },
  run: { fits: regionIssued, shape: "<region>.<log_epoch>.<128 bits>" },
  delegation: { fits: regionIssued, shape: "<region>.<log_epoch>.<128 bits>" },
  permit: { fits: regionIssued, shape: "<region>.<log_epoch>.<128 bits>" },
  approval: { fits: regionIssued, shape: "<region>.<log_epoch>.<128 bits>" },
  consent: { fits: entity, shape: "<subject type>/<consent id>" },
  resource: { fits: entity, shape: "<type>/<id>, with % and / in the type as %25 and %2F" },
  pod: { fits: (form) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(form), shape: "<Kubernetes pod uid>" },
  region: { fits: isRegionName, shape: "<region>" },
};

const isKeyKind = (text: string): text is KeyKind => Object.hasOwn(FORMS, text);

/** Reads a canonical key; the error says which form the kind takes. */
export function parseKey(text: string): Result<CanonicalKey, string> {
  const colon = text.indexOf(":");
  const kind = text.slice(0, Math.max(colon, 0));
  if (!isKeyKind(kind)) return err(`unknown key kind; one of ${KEY_KINDS.join(", ")}, followed by ":"`);
  const form = text.slice(colon + 1);
  if (!formFits(kind, form)) return err(`a key of kind ${kind} has the form "${kind}:${FORMS[kind].shape}"`);
  return ok({ kind, form });
}

const formFits = (kind: KeyKind, form: string): boolean =>
  form !== "" && form.length <= MAX_FORM && !UNPRINTABLE.test(form) && form.isWellFormed() && FORMS[kind].fits(form);

const escapeType = (type: string): string =>
  type.includes("%") || type.includes("/") ? type.replaceAll("%", "%25").replaceAll("/", "%2F") : type;

/** `type/id` of an entity, as in canonical keys and in a run's member list. */
export const entityForm = (type: string, id: string): string => `${escapeType(type)}/${id}`;
export const subjectKey = (type: string, id: string): string => `subject:${entityForm(type, id)}`;
export const resourceKey = (type: string, id: string): string => `resource:${entityForm(type, id)}`;

/**
 * Which member keeps an entity from having a canonical key; `null`: it has one. What has none could never be revoked,
 * so no decision and no run may rest on it. Subjects and resources have the same form.
 */
export function irrevocable(type: string, id: string): "type" | "id" | null {
  if (formFits("subject", entityForm(type, id))) return null;
  return formFits("subject", entityForm(type, "-")) ? "id" : "type";
}

export const IRREVOCABLE = `no control character and no line separator is allowed, and at most ${MAX_FORM} characters of type and id together`;

/** What somebody consented to: `purpose` is a word without `#`, so the last one in the form stands before it. */
export const consentKey = (type: string, id: string, purpose: string): string =>
  `consent:${entityForm(type, id)}#${purpose}`;
export const pepKey = (region: string, id: string): string => `pep:${region}/${id}`;
export const credentialKey = (issuer: string, jti: string): string => `credential:${issuer}#${jti}`;
export const issuerKey = (issuer: string): string => `issuer:${issuer}`;
/** `thumbprint`: RFC 7638, SHA-256, base64url. */
export const keyKey = (thumbprint: string): string => `key:${thumbprint}`;
export const delegationKey = (id: string): string => `delegation:${id}`;
export const permitKey = (id: string): string => `permit:${id}`;
export const approvalKey = (id: string): string => `approval:${id}`;
export const trustDomainKey = (name: string): string => `trust-domain:${name}`;
/** `verifier`: the name that it is registered under. */
export const attestationPolicyKey = (verifier: string, policy: string): string =>
  `attestation-policy:${verifier}#${policy}`;
export const runKey = (run: string): string => `run:${run}`;
export const regionKey = (region: string): string => `region:${region}`;
/**
 * What a freeze is about. No canonical key on purpose: `parseKey` refuses it, so that nobody freezes or lifts a freeze
 * by a revocation, and a revocation of `region:…` stays apart from it.
 */
export const frozenKey = (region: string): string => `region:${region}/frozen`;

/**
 * Home region of a key (DESIGN section 5, "Home is total"), as far as the key itself names it; `null`: membership
 * decides (domains, issuers), and whatever it does not list is homed in all regions.
 */
export function homeInKey({ kind, form }: CanonicalKey): string | null {
  switch (kind) {
    case "run":
    case "delegation":
    case "permit":
    case "approval":
      return parseRunId(form)?.region ?? null;
    case "pep":
      return form.slice(0, form.indexOf("/"));
    case "region":
      return form;
    default:
      return null;
  }
}

/**
 * Kinds that decisions rest on today. A revocation of another kind is accepted, kept and sent to every shard, but no
 * decision looks at it yet, and the API says so (`effect: "recorded"`).
 */
const BINDING: ReadonlySet<KeyKind> = new Set([
  "subject",
  "resource",
  "pep",
  "credential",
  "key",
  "issuer",
  "trust-domain",
  "attestation-policy",
  "pod",
  "run",
  "delegation",
  "approval",
  "region",
  "consent",
]);

export const bindsDecisions = (kind: KeyKind): boolean => BINDING.has(kind);
