import { jcs } from "../base/jcs.ts";
import type { Sha256 } from "../base/digest.ts";
import type { LoadedPolicy } from "../policy/evaluate.ts";
import { rulesFor } from "../policy/step-rules.ts";
import { appliesTo } from "../runs/budgets.ts";
import type { Budget } from "../vocabulary/run.ts";
import type { StepRules } from "../vocabulary/rules.ts";
import type { CanonicalRequest, Outcome, RunState } from "../vocabulary/types.ts";
import type { Past, Skipped } from "./past.ts";
import { decideAgain, inputOf } from "./rerun.ts";

export type Change = "newly_allowed" | "newly_denied" | "changed_reason" | "changed_obligations";

export type Example = {
  readonly decision_id: string;
  readonly t_ms: number;
  readonly subject: string;
  readonly action: string;
  readonly resource: string;
};

/** Decisions that change alike: the same change, made by the same policies, with the same reasons before and after. */
export type ChangedGroup = {
  readonly change: Change;
  /** `allow`, or the reason with the policy's own where it gives one. */
  readonly before: string;
  /** `pack/policy`: those that determined it then; empty where none did, or the record does not show it. */
  readonly policies_before: readonly string[];
  readonly after: string;
  readonly policies_after: readonly string[];
  readonly decisions: number;
  /** The first few. */
  readonly examples: readonly Example[];
};

export type BacktestReport = {
  readonly policy: string;
  readonly decided: number;
  readonly same: number;
  readonly counts: Readonly<Record<Change, number>>;
  /** Most decisions first. */
  readonly groups: readonly ChangedGroup[];
  readonly skipped: Readonly<Partial<Record<Skipped, number>>>;
  /** Decisions for which the candidate counts or sums what their records did not keep: taken as nothing so far. */
  readonly assumed: number;
  /** Of allowed actions that the candidate newly allows: their names, in order. */
  readonly newly_allowed_actions: readonly string[];
};

const EXAMPLES = 3;
const MAX_GROUPS = 10_000;

/**
 * Decides recorded history again under another policy (issue 6, docs/replay.md). Everything but the policy is as the
 * record has it: credentials, revocations, freshness, and the run as it was. So a step counts as what it was, also
 * where the candidate would have denied the one before it.
 */
