import * as fc from "fast-check";
import { expect, test } from "vitest";
import { jcs } from "../../../src/base/jcs.ts";
import { levelAt, severity, TRUST_LEVELS, worstLevel, type EntryState } from "../../../src/trust/levels.ts";
import {
  compareEntries,
  entryText,
  firstGeneration,
  isConflict,
  isGenerationOf,
  join,
  type OriginEntry,
} from "../../../src/trust/merge.ts";

const states = ["restored", ...TRUST_LEVELS] as const;
const entries: fc.Arbitrary<OriginEntry> = fc.record({
  key: fc.constant("k"),
  origin: fc.constant("us"),
  generation: fc.integer({ min: 1, max: 4 }),
  state: fc.constantFrom<EntryState[]>(...states),
  from: fc.constantFrom("issue" as const, "beginning" as const),
  until_ms: fc.option(fc.integer({ min: 0, max: 5 })),
});

test("the merge is a join: commutative, associative, idempotent", () => {
  fc.assert(
    fc.property(entries, entries, entries, (a, b, c) => {
      expect(entryText(join(a, b))).toBe(entryText(join(b, a)));
      expect(entryText(join(join(a, b), c))).toBe(entryText(join(a, join(b, c))));
      expect(join(a, a)).toEqual(a);
    }),
    { numRuns: 2_000 },
  );
});

test("any order and any repetition of the same entries gives the same state", () => {
  fc.assert(
    fc.property(fc.array(entries, { minLength: 1, maxLength: 8 }), fc.infiniteStream(fc.nat()), (list, picks) => {
      const once = list.reduce((a, b) => join(a, b));
      const shuffled = [...list, ...list].map((one) => ({ one, at: picks.next().value })).sort((a, b) => a.at - b.at);
      expect(entryText(shuffled.map(({ one }) => one).reduce((a, b) => join(a, b)))).toBe(entryText(once));
    }),
  );
});

test("no revocation is lost but by a higher generation, and what joins is one of the two", () => {
  fc.assert(
    fc.property(entries, entries, (a, b) => {
      const joined = join(a, b);
      expect([a, b]).toContain(joined);
      expect(joined.generation).toBe(Math.max(a.generation, b.generation));
      const rivals = [a, b].filter(({ generation }) => generation === joined.generation);
      expect(severity(joined.state)).toBe(Math.max(...rivals.map(({ state }) => severity(state))));
    }),
  );
});

test("the order is total: only what says the same compares as equal", () => {
  fc.assert(
    fc.property(entries, entries, (a, b) => {
      expect(Math.sign(compareEntries(a, b)) + Math.sign(compareEntries(b, a))).toBe(0);
      expect(compareEntries(a, b) === 0).toBe(entryText(a) === entryText(b));
      expect(isConflict(a, b)).toBe(a.generation === b.generation && entryText(a) !== entryText(b));
    }),
    { numRuns: 2_000 },
  );
});

test("the text is canonical JSON", () => {
  fc.assert(
    fc.property(entries, (entry) => {
      expect(entryText(entry)).toBe(jcs(entry));
    }),
  );
});

test("a new incarnation's first generation is above all of the one before", () => {
  expect(firstGeneration(1)).toBe(1);
  expect(isGenerationOf(1, firstGeneration(2) - 1)).toBe(true);
  expect(isGenerationOf(1, firstGeneration(2))).toBe(false);
  expect(isGenerationOf(2, firstGeneration(2))).toBe(true);
  expect(Number.isSafeInteger(firstGeneration(2 ** 20))).toBe(true);
});

const at = (state: EntryState, until_ms: number | null = null) => ({ state, until_ms });

test("trust that rests on evidence decays, and nothing decays towards trust", () => {
  expect(levelAt(at("trusted", 100), 99)).toBe("trusted");
  expect(levelAt(at("trusted", 100), 100)).toBe("degraded");
  expect(levelAt(at("trusted"), Number.MAX_SAFE_INTEGER)).toBe("trusted");
  expect(levelAt(at("restored"), 0)).toBe("trusted");
  for (const state of ["degraded", "quarantined", "revoked"] as const) expect(levelAt(at(state, 1), 1_000)).toBe(state);
});

test("the worst origin's word counts", () => {
  expect(worstLevel([], 0)).toBe("trusted");
  expect(worstLevel([at("trusted"), at("quarantined"), at("degraded")], 0)).toBe("quarantined");
  expect(worstLevel([at("restored"), at("revoked")], 0)).toBe("revoked");
  expect(worstLevel([at("trusted", 5)], 5)).toBe("degraded");
});
