import { digestOf, sha256, type Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { entityForm } from "../trust/keys.ts";
import type { HistoryRule, StepRules } from "../vocabulary/rules.ts";
import type {
  AfterNode,
  Approval,
  Budget,
  Charged,
  Delegation,
  EntityForm,
  HistoryFact,
  ParentStep,
  PlanNode,
  StepState,
} from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { amountText, type Units } from "./amount.ts";
import { NOT_ASKED, presentedId } from "./presented.ts";
import { appliesTo, countedFrom, sumOf } from "./budgets.ts";
import { chainsOf, likeliest } from "./delegation.ts";

/** What was tried at one node of the plan. */
export type NodeSteps = {
  /** Allowed steps, whatever came of them; a pass counts unless its receipt said no. */
  readonly taken: number;
  /** Denied steps, and passes whose receipt said no. */
  readonly denied: number;
  /** Allowed steps that were reported failed. */
  readonly failed: number;
  /** Whether a pass was given and no receipt of it is here. */
  readonly awaited: boolean;
  /** The newest allowed step that was not reported failed; of a guest step only one with its positive receipt. */
  readonly newest: ParentStep | null;
};

/**
 * What an opened run keeps, as one step asks for it: the port that the shard implements on its rows. Every question
 * costs about the same in a short run and in a long one. Receipts that came with the request are in the rows before
 * it is asked. Withheld steps count as denied, and their charges are gone.
 */
export interface RunRows {
  readonly principal: EntityForm;
  /** Digest text of the plan in force. */
  readonly plan: string | null;
  node(id: string): PlanNode | null;
  steps(node: string): NodeSteps;
  /** A step by its decision id, or by the id of its pass; `null`: this run has none. */
  step(id: string): ParentStep | null;
  /** The run's own budgets, by id. */
  readonly budgets: readonly Budget[];
  /** Sum of what was charged at `since_ms` and later (`null`: ever), of this subject where the budget is per subject. */
  spent(owner: string, budget: string, subject: EntityForm | null, since_ms: number | null): Units;
  /** Delegations to this delegate, and all that they rest on, up to their roots. */
  delegations(delegate: EntityForm): readonly Delegation[];
  /** Sorted. */
  readonly labels: readonly string[];
  /**
   * Allowed steps of the rule's action at `since_ms` and later; a guest step from its positive receipt on. `steps`: of
   * these and what they rest on only; `null`: of the run. A step without the summed amount adds 0.
   */
  history(rule: HistoryRule, since_ms: number | null, steps: readonly string[] | null): Omit<HistoryFact, "name">;
  /** Approvals of this scope that end after `t_ms`, by id; at most 8. */
  approvals(scope: string, t_ms: number): readonly Approval[];
  /** The approval of this id, whatever its scope and end; `null`: this run has none. */
  approval(id: string): Approval | null;
}

export type Step = {
  readonly request: CanonicalRequest;
  readonly rules: StepRules;
  /** Signed delegations that came along. */
  readonly delegations: readonly Delegation[];
  readonly t_ms: number;
  readonly hash: Sha256;
};

/** What bears on one step of an opened run. Pure: the same rows and step give the same state. */
export function stepStateOf(rows: RunRows, step: Step): StepState {
  const { request, rules, t_ms } = step;
  const subject = entityForm(request.subject.type, request.subject.id);
  const node = request.step === undefined ? null : rows.node(request.step);
  const before = (node?.after ?? []).map((name) => ({ name, steps: rows.steps(name) }));
  const parents = parentsOf(
    rows,
    before.flatMap(({ steps }) => steps.newest ?? []),
    request.parents ?? [],
  );
  const chains =
    subject === rows.principal
      ? []
      : likeliest(chainsOf(delegationsFor(rows, step, subject), rows.principal, subject), request.action.name, t_ms);
  const presented = presentedId(request);
  return {
    ...(presented === null ? {} : { presented: { id: presented, approval: rows.approval(presented) } }),
    after: before.map(({ name, steps }): AfterNode => ({ node: name, state: stateOf(steps) })),
    approvals: rules.approval === null ? [] : rows.approvals(approvalScope(request, step.hash), t_ms),
    chains,
    charged: chargedTo(rows, step, subject, chains),
    history: rules.history.map((rule) => ({
      name: rule.name,
      ...rows.history(
        rule,
        rule.within_ms === null ? null : t_ms - rule.within_ms,
        rule.among === "run" ? null : parents.map(({ id }) => id),
      ),
    })),
    labels: rows.labels,
    node,
    parents,
    plan: rows.plan,
    principal: rows.principal,
    taken: node === null ? 0 : rows.steps(node.id).taken,
  };
}

function stateOf({ newest, awaited, failed, denied }: NodeSteps): AfterNode["state"] {
  if (newest !== null) return "allowed";
  if (awaited) return "awaited";
  if (failed > 0) return "failed";
  return denied > 0 ? "denied" : "none";
}

function parentsOf(rows: RunRows, implied: readonly ParentStep[], declared: readonly string[]): readonly ParentStep[] {
  const parents = new Map(implied.map((parent) => [parent.id, parent]));
  for (const id of declared) {
    const parent = rows.step(id) ?? unknown(id);
    if (!parents.has(parent.id)) parents.set(parent.id, parent);
  }
  return [...parents.values()];
}

const unknown = (id: string): ParentStep => ({
  decision: null,
  guest: null,
  homes: [],
  id,
  leaf: null,
  node: null,
  outcome: null,
  revoked: null,
});

function delegationsFor(rows: RunRows, { delegations }: Step, subject: EntityForm): ReadonlyMap<string, Delegation> {
  // What the run itself holds under an id cannot be replaced by what somebody brings along.
  const known = new Map(delegations.map((delegation) => [delegation.id, delegation]));
  const delegates = new Set([subject, ...delegations.map(({ delegator }) => delegator)]);
  for (const delegate of delegates) for (const entry of rows.delegations(delegate)) known.set(entry.id, entry);
  return known;
}

/** Budgets of the run, of the packs and of every link that could be used, each once. */
function chargedTo(
  rows: RunRows,
  { request, rules, t_ms }: Step,
  subject: EntityForm,
  chains: readonly (readonly Delegation[])[],
): readonly Charged[] {
  const links = new Map(chains.flat().map((link) => [link.id, link]));
  const all = [
    ...rows.budgets.map((budget) => ({ owner: "run", budget })),
    ...rules.budgets,
    ...[...links.values()].flatMap(({ id, limits }) => limits.map((budget) => ({ owner: id, budget }))),
  ];
  return all
    .filter(({ budget }) => appliesTo(budget, request.action))
    .map(({ owner, budget }): Charged => ({
      budget,
      owner,
      spent:
        budget.per === "step"
          ? "0"
          : amountText(rows.spent(owner, budget.id, sumOf(budget, subject), countedFrom(budget, t_ms))),
    }));
}

/** A request never changes, and is asked about by several rules. */
const scopes = new WeakMap<CanonicalRequest, string>();

/**
 * What an approval is for: the step's request, wherever in the run it is taken, and whatever it says about the answer
 * that it wants (`NOT_ASKED`).
 */
export function approvalScope(request: CanonicalRequest, hash: Sha256 = sha256): string {
  let scope = scopes.get(request);
  if (scope === undefined) scopes.set(request, (scope = scopeOf(request, hash)));
  return scope;
}

function scopeOf(request: CanonicalRequest, hash: Sha256): string {
  const { run: _run, step: _step, parents: _parents, state_version: _version, context, ...asked } = request;
  const bound = Object.entries(context ?? {}).filter(([name]) => !NOT_ASKED.has(name));
  return digestOf(jcs(bound.length === 0 ? asked : { ...asked, context: Object.fromEntries(bound) }), hash);
}
