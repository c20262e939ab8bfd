import { describe, expect, test } from "vitest";
import { packsOf } from "../../../src/policy/regions.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";

const invalid = (name: string, layer: "sovereign" | "application" | null) =>
  ({ name, status: "invalid", layer, digest: "", validated_by: { cedar_wasm: "" }, errors: [] }) as const;

const bundle: Bundle = {
  v: 1,
  packs: [invalid("law", "sovereign"), invalid("app", "application"), invalid("riddle", null)],
};
const regions = { "*": ["law"], eu: ["law", "app"], us: ["riddle", "app"] };

describe("packs of a region", () => {
  test("are those listed, or those of * for a region that is not", () => {
    expect(packsOf(bundle, regions, "eu", null)).toEqual(["app", "law"]);
    expect(packsOf(bundle, regions, "mars", null)).toEqual(["law"]);
    expect(packsOf(bundle, regions, "constructor", null)).toEqual(["law"]);
  });

  test("a choice at start replaces application packs only", () => {
    expect(packsOf(bundle, regions, "eu", ["other"])).toEqual(["law", "other"]);
    expect(packsOf(bundle, regions, "mars", ["app"])).toEqual(["app", "law"]);
  });

  test("a pack whose layer nobody can tell stays", () => {
    expect(packsOf(bundle, regions, "us", ["other"])).toEqual(["other", "riddle"]);
  });
});
