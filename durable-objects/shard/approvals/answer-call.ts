import { base64url } from "../../../src/base/bytes.ts";
import { digestOf } from "../../../src/base/digest.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { decide } from "../../../src/decision/decide.ts";
import { Watch } from "../../../src/decision/seen.ts";
import type { AnswerRequestMessage, TaskAnswer } from "../../../src/objects/approvals.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { isIndependent } from "../../../src/runs/approvals.ts";
import { entityForm, runKey } from "../../../src/trust/keys.ts";
import type { EntityForm } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, RunState } from "../../../src/vocabulary/types.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import { describeRunState } from "../run-state.ts";
import { stateForStep } from "../run/steps.ts";
import type { Turn } from "../turn.ts";
import { TaskCall } from "./task-call.ts";
import type { TaskRow } from "./tasks.ts";
import { OpenedRun } from "../run/opened-run.ts";

/** What the record of the request says, opened. */
export type AskedFor = {
  readonly request: CanonicalRequest;
  readonly requester: EntityForm | null;
  readonly until_ms: number | null;
};

/** Who may approve is asked apart from the run: approvers are no members of it. */
const APART: RunState = { id: "", kind: "implicit", status: "open", members: [], version: 0 };

/**
 * An approver's word. Whether it counts is a decision of its own: by the region's packs (the approval's action, by the
 * approver, on the same resource), and by who stands behind the step. It never decides the step: that is asked again.
 */
export class AnswerCall extends TaskCall {
  readonly #message: AnswerRequestMessage;
  readonly #facts: ParsedFacts;
  readonly #asked: AskedFor;

  constructor(
    turn: Turn,
    message: AnswerRequestMessage,
    facts: ParsedFacts,
    asked: AskedFor,
    resolve: (answer: TaskAnswer) => void,
  ) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
    this.#asked = asked;
  }

  execute(): void {
    const { halted } = this.turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    const row = this.pending(this.#message.task);
    if (row === null) return;
    try {
      this.#decide(row);
    } catch (cause) {
      this.turn.bug("approval", cause);
      this.refuse("denied", "internal");
    }
  }

  #decide(row: TaskRow): void {
    const { turn } = this;
    const { runs } = turn.writer;
    const run = turn.writer.run(row.run, false)!;
    const { request: step, requester, until_ms } = this.#asked;
    const { answer, approver, approval, justification } = this.#message;
    const rule = rulesFor(turn.policy, step).approval;
    if (rule === null) return this.refuseTask("not_requestable", "no pack names an approval for this any more");

    const { state } = stateForStep(turn, run, { ...step, run: run.id }, this.#facts.facts);
    const above = [run.id, ...new OpenedRun(runs, run).above].map(runKey);
    const named = entityForm(approver.type, approver.id);
    const found: FailedCheck[] = [...this.admit(this.#facts, above).failed];
    if (state.status === "closed") found.push({ reason: "run_closed" });
    if (!this.#independent(named, state, requester)) found.push({ reason: "approver_not_independent", detail: named });

    const request: CanonicalRequest = { ...step, action: { ...step.action, name: rule.action }, subject: approver };
    const expires_ms = Math.min(turn.t_ms + rule.ttl_ms, until_ms ?? Infinity);
    const kind = answer === "grant" ? "approval.grant" : "approval.refuse";
    const given = answer === "grant" ? { expires_ms, id: approval, scope: row.scope } : null;
    const input = jcs({ approval: given, justification, kind, request, run: run.id, task: row.id, v: 1 });
    const described = describeRunState(APART);
    const watch = new Watch(turn.trust);
    const outcome = decide({
      request,
      input_digest: digestOf(input, nodeSha256),
      facts: this.#facts.facts,
      facts_digest: this.#facts.digest,
      policy: turn.policy,
      trust: watch.trust,
      condition: turn.condition,
      run: APART,
      run_digest: described.digest,
      region: turn.region,
      at_least: null,
      t_ms: turn.t_ms,
      found,
      trust_digest: turn.trustDigest,
    });
    if (outcome.core.decision === "allow") {
      this.task =
        answer === "grant"
          ? {
              ...row,
              status: "approved",
              approval,
              approved_ms: turn.t_ms,
              approved_until_ms: expires_ms,
              // Whoever asked can read the result for as long as it is good for anything.
              expires_ms: Math.max(row.expires_ms, expires_ms),
            }
          : { ...row, status: "denied" };
      if (answer === "grant") runs.addApproval(run.id, { id: approval, approver: named, scope: row.scope, expires_ms });
      runs.putTask(this.task);
    }
    const subjects = [`subject:${named}`, `subject:${entityForm(step.subject.type, step.subject.id)}`];
    this.record({
      kind,
      run,
      input,
      subjects: [...new Set(subjects)],
      verdict: { failed: outcome.core.failed, matches: [] },
      decided: { core: outcome.core, run_state: described.text, seen: watch.text(turn.seenText, { found }) },
      parents: [base64url(runs.leaf(row.sseq))],
    });
  }

  /** Neither who asked nor anybody through whom the step came to be. */
  #independent(approver: EntityForm, { step }: RunState, requester: EntityForm | null): boolean {
    const { subject } = this.#asked.request;
    return (
      approver !== requester &&
      step !== undefined &&
      isIndependent(approver, {
        subject: entityForm(subject.type, subject.id),
        principal: step.principal,
        chain: step.chains.flat(),
        on_behalf_of: null,
      })
    );
  }
}
