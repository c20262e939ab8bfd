/**
 * W3C Trace Context, `traceparent` (Recommendation of 2021, section 3.2), read strictly: lower-case hex, no all-zero
 * ids, version ff refused. A later version is read as version 00 as far as that goes (section 3.3). What does not
 * parse is dropped, never passed on: it goes into a record.
 */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const MAX_CHARS = 256;

export function readTraceparent(header: string | null): string | null {
  if (header === null || header.length > MAX_CHARS) return null;
  const match = TRACEPARENT.exec(header);
  if (match === null) return null;
  const [, version, trace, parent, flags, rest] = match;
  if (version === "ff" || (version === "00" && rest !== undefined)) return null;
  if (/^0+$/.test(trace!) || /^0+$/.test(parent!)) return null;
  return `00-${trace}-${parent}-${flags}`;
}
