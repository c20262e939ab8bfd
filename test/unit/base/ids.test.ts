import * as fc from "fast-check";
import { expect, test } from "vitest";
import { decisionId, isRegionName, mintRunId, parseDecisionId, parseRunId } from "../../../src/base/ids.ts";

const region = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/);
const epoch = fc.integer({ min: 1, max: 999_999_999 });

test("a run id names its home", () => {
  fc.assert(
    fc.property(region, epoch, fc.uint8Array({ minLength: 16, maxLength: 32 }), (name, log_epoch, bits) => {
      expect(isRegionName(name)).toBe(true);
      expect(parseRunId(mintRunId(name, log_epoch, bits))).toEqual({ region: name, log_epoch });
    }),
  );
});

test("a decision id, with or without index, names one record", () => {
  const shard = fc.integer({ min: 0, max: 9_999 });
  const sseq = fc.integer({ min: 1, max: 999_999_999_999_999 });
  const index = fc.option(fc.integer({ min: 0, max: 99_999 }), { nil: null });
  fc.assert(
    fc.property(region, epoch, shard, sseq, index, (name, log_epoch, shard, first, i) => {
      const id = decisionId(name, log_epoch, shard, first) + (i === null ? "" : `/${i}`);
      expect(parseDecisionId(id)).toEqual({ region: name, log_epoch, shard, sseq: first + (i ?? 0) });
    }),
  );
});

test.each([
  "",
  "eu",
  "eu.1.s0",
  "eu.1.s0.0",
  "eu.0.s0.1",
  "eu.01.s0.1",
  "eu.1.s00.1",
  "eu.1.s0.01",
  "eu.1.s0.1/",
  "eu.1.s0.1/00",
])("%j is not a decision id", (text) => expect(parseDecisionId(text)).toBeNull());

test.each(["EU.1.s0.1", "eu.1.s0.1/-1", "eu.1.s0.1 ", "eu.1.s0.1\n", "eu.1.s0.1/0/0", "1eu.1.s0.1", "eu.1.0.1"])(
  "%j is not a decision id either",
  (text) => expect(parseDecisionId(text)).toBeNull(),
);

test.each(["", "Eu", "1eu", "-eu", "eu_1", "eu.west", "a".repeat(32), "eu\n"])("%j is not a region's name", (text) =>
  expect(isRegionName(text)).toBe(false),
);

test.each([
  "eu.1.short",
  "eu.0.AAAAAAAAAAAAAAAAAAAAAA",
  "eu.1.AAAAAAAAAAAAAAAAAAAAA=",
  "eu.1.AAAAAAAAAAAAAAAAAAAAAA\n",
])("%j is not a run id", (text) => expect(parseRunId(text)).toBeNull());
