import { bearingOn, type Bearing } from "../../decision/bearing.ts";
import { policyEnv, type DecideInput } from "../../decision/decide.ts";
import { covers } from "../../policy/cedar-request.ts";
import type { BundledPolicy } from "../../policy/bundle.ts";
import { consentsOf } from "../../policy/consents.ts";
import type { ApplicationPack } from "../../policy/load.ts";
import { rulesFor } from "../../policy/step-rules.ts";
import { amountText, unitsOf } from "../../runs/amount.ts";
import { overspent } from "../../runs/budgets.ts";
import type { FailedCheck, Outcome } from "../../vocabulary/types.ts";
import type { Charged } from "../../vocabulary/run.ts";
import { atomsOf, type Atom } from "./atoms.ts";
import { answerOf, blindly, isHidden } from "./blind.ts";
import {
  acceptedIdentities,
  approvedBy,
  attested,
  delegated,
  doneBefore,
  later,
  newRun,
  nodeDone,
  optionFact,
  unidentified,
  withoutParents,
} from "./circumstances.ts";
import { applied, requestFact, valueAt, type Fact, type Facts } from "./fact.ts";
import { distinct, flipsOf, repairsOf, type Asking, type Memo } from "./flips.ts";

/**
 * Why nothing that the caller may know would turn a denial. `sovereign`, `trust`, `region`, `caller`, `place`, `pinned`,
 * `plan`, `absorbing`, `spent`, `permit`, `obligation`: what failed is not for a caller to change. `no_rule`: no pack has a rule for it.
 * `hidden`: it depends on what the caller does not see. The rest are about the search itself.
 */
export type NoneReason =
  | "sovereign"
  | "trust"
  | "region"
  | "caller"
  | "place"
  | "pinned"
  | "plan"
  | "absorbing"
  | "spent"
  | "permit"
  | "obligation"
  | "no_rule"
  | "hidden"
  | "not_found"
  | "cut_off"
  | "moved_on"
  | "busy";

/** Facts of which at least one has to be otherwise before this denial can turn; or that there are none. */
export type Remedies = readonly Fact[] | NoneReason;

export type Situation = {
  readonly base: DecideInput;
  readonly facts: Facts;
  readonly outcome: Outcome;
  readonly spend: () => boolean;
  /** Set where a policy that would have to turn looks at what the caller may not know. */
  readonly seen: { hidden: boolean };
  readonly memo: Memo;
};

/** For the first failed check: whatever turns the denial has to mend that one too. */
export function remediesOf({ base, facts, outcome, spend, seen, memo }: Situation): Remedies {
  const input = applied(base, facts);
  // One that cannot be mended settles it, wherever it stands.
  for (const check of outcome.core.failed) {
    const why = hopeless(check, outcome);
    if (why !== null) return why;
  }
  const bearing = bearingOn(input, rulesFor(input.policy, input.request, input.searched ?? null));
  const mending = { base, input, bearing, outcome, spend, seen, memo };
  const [first] = outcome.core.failed;
  return first === undefined ? [] : mend(first, mending);
}

type Mending = {
  readonly base: DecideInput;
  /** As the question stands now. */
  readonly input: DecideInput;
  readonly bearing: Bearing;
  readonly outcome: Outcome;
  readonly spend: () => boolean;
  /** Set where a policy that would have to turn looks at what the caller may not know. */
  readonly seen: { hidden: boolean };
  readonly memo: Memo;
};

