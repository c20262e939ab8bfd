import * as fc from "fast-check";
import { expect, test } from "vitest";
import { jcs } from "../../../src/base/jcs.ts";
import { coreText } from "../../../src/decision/decide.ts";
import { readAnnotations, sortObligations } from "../../../src/policy/annotations.ts";
import type { DecisionCore, Obligation } from "../../../src/vocabulary/types.ts";
import { REASON_ORDER } from "../../../src/vocabulary/reasons.ts";

/** A core is stored and signed as this text, so it has to be the canonical one (RFC 8785). */
const RUNS = { seed: 20_261_123, numRuns: 500 };

/** As a pack's author writes them: members in any order, objects in objects. */
const word = fc.stringMatching(/^[a-z]{1,3}$/);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(null, true, -0, 1.5, 1e21, 1e-7, 12),
    fc.string({ unit: "grapheme", maxLength: 4 }),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("object"),
  ),
  object: fc.dictionary(fc.oneof(word, fc.constantFrom("é", "Z", "__proto__", "")), tie("value"), {
    maxKeys: 4,
    noNullPrototype: true,
  }),
}));
const properties = fc.dictionary(word, value, { maxKeys: 4, noNullPrototype: true });
const written = fc.array(fc.record({ type: word, id: word, properties }), { maxLength: 4 });

function read(obligations: unknown): readonly Obligation[] {
  const annotated = readAnnotations("permit", new Map([["obligation", JSON.stringify(obligations)]]));
  if (!annotated.ok) throw new Error(annotated.error);
  return annotated.value.obligations;
}

const failed = fc.record(
  { reason: fc.constantFrom(...REASON_ORDER), detail: fc.string({ unit: "grapheme" }) },
  { requiredKeys: ["reason"] },
);
const core: fc.Arbitrary<DecisionCore> = fc.record({
  v: fc.constant(1 as const),
  trust: fc.string(),
  t_ms: fc.maxSafeInteger(),
  run: fc.string(),
  region: fc.string(),
  reason: fc.option(fc.constantFrom(...REASON_ORDER)),
  policy: fc.string(),
  obligations: written.map(read),
  input: fc.string(),
  failed: fc.array(failed, { maxLength: 3 }),
  facts: fc.string(),
  decision: fc.constantFrom("allow" as const, "deny" as const),
});

test("the text of a core is its JCS", () => {
  fc.assert(
    fc.property(core, (one) => {
      expect(coreText(one)).toBe(jcs(one));
    }),
    RUNS,
  );
});

test("obligations are the same whatever the order in which they and their members were written", () => {
  fc.assert(
    fc.property(written, written, (one, other) => {
      const turned = one.map(({ type, id, properties: members }) => ({
        properties: Object.fromEntries(Object.entries(members).toReversed()),
        id,
        type,
      }));
      const text = JSON.stringify(sortObligations([...read(one), ...read(other)]));
      expect(JSON.stringify(sortObligations([...read(other), ...read(turned)]))).toBe(text);
    }),
    RUNS,
  );
});

test("a member that is named with a number cannot be kept in order, and is refused", () => {
  const text = JSON.stringify({ type: "a", id: "b", properties: { x: { "10": 1, "9": 2 } } });
  expect(readAnnotations("permit", new Map([["obligation", text]]))).toMatchObject({
    ok: false,
    error: expect.stringContaining("named with a number") as string,
  });
});
