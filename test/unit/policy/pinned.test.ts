import { expect, test } from "vitest";
import { pinsHold } from "../../../src/policy/pinned.ts";
import { request } from "./pack-fixture.ts";

const PIN = { expected: "sha256:a", context: "tool_schema" };

test("the stated digest has to be the pinned one", () => {
  expect(pinsHold([], request())).toEqual([]);
  expect(pinsHold([PIN], request({ context: { tool_schema: "sha256:a" } }))).toEqual([]);
  for (const stated of ["sha256:b", "SHA256:A", "", "sha256:a "]) {
    const failed = [{ reason: "tool_changed", detail: "tool_schema" }];
    expect(pinsHold([PIN], request({ context: { tool_schema: stated } }))).toEqual(failed);
  }
});

test("saying nothing is not the same as saying the right thing", () => {
  const missing = [{ reason: "context_missing", detail: "tool_schema" }];
  expect(pinsHold([PIN], request())).toEqual(missing);
  expect(pinsHold([PIN], request({ context: {} }))).toEqual(missing);
  expect(pinsHold([PIN], request({ context: { tool_schema: ["sha256:a"] } }))).toEqual(missing);
  expect(pinsHold([{ ...PIN, context: "toString" }], request({ context: {} }))).toMatchObject([{ detail: "toString" }]);
});

test("what has no pin is changed, whatever is stated", () => {
  const unpinned = { ...PIN, expected: null };
  for (const stated of ["", "null", "sha256:a"])
    expect(pinsHold([unpinned], request({ context: { tool_schema: stated } }))).toMatchObject([
      { reason: "tool_changed" },
    ]);
});

test("each pin counts", () => {
  const pins = [PIN, { expected: "sha256:b", context: "tool_schema" }, { expected: "x", context: "other" }];
  expect(pinsHold(pins, request({ context: { tool_schema: "sha256:a" } })).map(({ reason }) => reason)).toEqual([
    "tool_changed",
    "context_missing",
  ]);
});
