import type { Budget, Delegation, Plan, PlanNode } from "../../../src/vocabulary/run.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";

/**
 * What a run is, said once more and as simply as possible: lists that are looked through from the start, numbers
 * instead of exact decimals, no index, no storage. Written from docs/runs.md and shares no code with `src/runs`; the
 * fuzz test holds the two against each other.
 */
export type ModelStep = {
  id: string;
  no: number;
  run: string;
  node: string | null;
  action: string;
  subject: string;
  t: number;
  allowed: boolean;
  withheld: boolean;
  outcome: "completed" | "failed" | null;
  parents: ModelStep[];
  keys: string[];
  chain: string[];
  amounts: Record<string, number>;
};

export type ModelRun = {
  id: string;
  principal: string;
  members: string[];
  plan: Plan | null;
  budgets: Budget[];
  delegations: Delegation[];
  steps: ModelStep[];
  open: boolean;
};

export type ModelAsk = {
  subject: string;
  action: string;
  resource: string;
  properties: Record<string, unknown>;
  node: string | undefined;
  parents: string[];
  version: number | undefined;
  t: number;
  purpose: "step" | "redeem";
};

export type PackRules = {
  required: (action: string) => boolean;
  max_depth: (action: string) => number;
  budgets: { owner: string; budget: Budget }[];
};

export type Expected = {
  reasons: Set<ReasonCode>;
  parents: ModelStep[];
  chain: Delegation[];
  keys: string[];
  /** `owner/budget` of every sum that an allowed step is added to. */
  charged: Set<string>;
};

/** Every key that was revoked, and from when on. */
export type Revoked = Map<string, "issue" | "beginning">;

const covers = (scope: string, action: string): boolean => {
  if (scope === "*") return true;
  const parts = scope.split(".");
  const words = action.split(".");
  if (parts.at(-1) !== "*") return scope === action;
  return words.length >= parts.length && parts.slice(0, -1).every((part, i) => words[i] === part);
};

const stands = (step: ModelStep): boolean => step.allowed && !step.withheld;

export function expected(run: ModelRun, ask: ModelAsk, rules: PackRules, revoked: Revoked): Expected {
  const reasons = new Set<ReasonCode>();
  const counts = ask.purpose === "step";
  const node = run.plan?.nodes.find(({ id }) => id === ask.node) ?? null;

  // What it uses.
  const parents: ModelStep[] = [];
  for (const name of node?.after ?? []) {
    const good = run.steps.filter((step) => step.node === name && stands(step) && step.outcome !== "failed");
    if (good.length > 0) parents.push(good.at(-1)!);
  }
  for (const id of ask.parents) {
    const found = run.steps.find((step) => step.id === id);
    if (found === undefined) reasons.add("parent_denied");
    else if (!parents.includes(found)) parents.push(found);
  }
  for (const parent of parents) {
    if (!stands(parent) || parent.outcome === "failed") reasons.add("parent_denied");
    if (above(parent).some(({ keys }) => keys.some((key) => revoked.get(key) === "beginning")))
      reasons.add("ancestor_revoked");
  }

  // In whose name.
  const { chain, problems, member } = authority(run, ask, rules, revoked);
  for (const problem of problems) reasons.add(problem);
  const keys = [
    `subject:${ask.subject}`,
    `resource:${ask.resource}`,
    `run:${run.id}`,
    `subject:${run.principal}`,
    ...chain.flatMap(({ id, delegator, delegate }) => [
      `delegation:${id}`,
      `subject:${delegator}`,
      `subject:${delegate}`,
    ]),
  ];
  if (keys.some((key) => revoked.has(key))) reasons.add("revoked");

  // Its run.
  if (!run.open) reasons.add("run_closed");
  if (!member) reasons.add("run_not_member");
  if (counts && ask.version !== undefined && ask.version !== run.steps.length) reasons.add("state_conflict");
  if (counts) for (const reason of placing(run, node, ask)) reasons.add(reason);

  // What it adds up to.
  const charged = new Set<string>();
  const owned = (owner: string, budgets: readonly Budget[]): PackRules["budgets"] =>
    budgets.map((budget) => ({ owner, budget }));
  for (const { owner, budget } of [
    ...owned("run", run.budgets),
    ...rules.budgets,
    ...chain.flatMap(({ id, limits }) => owned(id, limits)),
  ]) {
    if (!budget.actions.some((scope) => covers(scope, ask.action))) continue;
    if (budget.per !== "step") charged.add(`${owner}/${budget.id}`);
    // A delegation's limits are part of the authority, above.
    if (!counts || owner.startsWith("eu.") || fits(budget, spentOn(run, owner, budget, ask), ask)) continue;
    reasons.add(budget.window_ms === null ? "budget_exceeded" : "rate_exceeded");
  }
  return { reasons, parents, chain, keys, charged };
}

