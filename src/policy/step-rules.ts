import type { AttestationRule, ApprovalRule, StepRules } from "../vocabulary/rules.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { textAttribute } from "./attributes.ts";
import { covers, type Searched } from "./cedar-request.ts";
import { NO_DELEGATION } from "./demands.ts";
import { runRequirement } from "./evaluate.ts";
import type { ApplicationPack, LoadedPolicy } from "./load.ts";
import { anyCovers } from "../runs/scope.ts";

/**
 * What the region's packs demand of a request before they are asked (docs/pack.md). Pure.
 *
 * Every pack that covers the request counts and the strictest demand wins. It depends on nothing but the two types and
 * the action, so it is put together once for each combination; only what is pinned is looked up per request.
 */
export function rulesFor(policy: LoadedPolicy, request: CanonicalRequest, searched: Searched = null): StepRules {
  const standing = standingRules(policy, request);
  return standing.pins.length === 0
    ? standing.rules
    : { ...standing.rules, pinned: [...standing.rules.pinned, ...pinsOf(standing.pins, request, searched)] };
}

type Pinning = { readonly pack: ApplicationPack; readonly attribute: string; readonly context: string };
type Standing = { readonly rules: StepRules; readonly pins: readonly Pinning[] };

/** By types and action, as far as packs list them: callers cannot make it grow. */
const standing = new WeakMap<LoadedPolicy, Map<string, Standing>>();

function standingRules(policy: LoadedPolicy, request: CanonicalRequest): Standing {
  let known = standing.get(policy);
  if (known === undefined) standing.set(policy, (known = new Map()));
  const { subject, action, resource } = request;
  // Which of them ends where follows from the two lengths.
  const key = `${subject.type.length} ${action.name.length} ${subject.type}${action.name}${resource.type}`;
  let found = known.get(key);
  if (found === undefined) {
    const packs = policy.application.filter(({ types }) => covers(types, request));
    found = strictest(policy, packs, request);
    if (packs.length > 0) known.set(key, found);
  }
  return found;
}

function strictest(policy: LoadedPolicy, packs: readonly ApplicationPack[], request: CanonicalRequest): Standing {
  let rules: StepRules = {
    run: runRequirement(policy, request.action.name),
    identity: null,
    attestation: null,
    delegation: NO_DELEGATION,
    budgets: [],
    history: [],
    approval: null,
    pinned: [],
  };
  const pins: Pinning[] = [];
  const approvals: ApprovalRule[] = [];
  for (const pack of packs) {
    const { demands, name } = pack;
    const subject = demands.subjects.get(request.subject.type)!;
    const resource = demands.resources.get(request.resource.type)!;
    const action = demands.actions.get(request.action.name)!;
    const { identity, attestation } = { ...subject, ...action.subjects.get(request.subject.type) };
    if (action.approval !== null) approvals.push(action.approval);
    if (resource.pinned !== null) pins.push({ pack, ...resource.pinned });
    rules = {
      ...rules,
      identity: bothIdentities(rules.identity, identity),
      attestation: bothAttestations(rules.attestation, attestation),
      delegation: {
        required: rules.delegation.required || action.delegation.required,
        max_depth: Math.min(rules.delegation.max_depth, action.delegation.max_depth),
      },
      budgets: [
        ...rules.budgets,
        ...demands.budgets
          .filter(({ actions }) => anyCovers(actions, request.action.name))
          .map((budget) => ({ owner: `pack/${name}`, budget })),
      ],
      history: [...rules.history, ...action.history.map((rule) => ({ ...rule, name: `${name}/${rule.name}` }))],
      pinned:
        action.pinned === null
          ? rules.pinned
          : [...rules.pinned, { expected: action.pinned.digest, context: action.pinned.context }],
    };
  }
  return { rules: { ...rules, approval: oneApproval(approvals) }, pins };
}

function bothIdentities(a: StepRules["identity"], b: StepRules["identity"]): StepRules["identity"] {
  if (a === null || b === null) return a ?? b;
  return {
    accept: a.accept.filter((kind) => b.accept.includes(kind)),
    allow_bearer: a.allow_bearer && b.allow_bearer,
  };
}

function bothAttestations(a: AttestationRule | null, b: AttestationRule | null): AttestationRule | null {
  if (a === null || b === null) return a ?? b;
  return {
    max_age_ms: Math.min(a.max_age_ms, b.max_age_ms),
    tiers: a.tiers.filter((tier) => b.tiers.includes(tier)),
    bound: a.bound || b.bound,
  };
}

/** One approval has to do for all: packs that name different actions for it leave none that could be given. */
function oneApproval(approvals: readonly ApprovalRule[]): ApprovalRule | null {
  const [first, ...others] = approvals;
  if (first === undefined || others.some(({ action }) => action !== first.action)) return null;
  return { action: first.action, ttl_ms: Math.min(...approvals.map(({ ttl_ms }) => ttl_ms)) };
}

const pinsOf = (pins: readonly Pinning[], request: CanonicalRequest, searched: Searched): StepRules["pinned"] =>
  pins.map(({ pack, attribute, context }) => ({
    expected: textAttribute(pack, request, "resource", attribute, searched),
    context,
  }));
