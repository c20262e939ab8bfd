import { base64url } from "../../../src/base/bytes.ts";
import { digestOf } from "../../../src/base/digest.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { homesOf } from "../../../src/decision/basis.ts";
import { homesHeard } from "../../../src/decision/checks.ts";
import { coreText, decide, denyInternal, type DecideInput } from "../../../src/decision/decide.ts";
import { Watch } from "../../../src/decision/seen.ts";
import { receiptText } from "../../../src/lineage/receipt.ts";
import type { TicketAnswer } from "../../../src/objects/permits.ts";
import type { ItemAnswer } from "../../../src/objects/decide.ts";
import { runKey, subjectKey } from "../../../src/trust/keys.ts";
import type { FailedCheck, ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { CanonicalRequest, Facts, Outcome, RunState } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call, Flush } from "../group-commit.ts";
import type { Live } from "../live.ts";
import type { AskedTexts } from "../reader.ts";
import { describeRunState } from "../run-state.ts";
import { GOOD, type StepRow } from "../run/rows.ts";
import { stateForStep } from "../run/steps.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import type { HoldBasis } from "./book.ts";
import type { HoldRow } from "./rows.ts";
import { viewHold } from "./view.ts";

/** A call about the step of a permit, with what was asked and known then. */
export type StepCall = {
  readonly facts: ParsedFacts;
  readonly asked: AskedTexts;
  /** Whether what the step's own facts show is still accepted: their keys and sources are listed. */
  readonly shown: boolean;
  readonly permit: string;
  readonly run: string;
  readonly step: number;
  readonly traceparent: string | null;
  readonly deadline_ms: number;
};

type Decided = {
  readonly outcome: Outcome;
  readonly run: RunRow;
  readonly appended: Appended;
  readonly facts: string;
  readonly run_state: string;
  readonly subject: string;
  readonly above: readonly string[];
};

/**
 * Decides a step again, for the one who redeems its permit or renews the hold: everything is looked at that was looked
 * at when it was allowed, as it is now, but its place in the plan and what it costs. A decision with a record of its
 * own, beside the step's.
 */
export abstract class AgainCall implements Call {
  protected readonly turn: Turn;
  protected readonly call: StepCall;
  readonly #resolve: (answer: TicketAnswer) => void;
  #decided: Decided | null = null;
  #denied: ReasonCode | null = null;
  /** What an answer without a decision of this call says. */
  #again: HoldRow | null = null;
  protected hold: HoldRow | null = null;

  constructor(turn: Turn, call: StepCall, resolve: (answer: TicketAnswer) => void) {
    this.turn = turn;
    this.call = call;
    this.#resolve = resolve;
  }

  abstract readonly kind: "permit.redeem" | "hold.renew";
  /** What the rows say against it; `null`: this call was answered before, by that hold. */
  protected abstract found(): readonly FailedCheck[] | HoldRow;
  /** Stores what an allow makes, and gives the hold. */
  protected abstract allowed(appended: Appended, valid_until_ms: number, basis: HoldBasis): HoldRow;
  /** It is denied for good, by a decision. */
  protected abstract refused(reason: ReasonCode): void;
  /** The allow has left. */
  protected abstract released(hold: HoldRow): void;

  get records(): number {
    return this.#decided === null ? 0 : 1;
  }
  get weight(): number {
    return 1;
  }
  get leafHashes(): readonly Uint8Array[] {
    return this.#decided === null ? [] : [this.#decided.appended.leaf_hash];
  }

