import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseDatetime } from "../../src/cedar/extensions/datetime.ts";
import { parseDecimal } from "../../src/cedar/extensions/decimal.ts";
import { parseDuration } from "../../src/cedar/extensions/duration.ts";
import { parseIp } from "../../src/cedar/extensions/ipaddr.ts";
import {
  dateTimeText,
  decimalText,
  durationText,
  ipText,
  type Json,
  type Scenario,
  scenarios,
} from "./cedar-generators.ts";
import { operations } from "./cedar-operations.ts";
import { ownVerdict, referenceVerdict } from "./cedar-oracle.ts";

const RUNS = Number(process.env.INTERLOCK_FUZZ_RUNS ?? 14_000);
const SEED = Number(process.env.INTERLOCK_FUZZ_SEED ?? 20_261_123);

/** Every decision, reason, error and refusal equals the reference implementation's (cedar-wasm). */
test(`agrees with cedar-wasm on ${RUNS} random scenarios, seed ${SEED}`, { timeout: 3_600_000 }, () => {
  fc.assert(
    fc.property(scenarios, (scenario) => {
      expect(ownVerdict(scenario)).toEqual(referenceVerdict(scenario));
    }),
    { seed: SEED, numRuns: RUNS },
  );
});

const ANY: Json = { op: "All" };
const REQUEST = {
  principal: { type: "U", id: "a" },
  action: { type: "Action", id: "a" },
  resource: { type: "U", id: "b" },
};
/** One policy for each condition, all asked at once. */
const batch = (bodies: readonly Json[]): Scenario => ({
  ...REQUEST,
  policies: bodies.map((body): Json => ({
    effect: "permit",
    principal: ANY,
    action: ANY,
    resource: ANY,
    conditions: [{ kind: "when", body }],
  })),
  entities: [],
  context: {},
});

/** The bodies, of a batch on which the engines differ, that differ alone. */
const culprits = (bodies: readonly Json[]): Json[] =>
  bodies.filter(
    (body) => JSON.stringify(ownVerdict(batch([body]))) !== JSON.stringify(referenceVerdict(batch([body]))),
  );

test("agrees with cedar-wasm on single operations at their edges", { timeout: 3_600_000 }, () => {
  fc.assert(
    fc.property(fc.array(operations, { minLength: 40, maxLength: 40 }), (bodies) => {
      const reference = referenceVerdict(batch(bodies));
      expect(reference).not.toBe("refused");
      const same = JSON.stringify(ownVerdict(batch(bodies))) === JSON.stringify(reference);
      expect(same ? [] : culprits(bodies)).toEqual([]);
    }),
    { seed: SEED, numRuns: Math.ceil(RUNS / 10), endOnFailure: true },
  );
});

const text = (fn: string, literal: string): Json => ({ [fn]: [{ Value: literal }] });
const equal = (left: Json, right: Json): Json => ({ "==": { left, right } });
const long = (n: number | bigint): Json => ({
  Value: typeof n === "bigint" && Number.isSafeInteger(Number(n)) ? Number(n) : n,
});

/** For each literal, a condition that is true exactly when it means what our reader says; null when we refuse it. */
const READINGS: readonly [fc.Arbitrary<string>, (literal: string) => { body: Json; reads: boolean }][] = [
  [
    durationText,
    (literal) => {
      const own = parseDuration(literal);
      const ms = typeof own === "string" ? 0 : own.ms;
      return { body: equal({ toMilliseconds: [text("duration", literal)] }, long(ms)), reads: typeof own !== "string" };
    },
  ],
  [
    dateTimeText,
    (literal) => {
      const own = parseDatetime(literal);
      const since: Json = { durationSince: [text("datetime", literal), text("datetime", "1970-01-01")] };
      const ms = typeof own === "string" ? 0 : own.epoch_ms;
      return { body: equal({ toMilliseconds: [since] }, long(ms)), reads: typeof own !== "string" };
    },
  ],
  [
    decimalText,
    (literal) => {
      const own = parseDecimal(literal);
      const scaled = typeof own === "string" ? 0n : BigInt(own.ten_thousandths);
      const magnitude = String(scaled < 0n ? -scaled : scaled).padStart(5, "0");
      const canonical = `${scaled < 0n ? "-" : ""}${magnitude.slice(0, -4)}.${magnitude.slice(-4)}`;
      return { body: equal(text("decimal", literal), text("decimal", canonical)), reads: typeof own !== "string" };
    },
  ],
  [
    ipText,
    (literal) => {
      const own = parseIp(literal);
      if (typeof own === "string") return { body: equal(text("ip", literal), text("ip", "::")), reads: false };
      const groups = own.version === 4 ? [24n, 16n, 8n, 0n] : [112n, 96n, 80n, 64n, 48n, 32n, 16n, 0n];
      const part = (shift: bigint): string =>
        own.version === 4 ? String((own.address >> shift) & 0xffn) : ((own.address >> shift) & 0xffffn).toString(16);
      const canonical = `${groups.map(part).join(own.version === 4 ? "." : ":")}/${own.prefix_bits}`;
      return { body: equal(text("ip", literal), text("ip", canonical)), reads: true };
    },
  ],
];

test("reads datetime, duration, decimal and ip literals as cedar-wasm does", { timeout: 3_600_000 }, () => {
  const literals = fc.oneof(
    ...READINGS.map(([source, reading]) => source.map((literal) => ({ literal, ...reading(literal) }))),
  );
  fc.assert(
    fc.property(fc.array(literals, { minLength: 40, maxLength: 40 }), (list) => {
      const verdict = referenceVerdict(batch(list.map(({ body }) => body)));
      if (verdict === "refused") throw new Error("the reference refused the batch");
      const differing = list.filter(
        ({ reads }, i) => !(reads ? verdict.reasons : verdict.errors).includes(`policy${i}`),
      );
      expect(differing.map(({ literal, reads }) => ({ literal, reads }))).toEqual([]);
    }),
    { seed: SEED, numRuns: Math.ceil(RUNS / 20) },
  );
});
