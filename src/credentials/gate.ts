import { fromBase64url, fromUtf8 } from "../base/bytes.ts";
import { isObject, parseJson, type JsonLimits, type JsonObject, type JsonProblem } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";

/**
 * The syntactic gate before any JOSE library (TRUST section 1.2). jose accepts white space inside compact segments,
 * trailing bits that are not zero and repeated member names, so one token would have several texts: a cache, a
 * revocation by digest or a lineage record could be dodged. Here one token has one text.
 */
const CREDENTIAL = { what: "credential", max_chars: 4_096 } as const;
const MAX_HEADER_CHARS = 2_048;
const LIMITS = { max_depth: 8, max_values: 1_000 } as const;
const PROBLEMS: Readonly<Record<JsonProblem["code"], string>> = {
  malformed: "is not valid JSON",
  duplicate_member: "names the same member twice",
  too_deep: "is nested deeper than is accepted",
  too_large: "has too many values",
  lone_surrogate: "holds a lone surrogate",
};
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** A compact JWS whose form is sound; nothing about it is verified. */
export type GatedToken = { readonly text: string; readonly header: JsonObject; readonly claims: JsonObject };

export type GateLimits = {
  /** How messages call the token. */
  readonly what: string;
  readonly max_chars: number;
  /** Of the payload. */
  readonly limits?: JsonLimits;
};

export function gate(
  text: string,
  { what, max_chars, limits = LIMITS }: GateLimits = CREDENTIAL,
): Result<GatedToken, string> {
  if (text.length > max_chars) return err(`the ${what} is longer than ${max_chars} characters`);
  if (!COMPACT.test(text)) return err(`the ${what} is not a compact JWS`);
  const [first, second, third] = text.split(".") as [string, string, string];
  if (first.length > MAX_HEADER_CHARS) return err(`the ${what}'s header is longer than ${MAX_HEADER_CHARS} characters`);
  const header = segment(first, `${what}'s header`);
  if (!header.ok) return header;
  const claims = segment(second, `${what}'s payload`, limits);
  if (!claims.ok) return claims;
  if (fromBase64url(third) === null) return err(`the ${what}'s signature is not canonical base64url`);
  return ok({ text, header: header.value, claims: claims.value });
}

function segment(text: string, name: string, limits: JsonLimits = LIMITS): Result<JsonObject, string> {
  const bytes = fromBase64url(text);
  if (bytes === null) return err(`the ${name} is not canonical base64url`);
  const json = fromUtf8(bytes);
  if (json === null) return err(`the ${name} is not UTF-8`);
  const parsed = parseJson(json, limits);
  // The parser quotes what it stumbled over; a credential's content is nobody's to read in a log.
  if (!parsed.ok) return err(`the ${name} ${PROBLEMS[parsed.error.code]}`);
  return isObject(parsed.value) ? ok(parsed.value) : err(`the ${name} is not a JSON object`);
}