  execute(): void {
    const { turn, call } = this;
    if (turn.t_ms >= call.deadline_ms) this.#denied = "deadline";
    else if (turn.condition.halted !== null) this.#denied = "lineage_halted";
    if (this.#denied !== null) return;
    const run = turn.writer.run(call.run, false);
    const step = turn.writer.runs.step(call.step);
    if (run === null || step === null) {
      this.#denied = "permit_invalid";
      return;
    }
    const found = this.found();
    if ("id" in found) {
      this.#again = found;
      return;
    }
    this.#decide(run, step, found);
  }

  #decide(run: RunRow, step: StepRow, found: readonly FailedCheck[]): void {
    const { turn, call } = this;
    const request = JSON.parse(call.asked.input) as CanonicalRequest;
    const { keys, pep, thumbprints } = call.facts.facts;
    const facts: Facts = {
      ...(JSON.parse(call.asked.facts) as Facts),
      redeemed: { keys, pep, permit: call.permit, thumbprints },
    };
    const facts_text = jcs(facts);
    const { state, above, bug } = this.#stateOf(run, step, request, facts);
    const described = describeRunState(state);
    const watch = new Watch(turn.trust);
    const purpose = this.kind === "permit.redeem" ? "redeem" : "renew";
    const against = [...this.#standing(step), ...found];
    const input: DecideInput = {
      request,
      input_digest: digestOf(call.asked.input, nodeSha256),
      facts,
      facts_digest: digestOf(facts_text, nodeSha256),
      policy: turn.policy,
      trust: watch.trust,
      condition: turn.condition,
      run: state,
      run_digest: described.digest,
      region: turn.region,
      at_least: null,
      t_ms: turn.t_ms,
      since_ms: step.t_ms,
      purpose,
      found: against,
      trust_digest: turn.trustDigest,
    };
    const outcome = this.#outcomeOf(input, bug);
    const subject = subjectKey(request.subject.type, request.subject.id);
    const appended = turn.writer.append(
      {
        kind: this.kind,
        run,
        subjects: [subject],
        core: coreText(outcome.core),
        decision: outcome.core.decision,
        reason: outcome.core.reason,
        refers: null,
        parents: [base64url(turn.writer.runs.leaf(step.sseq))],
        input: call.asked.input,
        facts: facts_text,
        run_state: described.text,
        seen: watch.text(turn.seenText, { bug, found: against, purpose, since_ms: step.t_ms }),
        sealed: `"determining":${JSON.stringify(outcome.determining)},"errors":${JSON.stringify(outcome.errors)}`,
        policy: turn.policy.digest,
        trust: { digest: outcome.core.trust, revision: turn.trust.revision },
        traceparent: call.traceparent,
      },
      turn.t_ms,
      turn.writer.sseq + 1,
      true,
    );
    this.#decided = { outcome, run, appended, facts: facts_text, run_state: described.text, subject, above };
    if (outcome.core.decision === "allow") {
      const { dependencies, homes, expires_ms, degraded } = outcome;
      const basis = { keys: [...dependencies, ...above], homes, expires_ms, degraded, policy: turn.policy.digest };
      this.hold = this.allowed(appended, outcome.valid_until_ms, basis);
    } else this.refused(outcome.core.reason ?? "internal");
  }

  /** A step that was withheld, or reported failed, has no permit. */
  #standing(step: StepRow): readonly FailedCheck[] {
    const found: FailedCheck[] = [];
    if (!this.call.shown)
      found.push({ reason: "identity_invalid", detail: "what was shown with the step is not accepted any more" });
    if (step.standing !== GOOD)
      found.push({
        reason: "permit_invalid",
        detail: step.outcome === "failed" ? "its step was reported failed" : "its step was withheld",
      });
    return found;
  }

