import { jcs } from "../../src/base/jcs.ts";
import { packDigest, type ValidPack } from "../../src/policy/bundle.ts";
import { loadPolicy } from "../../src/policy/evaluate.ts";
import type { Golden } from "../../src/policy/golden-format.ts";
import { runCase, runSearch } from "../../src/replay/golden.ts";

/**
 * Policies that could be taken out, one at a time, and every golden decision would still hold: their effect is tested by
 * nothing. A policy that merely takes part in a decision is not tested by it.
 */
export function untested(pack: ValidPack, golden: Golden): readonly string[] {
  const held = outcomes(pack, golden);
  return pack.policies
    .filter(({ id }) => outcomes({ ...pack, policies: pack.policies.filter((one) => one.id !== id) }, golden) === held)
    .map(({ id }) => id);
}

function outcomes(pack: ValidPack, golden: Golden): string {
  const policy = loadPolicy({ v: 1, packs: [{ ...pack, digest: packDigest(pack) }] }, [pack.name]);
  if (policy.problem !== null) throw new Error(policy.problem);
  return jcs([
    ...golden.cases.map((one) => runCase(policy, pack.name, one).differences),
    ...(golden.searches ?? []).map((one) => runSearch(policy, pack.name, one).differences),
  ]);
}
