/**
 * Exact decimal amounts (docs/runs.md): not negative, at most 14 digits before the point and 4 after it, counted in
 * ten-thousandths. The greatest has 18 digits and so fits a signed 64-bit integer, which is what storage sums.
 */
export type Units = bigint;

const PLACES = 4;
const SCALE = 10n ** BigInt(PLACES);
const FORM = /^(0|[1-9][0-9]{0,13})(?:\.([0-9]{1,4}))?$/;
/** Beyond this a double no longer says which decimal was meant; such amounts are sent as text. */
const SIGNIFICANT = 15;

export const ONE: Units = SCALE;

/** A JSON number or decimal text; `null` for anything else, also for what is negative or finer than four places. */
export function readAmount(value: unknown): Units | null {
  if (typeof value !== "string" && typeof value !== "number") return null;
  const text = String(value);
  const match = FORM.exec(text);
  if (match === null) return null;
  if (typeof value === "number" && text.replace(".", "").replace(/^0+/, "").length > SIGNIFICANT) return null;
  return BigInt(match[1]! + (match[2] ?? "").padEnd(PLACES, "0"));
}

/** The one text of an amount: no leading zeros, no trailing ones. */
export function amountText(units: Units): string {
  const [whole, rest] = [units / SCALE, units % SCALE];
  if (rest === 0n) return `${whole}`;
  return `${whole}.${`${rest}`.padStart(PLACES, "0").replace(/0+$/, "")}`;
}

/** Units of an amount that was read before; throws on another text. */
export function unitsOf(text: string): Units {
  const units = readAmount(text);
  if (units === null) throw new TypeError(`not an amount: ${text.slice(0, 40)}`);
  return units;
}