  #stateOf(
    row: RunRow,
    step: StepRow,
    request: CanonicalRequest,
    facts: Facts,
  ): { readonly state: RunState; readonly above: readonly string[]; readonly bug: boolean } {
    const { id, kind, status, members, seq: version } = row;
    try {
      const { runs } = this.turn.writer;
      const found = runs.sums.without(step, () => stateForStep(this.turn, row, request, facts));
      // Not what a new step at this place would use, but what this one used; and itself, so that its marks count.
      const used = step.standing === GOOD ? [step, ...runs.parentsOf(step.sseq)] : [];
      const parents = used.map((parent) => runs.parentStep(parent));
      const { state } = found;
      return {
        state: state.step === undefined ? state : { ...state, step: { ...state.step, parents } },
        above: found.step.run.above.map(runKey),
        bug: false,
      };
    } catch (cause) {
      this.turn.bug("run state", cause);
      return { state: { id, kind, status, members, version }, above: [], bug: true };
    }
  }

  #outcomeOf(input: DecideInput, bug: boolean): Outcome {
    if (bug) return denyInternal(input);
    try {
      return decide(input);
    } catch (cause) {
      this.turn.bug("decide", cause);
      return denyInternal(input);
    }
  }

  release(flush: Flush | null, index: number, live: Live): void {
    const { turn } = this;
    if (this.#denied !== null) return this.#deny(this.#denied);
    if (this.#again !== null) return void this.#repeat(this.#again);
    const decided = this.#decided;
    if (decided === null) return this.#deny("internal");
    const { outcome, appended } = decided;
    const { hold } = this;
    const receipt =
      flush === null
        ? null
        : receiptText(flush.jws, {
            call: index,
            items: 1,
            leaf: base64url(appended.leaf_hash),
            path: flush.path(index),
          });
    const evidence = {
      decision_id: decisionId(turn.region, turn.log_epoch, turn.shard, appended.sseq),
      receipt,
      flush_size: flush?.size ?? 0,
    };
    if (hold === null) return this.#answer(itemOf(outcome), null, evidence);
    const ended = turn.writer.permits.hold(hold.id)?.state !== "active";
    if (ended || this.#turned(decided, live)) return this.#withhold(decided, hold, live.t_ms, evidence);
    this.released(hold);
    this.#answer({ ...itemOf(outcome), valid_until_ms: hold.valid_until_ms }, hold, evidence);
  }

  /** Everything that it rests on, as it is when it is to leave. */
  #turned({ outcome, above }: Decided, { t_ms: now, trust, turned }: Live): boolean {
    const { turn, call } = this;
    const homes = homesOf(trust, outcome.dependencies, outcome.homes);
    return (
      now >= call.deadline_ms ||
      now >= Math.min(outcome.expires_ms, outcome.valid_until_ms) ||
      turned ||
      turn.revokedSince([...outcome.dependencies, ...above], outcome.degraded) ||
      turn.markedSince(call.step) ||
      homesHeard(trust, homes, now) !== null
    );
  }

  #withhold(decided: Decided, hold: HoldRow, now: number, evidence: Evidence): void {
    const { turn, call } = this;
    const { run, appended, subject, outcome } = decided;
    turn.halts.end(hold.id, "withheld", null, now);
    turn.owe({
      run: { ...run },
      refers: appended,
      subjects: [subject],
      input: call.asked.input,
      facts: decided.facts,
      run_state: decided.run_state,
      core: outcome.core,
      traceparent: call.traceparent,
      idempotency: null,
      index: 0,
      settle: (stored) => (stored ? this.#answer(deny("withheld"), null, evidence) : this.#deny("lineage_unavailable")),
    });
  }

  /** Redeemed before with the same key: the same hold, where it still is when its receipt is there. */
  async #repeat({ id, redeemed }: HoldRow): Promise<void> {
    const { turn } = this;
    try {
      const receipt = await turn.receiptOf(redeemed, 1);
      turn.halts.look();
      const { t_ms: now, turned } = turn.live();
      const hold = turn.writer.permits.hold(id);
      if (hold === null || hold.state !== "active" || now >= hold.valid_until_ms || turned)
        return this.#deny(hold?.reason ?? "hold_ended");
      const record = decisionId(turn.region, turn.log_epoch, turn.shard, redeemed);
      const item = { ...deny("internal"), decision: true, reason: null, valid_until_ms: hold.valid_until_ms };
      this.#answer(item, hold, { decision_id: record, receipt, flush_size: 0 });
    } catch (cause) {
      turn.bug("repeat", cause);
      this.#deny("lineage_unavailable");
    }
  }

  fail(): void {
    this.#deny("lineage_unavailable");
  }

  #deny(reason: ReasonCode): void {
    this.#answer(deny(reason), null, { decision_id: null, receipt: null, flush_size: 0 });
  }

  #answer(item: ItemAnswer, hold: HoldRow | null, { decision_id, receipt, flush_size }: Evidence): void {
    const { turn } = this;
    this.#resolve({
      ok: true,
      decision_id,
      receipt: item.reason === "withheld" ? null : receipt,
      items: [item],
      hold: hold === null ? null : viewHold(turn.writer.runs, hold, turn.now()),
      consistency: turn.consistency(),
      continuity: turn.continuity(),
      t_ms: turn.t_ms,
      flush_size,
    });
  }
}

type Evidence = { readonly decision_id: string | null; readonly receipt: string | null; readonly flush_size: number };

const deny = (reason: ReasonCode): ItemAnswer => ({
  decision: false,
  reason,
  policy_reason: null,
  obligations: [],
  valid_until_ms: 0,
});

const itemOf = ({ core, policy_reason }: Outcome): ItemAnswer => ({
  decision: core.decision === "allow",
  reason: core.reason,
  policy_reason,
  obligations: core.obligations,
  valid_until_ms: 0,
});
