import type { Question } from "./question.ts";
import { createSender, unreadable, type Answer, type Options, type Properties } from "./send.ts";

export { createEnforcer } from "./permits.ts";
export type { EnforcerOptions, Held, HoldEvent, Outcome, Permit, Verified } from "./permits.ts";
export type { Action, Entity, Question } from "./question.ts";
export type { Answer, Obligation, Options } from "./send.ts";

/**
 * `interlock/client`: asks a region and fails closed. What is not a clear allow is `{ decision: false }` with a
 * `reason`; nothing throws. A network error or a 503 is retried under one idempotency key, so that a retry finds the
 * decision that was made instead of making a second one.
 *
 * @example
 * const ask = createClient({ url: "http://127.0.0.1:8787", credential });
 * const subject = { type: "agent", id: "a-1" };
 * const { decision } = await ask({ subject, action: { name: "pay" }, resource: { type: "invoice", id: "7" } });
 */
export { createApprovals } from "./approvals.ts";
export { createRuns } from "./runs.ts";

export function createClient(options: Options) {
  const send = createSender(options);
  return async (question: Question): Promise<Answer> => {
    let body: string;
    try {
      const own = question.context?.["interlock"] as Properties | undefined;
      const interlock = { idempotency_key: crypto.randomUUID(), ...own };
      body = JSON.stringify({ ...question, context: { ...question.context, interlock } });
    } catch {
      return unreadable().answer;
    }
    return (await send("/access/v1/evaluation", body)).answer;
  };
}
