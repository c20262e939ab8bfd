import { isObject, type JsonValue } from "../base/json.ts";
import { MAX_PERMIT_MS } from "../credentials/permit-life.ts";
import type { PermitAsk } from "../objects/decide.ts";

export const AUDIENCE = /^[!-~]{1,120}$/;
export const AUDIENCE_FORM = "1 to 120 visible ASCII characters";
const MEMBERS: ReadonlySet<string> = new Set(["audience", "ttl_ms", "offline"]);

/** `context.interlock.permit`: the permit that is wanted, or why that cannot be read. */
export function readPermitAsk(value: JsonValue): PermitAsk | string {
  if (!isObject(value)) return "an object with an audience is required";
  const unknown = Object.keys(value).find((name) => !MEMBERS.has(name) && value[name] !== null);
  if (unknown !== undefined) return `${unknown.slice(0, 64)} is not a known member`;
  const { audience, ttl_ms = null, offline = null } = value;
  if (typeof audience !== "string" || !AUDIENCE.test(audience))
    return `audience: the id or an audience of a registered PEP is required, ${AUDIENCE_FORM}`;
  if (
    ttl_ms !== null &&
    (typeof ttl_ms !== "number" || !Number.isInteger(ttl_ms) || ttl_ms < 1 || ttl_ms > MAX_PERMIT_MS)
  )
    return `ttl_ms: a whole number from 1 to ${MAX_PERMIT_MS} is required`;
  if (offline !== null && offline !== true) return "offline: the only value is true";
  return { audience, ttl_ms, offline: offline === true };
}
