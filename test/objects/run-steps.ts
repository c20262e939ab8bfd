import { mintRunId } from "../../src/base/ids.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { ChangeRunMessage, OpenRunMessage, RunAnswer, RunChange, RunView } from "../../src/objects/runs.ts";
import type { DecideAnswer } from "../../src/objects/decide.ts";
import { readPlan } from "../../src/runs/plan.ts";
import { entityForm } from "../../src/trust/keys.ts";
import type { Budget, Delegation, Plan } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { ask, factsOf, read1, shard, trust, undeclared } from "./region.ts";

/** Opened runs as the tests of the shard use them. Alice may read whatever she asks for. */

export const newId = (): string => mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
const alice = { type: "user", id: "alice" };

export async function tryOpen(changes: Partial<OpenRunMessage> = {}): Promise<RunAnswer> {
  const base = { v: 1, run: newId(), principal: alice, members: [], ...undeclared, facts: await factsOf() } as const;
  return shard().openRun({ ...base, traceparent: null, ...changes });
}

export async function open(changes: Partial<OpenRunMessage> = {}): Promise<string> {
  const opened = await tryOpen(changes);
  if (!opened.ok) throw new Error(`${opened.code} ${opened.reason}`);
  return opened.run.run;
}

export async function change(run: string, asked: RunChange, more: Partial<ChangeRunMessage> = {}): Promise<RunAnswer> {
  const facts = await factsOf();
  return shard().changeRun({ v: 1, run, change: asked, state_version: null, facts, traceparent: null, ...more });
}

export async function viewOf(run: string): Promise<RunView> {
  const read = await shard().describeRun(run);
  if (!read.ok) throw new Error(read.code);
  return read.value;
}

export function planOf(nodes: Readonly<Record<string, readonly string[]>>, more: object = {}): Plan {
  const plan = readPlan({
    nodes: Object.entries(nodes).map(([id, after]) => ({ id, action: "read", after, ...more })),
  });
  if (!plan.ok) throw new Error(plan.error);
  return plan.value;
}

export const budget = (max: string, more: Partial<Budget> = {}): Budget => ({
  id: "steps",
  actions: ["*"],
  sum: null,
  unit: null,
  per: "run",
  window_ms: null,
  max,
  ...more,
});

export const delegationTo = (id: string, more: Partial<Delegation> = {}): Delegation => ({
  id: newId(),
  delegator: "user/alice",
  delegate: entityForm("user", id),
  scopes: ["*"],
  limits: [],
  not_before_ms: 0,
  expires_ms: 4_102_444_800_000,
  depth: 0,
  parent: null,
  source: "run",
  ...more,
});

export type Told = { readonly id: string; readonly decision: boolean; readonly reason: string | null };

/** Steps of one call; the id of each. */
export async function steps(
  run: string,
  requests: readonly Partial<CanonicalRequest>[],
  key?: string,
): Promise<Told[]> {
  const message = await ask(
    requests.map((request) => ({ ...read1, run, ...request })),
    { idempotency_key: key ?? null },
  );
  const answer: DecideAnswer = await shard()
    .decide({ ...message, items: message.items.map(({ request }) => ({ request: jcs(JSON.parse(request)), run })) })
    .then((given) => {
      if (!given.ok) throw new Error(given.code);
      return given;
    });
  return answer.items.map(({ decision, reason }, at) => ({
    id: answer.items.length === 1 ? answer.decision_id! : `${answer.decision_id}/${at}`,
    decision,
    reason,
  }));
}

export const step = async (run: string, request: Partial<CanonicalRequest> = {}, key?: string): Promise<Told> =>
  (await steps(run, [request], key))[0]!;

export async function revoke(key: string, from: "issue" | "beginning" = "beginning"): Promise<string> {
  const revoked = await trust().revoke({ key, from, reason: "test", wait: "local", actor: "test" });
  if (!revoked.ok) throw new Error(revoked.message);
  return revoked.value.id;
}