function hopeless({ reason, detail }: FailedCheck, outcome: Outcome): NoneReason | null {
  switch (reason) {
    case "sovereign_policy":
      return "sovereign";
    case "revoked":
    case "ancestor_revoked":
    case "trust_degraded":
    case "attestation_contraindicated":
    case "region_frozen":
    case "policy_stale":
    case "policy_drift":
    case "sync_stale":
    case "sync_unsupported":
    case "sync_equivocation":
    case "trust_lease_expired":
    case "consistency_unsatisfied":
      return "trust";
    case "region_joining":
    case "lineage_halted":
    case "lineage_unavailable":
    case "clock_anomaly":
    case "internal":
    case "overloaded":
    case "deadline":
    case "withheld":
      return "region";
    case "zone_mismatch":
      return "place";
    case "tool_changed":
      return "pinned";
    case "guest_receipt_missing":
      return "absorbing";
    case "permit_invalid":
    case "permit_expired":
    case "permit_reused":
    case "hold_ended":
      return "permit";
    case "identity_expired":
      return detail === "the PEP's credential has expired" ? "caller" : null;
    case "policy_denied":
      if (outcome.policy_reason === "obligation_unsupported") return "obligation";
      return NO_RULE.has(outcome.policy_reason ?? "") ? "no_rule" : null;
    default:
      return null;
  }
}

const NO_RULE: ReadonlySet<string> = new Set(["not_covered", "not_applicable", "unknown_subject", "unknown_resource"]);

function mend(check: FailedCheck, mending: Mending): Remedies {
  const { base, input, bearing } = mending;
  const { rules } = bearing;
  const step = input.run?.step;
  switch (check.reason) {
    case "identity_missing":
    case "identity_invalid":
    case "identity_expired":
    case "identity_mismatch":
    case "identity_bearer_not_allowed":
    case "identity_proof_invalid":
    case "identity_proof_reused":
      return rules.identity === null ? [unidentified(base)] : acceptedIdentities(base, rules.identity);
    case "attestation_missing":
    case "attestation_invalid":
    case "attestation_stale":
    case "attestation_unbound":
      return (rules.attestation?.tiers ?? []).map((tier) => attested(base, tier, rules.attestation!.bound));
    case "delegation_missing":
    case "delegation_expired":
    case "delegation_depth":
    case "run_not_member":
      return step === undefined ? [newRun(base, null, bearing)] : [delegated(base, step.chains.length)];
    case "delegation_exceeded":
      return [delegated(base, step?.chains.length ?? 0), ...fitting(mending, bearing.charged)];
    case "run_required":
      return [newRun(base, null, bearing)];
    case "run_unknown":
    case "run_closed":
      return [newRun(base, check.reason === "run_closed" ? "closed" : "unknown", bearing)];
    case "state_conflict":
      return [optionFact(base, "state_version", input.run?.version)];
    case "sequence_violation":
      return (step?.after ?? [])
        .filter(({ state }) => state === "none" || state === "failed")
        .map(({ node, state }) => nodeDone(node, state));
    case "plan_violation":
      return step?.plan === null ? [optionFact(base, "step", undefined)] : "plan";
    case "parent_denied":
      return ownParents(mending);
    case "residency_violation":
      return sentProperties(mending);
    case "context_missing":
      return statedPurpose(mending, check);
    case "budget_exceeded":
    case "rate_exceeded": {
      const facts = fitting(mending, bearing.charged);
      return facts.length === 0 ? "spent" : facts;
    }
    case "policy_denied":
    case "policy_error":
    case "approval_required":
    case "approver_not_independent":
      return policyRemedies(mending);
    default:
      return "not_found";
  }
}

/** The largest amount that fits what is left, and the unit that is counted. */
function fitting({ base, input }: Mending, charged: readonly Charged[]): Fact[] {
  return charged
    .filter((entry) => overspent(entry, input.request.action) !== null)
    .flatMap(({ budget, spent }) => {
      if (budget.sum === null) return [];
      const facts: Fact[] = [];
      if (budget.unit !== null)
        facts.push(requestFact(base.request, ["action", "properties", budget.unit.property], budget.unit.value));
      const left = unitsOf(budget.max) - unitsOf(spent);
      if (left < 0n) return facts;
      const path = ["action", "properties", budget.sum];
      const [was, text] = [valueAt(base.request, path), amountText(left)];
      const distance = was === undefined ? 0 : Math.abs(Number(was) - Number(text));
      return [...facts, requestFact(base.request, path, typeof was === "string" ? text : Number(text), distance)];
    });
}

