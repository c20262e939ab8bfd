import { base64url } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { chainKeys, delegationProblem } from "../../../src/runs/delegation.ts";
import { amendPlan, planDigest, planText } from "../../../src/runs/plan.ts";
import { movedOn } from "../../../src/runs/sequence.ts";
import { runKey } from "../../../src/trust/keys.ts";
import type { ChangeRunMessage, RunAnswer, RunChange } from "../../../src/objects/runs.ts";
import type { Delegation, Plan, StepOutcome } from "../../../src/vocabulary/run.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import { OpenedRun } from "./opened-run.ts";
import { AWAITED, DENIED } from "./rows.ts";
import { RunCall } from "./run-call.ts";
import { statusOf } from "./steps.ts";

const MAX_DELEGATIONS = 1_000;
const NO_PLAN: Plan = { nodes: [] };

/** What a change amounts to: why not, whom it is about, what it rests on, and what it does to the run. */
type Change = {
  readonly kind: "run.amend" | "run.delegate";
  readonly failed: FailedCheck | null;
  /** `type/id` of those whom it is about. */
  readonly about: readonly string[];
  readonly keys: readonly string[];
  readonly apply: () => void;
};

/** Amending a plan and adding a delegation are decisions; the outcome of a step is told, once. */
export class ChangeRunCall extends RunCall {
  readonly #message: ChangeRunMessage;
  readonly #facts: ParsedFacts;

  constructor(turn: Turn, message: ChangeRunMessage, facts: ParsedFacts, resolve: (answer: RunAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  execute(): void {
    const { turn } = this;
    const { change } = this.#message;
    const run = turn.writer.run(this.#message.run, false);
    if (run === null || run.kind !== "opened") return this.refuse("not_found", null);
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    if (change.kind === "outcome") return this.#report(run, change.step, change.outcome);
    const opened = new OpenedRun(turn.writer.runs, run);
    const { kind, failed, about, keys, apply } =
      change.kind === "amend" ? this.#amend(opened, change.plan) : this.#delegate(opened, change.delegation);
    const admitted = this.admit(this.#facts, [...[run.id, ...opened.above].map(runKey), ...keys]);
    const closed: readonly FailedCheck[] = statusOf(turn, run, opened) === "closed" ? [{ reason: "run_closed" }] : [];
    const { state_version } = this.#message;
    const moved = state_version === null ? null : movedOn(run.seq, { state_version });
    const verdict = {
      ...admitted,
      failed: [...admitted.failed, ...closed, ...(moved === null ? [] : [moved]), ...(failed === null ? [] : [failed])],
    };
    if (verdict.failed.length === 0) apply();
    this.record({
      kind,
      run,
      input: this.#input(kind, change),
      subjects: about.map((name) => `subject:${name}`),
      verdict,
    });
  }

  #input(kind: string, change: RunChange): string {
    const { run, state_version } = this.#message;
    return jcs({ ...change, kind, run, state_version, v: 1 });
  }

  #amend(opened: OpenedRun, next: Plan): Change {
    const { runs } = this.turn.writer;
    const { declared } = opened;
    const old = declared.plan === null ? NO_PLAN : (JSON.parse(declared.plan) as Plan);
    const taken = new Set(old.nodes.map(({ id }) => id).filter((id) => runs.tried(opened.id, id).taken > 0));
    const amended = amendPlan(old, next, taken);
    return {
      kind: "run.amend",
      failed: amended.ok ? null : { reason: "plan_violation", detail: amended.error },
      about: [...new Set(next.nodes.flatMap(({ subject }) => subject ?? []))],
      keys: [],
      apply: () => runs.putPlan({ ...declared, plan: planText(next), digest: planDigest(next, nodeSha256) }),
    };
  }

  #delegate(opened: OpenedRun, delegation: Delegation): Change {
    const { runs } = this.turn.writer;
    const above: Delegation[] = [];
    for (let id = delegation.parent; id !== null; id = above.at(-1)!.parent) {
      const link = opened.delegation(id);
      if (link === null) break;
      above.push(link);
    }
    const problem = delegationProblem(delegation, above[0], opened.principal);
    return {
      kind: "run.delegate",
      failed:
        problem !== null
          ? { reason: "delegation_exceeded", detail: problem }
          : delegation.expires_ms <= this.turn.t_ms
            ? { reason: "delegation_expired" }
            : runs.delegationCount(opened.id) >= MAX_DELEGATIONS
              ? { reason: "delegation_exceeded", detail: `a run holds at most ${MAX_DELEGATIONS} delegations` }
              : null,
      about: [delegation.delegator, delegation.delegate],
      keys: chainKeys([delegation, ...above]),
      apply: () => runs.addDelegation(opened.id, delegation),
    };
  }

  /** Told by the caller, so it decides nothing; like closing it may be told where the region is frozen, or the run closed. */
  #report(run: RunRow, id: string, outcome: StepOutcome): void {
    const { runs } = this.turn.writer;
    if (this.shutOut(this.#facts.facts)) return this.refuse("denied", "revoked");
    const step = runs.stepNamed(run.id, id);
    if (step === null) return this.refuse("not_found", null, "this run has no such step");
    if (step.standing === DENIED)
      return this.refuse("conflict", null, "the step was denied or withheld: it has no outcome");
    if (step.standing === AWAITED) return this.refuse("conflict", null, "no receipt of the step is here yet");
    if (step.outcome !== null && step.outcome !== outcome)
      return this.refuse("conflict", null, `the step was reported as ${step.outcome}`);
    this.run = run;
    // Reported twice is reported once.
    if (step.outcome === outcome) return;
    runs.report(step, outcome);
    this.record({
      kind: "run.outcome",
      run,
      input: this.#input("run.outcome", this.#message.change),
      subjects: [],
      verdict: null,
      parents: [base64url(runs.leaf(step.sseq))],
    });
  }
}
