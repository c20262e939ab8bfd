import { jcs } from "../../../src/base/jcs.ts";
import { chainsOf, delegationProblem } from "../../../src/runs/delegation.ts";
import { planDigest, planText } from "../../../src/runs/plan.ts";
import { entityForm, runKey } from "../../../src/trust/keys.ts";
import type { OpenRunMessage, RunAnswer } from "../../../src/objects/runs.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Turn } from "../turn.ts";
import { MAX_DEPTH } from "./book.ts";
import { OpenedRun } from "./opened-run.ts";
import { GOOD, type PlanRow } from "./rows.ts";
import { RunCall } from "./run-call.ts";
import { statusOf } from "./steps.ts";

/** Where a run within a run stands; `failed`: why it may not. */
type Above = {
  readonly failed: readonly FailedCheck[];
  readonly row: PlanRow["above"];
  readonly keys: readonly string[];
  /** Of the names those that act in their own right there; the others are delegates there, and stay it here. */
  readonly own: (names: readonly string[]) => readonly string[];
};

const NOTHING_ABOVE: Above = { failed: [], row: null, keys: [], own: (names) => names };

/** Opening a run is a decision: recorded, and denied with a reason where something stands against it. */
export class OpenRunCall extends RunCall {
  readonly #message: OpenRunMessage;
  readonly #facts: ParsedFacts;

  constructor(turn: Turn, message: OpenRunMessage, facts: ParsedFacts, resolve: (answer: RunAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  execute(): void {
    const { turn } = this;
    const { principal, members, plan, budgets, labels, delegations, run } = this.#message;
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    const named = entityForm(principal.type, principal.id);
    const names = [...new Set([named, ...members.map(({ type, id }) => entityForm(type, id))])].sort();
    const delegates = delegations.map(({ delegate }) => delegate);
    const planned = plan?.nodes.flatMap(({ subject }) => subject ?? []) ?? [];
    const everyone = [...new Set([...names, ...delegates])].map((name) => `subject:${name}`);
    const subjects = [...new Set([...everyone, ...planned.map((name) => `subject:${name}`)])];
    const above = this.#above(names);
    const admitted = this.admit(this.#facts, [...everyone, ...above.keys]);
    const failed = [...admitted.failed, ...above.failed, ...this.#delegationsFit(named)];
    const input = jcs({ kind: "run.open", ...this.#asked(), members: names, principal: named, v: 1 });
    const verdict = { ...admitted, failed };
    if (failed.length > 0) {
      const alone = turn.writer.implicitRun(run, turn.t_ms, false);
      this.record({ kind: "run.open", run: alone, input, subjects, verdict });
      return;
    }
    const row = turn.writer.openedRun(run, turn.t_ms, named, above.own(names));
    turn.writer.runs.putPlan({
      run,
      plan: plan === null ? null : planText(plan),
      digest: plan === null ? null : planDigest(plan, nodeSha256),
      budgets: [...budgets].sort((a, b) => (a.id < b.id ? -1 : 1)),
      labels,
      above: above.row,
    });
    for (const delegation of delegations) turn.writer.runs.addDelegation(run, delegation);
    this.record({ kind: "run.open", run: row, input, subjects, verdict });
  }

  #asked() {
    const { run, plan, budgets, labels, delegations, above } = this.#message;
    return { run, plan, budgets, labels, delegations, above };
  }

  #delegationsFit(principal: string): readonly FailedCheck[] {
    return this.#message.delegations.flatMap((delegation): readonly FailedCheck[] => {
      const problem = delegationProblem(delegation, undefined, principal);
      if (problem !== null) return [{ reason: "delegation_exceeded", detail: problem }];
      return delegation.expires_ms <= this.turn.t_ms ? [{ reason: "delegation_expired" }] : [];
    });
  }

  /**
   * A run within a run takes nothing that it was not given: everybody in it acts there already, in their own right or
   * as a delegate, and its own budgets come on top of those above it.
   */
  #above(names: readonly string[]): Above {
    const asked = this.#message.above;
    if (asked === null) return NOTHING_ABOVE;
    const { turn } = this;
    const row = turn.writer.run(asked.run, false);
    if (row === null || row.kind !== "opened") return { ...NOTHING_ABOVE, failed: [{ reason: "run_unknown" }] };
    const opened = new OpenedRun(turn.writer.runs, row);
    const keys = [row.id, ...opened.above].map(runKey);
    const failed: FailedCheck[] = [];
    if (statusOf(turn, row, opened) === "closed") failed.push({ reason: "run_closed", detail: `run ${row.id}` });
    const strangers = names.filter((name) => !row.members.includes(name) && !this.#isDelegate(opened, name));
    for (const name of strangers)
      failed.push({ reason: "run_not_member", detail: `${name} is nobody's delegate in run ${row.id}` });
    const step = turn.writer.runs.stepNamed(row.id, asked.step);
    if (step === null || step.standing !== GOOD)
      failed.push({ reason: "parent_denied", detail: `${asked.step} is no allowed step of run ${row.id}` });
    else if (turn.marked(step.sseq)) failed.push({ reason: "ancestor_revoked", detail: `step ${asked.step}` });
    if (opened.above.length + 1 >= MAX_DEPTH)
      failed.push({ reason: "delegation_depth", detail: `runs lie at most ${MAX_DEPTH} deep` });
    const known = new Set(opened.budgets.map(({ id }) => id));
    for (const { id } of this.#message.budgets)
      if (known.has(id)) failed.push({ reason: "input_invalid", detail: `budget ${id} is declared by a run above` });
    return {
      failed,
      row: step === null ? null : { run: row.id, sseq: step.sseq },
      keys,
      own: (all) => all.filter((name) => row.members.includes(name)),
    };
  }

  #isDelegate(opened: OpenedRun, name: string): boolean {
    const known = new Map(opened.delegations(name).map((delegation) => [delegation.id, delegation]));
    return chainsOf(known, opened.principal, name).length > 0;
  }
}