function ownParents({ base, input }: Mending): Remedies {
  const step = input.run?.step;
  const declared = new Set(input.request.parents);
  const bad = (step?.parents ?? [])
    .filter(({ decision, outcome, leaf }) => decision !== "allow" || outcome === "failed" || leaf === null)
    .map(({ id }) => id);
  const planned = (step?.after ?? []).some(({ state }) => state === "denied");
  return planned || !bad.every((id) => declared.has(id)) ? "absorbing" : [withoutParents(base, bad)];
}

/** What is not sent carries no data. */
function sentProperties({ base, input }: Mending): Remedies {
  const { subject, action, resource, context } = input.request;
  const sent = [
    ["subject", "properties", subject.properties],
    ["action", "properties", action.properties],
    ["resource", "properties", resource.properties],
    ["context", null, context],
  ] as const;
  const facts = sent.flatMap(([top, below, properties]) =>
    Object.keys(properties ?? {}).map((name) =>
      requestFact(base.request, below === null ? [top, name] : [top, below, name], undefined),
    ),
  );
  return facts.length === 0 ? "place" : facts;
}

/** A pinned digest is nobody's to be told; the purpose of a consent is one of the words that the policies know. */
function statedPurpose(mending: Mending, { detail }: FailedCheck): Remedies {
  const { base, input } = mending;
  const unstated = consentsOf(input.policy, input.request, input.searched ?? null).failed;
  if (detail === undefined || !unstated.some((check) => check.detail === detail)) return "pinned";
  const words = packsOf(input).flatMap((pack) =>
    pack.written
      .flatMap(atomsOf)
      .flatMap(({ reads, strings }) =>
        reads.some((path) => path.join(".") === `context.request.${detail}`) ? strings : [],
      ),
  );
  return distinct([...new Set(words)].map((word) => requestFact(base.request, ["context", detail], word)));
}

const packsOf = ({ policy, request }: DecideInput): readonly ApplicationPack[] =>
  policy.application.filter(({ types }) => covers(types, request));

/** Either every forbid that stands has to fall, or some permit has to hold. */
function policyRemedies(mending: Mending): Remedies {
  const { input, outcome } = mending;
  const named = new Set(outcome.determining.map(({ policy }) => policy));
  const found: Fact[] = [];
  let hidden = false;
  for (const pack of packsOf(input)) {
    const asking = askingOf(mending, pack);
    const read = blindly(pack, input.request, asking.env);
    if ("misfit" in read) return repairsOf(asking, pack.written.flatMap(atomsOf), read.misfit);
    const forbids = pack.written.filter(({ id, json }) => json.effect === "forbid" && named.has(`${pack.name}/${id}`));
    const steps_up = forbids.every(({ id }) => pack.facts.get(id)!.step_up !== null);
    const [hard] = forbids.filter(({ id }) => pack.facts.get(id)!.step_up === null);
    let policies: readonly BundledPolicy[];
    if (hard !== undefined) policies = [hard];
    else if (forbids.length > 0 && outcome.core.reason === "approval_required") policies = forbids.slice(0, 1);
    else policies = pack.written.filter(({ json }) => json.effect === "permit");
    hidden ||= policies.some((policy) => looksBehind(pack, input, policy));
    const facts = policies.flatMap((policy) => factsFor(mending, asking, atomsOf(policy)));
    if (outcome.core.reason === "approval_required" && steps_up && forbids.length > 0)
      facts.push(...approvalsFor(mending));
    // This one has to fall whatever else changes.
    if (hard !== undefined && facts.length === 0) return hidden ? "hidden" : "not_found";
    found.push(...facts);
  }
  if (hidden) mending.seen.hidden = true;
  return found.length > 0 ? distinct(found) : hidden ? "hidden" : "not_found";
}

