import { expect, it } from "vitest";
import { decodeConsistency, encodeConsistency } from "../../../src/trust/consistency.ts";

it("round-trips", () => {
  const token = { region: "eu", revision: 42, events: { eu: [1, 40], us: [2, 0] } } as const;
  expect(decodeConsistency(encodeConsistency(token))).toEqual(token);
});

it.each([
  "",
  "!",
  "e30",
  "bnVsbA",
  btoa('{"r":"eu","t":-1,"v":1}').replaceAll("=", ""),
  btoa('{"r":"eu","t":1.5,"v":1}').replaceAll("=", ""),
  btoa('{"e":{"eu":[1]},"r":"eu","t":1,"v":1}').replaceAll("=", ""),
  btoa('{"e":{"EU":[1,1]},"r":"eu","t":1,"v":1}').replaceAll("=", ""),
  btoa('{"e":[],"r":"eu","t":1,"v":1}').replaceAll("=", ""),
  "x".repeat(5_000),
])("reads nothing from %s", (text) => expect(decodeConsistency(text)).toBeNull());
