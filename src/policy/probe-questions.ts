import type { CanonicalRequest } from "../vocabulary/types.ts";
import { evaluatePolicy, type LoadedPolicy, type PolicyPart } from "./evaluate.ts";
import { MAX_PROBES, roundsOf, type Probe } from "./probe-set.ts";

export type Questions = {
  readonly probes: readonly Probe[];
  /** One question of each kind: by types and action, which `name` spells. */
  readonly kinds: readonly { readonly name: string; readonly request: CanonicalRequest }[];
};

/** A busy shard asks all of them twice a second: a pack of one policy needs no more than a few. */
const PER_POLICY = 8;
const MIN_PROBES = 24;
/** How many are tried to find one that meets a policy which those that are asked anyway do not. */
const MOST_TRIED = 4 * MAX_PROBES;

/** By the part, which is as immutable as the pack that it was built from. */
const known = new WeakMap<PolicyPart, Questions>();

/**
 * What a pack is asked to see whether it still decides as it did: some rounds, and of the next only what meets a policy
 * that no question before it has met. So it is enough to ask a few, and a change to a policy that can be met is still
 * asked about. `alone`: the pack as it lies in memory. Chosen at the first look and kept, since later on the choice must
 * not depend on a change that it is to find. Yields each time when `slice` have been tried.
 */
export function* questionsTo(alone: LoadedPolicy, part: PolicyPart, slice: number): Generator<void, Questions> {
  const found = known.get(part);
  if (found !== undefined) return found;
  const { name: pack, source } = part;
  const wanted = Math.min(MAX_PROBES, Math.max(MIN_PROBES, PER_POLICY * (source?.policies.length ?? 0)));
  const unmet = new Set(source?.policies.map(({ id }) => `${pack}/${id}`));
  const probes: Probe[] = [];
  let tried = 0;
  for (const round of source === null ? [] : roundsOf(source)) {
    const asked = tried === 0 || tried + round.length <= wanted;
    if (!asked && (unmet.size === 0 || tried >= MOST_TRIED)) break;
    for (const probe of round) {
      if (++tried % slice === 0) yield;
      const met = policiesMet(alone, probe).filter((policy) => unmet.delete(policy));
      if (asked || met.length > 0) probes.push(probe);
    }
  }
  const kinds = new Map<string, CanonicalRequest>();
  for (const { request } of probes) {
    const name = JSON.stringify([request.subject.type, request.action.name, request.resource.type]);
    if (!kinds.has(name)) kinds.set(name, request);
  }
  const questions: Questions = { probes, kinds: [...kinds].map(([name, request]) => ({ name, request })) };
  known.set(part, questions);
  return questions;
}

/** Policies without which the answer would be another one. */
function policiesMet(alone: LoadedPolicy, { request, env }: Probe): readonly string[] {
  const { determining, errors } = evaluatePolicy(alone, request, env);
  return [...determining, ...errors].map(({ policy }) => policy);
}
