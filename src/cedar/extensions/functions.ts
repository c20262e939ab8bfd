import { EvaluationError } from "../errors.ts";
import { divLong, subLong } from "../long.ts";
import type { Value } from "../values.ts";
import { typeName } from "../values.ts";
import { Datetime, offset, parseDatetime, toDate, toTime } from "./datetime.ts";
import { Decimal, parseDecimal } from "./decimal.ts";
import { Duration, parseDuration } from "./duration.ts";
import { IpAddr, isInRange, isLoopback, isMulticast, parseIp } from "./ipaddr.ts";

/** A function of the extension types; a method's receiver is its first argument. Throws `EvaluationError`. */
export type ExtensionFunction = {
  readonly name: string;
  readonly arity: number;
  readonly call: (args: readonly Value[]) => Value;
};

function fail(name: string, message: string): never {
  throw new EvaluationError(`error while evaluating \`${name}\` extension function: ${message}`);
}

function mismatch(expected: string, value: Value | undefined): never {
  throw new EvaluationError(
    `type error: expected ${expected}, got ${value === undefined ? "nothing" : typeName(value)}`,
  );
}

function asDecimal(value: Value | undefined): Decimal {
  return value instanceof Decimal ? value : mismatch("decimal", value);
}
function asIp(value: Value | undefined): IpAddr {
  return value instanceof IpAddr ? value : mismatch("ipaddr", value);
}
function asDatetime(value: Value | undefined): Datetime {
  return value instanceof Datetime ? value : mismatch("datetime", value);
}
function asDuration(value: Value | undefined): Duration {
  return value instanceof Duration ? value : mismatch("duration", value);
}

function constructor_(name: string, parse: (text: string) => Value): ExtensionFunction {
  return {
    name,
    arity: 1,
    call: ([text]) => {
      if (typeof text !== "string") return mismatch("string", text);
      const value = parse(text);
      return typeof value === "string" ? fail(name, value) : value;
    },
  };
}

const unary = <T>(
  name: string,
  as: (value: Value | undefined) => T,
  apply: (receiver: T) => Value,
): ExtensionFunction => ({
  name,
  arity: 1,
  call: ([receiver]) => apply(as(receiver)),
});

const binary = <T, U>(
  name: string,
  as: (value: Value | undefined) => T,
  asArgument: (value: Value | undefined) => U,
  apply: (receiver: T, argument: U) => Value,
): ExtensionFunction => ({
  name,
  arity: 2,
  call: ([receiver, argument]) => apply(as(receiver), asArgument(argument)),
});

const FUNCTIONS: readonly ExtensionFunction[] = [
  constructor_("decimal", parseDecimal),
  binary("lessThan", asDecimal, asDecimal, (a, b) => a.ten_thousandths < b.ten_thousandths),
  binary("lessThanOrEqual", asDecimal, asDecimal, (a, b) => a.ten_thousandths <= b.ten_thousandths),
  binary("greaterThan", asDecimal, asDecimal, (a, b) => a.ten_thousandths > b.ten_thousandths),
  binary("greaterThanOrEqual", asDecimal, asDecimal, (a, b) => a.ten_thousandths >= b.ten_thousandths),

  constructor_("ip", parseIp),
  unary("isIpv4", asIp, (ip) => ip.version === 4),
  unary("isIpv6", asIp, (ip) => ip.version === 6),
  unary("isLoopback", asIp, isLoopback),
  unary("isMulticast", asIp, isMulticast),
  binary("isInRange", asIp, asIp, isInRange),

  constructor_("datetime", parseDatetime),
  binary("offset", asDatetime, asDuration, offset),
  binary("durationSince", asDatetime, asDatetime, (a, b) => new Duration(subLong(a.epoch_ms, b.epoch_ms))),
  unary("toDate", asDatetime, (at) => toDate(at) ?? fail("toDate", "overflows when computing the date")),
  unary("toTime", asDatetime, toTime),

  constructor_("duration", parseDuration),
  unary("toMilliseconds", asDuration, ({ ms }) => ms),
  unary("toSeconds", asDuration, ({ ms }) => divLong(ms, 1000)),
  unary("toMinutes", asDuration, ({ ms }) => divLong(ms, 60_000)),
  unary("toHours", asDuration, ({ ms }) => divLong(ms, 3_600_000)),
  unary("toDays", asDuration, ({ ms }) => divLong(ms, 86_400_000)),
];

const BY_NAME: ReadonlyMap<string, ExtensionFunction> = new Map(FUNCTIONS.map((f) => [f.name, f]));

export const extensionFunction = (name: string): ExtensionFunction | undefined => BY_NAME.get(name);

/** Calls an extension function, checking the number of arguments as the reference does: when it is evaluated. */
export function callExtension(f: ExtensionFunction, args: readonly Value[]): Value {
  if (args.length !== f.arity) {
    throw new EvaluationError(
      `wrong number of arguments provided to extension function \`${f.name}\`: expected ${f.arity}, got ${args.length}`,
    );
  }
  return f.call(args);
}
