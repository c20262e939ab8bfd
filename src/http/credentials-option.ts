import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import type { Credentials } from "../credentials/workload-facts.ts";

/** `context.interlock.credentials`: what a PEP forwards of the workload it asks about (docs/identity.md). */
const TOKENS = ["wit", "wpt", "jwt_svid", "service_account", "access_token", "dpop", "txn_token"] as const;
type Token = (typeof TOKENS)[number];

const MAX_TOKEN = 16_384;
const MAX_ATTESTATIONS = 4;
const MAX_DELEGATIONS = 16;
const MAX_CHALLENGE = 128;

const isToken = (name: string): name is Token => (TOKENS as readonly string[]).includes(name);
const isText = (value: JsonValue | undefined, max: number): value is string =>
  typeof value === "string" && value !== "" && value.length <= max;

type Draft = { -readonly [K in keyof Credentials]: Credentials[K] };

/** The credentials, or why they cannot be used: in words that never repeat one. `null`: none. */
export function readCredentials(value: JsonValue): Credentials | null | { readonly what: string } {
  if (!isObject(value)) return { what: "an object is required" };
  const draft: Draft = {};
  for (const name of Object.keys(value)) {
    const member = value[name]!;
    if (member === null) continue;
    const what = readMember(draft, name, member);
    if (what !== null) return { what };
  }
  return Object.keys(draft).length === 0 ? null : draft;
}

function readMember(draft: Draft, name: string, value: JsonValue): string | null {
  if (isToken(name)) {
    if (!isText(value, MAX_TOKEN)) return `${name}: 1 to ${MAX_TOKEN} characters are required`;
    draft[name] = value;
    return null;
  }
  if (name === "delegations") {
    const list = listOf(value, MAX_DELEGATIONS);
    if (list === null || !list.every((one) => isText(one, MAX_TOKEN)))
      return `delegations: at most ${MAX_DELEGATIONS} texts of 1 to ${MAX_TOKEN} characters are required`;
    if (list.length > 0) draft.delegations = list;
    return null;
  }
  if (name !== "attestation") return `${name.slice(0, 64)} is not a known member`;
  const list = listOf(value, MAX_ATTESTATIONS);
  const results = list?.map(readResult) ?? [];
  if (list === null || results.includes(null))
    return `attestation: at most ${MAX_ATTESTATIONS} results are required, each a text or {result, challenge}`;
  if (results.length > 0) draft.attestation = results as NonNullable<Credentials["attestation"]>;
  return null;
}

const listOf = (value: JsonValue, max: number): readonly JsonValue[] | null =>
  Array.isArray(value) && value.length <= max ? (value as readonly JsonValue[]) : null;

type Result = NonNullable<Credentials["attestation"]>[number];

function readResult(value: JsonValue): Result | null {
  if (isText(value, MAX_TOKEN)) return { result: value, challenge: null };
  if (!isObject(value) || !Object.keys(value).every((name) => name === "result" || name === "challenge")) return null;
  const { result, challenge = null }: JsonObject = value;
  if (!isText(result, MAX_TOKEN)) return null;
  return challenge === null || isText(challenge, MAX_CHALLENGE) ? { result, challenge } : null;
}
