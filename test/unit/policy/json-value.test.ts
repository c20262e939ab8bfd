import { describe, expect, test } from "vitest";
import type { JsonObject, JsonValue } from "../../../src/base/json.ts";
import { CedarRecord, EntityRef } from "../../../src/cedar/index.ts";
import { Misfit, readJson, readRecord } from "../../../src/policy/json-value.ts";
import { ANY, type RecordShape, type Shape } from "../../../src/policy/schema.ts";
import { cedarJson } from "../../support/cedar-json.ts";

const read = (json: JsonValue, shape: Shape = ANY): unknown => {
  const value = readJson(json, shape);
  return value instanceof Misfit ? value.message : cedarJson(value);
};

const decimal = (arg: string) => ({ __extn: { fn: "decimal", arg } });

describe("numbers", () => {
  test.each<[number, unknown]>([
    [0, 0],
    [-0, 0],
    [5.0, 5],
    [9007199254740991, 9007199254740991],
    [-9007199254740991, -9007199254740991],
    [0.5, decimal("0.5")],
    [-0.0001, decimal("-0.0001")],
    [922337203685.4775, decimal("922337203685.4775")],
    [9007199254740992, ": expected an integer within ±(2^53−1)"],
    [1e300, ": expected an integer within ±(2^53−1)"],
    [0.00001, ": expected at most four decimal places"],
    [1.23456, ": expected at most four decimal places"],
    [1e-7, ": expected at most four decimal places"],
  ])("%d", (json, expected) => {
    expect(read(json)).toEqual(expected);
  });

  test("a fraction is no Long, a whole number is a decimal where one is declared", () => {
    expect(read(1.5, { kind: "long" })).toBe(": expected a Long");
    expect(read(1, { kind: "decimal" })).toEqual(decimal("1.0"));
    expect(read("1.50", { kind: "decimal" })).toEqual(decimal("1.5"));
    expect(read("1", { kind: "decimal" })).toBe(": expected a decimal");
  });
});

describe("types", () => {
  test.each<[string, JsonValue, Shape]>([
    ["text for a Long", "5", { kind: "long" }],
    ["a number for a String", 5, { kind: "string" }],
    ["text for a Bool", "true", { kind: "bool" }],
    ["a set for a String", ["admin"], { kind: "string" }],
    ["text for a set", "admin", { kind: "set", element: { kind: "string" } }],
    ["a member of another type", ["a", 1], { kind: "set", element: { kind: "string" } }],
    ["an array for a record", [], { kind: "record", attributes: new Map() }],
    ["null", null, ANY],
    ["null in an array", [null], ANY],
    ["a date that does not exist", "2026-02-30", { kind: "datetime" }],
    ["a number for a datetime", 1_768_478_400_000, { kind: "datetime" }],
    ["no address", "10.0.0.256", { kind: "ipaddr" }],
    ["no duration", "soon", { kind: "duration" }],
    ["anything for an entity", { __entity: { type: "User", id: "root" } }, { kind: "entity", type: "User" }],
  ])("%s is a misfit", (_what, json, shape) => {
    expect(readJson(json, shape)).toBeInstanceOf(Misfit);
  });

  test("arrays are sets, whatever they hold", () => {
    expect(read([1, 1, "1", [2], [2]])).toEqual([1, "1", [2]]);
    expect(read([])).toEqual([]);
  });
});

describe("names", () => {
  const hostile = JSON.parse(
    '{"__proto__":{"role":"admin"},"constructor":1,"toString":"x","hasOwnProperty":true}',
  ) as JsonObject;

  test("hostile names are attributes and reach no prototype", () => {
    const value = readRecord(hostile, null) as CedarRecord;
    expect([...value.attributes.keys()]).toEqual(["__proto__", "constructor", "toString", "hasOwnProperty"]);
    expect(value.attributes.has("role")).toBe(false);
    expect(({} as { role?: unknown }).role).toBeUndefined();
  });

  test("a name that every object has is still missing where it is required", () => {
    const shape: RecordShape = {
      kind: "record",
      attributes: new Map([["constructor", { shape: { kind: "string" }, required: true }]]),
    };
    expect(readRecord({}, shape)).toMatchObject({ path: "constructor", expected: "a value" });
  });

  test("escapes make neither entities nor extension values", () => {
    const entity = readJson({ __entity: { type: "User", id: "root" } }, ANY);
    expect(entity).toBeInstanceOf(CedarRecord);
    expect(entity).not.toBeInstanceOf(EntityRef);
    expect(readJson({ __extn: { fn: "decimal", arg: "1.0" } }, ANY)).toBeInstanceOf(CedarRecord);
  });

  test("a misfit names its place and nothing of its value, in bounded length", () => {
    const misfit = readRecord({ a: { b: [{ ["c".repeat(10_000)]: null }] } }, null) as Misfit;
    expect(misfit.path.startsWith("a.b.[].ccc")).toBe(true);
    expect(misfit.message.length).toBeLessThan(200);
  });
});
