import * as fc from "fast-check";
import { expect, test } from "vitest";
import { jcs } from "../../../src/base/jcs.ts";
import { parseJson, type JsonObject, type JsonValue } from "../../../src/base/json.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText } from "../../../src/http/canonical-request.ts";
import { readOptions } from "../../../src/http/interlock-options.ts";
import { objectText } from "../../../src/http/json-text.ts";
import { NO_STEP } from "../../../src/http/step-options.ts";
import { openRunBody } from "../../../src/http/schemas/runs.ts";
import { parseKey, resourceKey, subjectKey } from "../../../src/trust/keys.ts";

const RUNS = { seed: 20_261_123, numRuns: 1_500 };

const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
/** Numbers that the input rules take: whole, or with at most four decimal places. */
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.integer({ min: -2_000_000_000, max: 2_000_000_000 }).map((n) => n / 10_000),
  fc.constant(-0),
);
const { value } = fc.letrec<{ value: JsonValue; member: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.boolean(),
    number,
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(name, fc.constantFrom("__proto__", "constructor", "10", "9", "toString")), tie("member"), {
      maxKeys: 5,
      noNullPrototype: true,
    }) as fc.Arbitrary<JsonObject>,
  ),
  member: fc.oneof({ weight: 9, arbitrary: tie("value") }, { weight: 1, arbitrary: fc.constant(null) }),
}));
const object = fc.dictionary(name, fc.oneof(value, fc.constant(null)), { maxKeys: 6 }) as fc.Arbitrary<JsonObject>;
const request = fc.record({
  subject: fc.record({ type: name, id: name, properties: object }),
  action: fc.record({ name, properties: object }),
  resource: fc.record({ type: name, id: name }),
  context: object,
});

/** The same value written otherwise: member order, white space, escapes, number form, extra nulls. */
function respell(value: JsonValue, random: () => number): string {
  const pick = (...texts: readonly string[]): string => texts[Math.floor(random() * texts.length)]!;
  const gap = (): string => pick("", "", " ", "\n", "\t ", "\r\n");
  const text = (string: string): string =>
    `"${string
      .split("")
      .map((unit) => {
        const escaped = "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0");
        if (random() < 0.15) return random() < 0.5 ? escaped : escaped.toUpperCase().replace("\\U", "\\u");
        return JSON.stringify(unit).slice(1, -1);
      })
      .join("")}"`;
  if (typeof value === "string") return text(value);
  if (typeof value === "number") {
    if (Object.is(value, -0)) return pick("-0", "0", "-0.0", "0e5");
    if (Number.isInteger(value)) return pick(String(value), `${value}.0`, `${value}e0`, `${value}.000E+0`);
    return pick(String(value), `${value}0`, `${value}e0`);
  }
  if (value === null || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) {
    return `[${gap()}${value.map((one: JsonValue) => respell(one, random)).join(`${gap()},${gap()}`)}${gap()}]`;
  }
  const members = Object.entries(value as JsonObject).sort(() => random() - 0.5);
  const written = members.map(
    ([key, member]) => `${gap()}${text(key)}${gap()}:${gap()}${respell(member, random)}${gap()}`,
  );
  return `{${written.join(",")}}`;
}

function canonical(text: string): string {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  const body = parsed.value as JsonObject;
  const out = requestText(
    {
      subject: entityPart(body["subject"], "subject"),
      action: actionPart(body["action"]),
      resource: entityPart(body["resource"], "resource"),
      context: contextPart(body["context"]),
    },
    NO_STEP,
  );
  if (typeof out !== "string") throw new Error(`${out.where}: ${out.what}`);
  return out;
}

test("two spellings of one request are one canonical request", () => {
  fc.assert(
    fc.property(
      request,
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (body, stream) => {
        const random = (): number => stream.next().value as number;
        const plain = canonical(JSON.stringify(body));
        expect(canonical(respell(body as unknown as JsonValue, random))).toBe(plain);
      },
    ),
    { ...RUNS, numRuns: 400 },
  );
});

const withoutNulls = (value: JsonValue): JsonValue => {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(kept.map(([key, member]) => [key, withoutNulls(member)]));
};

test("the text is the RFC 8785 text of the value without its null members", () => {
  fc.assert(
    fc.property(object, (body) => {
      expect(objectText(body)).toBe(jcs(withoutNulls(body)));
    }),
    RUNS,
  );
});

