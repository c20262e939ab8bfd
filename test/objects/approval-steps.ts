import { jcs } from "../../src/base/jcs.ts";
import { entityForm } from "../../src/trust/keys.ts";
import type { AnswerRequestMessage, SubmitRequestMessage, TaskAnswer, TaskView } from "../../src/objects/approvals.ts";
import type { ItemAnswer } from "../../src/objects/decide.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { ask, factsOf, shard } from "./region.ts";
import { delegationTo, newId, open, step } from "./run-steps.ts";

/** A payout of the treasury pack as far as it needs an approval: alice's run, in which the payer is her delegate. */

const agent = (id: string) => ({ type: "agent", id });
export const ALICE = { type: "user", id: "alice@bank.example" };
export const BOB = { type: "user", id: "bob@bank.example" };
export const MALLORY = { type: "user", id: "mallory@bank.example" };
const FAR_MS = 4_102_444_800_000;

export const pay = (amount: number, context?: CanonicalRequest["context"]): CanonicalRequest => ({
  v: 1,
  subject: agent("payer"),
  action: { name: "payment.execute", properties: { amount, currency: "EUR" } },
  resource: { type: "account", id: "ACC-EU-1" },
  ...(context === undefined ? {} : { context }),
});

/** A run in which only an approval is missing for a payment above 10,000. */
export async function openPayout(more: Parameters<typeof open>[0] = {}, by: string = "user/alice@bank.example") {
  const to = (id: string, scopes: string[]) =>
    delegationTo(id, { delegator: by, delegate: `agent/${id}`, scopes, expires_ms: FAR_MS });
  const run = await open({
    principal: ALICE,
    delegations: [to("payer", ["payment.*"]), to("fx-quoter-eu", ["fx.quote"])],
    ...more,
  });
  await quote(run);
  return run;
}

const quote = (run: string) =>
  step(run, {
    subject: agent("fx-quoter-eu"),
    action: { name: "fx.quote", properties: { amount: 6000 } },
    resource: { type: "currency-pair", id: "EUR/USD" },
  });

export type Taken = ItemAnswer & { readonly id: string };

/** Steps of one call. */
export async function takeAll(
  run: string,
  requests: readonly CanonicalRequest[],
  changes: Parameters<typeof ask>[1] = {},
): Promise<Taken[]> {
  const message = await ask(
    requests.map((request) => ({ ...request, run })),
    changes,
  );
  const answer = await shard().decide({
    ...message,
    items: message.items.map(({ request }) => ({ request: jcs(JSON.parse(request)), run })),
  });
  if (!answer.ok) throw new Error(answer.code);
  return answer.items.map((item, at) => ({
    ...item,
    id: answer.items.length === 1 ? answer.decision_id! : `${answer.decision_id}/${at}`,
  }));
}

export const take = async (run: string, request: CanonicalRequest, changes: Parameters<typeof ask>[1] = {}) =>
  (await takeAll(run, [request], changes))[0]!;

/** Asks for the approval of what was denied. */
export async function submit(
  denied: ItemAnswer,
  request: CanonicalRequest,
  changes: Partial<SubmitRequestMessage> = {},
): Promise<TaskAnswer> {
  const { v: _, ...asked } = request;
  return shard().submitRequest({
    v: 1,
    task: newId(),
    binding_token: denied.access_request!.binding_token,
    denial_expires_ms: denied.access_request!.expires_ms,
    asked: jcs(asked),
    requester: null,
    justification: "an invoice is due",
    until_ms: null,
    idempotency_key: null,
    body: "b",
    facts: await factsOf(),
    traceparent: null,
    ...changes,
  });
}

export async function answer(
  task: string,
  approver: { readonly type: string; readonly id: string },
  changes: Partial<AnswerRequestMessage> = {},
): Promise<TaskAnswer> {
  return shard().answerRequest({
    v: 1,
    task,
    answer: "grant",
    approval: newId(),
    approver,
    justification: null,
    facts: await factsOf("desk"),
    traceparent: null,
    ...changes,
  });
}

export function taskOf(told: TaskAnswer): TaskView {
  if (!told.ok) throw new Error(JSON.stringify(told));
  return told.task;
}

/** Denied, asked for, granted: the approval's id. */
export async function approved(
  run: string,
  request: CanonicalRequest,
  approver = BOB,
  changes: Partial<SubmitRequestMessage> = {},
): Promise<string> {
  const task = taskOf(await submit(await take(run, request), request, changes));
  return taskOf(await answer(task.id, approver)).approval!.id;
}

export const form = ({ type, id }: { readonly type: string; readonly id: string }): string => entityForm(type, id);
