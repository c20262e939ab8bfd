import { freshUntil } from "../../../src/decision/basis.ts";
import { policyEnds } from "../../../src/decision/checks.ts";
import type { DecideAnswer, DecideMessage, ItemAnswer } from "../../../src/objects/decide.ts";
import { bindingEnds } from "../../../src/runs/binding.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { CanonicalRequest, TrustView } from "../../../src/vocabulary/types.ts";
import type { Turn } from "../turn.ts";
import type { Decided } from "./decide-item.ts";

/** The words of an answer: of an item that was decided, of one that is denied without being. */

export function itemAnswer(
  turn: Turn,
  { outcome, run, input, appended }: Decided,
  explain: boolean,
  valid_until_ms: number,
): ItemAnswer {
  const { core, approval } = outcome;
  return {
    ...(approval === undefined ? {} : { approval }),
    // There has to be a denial on record that was asked for.
    ...(approval?.requestable === true && appended !== null && run !== null
      ? { access_request: accessRequest(turn, run.id, input, core.t_ms) }
      : {}),
    decision: core.decision === "allow",
    reason: core.reason,
    policy_reason: outcome.policy_reason,
    obligations: core.obligations,
    ...(explain ? { failed: core.failed, determining: outcome.determining } : {}),
    ...(explain && outcome.errors.length > 0 ? { errors: outcome.errors.map(({ policy }) => policy) } : {}),
    valid_until_ms: core.decision === "allow" ? valid_until_ms : 0,
  };
}

function accessRequest(
  turn: Turn,
  run: string,
  input: string,
  t_ms: number,
): NonNullable<ItemAnswer["access_request"]> {
  const request = JSON.parse(input) as CanonicalRequest;
  return { binding_token: turn.bindingToken(run, request, t_ms), expires_ms: bindingEnds(t_ms) };
}

export const denied = (reason: ReasonCode): ItemAnswer => ({
  decision: false,
  reason,
  policy_reason: null,
  obligations: [],
  valid_until_ms: 0,
});

/** Every item denied, without a record. */
export const deniedAll = (turn: Turn, { items }: DecideMessage, reason: ReasonCode): DecideAnswer => ({
  ok: true,
  decision_id: null,
  receipt: null,
  items: items.map(() => denied(reason)),
  consistency: turn.consistency(),
  continuity: turn.continuity(),
  t_ms: turn.now(),
  flush_size: 0,
});

/** As of the release: what the shard knows now, which is what a PEP may rely on. */
export const validUntil = (turn: Turn, expires_ms: number, homes: readonly string[], trust: TrustView): number =>
  Math.min(freshUntil(trust, homes), expires_ms, policyEnds(turn.condition));
