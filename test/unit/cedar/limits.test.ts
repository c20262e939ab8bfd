import { describe, expect, test } from "vitest";
import {
  authorizeStrict,
  buildEntityStore,
  compilePolicySet,
  type EntityJson,
  type PolicyJson,
  record,
  recordFromJson,
  set,
  string,
  uidKey,
  valueFromJson,
} from "../../../src/cedar/index.ts";
import { MAX_EXPRESSION_DEPTH } from "../../../src/cedar/expression.ts";
import { alice, attribute, compiled, photo, policy, stored, uid, V, view } from "./fixtures.ts";

const store = stored([]);
const decide = (body: object, context: unknown = {}) => {
  const read = recordFromJson(context);
  if (!read.ok) throw new Error(read.error);
  return authorizeStrict(compiled(policy("permit", body)), store, {
    principal: alice,
    action: view,
    resource: photo,
    context: read.value,
  });
};
const nested = (levels: number) => {
  let body: object = V(true);
  for (let i = 0; i < levels; i++) body = { "!": { arg: body } };
  return body;
};

describe("limits", () => {
  test("runs the deepest expression that compiles, and refuses a deeper one with a message", () => {
    expect(decide(nested(MAX_EXPRESSION_DEPTH)).cause).toBe("permit");
    const deep = compilePolicySet([{ id: "deep", json: policy("permit", nested(100_000)) }]);
    expect(deep).toMatchObject({
      ok: false,
      error: { policyId: "deep", message: expect.stringContaining("nested deeper") },
    });
  });

  test("a chain of && or || counts as one level", () => {
    for (const op of ["&&", "||"]) {
      let body: object = V(true);
      for (let i = 0; i < 20_000; i++) body = { [op]: { left: body, right: V(true) } };
      expect(decide(body).cause).toBe("permit");
    }
  });

  test("refuses values nested beyond the reference's limit", () => {
    let json: unknown = 1;
    for (let i = 0; i < 100_000; i++) json = [json];
    expect(valueFromJson(json).ok).toBe(false);
  });

  test("matches a pattern of many wildcards against a long text quickly", () => {
    const pattern = Array.from({ length: 4_000 }, (_, i) => (i % 2 === 0 ? "Wildcard" : { Literal: "a" }));
    const body = { like: { left: attribute("context", "s"), pattern: [...pattern, { Literal: "b" }] } };
    const start = performance.now();
    expect(decide(body, { s: "a".repeat(200_000) }).cause).toBe("no_permit");
    expect(performance.now() - start).toBeLessThan(1_000);
  });

  test("compares deeply nested sets without exploding", () => {
    const build = () => {
      let value = set([string("x")]);
      for (let i = 0; i < 200; i++) value = set([value, string("x"), set([value])].slice(0, 2));
      return value;
    };
    const context = record([
      ["a", build()],
      ["b", build()],
    ]);
    const policies = compiled(
      policy("permit", { "==": { left: attribute("context", "a"), right: attribute("context", "b") } }),
    );
    expect(authorizeStrict(policies, store, { principal: alice, action: view, resource: photo, context }).cause).toBe(
      "permit",
    );
  });
});

describe("names and inputs", () => {
  test("attributes named after Object's own are attributes and nothing else", () => {
    for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
      const has = { has: { left: { Var: "context" }, attr: name } };
      expect(decide(has).cause).toBe("no_permit");
      expect(decide(has, JSON.parse(`{ "${name}": 1 }`)).cause).toBe("permit");
      expect(decide({ "==": { left: attribute("context", name), right: V(1) } }).cause).toBe("error");
    }
    expect(({} as { [name: string]: unknown }).polluted).toBeUndefined();
  });

  test("an operator named after Object's own is unknown", () => {
    for (const name of ["constructor", "toString", "__proto__"]) {
      const json = policy("permit", JSON.parse(`{ "${name}": [] }`));
      expect(compilePolicySet([{ id: "p", json }]).ok).toBe(false);
    }
  });

  test("uids that would print alike have different keys", () => {
    expect(uidKey(uid('A::"b', "c"))).not.toBe(uidKey(uid("A", 'b::"c')));
    expect(uidKey(uid("1:A", "x"))).not.toBe(uidKey(uid("1", ":Ax")));
  });

  test("refuses numbers that have lost digits, fractions and null", () => {
    for (const json of [2 ** 53, 1.5, Number.NaN, null, 2n ** 63n]) expect(valueFromJson(json).ok).toBe(false);
    expect(valueFromJson(2n ** 63n - 1n)).toEqual({ ok: true, value: 2n ** 63n - 1n });
  });

  test("refuses what it does not know in a policy", () => {
    const refused: unknown[] = [
      { ...policy("permit"), surprise: true },
      { ...policy("permit"), effect: "allow" },
      policy("permit", { Slot: "?principal" }),
      policy("permit", { "!": { arg: V(true), also: 1 } }),
      policy("permit", { Value: true, Var: "principal" }),
      policy("permit", { is: { left: { Var: "principal" }, entity_type: "A :: B" } }),
      { ...policy("permit"), principal: { op: "==", slot: "?principal" } },
      { ...policy("permit"), action: { op: "==", entity: uid("Verb", "x") } },
      { ...policy("permit"), conditions: [{ kind: "whenever", body: V(true) }] },
    ];
    for (const json of refused) expect(compilePolicySet([{ id: "p", json: json as PolicyJson }]).ok).toBe(false);
    const twice = [policy("permit"), policy("permit")].map((json) => ({ id: "same", json }));
    expect(compilePolicySet(twice)).toMatchObject({ ok: false, error: { policyId: "same" } });
  });

  test("refuses malformed entities, naming the entity", () => {
    const entity = (more: object) => ({ uid: alice, attrs: {}, parents: [], ...more }) as unknown as EntityJson;
    expect(buildEntityStore([entity({ attrs: { x: null } })])).toEqual({
      ok: false,
      error: expect.stringContaining("alice"),
    });
    for (const more of [
      { uid: "x" },
      { uid: uid("1", "x") },
      { attrs: undefined },
      { parents: undefined },
      { tags: null },
      { uid: view, parents: [alice] },
    ]) {
      expect(buildEntityStore([entity(more)]).ok).toBe(false);
    }
  });
});
