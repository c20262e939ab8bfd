import { jcs } from "../base/jcs.ts";
import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import { isRegionName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { EVENT_KINDS, type EventKind, type TrustEvent } from "./events.ts";
import { TRUST_LEVELS, type TrustLevel } from "./levels.ts";
import { secretOf } from "./pseudonym.ts";

/** An event as its chain needs it, whatever its kind; `event` is `null` where this version does not know the kind. */
export type ReadEvent = {
  readonly origin: string;
  readonly incarnation: number;
  readonly seq: number;
  readonly prev: string | null;
  /** Canonical text: its digest is what the next event names. */
  readonly text: string;
  readonly event: TrustEvent | null;
};

const MEMBERS = "cites,from,generation,incarnation,issued_at_ms,key,kind,level,origin,prev,reason_code,seq,until_ms,v";
const TYPE = "urn:interlock:trust:";
const DIGEST = /^sha256:[A-Za-z0-9_-]{43}$/;

/**
 * Reads the claims of a SET (RFC 8417) that `eventClaims` made. Links are required of every event; a kind, or a
 * member, that is not known makes the event unsupported and the chain readable all the same.
 */
export function readEvent(claims: JsonObject): Result<ReadEvent, string> {
  const { events, jti } = claims;
  if (!isObject(events ?? null)) return err("no events");
  const [[type, body] = ["", null], ...others] = Object.entries(events as JsonObject);
  if (others.length > 0 || !type.startsWith(TYPE) || !isObject(body)) return err("not exactly one trust event");
  const { origin, incarnation, seq, prev } = body;
  if (typeof origin !== "string" || !isRegionName(origin)) return err("origin: not a region");
  if (!ordinal(incarnation) || !ordinal(seq)) return err("incarnation, seq: whole numbers from 1");
  if (prev !== null && !(typeof prev === "string" && DIGEST.test(prev))) return err("prev: not a digest");
  if ((prev === null) !== (seq === 1)) return err("prev: absent exactly in the first event");
  if (jti !== `${origin}.${incarnation}.${seq}`) return err("jti: does not name the event");
  return ok({
    origin,
    incarnation,
    seq,
    prev,
    text: jcs(body),
    event: `${TYPE}${typeof body["kind"] === "string" ? body["kind"] : ""}` === type ? known(body) : null,
  });
}

function known(body: JsonObject): TrustEvent | null {
  if (Object.keys(body).sort().join() !== MEMBERS || body["v"] !== 1) return null;
  const { kind, key, generation, from, issued_at_ms, reason_code, cites, level, until_ms } = body;
  const fits =
    EVENT_KINDS.includes(kind as EventKind) &&
    typeof key === "string" &&
    secretOf(key) !== null &&
    ordinal(generation) &&
    (from === "issue" || from === "beginning") &&
    ordinal(issued_at_ms) &&
    typeof reason_code === "string" &&
    /^[a-z_]{1,64}$/.test(reason_code) &&
    (cites === null || ordinal(cites)) &&
    (until_ms === null || ordinal(until_ms)) &&
    (level === null || TRUST_LEVELS.includes(level as TrustLevel)) &&
    (level !== null) === (kind === "level");
  return fits ? (body as unknown as TrustEvent) : null;
}

const ordinal = (value: JsonValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
