import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { boundRequest } from "../../../src/runs/binding.ts";
import { approvalScope } from "../../../src/runs/rows.ts";
import { runKey } from "../../../src/trust/keys.ts";
import type { SubmitRequestMessage, TaskAnswer } from "../../../src/objects/approvals.ts";
import { subjectForm } from "../../../src/decision/basis.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import { statusOf } from "../run/steps.ts";
import type { Turn } from "../turn.ts";
import { TaskCall } from "./task-call.ts";
import { OpenedRun } from "../run/opened-run.ts";

/** How long a request waits for an answer. */
const WAITS_MS = 86_400_000;
/** Of one run. */
const MAX_PENDING = 64;

/** A denial becomes a request for an approval. */
export class SubmitCall extends TaskCall {
  readonly #message: SubmitRequestMessage;
  readonly #facts: ParsedFacts;

  constructor(turn: Turn, message: SubmitRequestMessage, facts: ParsedFacts, resolve: (answer: TaskAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  execute(): void {
    const { turn } = this;
    const { tasks } = turn.writer.runs;
    const { asked, binding_token, denial_expires_ms, requester, justification, until_ms, task } = this.#message;
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    const pep = this.#facts.facts.pep.id;
    const key = this.#keyOf(pep);
    const before = key === null ? null : tasks.byKey(key);
    if (before !== null && before.asked !== this.#message.body)
      return this.refuseTask("duplicate_request", "the Idempotency-Key was used for another submission");
    if (before !== null) return this.#again(before);

    const bound = boundRequest(binding_token, JSON.parse(asked) as CanonicalRequest, turn.binding);
    if (!bound.ok) return this.refuseTask("invalid_denial_binding", bound.error);
    const { binding, request } = bound.value;
    if (denial_expires_ms !== binding.ends_ms)
      return this.refuseTask("invalid_denial_binding", "denial.expires_at is not that of the denial");
    if (turn.t_ms >= binding.ends_ms)
      return this.refuseTask("expired_denial", "the denial is too old; evaluate again for a fresh one");
    const run = turn.writer.run(binding.run, false);
    if (run === null || run.kind !== "opened")
      return this.refuseTask("invalid_denial_binding", "the denial's run is not known here");
    const scope = approvalScope(request, nodeSha256);
    const waiting = tasks.waiting(run.id, scope, pep, turn.t_ms);
    if (waiting !== null) return this.#again(waiting);
    if (rulesFor(turn.policy, request).approval === null)
      return this.refuseTask("not_requestable", "no pack names an approval for this any more");
    if (tasks.pendingOf(run.id, turn.t_ms) >= MAX_PENDING)
      return this.refuseTask("too_many_pending", `${MAX_PENDING} requests of this run wait for an answer`);

    const opened = new OpenedRun(turn.writer.runs, run);
    const subject = `subject:${subjectForm(request)}`;
    const admitted = this.admit(this.#facts, [subject, ...[run.id, ...opened.above].map(runKey)]);
    const closed = statusOf(turn, run, opened) === "closed" ? [{ reason: "run_closed" } as const] : [];
    const verdict = { ...admitted, failed: [...admitted.failed, ...closed] };
    if (verdict.failed.length === 0) {
      this.task = {
        id: task,
        run: run.id,
        scope,
        sseq: turn.writer.sseq + 1,
        pep,
        status: "pending",
        submitted_ms: turn.t_ms,
        expires_ms: turn.t_ms + WAITS_MS,
        key,
        asked: this.#message.body,
        approval: null,
        approved_ms: null,
        approved_until_ms: null,
      };
      turn.writer.runs.putTask(this.task);
    }
    const kind = "approval.request";
    this.record({
      kind,
      run,
      input: jcs({ justification, kind, request, requester, run: run.id, scope, task, until_ms, v: 1 }),
      subjects: requester === null ? [subject] : [subject, `subject:${requester}`],
      verdict,
    });
  }

  /** The same request: the task that there is, and no second record. */
  #again(task: NonNullable<SubmitCall["task"]>): void {
    this.task = task;
    this.run = this.turn.writer.run(task.run, false);
  }

  #keyOf(pep: string): string | null {
    const { idempotency_key } = this.#message;
    return idempotency_key === null ? null : base64url(nodeSha256(utf8(`${pep}\0${idempotency_key}`)));
  }
}
