import type { JsonValue } from "../../base/json.ts";
import { parseDatetime } from "../../cedar/extensions/datetime.ts";
import { parseDecimal } from "../../cedar/extensions/decimal.ts";
import type { Shape } from "../../policy/schema.ts";

/** A declared type whose values are whole numbers of some unit: 1, 1/10,000 or a millisecond. */
export type Scale = {
  readonly read: (json: JsonValue) => number | null;
  /** In the spelling of `like`, which the caller used; `undefined`: it used none. */
  readonly write: (units: number, like: JsonValue | undefined) => JsonValue;
};

const whole = (value: unknown): number | null =>
  typeof value === "number" && Number.isSafeInteger(value) ? value + 0 : null;

const LONG: Scale = { read: whole, write: (units) => units };

const DECIMAL: Scale = {
  read: (json) => {
    const text = typeof json === "number" ? String(json) : typeof json === "string" ? json : "";
    const read = parseDecimal(text.includes(".") ? text : `${text}.0`);
    return typeof read === "string" ? null : whole(read.ten_thousandths);
  },
  write: (units, like) => (typeof like === "string" ? decimalText(units) : Number(decimalText(units))),
};

function decimalText(units: number): string {
  const digits = String(Math.abs(units)).padStart(5, "0");
  const fraction = digits.slice(-4).replace(/0{1,3}$/, "");
  return `${units < 0 ? "-" : ""}${digits.slice(0, -4)}.${fraction}`;
}

/** The years that an ISO text can name. */
const [FIRST_MS, LAST_MS] = [Date.UTC(1, 0, 1), Date.UTC(9999, 11, 31)];

const DATETIME: Scale = {
  read: (json) => {
    const read = typeof json === "string" ? parseDatetime(json) : "";
    return typeof read === "string" ? null : whole(read.epoch_ms);
  },
  write: (units) => new Date(Math.min(LAST_MS, Math.max(FIRST_MS, units))).toISOString(),
};

/** `null`: not a type of numbers. */
export function scaleOf({ kind }: Shape): Scale | null {
  if (kind === "long") return LONG;
  if (kind === "decimal") return DECIMAL;
  return kind === "datetime" ? DATETIME : null;
}

/** Steps grow by this: 18 of them reach every number that JSON carries. */
const STRIDE = 8;

/**
 * The nearest numbers at or beyond which an answer is another than at `from`, on either side. Steps grow until the
 * answer turns and are then halved back, so an answer that turns and turns back within a step may be passed over:
 * `anchors` (the literals beside the number) are looked at as well.
 */
export function turnsOf(
  answer: (units: number) => boolean | null,
  from: number,
  anchors: readonly number[],
  limit = Number.MAX_SAFE_INTEGER,
): readonly number[] {
  const now = answer(from);
  const turned = (units: number): boolean => answer(units) !== now && answer(units) !== null;
  const found = new Set<number>();
  for (const direction of [-1, 1]) {
    let [near, far] = [from, from];
    for (let step = 1; Math.abs(near + direction * step) <= limit && step <= limit; step *= STRIDE) {
      far = near + direction * step;
      if (turned(far)) break;
      near = far;
    }
    if (far === near) continue;
    while (Math.abs(far - near) > 1) {
      const middle = Math.floor((near + far) / 2);
      if (turned(middle)) far = middle;
      else near = middle;
    }
    found.add(far);
  }
  for (const anchor of anchors) if (anchor !== from && turned(anchor)) found.add(anchor);
  return [...found];
}
