import type { DecideInput } from "../../../src/decision/decide.ts";
import type { LoadedPolicy } from "../../../src/policy/load.ts";
import { costOf, counterfactual, type Counterfactual } from "../../../src/replay/explain/counterfactual.ts";
import { Effort } from "../../../src/replay/explain/effort.ts";
import { explanationOf, type Explained, type Explanation } from "../../../src/replay/explain/explanation.ts";
import { forCaller } from "../../../src/replay/explain/for-caller.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import type { Turn } from "../turn.ts";
import type { Decided } from "./decide-item.ts";

/** Shards of one isolate share its thread, and so what may be spent on searching. */
const EFFORT = new Effort();
/** What a whole decision costs, in answers of single conditions. */
const DECISION_UNITS = 4;
const BUSY: Counterfactual = { none: "busy", decisions: 0, probes: 0 };

/** What decided, in the words that the caller may know. */
export function explain(policy: LoadedPolicy, request: CanonicalRequest, decided: Explained): Explanation {
  const said = explanationOf(policy, request, decided);
  return { ...said, failed: said.failed.map((check) => ({ ...check, ...forCaller(request, check) })) };
}

export function explainDecided({
  outcome: { core, determining, policy_reason, errors },
  asked,
}: Pick<Decided, "outcome" | "asked">): Explanation {
  const { failed, reason } = core;
  const erred = errors.map(({ policy }) => policy);
  return explain(asked.policy, asked.request, { failed, reason, determining, policy_reason, errors: erred });
}

/** What would turn each denial, as long as this isolate has effort left for searching; `null` for an allow. */
export function searchCounterfactuals(turn: Turn, decided: readonly Decided[]): readonly (Counterfactual | null)[] {
  return decided.map(({ outcome, asked }) => (outcome.core.decision === "allow" ? null : search(turn, asked)));
}

function search(turn: Turn, asked: DecideInput): Counterfactual {
  if (!EFFORT.left(turn.now())) return BUSY;
  try {
    const found = counterfactual(asked);
    EFFORT.charge((found.probes + DECISION_UNITS * found.decisions) * costOf(asked));
    return found;
  } catch (cause) {
    turn.bug("counterfactual", cause);
    return BUSY;
  }
}
