import type { JsonValue } from "../base/json.ts";
import { approvalContext } from "./approval-context.ts";
import { shownObligation } from "../policy/obligations.ts";
import { explainedReason, type ExplainedCheck } from "../replay/explain/explanation.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { DecideAnswer, ItemAnswer } from "../objects/decide.ts";

/** A decision as AuthZEN shows it. `context` holds only what is deterministic, and what was asked for inline. */
export type DecisionBody = { readonly decision: boolean; readonly context?: Readonly<Record<string, unknown>> };

/** No shard decided it: its code is all that is known. */
export const deny = (reason: ReasonCode, explain = false): DecisionBody => ({
  decision: false,
  context: { reason, ...(explain ? { failed: [explainedReason({ reason })], determining: [] } : {}) },
});

/** AuthZEN 1.0: an item that cannot form a request is a deny of this exact shape. */
export const itemError = (message: string): DecisionBody => ({
  decision: false,
  context: { error: { status: 400, message } },
});

/**
 * The answer as it may leave now: the Worker may have waited for another shard, and an allow whose time ran out in
 * between is withheld. The receipt speaks for what was recorded, and this is another answer. A dry run allows nothing.
 */
export function release(answer: DecideAnswer, now_ms: number, dry_run: boolean): DecideAnswer {
  const late = (item: ItemAnswer): boolean => item.decision && item.valid_until_ms <= now_ms;
  if (dry_run || !answer.items.some(late)) return answer;
  return { ...answer, receipt: null, items: answer.items.map((item) => (late(item) ? WITHHELD : item)) };
}

const WITHHELD: ItemAnswer = {
  decision: false,
  reason: "withheld",
  policy_reason: null,
  obligations: [],
  valid_until_ms: 0,
};

/**
 * `id` names this item's record, where there is one and evidence was asked for. `dry_run`: nobody may take the item for
 * an allow.
 */
export type Shown = {
  readonly explain: boolean;
  readonly dry_run: boolean;
  readonly id: string | null;
  /** Identifier of the PDP, which has the endpoint for requests. */
  readonly pdp: string;
};

/** Of a single evaluation: a deny always says why. */
export function singleBody(item: ItemAnswer, shown: Shown): DecisionBody {
  const more = contextOf(item, shown);
  if (!item.decision) return { decision: false, context: { reason: item.reason ?? "internal", ...more } };
  return more === null ? ALLOW : { decision: true, context: more };
}

/**
 * Of one item of a batch: a plain policy deny stands alone. Public suites compare the whole array of evaluations, and
 * a policy deny without a reason of its own has nothing to add.
 */
export function itemBody(item: ItemAnswer, shown: Shown): DecisionBody {
  if (item.decision) return singleBody(item, shown);
  const plain = item.reason === "policy_denied" && item.policy_reason === null && contextOf(item, shown) === null;
  return plain ? DENY : singleBody(item, shown);
}

const ALLOW: DecisionBody = { decision: true };
const DENY: DecisionBody = { decision: false };

function contextOf(item: ItemAnswer, { explain, dry_run, id, pdp }: Shown): Record<string, unknown> | null {
  let context: Record<string, unknown> | null = null;
  if (dry_run) (context ??= {})["dry_run"] = true;
  if (!item.decision && item.policy_reason !== null) (context ??= {})["policy_reason"] = item.policy_reason;
  if (item.obligations.length > 0) (context ??= {})["obligations"] = item.obligations.map(shownObligation);
  const approval = approvalContext(item, pdp);
  if (approval !== null) context = { ...context, ...approval };
  if (explain) {
    context ??= {};
    const { failed, determining, errors = [], unmatched, not_evaluated } = item.explained ?? {};
    context["failed"] = failed ?? failedOf(item);
    context["determining"] = determining ?? item.determining ?? [];
    if (errors.length > 0) context["errors"] = errors;
    if (unmatched !== undefined && unmatched.length > 0) context["unmatched"] = unmatched;
    if (not_evaluated !== undefined && not_evaluated.length > 0) context["not_evaluated"] = not_evaluated;
    if (item.counterfactual !== undefined) context["counterfactual"] = item.counterfactual;
  }
  if (item.evidence !== undefined && id !== null) {
    (context ??= {})["evidence"] = {
      decision_id: id,
      leaf: item.evidence.leaf,
      path: item.evidence.path,
      ...(item.step_receipt === undefined ? {} : { step_receipt: item.step_receipt }),
    };
  }
  return context;
}

/** Of an answer that was not decided, or is not any more (withheld, turned away): by its code. */
const failedOf = ({ decision, reason, failed }: ItemAnswer): readonly ExplainedCheck[] =>
  (failed ?? (decision ? [] : [{ reason: reason ?? "internal" }])).map(explainedReason);

/** A receipt (JWS as JSON text) as the JSON it is. */
export function receiptJson(receipt: string): JsonValue {
  return JSON.parse(receipt) as JsonValue;
}
