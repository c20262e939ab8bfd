import { checkedLong, type Long } from "../long.ts";

const DURATION = /^(-?)(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?$/;
const UNITS_MS = [86_400_000n, 3_600_000n, 60_000n, 1_000n, 1n] as const;
/** Longest run of digits worth turning into a bigint: 2^63 has 19. */
const MAX_DIGITS = 19;

/** A signed span of time in milliseconds, within 64 bits. */
export class Duration {
  readonly kind = "duration";
  readonly ms: Long;

  constructor(ms: Long) {
    this.ms = ms;
  }
}

/** Reads `-?1d2h3m4s5ms` (units in this order, each optional, one required); a message when it is not one. */
export function parseDuration(text: string): Duration | string {
  const match = text === "" || text === "-" ? null : DURATION.exec(text);
  if (match === null) return "invalid duration pattern";
  let total = 0n;
  for (const [i, unit] of UNITS_MS.entries()) {
    const digits = (match[i + 2] ?? "").replace(/^0+(?=.)/, "");
    if (digits === "") continue;
    if (digits.length > MAX_DIGITS) return "Duration overflows internal representation";
    total += BigInt(digits) * unit;
  }
  // All terms share one sign, so the total fits exactly when every partial sum does.
  const ms = checkedLong(match[1] === "-" ? -total : total);
  return ms === null ? "Duration overflows internal representation" : new Duration(ms);
}