/** A step and everything that it rests on. */
function above(step: ModelStep, found = new Set<ModelStep>()): ModelStep[] {
  if (!found.has(step)) {
    found.add(step);
    for (const parent of step.parents) above(parent, found);
  }
  return [...found];
}

function placing(run: ModelRun, node: PlanNode | null, ask: ModelAsk): ReasonCode[] {
  if (run.plan === null) return ask.node === undefined ? [] : ["plan_violation"];
  if (node === null) return ["plan_violation"];
  const reasons: ReasonCode[] = [];
  const [type, id] = ask.resource.split("/");
  const fits =
    node.action === ask.action &&
    (node.subject ?? ask.subject) === ask.subject &&
    (node.resource?.type ?? type) === type &&
    (node.resource?.id ?? id) === id &&
    (node.region ?? "eu") === "eu";
  const taken = run.steps.filter((step) => step.node === node.id && stands(step)).length;
  if (!fits || taken >= node.repeat) reasons.push("plan_violation");
  for (const name of node.after) {
    const tried = run.steps.filter((step) => step.node === name);
    if (tried.some((step) => stands(step) && step.outcome !== "failed")) continue;
    const onlyDenied = tried.length > 0 && !tried.some(stands);
    reasons.push(onlyDenied ? "parent_denied" : "sequence_violation");
  }
  return reasons;
}

/** A property as an amount; `null`: it is none. */
export function amountIn(name: string, properties: Record<string, unknown>): number | null {
  const value = properties[name];
  const amount = typeof value === "string" && /^(0|[1-9][0-9]*)(\.[0-9]+)?$/.test(value) ? Number(value) : value;
  if (typeof amount !== "number" || amount < 0) return null;
  return Math.abs(amount * 10_000 - Math.round(amount * 10_000)) < 1e-6 ? amount : null;
}

function addedTo({ sum, unit }: Budget, properties: Record<string, unknown>): number | null {
  if (sum === null) return 1;
  return unit !== null && properties[unit.property] !== unit.value ? null : amountIn(sum, properties);
}

export function spentOn(run: ModelRun, owner: string, budget: Budget, { subject, t }: ModelAsk): number {
  if (budget.per === "step") return 0;
  let units = 0;
  for (const step of run.steps) {
    if (!stands(step) || !budget.actions.some((scope) => covers(scope, step.action))) continue;
    if (owner.startsWith("eu.") && !step.chain.includes(owner)) continue;
    if (budget.per === "subject" && step.subject !== subject) continue;
    if (budget.window_ms !== null && t - step.t >= budget.window_ms) continue;
    units += Math.round((budget.sum === null ? 1 : step.amounts[budget.sum]!) * 10_000);
  }
  return units / 10_000;
}

function fits(budget: Budget, sofar: number, { properties }: ModelAsk): boolean {
  const amount = addedTo(budget, properties);
  return amount !== null && Math.round((sofar + amount) * 10_000) <= Math.round(Number(budget.max) * 10_000);
}

type Way = { chain: Delegation[]; problems: ReasonCode[] };

function authority(run: ModelRun, ask: ModelAsk, rules: PackRules, revoked: Revoked): Way & { member: boolean } {
  const required = rules.required(ask.action);
  if (ask.subject === run.principal) return { chain: [], problems: [], member: true };
  const listed = run.members.includes(ask.subject);
  const ways = run.delegations
    .filter(({ delegate }) => delegate === ask.subject)
    .map((last): Way => {
      const chain = [last];
      while (chain[0]!.parent !== null) chain.unshift(run.delegations.find(({ id }) => id === chain[0]!.parent)!);
      return { chain, problems: wayProblems(run, chain, ask, rules.max_depth(ask.action)) };
    });
  const member = listed || ways.length > 0;
  if (listed && !required) return { chain: [], problems: [], member };
  if (ways.length === 0) return { chain: [], problems: required ? ["delegation_missing"] : [], member };
  const now = ({ chain }: Way): number =>
    chain.every(
      (link) =>
        link.scopes.some((scope) => covers(scope, ask.action)) &&
        link.not_before_ms <= ask.t &&
        ask.t < link.expires_ms,
    )
      ? 0
      : 1;
  const begins = ({ chain }: Way): number => chain.at(-1)!.not_before_ms;
  const name = ({ chain }: Way): string => chain.at(-1)!.id;
  ways.sort((a, b) => now(a) - now(b) || begins(b) - begins(a) || (name(a) < name(b) ? -1 : 1));
  ways.splice(8);
  const good = ways.filter(({ problems }) => problems.length === 0);
  const alive = good.find(
    ({ chain }) =>
      !chain.some(
        ({ id, delegator, delegate }) =>
          revoked.has(`delegation:${id}`) || revoked.has(`subject:${delegator}`) || revoked.has(`subject:${delegate}`),
      ),
  );
  return { ...(alive ?? good[0] ?? ways[0]!), member };
}