/** A head that names a group, or a condition on what only the directory knows. */
const looksBehind = (pack: ApplicationPack, { request }: DecideInput, policy: BundledPolicy): boolean =>
  policy.json.principal.in !== undefined ||
  policy.json.principal.op === "in" ||
  policy.json.resource.in !== undefined ||
  policy.json.resource.op === "in" ||
  atomsOf(policy).some((atom) => isHidden(pack, request, atom));

const askingOf = ({ base, input, bearing, outcome, spend, memo }: Mending, pack: ApplicationPack): Asking => ({
  pack,
  base: base.request,
  request: input.request,
  env: policyEnv(input, input.run!, bearing, outcome.degraded),
  spend,
  memo,
});

function approvalsFor({ base, input, bearing }: Mending): Fact[] {
  if (bearing.rules.approval === null) return [];
  if (input.run?.step === undefined) return [newRun(base, null, bearing)];
  const before = base.run?.step?.approvals.length ?? 0;
  const now = input.run.step.approvals.length;
  return now - before < MAX_APPROVALS ? [approvedBy(now + 1, before)] : [];
}

const MAX_APPROVALS = 3;

/** What would turn a condition of these: in the request, or around it. */
function factsFor(mending: Mending, asking: Asking, atoms: readonly Atom[]): Fact[] {
  const { base, input, bearing } = mending;
  const facts = flipsOf(asking, atoms);
  for (const atom of atoms) {
    for (const [variable, section, name, ...rest] of atom.reads) {
      if (variable !== "context" || section !== "interlock") continue;
      if (name === "now" || name === "t_ms") facts.push(...timesFor(mending, asking, atom));
      else if (name === "approvals") facts.push(...approvalsFor(mending));
      else if (name === "history" && rest[0] !== undefined) {
        const full = `${asking.pack.name}/${rest[0]}`;
        if (input.run?.step === undefined) facts.push(newRun(base, null, bearing));
        else {
          const count = input.run.step.history.find((fact) => fact.name === full)?.count ?? 0;
          facts.push(doneBefore(full, rest[0], base.run?.step?.history.find((f) => f.name === full)?.count ?? count));
        }
      } else if (name === "run" && input.run?.kind === "implicit") facts.push(newRun(base, null, bearing));
      else if (name === "attestation")
        facts.push(...(["affirming", "warning"] as const).map((tier) => attested(base, tier, true)));
      else if (name === "identity") {
        const kinds = ["wit", "jwt-svid", "service-account", "access-token"] as const;
        const accept = bearing.rules.identity?.accept ?? kinds;
        facts.push(...acceptedIdentities(base, { accept, allow_bearer: bearing.rules.identity?.allow_bearer ?? true }));
      }
    }
  }
  return distinct(facts);
}

const PROBE_MS = 300_000;
const DAY_MS = 86_400_000;

/** The first moment at which a condition on the time answers otherwise: within a day to the millisecond, then by date. */
function timesFor({ base, bearing, input }: Mending, asking: Asking, { test }: Atom): Fact[] {
  const answer = (t_ms: number): boolean | null => {
    return asking.spend() ? answerOf(test, blindly(asking.pack, asking.request, { ...asking.env, t_ms })) : null;
  };
  const now = answer(input.t_ms);
  if (now === null) return [];
  let near = input.t_ms;
  for (let ahead = PROBE_MS; ahead <= 512 * DAY_MS; ahead += ahead < DAY_MS ? PROBE_MS : ahead) {
    let far = input.t_ms + ahead;
    if (answer(far) === now) {
      near = far;
      continue;
    }
    while (far - near > 1) {
      const middle = Math.floor((near + far) / 2);
      if (answer(middle) === now) near = middle;
      else far = middle;
    }
    return [later(base, bearing, far)];
  }
  return [];
}
