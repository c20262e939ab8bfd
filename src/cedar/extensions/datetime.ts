import { addLong, checkedLong, type Long } from "../long.ts";
import { Duration } from "./duration.ts";

const DAY_MS = 86_400_000;

const DATE = /^([0-9]{4})-([0-9]{2})-([0-9]{2})/;
const TIME = /^T([0-9]{2}):([0-9]{2}):([0-9]{2})/;
const ZONE = /^(?:\.([0-9]{3}))?(?:Z|([+-])([0-9]{2})([0-9]{2}))$/;

/** An instant: milliseconds since 1970-01-01T00:00:00Z without leap seconds, within 64 bits. */
export class Datetime {
  readonly kind = "datetime";
  readonly epoch_ms: Long;

  constructor(epoch_ms: Long) {
    this.epoch_ms = epoch_ms;
  }
}

/** Reads `YYYY-MM-DD`, or that with `Thh:mm:ss[.SSS](Z|±hhmm)`; a message when it is neither or no such moment. */
export function parseDatetime(text: string): Datetime | string {
  const date = DATE.exec(text);
  if (date === null) return "invalid date pattern";
  const [dateText, year, month, day] = numbers(date);
  const rest = text.slice(dateText.length);
  const time = TIME.exec(rest);
  if (rest !== "" && time === null) return "invalid hour/minute/second pattern";
  const [timeText, hour, minute, second] = time === null ? (["", 0, 0, 0] as const) : numbers(time);
  const zone = time === null ? null : ZONE.exec(rest.slice(timeText.length));
  if (time !== null && zone === null) return "invalid millisecond and/or offset pattern";

  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return `invalid date: ${dateText}`;
  if (hour > 23 || minute > 59 || second > 59) return `invalid hour/minute/second: ${timeText.slice(1)}`;
  const offset_hours = Number(zone?.[3] ?? 0);
  const offset_minutes = Number(zone?.[4] ?? 0);
  if (offset_hours > 23 || offset_minutes > 59) return `invalid offset range: ${offset_hours}${offset_minutes}`;

  const offset_ms = (offset_hours * 60 + offset_minutes) * 60_000 * (zone?.[2] === "-" ? -1 : 1);
  const time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + Number(zone?.[1] ?? 0);
  return new Datetime(epochDay(year, month, day) * DAY_MS + time_ms - offset_ms);
}

function numbers(match: RegExpExecArray): readonly [string, number, number, number] {
  return [match[0], Number(match[1]), Number(match[2]), Number(match[3])];
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar; `Date.UTC` would read years 0–99 as 1900–1999. */
function epochDay(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getTime() / DAY_MS;
}

/** The instant moved by a duration; overflow is an evaluation error. */
export const offset = (instant: Datetime, by: Duration): Datetime => new Datetime(addLong(instant.epoch_ms, by.ms));

/** Milliseconds since midnight UTC, never negative. */
function timeOfDay(instant: Datetime): number {
  const { epoch_ms } = instant;
  const remainder = typeof epoch_ms === "number" ? epoch_ms % DAY_MS : Number(epoch_ms % BigInt(DAY_MS));
  return remainder < 0 ? remainder + DAY_MS : remainder + 0;
}

export const toTime = (instant: Datetime): Duration => new Duration(timeOfDay(instant));

/** Midnight UTC of the same day, or null when that lies before the first representable instant. */
export function toDate(instant: Datetime): Datetime | null {
  const midnight = checkedLong(BigInt(instant.epoch_ms) - BigInt(timeOfDay(instant)));
  return midnight === null ? null : new Datetime(midnight);
}
