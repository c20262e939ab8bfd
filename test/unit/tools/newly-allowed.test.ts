import { expect, test } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import regionsJson from "../../../policies/regions.json" with { type: "json" };
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { describeNewlyAllowed, newlyAllowed, type BundleOfRegions } from "../../../tools/policy/newly-allowed.ts";

/** `interlock policy check`: what a release may newly allow, region by region. */

const before: BundleOfRegions = { ...(bundleJson as unknown as Bundle), regions: regionsJson };

const candidate = (drop: string): BundleOfRegions => ({
  ...before,
  packs: before.packs.map((pack) => {
    const policies = (pack as ValidPack).policies.filter(({ id }) => id !== drop);
    const changed = { ...(pack as ValidPack), policies };
    return { ...changed, digest: packDigest(changed) };
  }),
});

test("says which regions, which actions, why, and how many must sign", () => {
  const found = newlyAllowed(candidate("step-limit"), before);
  expect(found).toEqual([
    {
      pack: "treasury",
      action: "payment.execute",
      irreversible: true,
      why: ["forbid step-limit is gone or changed"],
      regions: ["ap", "eu", "us"],
    },
  ]);
  expect(describeNewlyAllowed(found)).toEqual([
    "newly allowed, IRREVERSIBLE: treasury/payment.execute: forbid step-limit is gone or changed (ap, eu, us)",
    "it needs the signatures of two policy keys, or of as many as the root asks for if those are more",
  ]);
  // The same law, and one that only permits less.
  for (const drop of ["", "execute-payment"])
    expect(describeNewlyAllowed(newlyAllowed(candidate(drop), before))).toEqual([
      "it needs as many signatures as the root asks for",
    ]);
});

test("a region that a bundle gives other packs is compared by those", () => {
  const moved = { ...before, regions: { ...before.regions, de: ["sovereign", "workloads"] } };
  expect(newlyAllowed(moved, before).map(({ pack, action, regions }) => [pack, action, regions])).toEqual([
    ["hospital-mcp", "mailer.send", ["de"]],
    ["hospital-mcp", "notes.append", ["de"]],
    ["workloads", "unseal", ["de"]],
  ]);
});
