import type { Searched } from "../policy/cedar-request.ts";
import { consentsOf } from "../policy/consents.ts";
import type { LoadedPolicy } from "../policy/evaluate.ts";
import { placesOf, type Places } from "../policy/places.ts";
import { amountText } from "../runs/amount.ts";
import { approvalKeys, countingApprovals, isIndependent, type Involved } from "../runs/approvals.ts";
import { appliesTo } from "../runs/budgets.ts";
import { authorityOf, type Authority } from "../runs/delegation.ts";
import { presentedProblem, type ApprovalProblem } from "../runs/presented.ts";
import { approvalScope } from "../runs/rows.ts";
import { byText } from "../runs/input.ts";
import { regionKey } from "../trust/keys.ts";
import type { Approval, Charged } from "../vocabulary/run.ts";
import type { StepRules } from "../vocabulary/rules.ts";
import type { CanonicalRequest, Facts, RunState, TrustView } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { toldKeys } from "./told.ts";
import { dependenciesOf, endsAt, homesOf, subjectForm, usedHomes } from "./basis.ts";

/**
 * What is being decided. `run`: something about the run itself (an amendment, a pass), which has no place in its plan.
 * `redeem` and `renew` look at an allowed step again: everything but what only counts once (its place in the plan, the
 * state version, and what it is charged).
 */
export type Purpose = "step" | "run" | "redeem" | "renew";

/** What bears on one decision: picked from rules, facts and run state before the checks, which only read it. */
export type Bearing = {
  readonly rules: StepRules;
  readonly authority: Authority;
  readonly approvals: readonly Approval[];
  /** Who approved and may not. */
  readonly dependent_approvers: readonly string[];
  /** Why the approval that the request names does not help; absent: it names none, or that one counts. */
  readonly presented_problem?: ApprovalProblem;
  readonly charged: readonly Charged[];
  /** Where the step reaches, and which labels it moves and brings. */
  readonly places: Places;
  /** What it would need a consent for, and does not say. */
  readonly unstated: readonly FailedCheck[];
  readonly dependencies: readonly string[];
  readonly homes: readonly string[];
  readonly expires_ms: number;
};

export type Asked = {
  readonly policy: LoadedPolicy;
  /** In a search: the entity that the packs' directories describe. */
  readonly searched?: Searched;
  readonly request: CanonicalRequest;
  readonly facts: Facts;
  readonly run: RunState | null;
  readonly region: string;
  readonly trust: TrustView;
  readonly t_ms: number;
  readonly purpose?: Purpose;
};

const OWN_RIGHT: Authority = { chain: [], failed: [] };
const NO_RUN: Authority = { chain: [], failed: [{ reason: "delegation_missing" }] };
const NONE: readonly never[] = [];

export function bearingOn(asked: Asked, rules: StepRules): Bearing {
  const { policy, request, facts, run, region, trust, t_ms, purpose = "step", searched = null } = asked;
  const counts = purpose === "step" || purpose === "run";
  const charged = counts ? chargedFor(run, rules, request) : NONE;
  const dead = (keys: readonly string[]): boolean =>
    trust.match(keys, t_ms).some(({ state }) => state !== "degraded" && state !== "trusted");

  const step = run?.step;
  let authority = rules.delegation.required && facts.pass === undefined ? NO_RUN : OWN_RIGHT;
  let approvals: readonly Approval[] = NONE;
  let dependent_approvers: readonly string[] = NONE;
  let presented: ApprovalProblem | null = null;
  if (run !== null && step !== undefined) {
    const subject = subjectForm(request);
    const state = counts ? step : { ...step, charged: NONE };
    authority = authorityOf(state, run.members, subject, request.action, rules.delegation, t_ms, dead);
    const involved: Involved = {
      subject,
      principal: step.principal,
      chain: authority.chain,
      on_behalf_of: facts.workload?.identity?.on_behalf_of ?? null,
    };
    if (step.presented !== undefined) {
      const independent = ({ approver }: Approval): boolean => isIndependent(approver, involved);
      const over = (approval: Approval): boolean => dead(approvalKeys(approval));
      presented = presentedProblem(step.presented, { scope: approvalScope(request), t_ms, independent, dead: over });
    }
    if (step.approvals.length > 0) {
      approvals = countingApprovals(step.approvals, involved, t_ms, dead);
      dependent_approvers = step.approvals
        .map(({ approver }) => approver)
        .filter((approver) => !isIndependent(approver, involved));
    }
  }
  const used = usedHomes(run, facts, region);
  const consents = consentsOf(policy, request, searched);
  const told = toldKeys(policy, facts);
  const named = told.length === 0 ? consents.keys : [...consents.keys, ...told];
  const dependencies = dependenciesOf(request, facts, run, region, named, authority.chain, approvals);
  // A region that is revoked, or has frozen itself, takes along what was done there.
  if (used.length > 0) dependencies.push(...used.map(regionKey).filter((key) => !dependencies.includes(key)));
  return {
    rules,
    authority,
    approvals,
    dependent_approvers,
    ...(presented === null ? {} : { presented_problem: presented }),
    charged,
    places: placesOf(policy, request, labelsOf(step?.labels ?? NONE, facts.pass?.labels ?? NONE), region, searched),
    unstated: consents.failed,
    dependencies,
    homes: homesOf(trust, atHome(dependencies, facts.pass?.keys ?? NONE), used),
    expires_ms: endsAt(facts, rules.attestation, authority.chain, approvals),
  };
}

/** Keys that another region signs with are at home there, and the membership lists only some of them. */
const atHome = (dependencies: readonly string[], told: readonly string[]): readonly string[] =>
  told.length === 0 ? dependencies : dependencies.filter((key) => !told.includes(key));

/** Of an opened run what its rows say; any other step is the first and last of its run. */
function chargedFor(run: RunState | null, rules: StepRules, { action }: CanonicalRequest): readonly Charged[] {
  if (run?.step !== undefined) return run.step.charged;
  if (rules.budgets.length === 0) return NONE;
  return rules.budgets
    .filter(({ budget }) => appliesTo(budget, action))
    .map((entry): Charged => ({ ...entry, spent: amountText(0n) }));
}

const labelsOf = (run: readonly string[], pass: readonly string[]): readonly string[] =>
  pass.length === 0 ? run : [...new Set([...run, ...pass])].sort(byText);
