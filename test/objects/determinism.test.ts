import { expect, it } from "vitest";
import { digestOfOutcomes } from "../support/determinism.ts";
import { DETERMINISM } from "../vectors/determinism.ts";

it("workerd comes to the same bytes as Node and a script without a platform", () => {
  expect(navigator.userAgent).toBe("Cloudflare-Workers");
  expect(digestOfOutcomes()).toBe(DETERMINISM);
});
