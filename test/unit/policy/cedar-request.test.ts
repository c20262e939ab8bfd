import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CedarRecord, type Value } from "../../../src/cedar/index.ts";
import { interlockContext, mapSovereign } from "../../../src/policy/cedar-request.ts";
import { INTERLOCK_CONTEXT, SOVEREIGN } from "../../../src/policy/contract.ts";
import type { Shape } from "../../../src/policy/schema.ts";
import { ENV, request } from "./pack-fixture.ts";
import { runVector, type Vector, type VectorPack } from "./request-vectors.ts";

const { pack, vectors } = JSON.parse(
  readFileSync(new URL("../../../docs/vectors/request-to-cedar.json", import.meta.url), "utf8"),
) as { pack: VectorPack; vectors: readonly (Vector & { cedar: unknown })[] };

describe("docs/vectors/request-to-cedar.json", () => {
  // Compared as text: an own member called __proto__ counts too.
  test.each(vectors)("$name", (vector) => {
    expect(JSON.stringify(runVector(pack, vector))).toBe(JSON.stringify(vector.cedar));
  });
});

/** The shape that a value has, as a contract would declare it. */
function shapeOf(value: Value): Shape["kind"] {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "object") return value.kind;
  return "long";
}

/** Where a record departs from a contract: members that are missing, undeclared or of another type. */
function departures(value: CedarRecord, shape: Extract<Shape, { kind: "record" }>): string[] {
  const required = [...shape.attributes].filter(([, { required }]) => required).map(([name]) => name);
  return [
    ...required.filter((name) => !value.attributes.has(name)).map((name) => `${name} is missing`),
    ...[...value.attributes].flatMap(([name, member]) => {
      const declared = shape.attributes.get(name)?.shape;
      if (member instanceof CedarRecord && declared?.kind === "record") return departures(member, declared);
      return shapeOf(member) === declared?.kind ? [] : [`${name} is a ${shapeOf(member)}`];
    }),
  ];
}

describe("what every evaluation is given is what packs may declare", () => {
  test("context.interlock", () => {
    expect(departures(interlockContext({ ...ENV, labels: ["pii:eu"] }), INTERLOCK_CONTEXT)).toEqual([]);
  });

  test("the sovereign form", () => {
    const call = mapSovereign(request(), ENV);
    expect(departures(call.request.context, SOVEREIGN.context)).toEqual([]);
    expect(departures(call.subject.attributes, SOVEREIGN.entity)).toEqual([]);
    expect(departures(call.resource.attributes, SOVEREIGN.entity)).toEqual([]);
  });

  test("a home is read from the front of an id, and only there", () => {
    const homeOf = (id: string): Value | undefined =>
      mapSovereign(request({ subject: { type: "agent", id } }), ENV).subject.attributes.attributes.get("home");
    expect(homeOf("region:us:payer")).toBe("us");
    expect(homeOf("region:us-gov/agents/payer")).toBe("us-gov");
    for (const id of ["us:payer", "x region:us:payer", "region:us", "region::payer", "region:US:payer", ""]) {
      expect(homeOf(id)).toBeUndefined();
    }
  });

  test("only labels with a region bind data to one", () => {
    const { context } = mapSovereign(request(), { ...ENV, labels: ["internal", "pii:eu", "a:b:us"] }).request;
    const regions = context.attributes.get("label_regions");
    expect(regions).toMatchObject({ members: ["eu", "us"] });
  });
});
