import { denyInternal, coreText, decide, type DecideInput } from "../../../src/decision/decide.ts";
import { Watch } from "../../../src/decision/seen.ts";
import { digestOf } from "../../../src/base/digest.ts";
import type { DecideMessage } from "../../../src/objects/decide.ts";
import { decodeConsistency } from "../../../src/trust/consistency.ts";
import { subjectKey } from "../../../src/trust/keys.ts";
import type { PassFacts } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, Outcome, RunState } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { PermitRow } from "../permits/rows.ts";
import { issue } from "../permits/ticket.ts";
import { guestStateOf, keepGuestStep } from "../run/guest-state.ts";
import { keepStep, stateForStep, type OpenedStep } from "../run/steps.ts";
import { describeRunState, type DescribedRun } from "../run-state.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import { factsAt, type Question } from "./question.ts";

/**
 * Beside a request of a megabyte it has to fit a row of storage, and a record that does not fails the whole flush. Only
 * delegations with limits of absurd length come near it.
 */
const MAX_STATE_CHARS = 262_144;

/** One item of a call, decided; and recorded, unless it was a dry run. */
export type Decided = {
  readonly outcome: Outcome;
  readonly run: RunRow | null;
  readonly appended: Appended | null;
  readonly subjects: readonly string[];
  readonly input: string;
  readonly run_state: string;
  /** Keys of the runs that its run is part of. */
  readonly above: readonly string[];
  /** `sseq`s of the steps whose results it uses. */
  readonly parents: readonly number[];
  readonly facts: ParsedFacts;
  /** Of a step of a run that is at home elsewhere. */
  readonly pass: PassFacts | null;
  /** That was asked for, and goes with the allow. */
  readonly permit: PermitRow | null;
  readonly asked: DecideInput;
};

/** The run as the decision sees it; `bug`: it could not be read, and the step is denied. */
type Known = {
  readonly state: RunState | null;
  readonly step: OpenedStep | null;
  readonly bug: boolean;
  readonly described?: DescribedRun;
};

/**
 * Decides item `at` in the turn, and appends its record and what its step leaves behind.
 *
 * @param first the `sseq` that the first record of the call has.
 * @param alone whether the record is the call's only one.
 */
export function decideItem(
  turn: Turn,
  question: Question,
  at: number,
  first: number,
  alone: (outcome: Outcome) => boolean,
): Decided {
  const { message } = question;
  const facts = factsAt(question, at);
  const { request: requestText, run: runId } = message.items[at]!;
  const request = JSON.parse(requestText) as CanonicalRequest;
  const implicit = runId === message.implicit_run;
  // Only a run derived from an idempotency key can have been seen before.
  let run = turn.writer.run(runId, implicit && message.idempotency_key === null);
  if (run === null && implicit) run = turn.writer.implicitRun(runId, turn.t_ms, message.idempotency_key !== null);
  const { pass } = facts.facts;
  const guest = pass === undefined ? null : guestStateOf(turn, runId, pass);
  if (run === null && guest !== null) run = turn.writer.implicitRun(runId, turn.t_ms, true);
  const { state: known, step, bug, described: seen } = stateOf(turn, run, request, facts.facts);
  const state = known === null || guest === null ? known : { ...known, guest };
  const described = guest === null && seen !== undefined ? seen : describeRunState(state);
  const watch = new Watch(turn.trust);
  const input: DecideInput = {
    request,
    input_digest: digestOf(requestText, nodeSha256),
    facts: facts.facts,
    facts_digest: facts.digest,
    policy: turn.policy,
    trust: watch.trust,
    condition: turn.condition,
    run: state,
    run_digest: described.digest,
    region: turn.region,
    at_least: readAtLeast(message),
    t_ms: turn.t_ms,
    names: watch.names((key) => turn.namesOf(key)),
    trust_digest: turn.trustDigest,
  };
  const outcome = outcomeOf(turn, input, bug);
  const subjects = [subjectKey(request.subject.type, request.subject.id)];
  const decided = {
    outcome,
    run,
    subjects,
    input: requestText,
    run_state: described.text,
    above: step?.keys ?? [],
    parents: step?.parents.map(({ sseq }) => sseq) ?? [],
    facts,
    asked: input,
  };
  if (message.dry_run) return { ...decided, appended: null, pass: null, permit: null };
  // A step of a run that is not known here is recorded in a run of its own: nothing is answered without a record.
  run ??= turn.writer.implicitRun(turn.mintRun(), turn.t_ms, false);
  const appended = turn.writer.append(
    {
      kind: "decision",
      run,
      subjects,
      core: coreText(outcome.core),
      decision: outcome.core.decision,
      reason: outcome.core.reason,
      refers: null,
      parents: guest !== null ? pass!.parents : (step?.parents.map(({ leaf }) => leaf) ?? []),
      input: requestText,
      facts: facts.text,
      run_state: described.text,
      seen: watch.text(turn.seenText, { at_least: message.at_least, bug }),
      sealed: `"determining":${JSON.stringify(outcome.determining)},"errors":${JSON.stringify(outcome.errors)}`,
      policy: turn.policy.digest,
      trust: { digest: outcome.core.trust, revision: turn.trust.revision },
      traceparent: message.traceparent,
    },
    turn.t_ms,
    first,
    alone(outcome),
  );
  const id = { first, alone: alone(outcome) };
  if (step !== null) keepStep(turn, step, request, outcome, appended, id);
  const permit =
    message.permit !== undefined && step !== null && outcome.core.decision === "allow"
      ? issue(turn, message.permit, run.id, appended.sseq, outcome)
      : null;
  if (guest !== null) keepGuestStep(turn, pass!, outcome, appended, id);
  return { ...decided, run, appended, pass: guest === null ? null : pass!, permit };
}

function stateOf(turn: Turn, run: RunRow | null, request: CanonicalRequest, facts: Facts): Known {
  if (run === null) return { state: null, step: null, bug: false };
  const { id, kind, status, members, seq: version } = run;
  const plain: RunState = { id, kind, status, members, version };
  if (kind === "implicit") return { state: plain, step: null, bug: false };
  try {
    const found = stateForStep(turn, run, request, facts);
    const described = describeRunState(found.state);
    if (described.text.length > MAX_STATE_CHARS) throw new Error(`the state has ${described.text.length} characters`);
    return { ...found, bug: false, described };
  } catch (cause) {
    turn.bug("run state", cause);
    return { state: plain, step: null, bug: true };
  }
}

/** An exception in the kernel is a bug; the caller gets a deny and the log gets the cause (G1). */
function outcomeOf(turn: Turn, input: DecideInput, bug: boolean): Outcome {
  if (bug) return denyInternal(input);
  try {
    return decide(input);
  } catch (cause) {
    turn.bug("decide", cause);
    return denyInternal(input);
  }
}

export const readAtLeast = ({ at_least }: Pick<DecideMessage, "at_least">): DecideInput["at_least"] =>
  at_least === null ? null : (decodeConsistency(at_least) ?? "malformed");
