import { base64url } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { callerKeys } from "../../../src/decision/basis.ts";
import { receiptText } from "../../../src/lineage/receipt.ts";
import type { ReportHoldMessage, TicketAnswer } from "../../../src/objects/permits.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call, Flush } from "../group-commit.ts";
import { describeRunState } from "../run-state.ts";
import { GOOD } from "../run/rows.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import type { HoldRow } from "./rows.ts";
import { viewHold } from "./view.ts";

/** The one who holds tells what became of the step. Also after the hold has ended: that is no less true then. */
export class OutcomeCall implements Call {
  readonly #turn: Turn;
  readonly #message: ReportHoldMessage;
  readonly #facts: ParsedFacts;
  readonly #resolve: (answer: TicketAnswer) => void;
  #appended: Appended | null = null;
  #hold: HoldRow | null = null;
  #ended = false;
  #answer: TicketAnswer | null = null;

  constructor(turn: Turn, message: ReportHoldMessage, facts: ParsedFacts, resolve: (answer: TicketAnswer) => void) {
    this.#turn = turn;
    this.#message = message;
    this.#facts = facts;
    this.#resolve = resolve;
  }

  get records(): number {
    return this.#appended === null ? 0 : 1;
  }
  get weight(): number {
    return 1;
  }
  get leafHashes(): readonly Uint8Array[] {
    return this.#appended === null ? [] : [this.#appended.leaf_hash];
  }

  execute(): void {
    const turn = this.#turn;
    const { runs, permits } = turn.writer;
    const { hold: id, outcome } = this.#message;
    const hold = permits.hold(id);
    const run = hold === null ? null : turn.writer.run(hold.run, false);
    const step = hold === null ? null : runs.step(hold.step);
    if (hold === null || run === null || step === null) return this.#refuse({ ok: false, code: "not_found" });
    if (turn.condition.halted !== null) return this.#deny("lineage_halted");
    if (turn.trust.match(callerKeys(this.#facts.facts, turn.region), turn.t_ms).length > 0)
      return this.#deny("revoked");
    this.#hold = hold;
    if (step.outcome !== null && step.outcome !== outcome)
      return this.#refuse({ ok: false, code: "conflict", detail: `the step was reported as ${step.outcome}` });
    if (hold.outcome === null) {
      const active = hold.state === "active";
      const end = active ? { ended_ms: turn.t_ms, event: permits.nextEvent() } : {};
      this.#ended = active;
      this.#hold = { ...hold, ...end, state: "ended", outcome };
      permits.putHold(this.#hold, null);
    }
    // Reported twice is reported once; of a step that was withheld there is nothing to report.
    if (step.outcome === outcome || step.standing !== GOOD) return;
    runs.report(step, outcome);
    const { id: run_id, kind, status, members, seq: version } = run;
    const state = describeRunState({ id: run_id, kind, status, members, version });
    this.#appended = turn.writer.append(
      {
        kind: "run.outcome",
        run,
        subjects: [],
        core: state.text,
        decision: null,
        reason: null,
        refers: null,
        parents: [base64url(runs.leaf(step.sseq))],
        input: jcs({ hold: id, kind: "run.outcome", outcome, run: run.id, step: step.id, v: 1 }),
        facts: this.#facts.text,
        run_state: state.text,
        seen: null,
        sealed: "",
        policy: turn.policy.digest,
        trust: { digest: turn.trustDigest([]), revision: turn.trust.revision },
        traceparent: this.#message.traceparent,
      },
      turn.t_ms,
      turn.writer.sseq + 1,
      true,
    );
  }

  release(flush: Flush | null, index: number): void {
    const turn = this.#turn;
    if (this.#answer !== null) return this.#resolve(this.#answer);
    const hold = this.#hold!;
    if (this.#ended) turn.halts.tellEnded(hold, this.#message.outcome);
    const appended = this.#appended;
    const receipt =
      appended === null || flush === null
        ? null
        : receiptText(flush.jws, {
            call: index,
            items: 1,
            leaf: base64url(appended.leaf_hash),
            path: flush.path(index),
          });
    this.#resolve({
      ...this.#frame(),
      decision_id: appended === null ? null : decisionId(turn.region, turn.log_epoch, turn.shard, appended.sseq),
      receipt,
      hold: viewHold(turn.writer.runs, hold, turn.now()),
      flush_size: flush?.size ?? 0,
    });
  }

  fail(): void {
    this.#deny("lineage_unavailable");
    this.#resolve(this.#answer!);
  }

  #refuse(answer: TicketAnswer): void {
    this.#answer = answer;
  }

  #deny(reason: ReasonCode): void {
    const item = { decision: false, reason, policy_reason: null, obligations: [], valid_until_ms: 0 };
    this.#answer = { ...this.#frame(), items: [item] };
  }

  #frame(): Extract<TicketAnswer, { readonly ok: true }> {
    const turn = this.#turn;
    return {
      ok: true,
      decision_id: null,
      receipt: null,
      items: [],
      hold: null,
      consistency: turn.consistency(),
      continuity: turn.continuity(),
      t_ms: turn.t_ms,
      flush_size: 0,
    };
  }
}
