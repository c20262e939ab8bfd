import { checkedLong, type Long } from "../long.ts";

/** Digits after the point that a Cedar decimal carries. */
const PLACES = 4;
const DECIMAL = /^(-?)([0-9]+)\.([0-9]+)$/;

/** A fixed-point number: `ten_thousandths` / 10^4, within 64 bits. */
export class Decimal {
  readonly kind = "decimal";
  readonly ten_thousandths: Long;

  constructor(ten_thousandths: Long) {
    this.ten_thousandths = ten_thousandths;
  }
}

/** Reads `-?digits.digits` with one to four places; a message when the text is no decimal or does not fit. */
export function parseDecimal(text: string): Decimal | string {
  const match = DECIMAL.exec(text);
  if (match === null) return `\`${text}\` is not a well-formed decimal value`;
  const [, sign = "", whole = "", fraction = ""] = match;
  if (fraction.length > PLACES) return `too many digits after the decimal in \`${text}\``;
  // 20 digits are already beyond 64 bits; leading zeros are legal, so they go before the length is judged.
  const significant = whole.replace(/^0+(?=.)/, "");
  if (significant.length > 19) return "overflow when converting to decimal";
  const magnitude = BigInt(significant + fraction.padEnd(PLACES, "0"));
  const value = checkedLong(sign === "-" ? -magnitude : magnitude);
  return value === null ? "overflow when converting to decimal" : new Decimal(value);
}

/**
 * The decimal equal to a JSON number, or null when the number has more than four decimal places or does not fit.
 *
 * "Equal" is judged on the shortest decimal text of the double, which is what JSON shows: 0.1 is 0.1.
 */
export function decimalFromNumber(value: number): Decimal | null {
  if (!Number.isFinite(value)) return null;
  const text = String(value);
  // Exponents appear from 1e21 (beyond 64 bits) and below 1e-6 (beyond four places).
  if (text.includes("e")) return null;
  const parsed = parseDecimal(text.includes(".") ? text : `${text}.0`);
  return typeof parsed === "string" ? null : parsed;
}
