import type { BundledPolicy } from "../../policy/bundle.ts";
import { covers } from "../../policy/cedar-request.ts";
import type { ApplicationPack, LoadedPack, LoadedPolicy } from "../../policy/load.ts";
import { uidKey } from "../../cedar/index.ts";
import { manifestRules, type ManifestRule } from "./manifest-rules.ts";
import { REASON_ORDER, REASONS, type ReasonCode, type FailedCheck } from "../../vocabulary/reasons.ts";
import type { CanonicalRequest, Determining } from "../../vocabulary/types.ts";

/** Where a policy stands; `line` from 1. `null`: the law in force has no such policy any more. */
type Place = { readonly file: string | null; readonly line: number | null };

/** A decision in the terms of whoever has to do something about it (docs/explain.md). */
export type Explanation = {
  /** Every check that failed, the primary one first, with what it means and what to do. */
  readonly failed: readonly ExplainedCheck[];
  /** The policies that decided. */
  readonly determining: readonly (Determining & Place & { readonly effect: "permit" | "forbid" | null })[];
  /** Policies that could not be evaluated; a pack where the request departs from its schema. */
  readonly errors: readonly ({ readonly policy: string } & Place)[];
  /** Where no permit held: those whose head fits the action and the two types, at most 16. */
  readonly unmatched: readonly ({ readonly policy: string } & Place)[];
  /** Checks that were not reached: they may fail as well. */
  readonly not_evaluated: readonly ReasonCode[];
};

/** What its code means and what to do; `rules`: where a manifest asks for what is lacking (absent: none does). */
export type ExplainedCheck = FailedCheck & {
  readonly text: string;
  readonly todo: string;
  readonly rules?: readonly ManifestRule[];
};

/** By its code alone: of a denial about which nothing else is known, since no law was asked. */
export const explainedReason = (check: FailedCheck): ExplainedCheck => ({
  ...check,
  text: REASONS[check.reason].text,
  todo: REASONS[check.reason].todo,
});

export type Explained = {
  readonly reason: ReasonCode | null;
  readonly policy_reason: string | null;
  readonly failed: readonly FailedCheck[];
  readonly determining: readonly Determining[];
  /** `pack/id` of the policies that could not be evaluated; of a departure from the schema the pack. */
  readonly errors?: readonly string[];
};

const MAX_UNMATCHED = 16;

/** Says nothing about anything but the law and the checks themselves: no attribute of any entity. Pure. */
export function explanationOf(policy: LoadedPolicy, request: CanonicalRequest, decided: Explained): Explanation {
  const { failed, determining, reason, policy_reason, errors = [] } = decided;
  const bare = reason === "policy_denied" && policy_reason === null;
  return {
    failed: failed.map((check) => {
      const rules = manifestRules(policy, request, check);
      return { ...explainedReason(check), ...(rules.length === 0 ? {} : { rules }) };
    }),
    determining: determining.map((one) => ({ ...one, ...placeOf(policy, one.policy) })),
    errors: errors.map((name) => ({ policy: name, ...whereOf(policy, name) })),
    unmatched: bare ? unmatched(policy, request) : [],
    not_evaluated: reason === null ? [] : notEvaluated(failed),
  };
}

const packNamed = ({ sovereign, application }: LoadedPolicy, name: string): LoadedPack | undefined =>
  [...sovereign, ...application].find((pack) => pack.name === name);

/** By id, once for each pack: a batch asks a thousand times, of thousands of policies. */
const byId = new WeakMap<LoadedPack, ReadonlyMap<string, BundledPolicy>>();

/** A policy of the law by `pack/id`. */
function policyNamed(policy: LoadedPolicy, name: string): BundledPolicy | undefined {
  const at = name.indexOf("/");
  const pack = packNamed(policy, name.slice(0, at));
  if (pack === undefined) return undefined;
  let ids = byId.get(pack);
  if (ids === undefined) byId.set(pack, (ids = new Map(pack.written.map((one) => [one.id, one]))));
  return ids.get(name.slice(at + 1));
}

function placeOf(policy: LoadedPolicy, name: string): Place & { readonly effect: "permit" | "forbid" | null } {
  const found = policyNamed(policy, name);
  return found === undefined
    ? { effect: null, file: null, line: null }
    : { effect: found.json.effect, file: found.file, line: found.line };
}

/** A pack by its name alone: the request departs from its schema. */
function whereOf(policy: LoadedPolicy, name: string): Place {
  if (!name.includes("/"))
    return { file: packNamed(policy, name) === undefined ? null : `${name}/schema.cedarschema`, line: null };
  const { file, line } = placeOf(policy, name);
  return { file, line };
}

