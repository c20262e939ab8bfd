import { bearingOn } from "../../decision/bearing.ts";
import type { DecideInput } from "../../decision/decide.ts";
import { consentsOf } from "../../policy/consents.ts";
import { rulesFor } from "../../policy/step-rules.ts";
import { amountText, unitsOf } from "../../runs/amount.ts";
import { overspent } from "../../runs/budgets.ts";
import type { FailedCheck } from "../../vocabulary/reasons.ts";
import type { Outcome } from "../../vocabulary/types.ts";
import type { Charged } from "../../vocabulary/run.ts";
import { atomsOf } from "./atoms.ts";
import {
  acceptedIdentities,
  attested,
  delegated,
  later,
  newRun,
  nodeDone,
  optionFact,
  unidentified,
  withoutParents,
} from "./circumstances.ts";
import { applied, requestFact, valueAt, type Fact, type Facts } from "./fact.ts";
import { distinct, type Memo } from "./flips.ts";
import { policyRemedies } from "./policy-remedies.ts";
import { packsOf, type Mending, type NoneReason, type Remedies } from "./remedy.ts";

export type Situation = {
  readonly base: DecideInput;
  readonly facts: Facts;
  readonly outcome: Outcome;
  readonly spend: () => boolean;
  readonly seen: Mending["seen"];
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
  const mending: Mending = { base, input, bearing, outcome, spend, seen, memo };
  const [first] = outcome.core.failed;
  return first === undefined ? [] : mend(first, mending);
}

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
      const facts = [...fitting(mending, bearing.charged), ...waiting(mending)];
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

/**
 * When all that was charged in a window has left it: charges are added up, so that is the first time of which it is
 * certain. A step that is too large for the window by itself does not fit then either.
 */
const waiting = ({ base, input, bearing }: Mending): Fact[] =>
  bearing.charged.flatMap((entry) => {
    const { window_ms } = entry.budget;
    const { action } = input.request;
    return window_ms === null ||
      overspent(entry, action) === null ||
      overspent({ ...entry, spent: "0" }, action) !== null
      ? []
      : [later(base, bearing, base.t_ms + window_ms)];
  });

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
