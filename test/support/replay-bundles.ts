import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { packDigest, type Bundle, type ValidPack } from "../../src/policy/bundle.ts";
import { bundleBytes } from "./policy-documents.ts";

/** The packs of a region that does a little of everything, and other versions of their rules. */

export const PACKS = [
  "sovereign",
  "treasury",
  "kubernetes-sre",
  "hospital-mcp",
  "authzen-certification",
  "authzen-todo",
] as const;

const SHIPPED = bundleJson as unknown as Bundle;

type Policies = ValidPack["policies"];

function withPolicies(bundle: Bundle, name: string, change: (policies: Policies) => Policies): Bundle {
  const packs = bundle.packs.map((pack) => {
    if (pack.name !== name || pack.status !== "valid") return pack;
    const changed: ValidPack = { ...pack, policies: change(pack.policies) };
    if (JSON.stringify(changed.policies) === JSON.stringify(pack.policies)) throw new Error(`${name} is as before`);
    return { ...changed, digest: packDigest(changed) };
  });
  return { ...bundle, packs };
}

const literal = (from: string, to: string) => (policies: Policies) =>
  JSON.parse(JSON.stringify(policies).replaceAll(`"${from}"`, `"${to}"`)) as Policies;

const without = (id: string) => (policies: Policies) => policies.filter((policy) => policy.id !== id);

/** As shipped; with a lower limit and no forbids of images; and without the scaling, and another who opens runs. */
const VERSIONS: readonly Bundle[] = [
  SHIPPED,
  withPolicies(
    withPolicies(SHIPPED, "treasury", literal("10000.0", "2500.0")),
    "kubernetes-sre",
    without("more-than-half"),
  ),
  withPolicies(
    withPolicies(SHIPPED, "kubernetes-sre", without("scale")),
    "treasury",
    literal("step_limit_exceeded", "above_the_limit_of_a_step"),
  ),
];

/** Bytes to sign, in the order in which they come into force. */
export const versions = (): readonly Uint8Array<ArrayBuffer>[] =>
  VERSIONS.map((bundle) => bundleBytes(bundle, { "*": [...PACKS] }));
