import { decisionId } from "../../../src/base/ids.ts";
import { PERMIT_TYPE } from "../../../src/credentials/permit-life.ts";
import { dependenciesOf, endsAt, homesOf, usedHomes } from "../../../src/decision/basis.ts";
import { homesHeard } from "../../../src/decision/checks.ts";
import { regionChecks, type DecideInput } from "../../../src/decision/decide.ts";
import { attestationHolds, identityHolds } from "../../../src/decision/identity.ts";
import { toldKeys } from "../../../src/decision/told.ts";
import type { DecideAnswer } from "../../../src/objects/decide.ts";
import { consentsOf } from "../../../src/policy/consents.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import type { CanonicalRequest, Outcome } from "../../../src/vocabulary/types.ts";
import type { PermitRow } from "../permits/rows.ts";
import { claimsText } from "../permits/ticket.ts";
import { stepReceiptOf } from "../run/guest-state.ts";
import { statusOf } from "../run/steps.ts";
import type { Turn } from "../turn.ts";
import { denied, validUntil } from "./answers.ts";
import { readAtLeast } from "./decide-item.ts";
import { explain } from "./explaining.ts";
import type { Kept } from "./kept-answer.ts";
import { factsAt, type Question } from "./question.ts";
import { OpenedRun } from "../run/opened-run.ts";

type Basis = Pick<Outcome, "dependencies" | "homes" | "expires_ms">;

/**
 * The answer that was kept, to the same question once more. It is looked at again: it may turn to deny, never to allow
 * (DESIGN section 7).
 *
 * @param first the `sseq` of its first record.
 */
export async function repeated(turn: Turn, question: Question, kept: Kept, first: number): Promise<DecideAnswer> {
  const { message, accepted } = question;
  const receipt = await turn.receiptOf(first, kept.records);
  const said = new Map<number, string>();
  for (let at = 0; at < kept.items.length; at++) {
    const { pass } = factsAt(question, at).facts;
    const step = pass === undefined ? null : await stepReceiptOf(turn, pass.id, first + at);
    if (step !== null) said.set(at, step);
  }
  const permit = await permitAgain(turn, question, kept);
  // Nothing is waited for from here on: a revocation that is acknowledged meanwhile would not be seen.
  const now = turn.now();
  const region =
    regionProblem(turn, now, readAtLeast(message)) ||
    now >= accepted.call.facts.pep.exp_ms ||
    (kept.policy !== undefined && kept.policy !== turn.liveCondition().active_policy);
  const trust = turn.liveTrust();
  const bases = kept.items.map((_, at): Basis => {
    const basis = basisAt(turn, question, kept, at);
    return { ...basis, homes: homesOf(trust, basis.dependencies, basis.homes) };
  });
  const stands = (at: number): boolean => {
    const basis = bases[at]!;
    const step = kept.steps?.[at];
    return (
      now < basis.expires_ms &&
      !closed(turn, question, at) &&
      shown(turn, question, at, now) &&
      (step === undefined || !turn.marked(step.sseq)) &&
      !turn.lost(factsAt(question, at).facts.pass?.ancestors ?? []) &&
      !turn.revoked(basis.dependencies, kept.degraded?.includes(at) === true) &&
      homesHeard(trust, basis.homes, now) === null
    );
  };
  const items = kept.items.map((item, at) => (item.decision && (region || !stands(at)) ? denied("withheld") : item));
  const turned = items.some((item, at) => item !== kept.items[at]);
  return {
    ok: true,
    decision_id: decisionId(turn.region, turn.log_epoch, turn.shard, first),
    // The receipt speaks for the answer that was recorded, and this is another one.
    receipt: turned ? null : receipt,
    items: items.map(({ failed, determining, ...item }, at) => ({
      ...item,
      ...(message.explain && failed !== undefined && determining !== undefined
        ? {
            failed,
            determining,
            // By the law as it stands now.
            explained: explain(turn.policy, requestAt(question, at), { ...item, failed, determining }),
          }
        : {}),
      valid_until_ms: item.decision ? validUntil(turn, bases[at]!.expires_ms, bases[at]!.homes, trust) : 0,
      ...(said.has(at) && item.decision === kept.items[at]!.decision ? { step_receipt: said.get(at)! } : {}),
    })),
    consistency: turn.consistency(),
    continuity: turn.continuity(),
    t_ms: kept.t_ms,
    flush_size: 0,
    ...(permit !== null && items[0]?.decision === true && unused(turn, kept, now) !== null ? { permit } : {}),
  };
}

/** The region itself turned: the lease ended, it was frozen, its policy changed. */
const regionProblem = (turn: Turn, now: number, at_least: DecideInput["at_least"]): boolean =>
  regionChecks({
    trust: turn.liveTrust(),
    condition: turn.liveCondition(),
    policy: turn.policy,
    region: turn.region,
    at_least,
    t_ms: now,
  }) !== null;

/** The same permit, while nobody has redeemed it; never a second one. */
async function permitAgain(turn: Turn, { message }: Question, kept: Kept): Promise<string | null> {
  const row = unused(turn, kept, turn.now());
  const claims = row === null ? null : claimsText(turn, row, message.items[0]!.request);
  return claims === null ? null : turn.signed(PERMIT_TYPE, claims);
}

function unused(turn: Turn, { permit: id }: Kept, now: number): PermitRow | null {
  const row = id === undefined ? null : turn.writer.permits.permit(id);
  return row === null || row.used !== null || now >= row.exp_ms ? null : row;
}

/** Whether what comes with the repetition about the workload would do: the keys alone do not tell how good it is. */
function shown(turn: Turn, question: Question, at: number, now: number): boolean {
  const asked = requestAt(question, at);
  const { workload } = factsAt(question, at).facts;
  const { identity, attestation } = rulesFor(turn.policy, asked);
  return (
    identityHolds(identity, workload, asked.subject.id, now).length === 0 &&
    attestationHolds(attestation, workload, now).length === 0
  );
}

/** Whether the opened run of item `at`, or one above it, takes no more steps: whoever closed it, its allows end too. */
function closed(turn: Turn, { message }: Question, at: number): boolean {
  const { writer } = turn;
  const run = writer.run(message.items[at]!.run, false);
  return run?.kind === "opened" && statusOf(turn, run, new OpenedRun(writer.runs, run)) === "closed";
}

/** What item `at` rests on, with the one who asks now: a key is shared by the credentials of one PEP. */
function basisAt(turn: Turn, question: Question, kept: Kept, at: number): Basis {
  const { message } = question;
  const { run } = message.items[at]!;
  const { facts } = factsAt(question, at);
  const opened = run === message.implicit_run ? null : ({ kind: "opened", id: run } as const);
  const asked = requestAt(question, at);
  const consents = [...consentsOf(turn.policy, asked).keys, ...toldKeys(turn.policy, facts)];
  const keys = dependenciesOf(asked, facts, opened, turn.region, consents);
  return {
    dependencies: [...keys, ...(kept.steps?.[at]?.keys ?? [])],
    homes: usedHomes(null, facts, turn.region),
    expires_ms: Math.min(kept.ends?.[at] ?? Infinity, endsAt(facts, null, [], [])),
  };
}

const requestAt = ({ message }: Question, at: number): CanonicalRequest =>
  JSON.parse(message.items[at]!.request) as CanonicalRequest;
