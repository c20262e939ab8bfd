import { digestOf, type Sha256 } from "../base/digest.ts";
import type { TrustEvent } from "./events.ts";

/** Canonical text of an event: member order is the sorted order, so that `JSON.stringify` is its JCS. */
export function eventText(event: TrustEvent): string {
  return JSON.stringify({
    cites: event.cites,
    from: event.from,
    generation: event.generation,
    incarnation: event.incarnation,
    issued_at_ms: event.issued_at_ms,
    key: event.key,
    kind: event.kind,
    level: event.level,
    origin: event.origin,
    prev: event.prev,
    reason_code: event.reason_code,
    seq: event.seq,
    until_ms: event.until_ms,
    v: event.v,
  });
}

export const eventDigest = (event: TrustEvent, hash: Sha256): string => digestOf(eventText(event), hash);

/** Claims of the event as a Security Event Token (RFC 8417 section 2.2); `typ` is `secevent+jwt`. */
export function eventClaims(event: TrustEvent, issuer: string): Readonly<Record<string, unknown>> {
  return {
    iss: issuer,
    iat: Math.floor(event.issued_at_ms / 1_000),
    jti: `${event.origin}.${event.incarnation}.${event.seq}`,
    sub_id: { format: "opaque", id: event.key },
    events: { [`urn:interlock:trust:${event.kind}`]: JSON.parse(eventText(event)) as unknown },
  };
}

/** Id of the revocation that an event made: `<origin>.<incarnation>.<seq>`, also its `jti`. */
export const eventId = (event: Pick<TrustEvent, "origin" | "incarnation" | "seq">): string =>
  `${event.origin}.${event.incarnation}.${event.seq}`;

export function parseEventId(text: string): { origin: string; incarnation: number; seq: number } | null {
  const match = /^([a-z][a-z0-9-]{0,30})\.([1-9][0-9]{0,9})\.([1-9][0-9]{0,14})$/.exec(text);
  return match === null ? null : { origin: match[1]!, incarnation: Number(match[2]), seq: Number(match[3]) };
}