export class Backtest {
  readonly #policy: LoadedPolicy;
  readonly #sha: Sha256;
  readonly #groups = new Map<string, { -readonly [K in keyof ChangedGroup]: ChangedGroup[K] }>();
  readonly #skipped = new Map<Skipped, number>();
  readonly #counts: Record<Change, number> = {
    newly_allowed: 0,
    newly_denied: 0,
    changed_reason: 0,
    changed_obligations: 0,
  };
  readonly #actions = new Set<string>();
  #decided = 0;
  #same = 0;
  #assumed = 0;

  constructor(candidate: LoadedPolicy, sha: Sha256) {
    this.#policy = candidate;
    this.#sha = sha;
  }

  get decided(): number {
    return this.#decided;
  }

  add(past: Past | Skipped): void {
    if (typeof past === "string") {
      this.#skipped.set(past, (this.#skipped.get(past) ?? 0) + 1);
      return;
    }
    let again: ReturnType<typeof decidePast>;
    try {
      again = decidePast(past, this.#policy, this.#sha);
    } catch {
      // It is no request, no facts, no run: a file says so, and nobody has verified it here.
      return this.add("unreadable");
    }
    this.#decided++;
    const { outcome, assumed } = again;
    if (assumed) this.#assumed++;
    const change = changeOf(past, outcome);
    if (change === null) this.#same++;
    else this.#note(change, past, outcome);
  }

  #note(change: Change, past: Past, outcome: Outcome): void {
    this.#counts[change]++;
    const { request } = past;
    if (change === "newly_allowed") this.#actions.add(request.action.name);
    const alike = {
      change,
      before: wordOf(past.core),
      policies_before: (past.determining ?? []).map(({ policy }) => policy),
      after: wordOf(outcome.core),
      policies_after: outcome.determining.map(({ policy }) => policy),
    };
    const key = JSON.stringify(alike);
    let group = this.#groups.get(key);
    if (group === undefined) {
      if (this.#groups.size >= MAX_GROUPS) return;
      group = { ...alike, decisions: 0, examples: [] };
      this.#groups.set(key, group);
    }
    group.decisions++;
    if (group.examples.length < EXAMPLES) group.examples = [...group.examples, exampleOf(past)];
  }

  report(): BacktestReport {
    const groups = [...this.#groups.values()].sort(
      (a, b) => b.decisions - a.decisions || (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1),
    );
    return {
      policy: this.#policy.digest,
      decided: this.#decided,
      same: this.#same,
      counts: { ...this.#counts },
      groups,
      skipped: Object.fromEntries(this.#skipped),
      assumed: this.#assumed,
      newly_allowed_actions: [...this.#actions].sort(),
    };
  }
}

/** A past decision under another policy, and whether that counts or sums what the record did not keep. */
export function decidePast(
  { request, facts, seen, core, run: before }: Past,
  policy: LoadedPolicy,
  sha: Sha256,
): { readonly outcome: Outcome; readonly assumed: boolean } {
  const { run, assumed } = underRules(before, rulesFor(policy, request), request);
  const rerun = {
    request,
    input_digest: core.input,
    facts,
    facts_digest: core.facts,
    run,
    run_digest: core.run,
    seen,
    region: core.region,
    t_ms: core.t_ms,
    recorded_policy: core.policy,
  };
  return { outcome: decideAgain(inputOf(rerun, policy, sha, true), seen.asked.bug === true), assumed };
}

type Core = Pick<Outcome["core"], "decision" | "failed" | "reason">;

/** The primary reason; of a policy's denial with what the policy says. */
const wordOf = ({ decision, failed, reason }: Core): string =>
  decision === "allow" ? "allow" : [reason, policyDetail(failed)].filter((part) => part !== null).join(" ");

/** A policy's own reason is the detail of its check; the details of others name keys, times and amounts. */
function policyDetail(failed: Core["failed"]): string | null {
  const [first] = failed;
  const says =
    first?.reason === "policy_denied" || first?.reason === "sovereign_policy" || first?.reason === "approval_required";
  return says ? (first.detail ?? null) : null;
}

function changeOf({ core }: Past, { core: now }: Outcome): Change | null {
  if (core.decision !== now.decision) return now.decision === "allow" ? "newly_allowed" : "newly_denied";
  if (now.decision === "deny") return wordOf(core) === wordOf(now) ? null : "changed_reason";
  return JSON.stringify(core.obligations.map(sorted)) === JSON.stringify(now.obligations.map(sorted))
    ? null
    : "changed_obligations";
}

const sorted = ({ id, properties, type }: Outcome["core"]["obligations"][number]): unknown => ({
  id,
  properties,
  type,
});

const exampleOf = ({ decision_id, core, request: { subject, action, resource } }: Past): Example => ({
  decision_id,
  t_ms: core.t_ms,
  subject: `${subject.type}/${subject.id}`,
  action: action.name,
  resource: `${resource.type}/${resource.id}`,
});

/** Whether two budgets add up the same; what is allowed of it may differ. */
const countsAs = ({ max: _max, ...budget }: Budget, { max: _other, ...than }: Budget): boolean =>
  jcs(budget) === jcs(than);

/** The run's rows were asked for what the rules of then name; what only the candidate names is not in the record. */
function underRules(
  run: RunState | null,
  { budgets, history }: StepRules,
  { action }: CanonicalRequest,
): { readonly run: RunState | null; readonly assumed: boolean } {
  const step = run?.step;
  if (run === null || step === undefined) return { run, assumed: false };
  let assumed = false;
  const known = <T>(found: T | undefined, otherwise: T): T => {
    if (found === undefined) assumed = true;
    return found ?? otherwise;
  };
  const packs = budgets
    .filter(({ budget }) => appliesTo(budget, action))
    .map(({ owner, budget }) => {
      const same = step.charged.find((entry) => entry.owner === owner && entry.budget.id === budget.id);
      const spent = budget.per === "step" ? "0" : known(same?.spent, "0");
      // Of another window, unit or kind of step it is the nearest that is known.
      if (same !== undefined && budget.per !== "step" && !countsAs(budget, same.budget)) assumed = true;
      return { budget, owner, spent };
    });
  const ofPacks = (owner: string): boolean => owner.startsWith("pack/");
  const charged = [
    ...step.charged.filter(({ owner }) => owner === "run"),
    ...packs,
    ...step.charged.filter(({ owner }) => owner !== "run" && !ofPacks(owner)),
  ];
  const facts = history.map(({ name }) =>
    known(
      step.history.find((fact) => fact.name === name),
      { count: 0, last_ms: null, name, sum: "0" },
    ),
  );
  return { run: { ...run, step: { ...step, charged, history: facts } }, assumed };
}