function wayProblems(run: ModelRun, chain: Delegation[], ask: ModelAsk, max_depth: number): ReasonCode[] {
  const problems: ReasonCode[] = [];
  const inScope = chain.every(({ scopes }) => scopes.some((scope) => covers(scope, ask.action)));
  const inLimits =
    ask.purpose === "redeem" ||
    chain.every(({ id, limits }) =>
      limits.every(
        (limit) =>
          !limit.actions.some((scope) => covers(scope, ask.action)) || fits(limit, spentOn(run, id, limit, ask), ask),
      ),
    );
  if (!inScope || !inLimits) problems.push("delegation_exceeded");
  if (chain.some(({ not_before_ms, expires_ms }) => ask.t < not_before_ms || ask.t >= expires_ms))
    problems.push("delegation_expired");
  const deep = chain.some(({ depth }, at) => chain.length - at - 1 > depth);
  if (deep || chain.length > max_depth) problems.push("delegation_depth");
  return problems;
}

/** Allowed steps of an action, of the run or of what these steps rest on, not older than `within`. */
export function history(
  run: ModelRun,
  action: string,
  sum: string | null,
  within: number | null,
  among: ModelStep[] | null,
  t: number,
): { count: number; sum: number; last_ms: number | null } {
  const from = among === null ? run.steps : [...new Set(among.flatMap((step) => above(step)))];
  const found = from.filter(
    (step) => stands(step) && step.action === action && (within === null || t - step.t <= within),
  );
  const units = found.reduce(
    (all, { amounts }) => all + Math.round((sum === null ? 0 : (amounts[sum] ?? 0)) * 10_000),
    0,
  );
  return {
    count: found.length,
    sum: units / 10_000,
    last_ms: found.length === 0 ? null : Math.max(...found.map(({ t }) => t)),
  };
}

/** Whether a plan may take the place of another; `next` may be no plan at all. */
export function mayAmend(run: ModelRun, next: readonly PlanNode[]): boolean {
  const ids = next.map(({ id }) => id);
  if (new Set(ids).size !== ids.length) return false;
  const find = (id: string): PlanNode | undefined => next.find((node) => node.id === id);
  if (next.some(({ after }) => after.some((name) => find(name) === undefined) || new Set(after).size !== after.length))
    return false;
  const reaches = (from: string, to: string, seen: string[]): boolean =>
    !seen.includes(from) && find(from)!.after.some((name) => name === to || reaches(name, to, [...seen, from]));
  if (ids.some((id) => reaches(id, id, []))) return false;
  return (run.plan?.nodes ?? []).every((old) => {
    const now = find(old.id);
    if (now === undefined) return false;
    const { after: before, ...was } = old;
    const { after, ...is } = now;
    if (!sameMembers(was, is)) return false;
    if (!before.every((name) => after.includes(name))) return false;
    const taken = run.steps.some((step) => step.node === old.id && stands(step));
    return after.length === before.length || !taken;
  });
}

const sameMembers = (a: object, b: object): boolean =>
  Object.entries(a).every(([name, value]) => JSON.stringify(value) === JSON.stringify(b[name as keyof typeof b]));

/** Whether somebody may delegate this. */
export function mayDelegate(run: ModelRun, child: Delegation): boolean {
  if (child.parent === null) return child.delegator === run.principal;
  const parent = run.delegations.find(({ id }) => id === child.parent);
  if (parent === undefined || child.delegator !== parent.delegate) return false;
  const wider = (wide: string, scope: string): boolean =>
    wide === "*" || wide === scope || (wide.endsWith(".*") && scope.startsWith(wide.slice(0, -1)));
  const narrower = child.scopes.every((scope) => parent.scopes.some((wide) => wider(wide, scope)));
  const tighter = child.limits.every((limit) =>
    parent.limits
      .filter(({ id }) => id === limit.id)
      .every(
        (outer) =>
          Number(limit.max) <= Number(outer.max) &&
          outer.actions.every((scope) => limit.actions.some((wide) => wider(wide, scope))) &&
          JSON.stringify([limit.sum, limit.unit, limit.per, limit.window_ms]) ===
            JSON.stringify([outer.sum, outer.unit, outer.per, outer.window_ms]),
      ),
  );
  return (
    narrower &&
    tighter &&
    child.not_before_ms >= parent.not_before_ms &&
    child.expires_ms <= parent.expires_ms &&
    child.depth < parent.depth
  );
}
