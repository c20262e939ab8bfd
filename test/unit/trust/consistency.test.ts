import { expect, it } from "vitest";
import { decodeConsistency, encodeConsistency } from "../../../src/trust/consistency.ts";

it("round-trips", () => {
  expect(decodeConsistency(encodeConsistency({ region: "eu", revision: 42 }))).toEqual({ region: "eu", revision: 42 });
});

it.each([
  "",
  "!",
  "e30",
  "bnVsbA",
  btoa('{"r":"eu","t":-1,"v":1}').replaceAll("=", ""),
  btoa('{"r":"eu","t":1.5,"v":1}').replaceAll("=", ""),
  "x".repeat(300),
])("reads nothing from %s", (text) => expect(decodeConsistency(text)).toBeNull());