test("the canonical request is its own canonical form, and reads back as what it says", () => {
  fc.assert(
    fc.property(request, (body) => {
      const text = canonical(JSON.stringify(body));
      expect(jcs(JSON.parse(text))).toBe(text);
      expect(JSON.parse(text)).toMatchObject({ v: 1, subject: { id: body.subject.id, type: body.subject.type } });
    }),
    { ...RUNS, numRuns: 400 },
  );
});

test("a changed value is another request", () => {
  const base = { subject: { type: "u", id: "a" }, action: { name: "r" }, resource: { type: "t", id: "1" } };
  const texts = [
    base,
    { ...base, subject: { type: "u", id: "b" } },
    { ...base, context: { x: 1 } },
    { ...base, context: { x: "1" } },
    { ...base, context: { x: 1.5 } },
    { ...base, context: { x: [1] } },
    { ...base, action: { name: "r", properties: {} } },
  ].map((body) => canonical(JSON.stringify(body)));
  expect(new Set(texts).size).toBe(texts.length);
});

test("whatever entity comes in by the door can be revoked", () => {
  const rough = fc.oneof(
    fc.string({
      unit: fc.constantFrom("a", "/", "%", "%2F", "\0", "\n", "\u007f", "\u2028", "\u2029", "é", "👩‍🚀", " "),
    }),
    fc.string({ unit: "grapheme", minLength: 1 }),
    fc.tuple(fc.constantFrom("a", "/", "%"), fc.integer({ min: 330, max: 1_030 })).map(([one, n]) => one.repeat(n)),
  );
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(rough, rough, (type, id) => {
      const accepted = typeof entityPart({ type, id }, "subject") === "string";
      seen.add(accepted);
      expect(typeof entityPart({ type, id }, "resource") === "string").toBe(accepted);
      expect(openRunBody.safeParse({ principal: { type, id } }).success).toBe(accepted);
      const keys = parseKey(subjectKey(type, id)).ok && parseKey(resourceKey(type, id)).ok;
      const named = type !== "" && id !== "" && type.length <= 1_024 && id.length <= 1_024;
      expect(accepted).toBe(keys && named);
    }),
    RUNS,
  );
  expect(seen).toEqual(new Set([true, false]));
});

test.each([
  [{ type: "user", id: "a\nb" }, "id"],
  [{ type: "user", id: "a\u2028" }, "id"],
  [{ type: "us\0er", id: "a" }, "type"],
  [{ type: "/".repeat(1_000), id: "a" }, "type"],
  [{ type: "t".repeat(1_024), id: "i".repeat(1_024) }, "id"],
])("%j names the member", (entity, member) => {
  expect(entityPart(entity, "subject")).toMatchObject({ where: `subject.${member}` });
  expect(openRunBody.safeParse({ principal: entity }).error?.issues.map(({ path }) => path.join("."))).toEqual([
    `principal.${member}`,
  ]);
});

test("a searched entity needs only a type that can be revoked", () => {
  expect(entityPart({ type: "user", id: "\n" }, "subject", true)).toBe('{"id":"","type":"user"}');
  expect(entityPart({ type: "us\ner" }, "subject", true)).toMatchObject({ where: "subject.type" });
});

test("what a step says of its place in the run stands in the sorted order of the JCS", () => {
  const parts = {
    subject: entityPart({ type: "u", id: "a" }, "subject"),
    action: actionPart({ name: "r" }),
    resource: entityPart({ type: "t", id: "1" }, "resource"),
    context: contextPart({ z: 1 }),
  };
  const at = readOptions({ run: "r", step: "s", state_version: 7, parents: ["eu.1.s0.9", "eu.1.s0.10"] }, "call");
  if (isInvalid(at)) throw new Error(at.what);
  const text = requestText(parts, at) as string;
  expect(text).toBe(jcs(JSON.parse(text)));
  expect(JSON.parse(text)).toMatchObject({
    run: "r",
    step: "s",
    state_version: 7,
    parents: ["eu.1.s0.10", "eu.1.s0.9"],
  });
  const turned = readOptions({ parents: ["eu.1.s0.10", "eu.1.s0.9"], state_version: 7, step: "s", run: "r" }, "call");
  expect(requestText(parts, turned as typeof at)).toBe(text);
});