/** By action and types, of which a pack has few: nothing else of a request bears on it. */
const fitting = new WeakMap<ApplicationPack, Map<string, Explanation["unmatched"]>>();

const unmatched = (policy: LoadedPolicy, request: CanonicalRequest): Explanation["unmatched"] =>
  policy.application
    .filter(({ types }) => covers(types, request))
    .flatMap((pack) => fittingOf(pack, request))
    .slice(0, MAX_UNMATCHED);

function fittingOf(pack: ApplicationPack, request: CanonicalRequest): Explanation["unmatched"] {
  let known = fitting.get(pack);
  if (known === undefined) fitting.set(pack, (known = new Map()));
  const kind = JSON.stringify([request.action.name, request.subject.type, request.resource.type]);
  let found = known.get(kind);
  if (found === undefined) {
    found = pack.written
      .filter((one) => one.json.effect === "permit" && fits(pack, one, request))
      .slice(0, MAX_UNMATCHED)
      .map(({ id, file, line }) => ({ policy: `${pack.name}/${id}`, file, line }));
    known.set(kind, found);
  }
  return found;
}

type Head = { readonly [name: string]: unknown };

/** By the head alone, as far as it names actions and types: who is in which group is for the directory. */
function fits(pack: ApplicationPack, { json }: BundledPolicy, request: CanonicalRequest): boolean {
  const { ref } = pack.types.actions.get(request.action.name)!;
  const action: Head = json.action;
  const named = action["entities"] ?? (action["entity"] === undefined ? null : [action["entity"]]);
  const groups = pack.directory.ancestors(ref.key);
  const acts = (uid: unknown): boolean => {
    const { type, id } = uid as { readonly type: string; readonly id: string };
    const key = uidKey({ type, id });
    return key === ref.key || groups.has(key);
  };
  return (
    (!Array.isArray(named) || named.some(acts)) &&
    ofType(json.principal, pack.types.subjects.get(request.subject.type)!.type) &&
    ofType(json.resource, pack.types.resources.get(request.resource.type)!.type)
  );
}

const ofType = (head: Head, type: string): boolean => head["entity_type"] === undefined || head["entity_type"] === type;

const at = (reason: ReasonCode): number => REASON_ORDER.indexOf(reason);
const between = (first: ReasonCode, last: ReasonCode): readonly ReasonCode[] =>
  REASON_ORDER.slice(at(first), at(last) + 1);

const OF_REGION = between("region_joining", "consistency_unsatisfied");
const OF_STEP = between("identity_missing", "rate_exceeded");
const OF_POLICIES = between("sovereign_policy", "approver_not_independent");
/** What cannot be looked at in a run that is not there. */
const OF_RUN: readonly ReasonCode[] = [
  "ancestor_revoked",
  ...between("delegation_exceeded", "delegation_depth"),
  ...between("run_closed", "guest_receipt_missing"),
];

/** Follows the order of `decide`: the region, then all of the step, then the policies, then the anchoring limit. */
function notEvaluated(failed: readonly FailedCheck[]): readonly ReasonCode[] {
  const [first] = failed;
  if (first === undefined || first.reason === "internal") return [...OF_REGION, ...OF_STEP, ...OF_POLICIES];
  const of_step = failed.some(({ reason }) => OF_STEP.includes(reason)) || isHomeFrozen(first);
  if (!of_step && OF_REGION.includes(first.reason))
    return [...OF_REGION.slice(OF_REGION.indexOf(first.reason) + 1), ...OF_STEP, ...OF_POLICIES, "lineage_unavailable"];
  const of_policies = failed.some(({ reason }) => OF_POLICIES.includes(reason));
  // The log itself is asked last of the region; a pack's limit on anchoring after the policies.
  if (!of_step && !of_policies && first.reason === "lineage_unavailable")
    return first.detail?.startsWith("the region log") === true ? [...OF_STEP, ...OF_POLICIES] : [];
  if (of_step) {
    const unknown = failed.some(({ reason }) => reason === "run_unknown");
    return [...(unknown ? OF_RUN : []), ...OF_POLICIES, "lineage_unavailable"];
  }
  return first.reason === "sovereign_policy" ? OF_POLICIES.slice(1) : [];
}

/** The home of what is asked about is frozen: a matter of the step, by the code of a region. */
const isHomeFrozen = ({ reason, detail }: FailedCheck): boolean => reason === "region_frozen" && detail !== undefined;
