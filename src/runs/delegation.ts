import { z } from "zod";
import { delegationKey, issuerKey, keyKey } from "../trust/keys.ts";
import type { Budget, Charged, Delegation, EntityForm, StepState } from "../vocabulary/run.ts";
import type { StepRules } from "../vocabulary/rules.ts";
import type { Action } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { unitsOf } from "./amount.ts";
import { BudgetsInput, overspent } from "./budgets.ts";
import { byText, entity, scopes, t_ms } from "./input.ts";
import { anyCovers, scopesWithin } from "./scope.ts";

/** The longest chain that is followed at all; a pack may ask for less. */
const MAX_CHAIN = 16;
export const MAX_CHAINS = 8;

/** A delegation as callers write it; its id and who vouches are not theirs to say. */
export const DelegationInput = z
  .strictObject({
    delegator: entity,
    delegate: entity,
    scopes,
    limits: BudgetsInput.default([]),
    not_before_ms: t_ms,
    expires_ms: t_ms,
    depth: z
      .int()
      .min(0)
      .max(MAX_CHAIN - 1),
    parent: z.string().min(1).max(128).nullable(),
  })
  .refine(({ delegator, delegate }) => delegator !== delegate, "nobody delegates to themselves")
  .refine(({ not_before_ms, expires_ms }) => not_before_ms < expires_ms, "it ends before it begins");

/** Why `child` is more than `parent` gives; `null`: it is within it. */
export function beyondParent(child: Delegation, parent: Delegation): string | null {
  if (child.parent !== parent.id) return `it does not name ${parent.id} as its parent`;
  if (child.delegator !== parent.delegate) return `its delegator is not the delegate of ${parent.id}`;
  if (!scopesWithin(child.scopes, parent.scopes)) return `its scopes are wider than those of ${parent.id}`;
  if (child.not_before_ms < parent.not_before_ms) return `it begins before ${parent.id}`;
  if (child.expires_ms > parent.expires_ms) return `it ends after ${parent.id}`;
  if (child.depth >= parent.depth) return `${parent.id} does not let it be passed on that far`;
  for (const limit of child.limits) {
    const outer = parent.limits.find(({ id }) => id === limit.id);
    if (outer !== undefined && looser(limit, outer)) return `its limit ${limit.id} is looser than that of ${parent.id}`;
  }
  return null;
}

/**
 * A child inherits every limit above it, since all are charged. It may repeat one by its id to make it tighter, and
 * may not make believe with the same name that it is wider.
 */
const looser = (inner: Budget, outer: Budget): boolean =>
  inner.sum !== outer.sum ||
  inner.unit?.property !== outer.unit?.property ||
  inner.unit?.value !== outer.unit?.value ||
  inner.per !== outer.per ||
  inner.window_ms !== outer.window_ms ||
  !scopesWithin(outer.actions, inner.actions) ||
  unitsOf(inner.max) > unitsOf(outer.max);

/** What a delegation may be, given the one that it names as its parent (`undefined`: there is no such one). */
export function delegationProblem(
  child: Delegation,
  parent: Delegation | undefined,
  principal: EntityForm,
): string | null {
  if (child.parent !== null)
    return parent === undefined ? `there is no delegation ${child.parent}` : beyondParent(child, parent);
  return child.delegator === principal ? null : "only the run's principal delegates in their own right";
}

/**
 * Every way from the principal to the subject, each from the root down, by the id of its last link. Each delegation
 * names the one it rests on, so there is one way for each delegation to the subject; one that reaches beyond its
 * parent is no way at all.
 */
export function chainsOf(
  delegations: ReadonlyMap<string, Delegation>,
  principal: EntityForm,
  subject: EntityForm,
): readonly (readonly Delegation[])[] {
  return [...delegations.values()]
    .filter(({ delegate }) => delegate === subject)
    .sort((a, b) => byText(a.id, b.id))
    .flatMap((last) => {
      const chain = chainTo(last, delegations, principal);
      return chain === null ? [] : [chain];
    });
}

function chainTo(
  last: Delegation,
  delegations: ReadonlyMap<string, Delegation>,
  principal: EntityForm,
): readonly Delegation[] | null {
  const chain = [last];
  for (let link = last; chain.length <= MAX_CHAIN;) {
    const parent = link.parent === null ? undefined : delegations.get(link.parent);
    if (delegationProblem(link, parent, principal) !== null) return null;
    if (parent === undefined) return chain;
    chain.unshift(parent);
    link = parent;
  }
  return null;
}

export const chainCovers = (chain: readonly Delegation[], action: string): boolean =>
  chain.every(({ scopes }) => anyCovers(scopes, action));

const runsAt = ({ not_before_ms, expires_ms }: Delegation, t_ms: number): boolean =>
  not_before_ms <= t_ms && t_ms < expires_ms;

/**
 * At most eight ways, the likeliest first: those that cover the step now, then the newest, then by id. A new grant so
 * takes the place of one that was revoked.
 */
export function likeliest(
  chains: readonly (readonly Delegation[])[],
  action: string,
  t_ms: number,
): readonly (readonly Delegation[])[] {
  if (chains.length < 2) return chains;
  const covers = (chain: readonly Delegation[]): number =>
    chainCovers(chain, action) && chain.every((link) => runsAt(link, t_ms)) ? 0 : 1;
  return [...chains]
    .sort(
      (a, b) =>
        covers(a) - covers(b) ||
        b.at(-1)!.not_before_ms - a.at(-1)!.not_before_ms ||
        byText(a.at(-1)!.id, b.at(-1)!.id),
    )
    .slice(0, MAX_CHAINS);
}

/** Canonical keys whose revocation ends what is done under a chain. */
export const chainKeys = (chain: readonly Delegation[]): readonly string[] =>
  chain.flatMap(({ id, delegator, delegate, source }) => [
    delegationKey(id),
    `subject:${delegator}`,
    `subject:${delegate}`,
    ...(source === "run" ? [] : [issuerKey(source.issuer), keyKey(source.key)]),
  ]);

export type Authority = {
  /** The chain that the step is taken under; empty: in the subject's own right, or under none. */
  readonly chain: readonly Delegation[];
  readonly failed: readonly FailedCheck[];
};

const OWN_RIGHT: Authority = { chain: [], failed: [] };
const MISSING: Authority = { chain: [], failed: [{ reason: "delegation_missing" }] };

/**
 * Under which delegation a subject acts. The principal, and members where the packs ask for no delegation, act in
 * their own right. Of the ways to a delegate the first that holds counts; if none does, the first one says why.
 * `dead` tells whether trust state takes one of the keys away; a chain that is dead counts only where there is no
 * other, and then the check of trust denies it.
 */
export function authorityOf(
  state: Pick<StepState, "principal" | "chains" | "charged">,
  members: readonly EntityForm[],
  subject: EntityForm,
  action: Action,
  rule: StepRules["delegation"],
  t_ms: number,
  dead: (keys: readonly string[]) => boolean,
): Authority {
  if (subject === state.principal || (!rule.required && members.includes(subject))) return OWN_RIGHT;
  const tried = state.chains.map((chain): Authority => ({
    chain,
    failed: chainProblems(chain, state.charged, action, rule.max_depth, t_ms),
  }));
  const first = tried[0];
  if (first === undefined) return rule.required ? MISSING : OWN_RIGHT;
  const holding = tried.filter(({ failed }) => failed.length === 0);
  if (holding.length < 2) return holding[0] ?? first;
  return holding.find(({ chain }) => !dead(chainKeys(chain))) ?? holding[0]!;
}

/** In registry order. */
function chainProblems(
  chain: readonly Delegation[],
  charged: readonly Charged[],
  action: Action,
  max_depth: number,
  t_ms: number,
): readonly FailedCheck[] {
  const failed: FailedCheck[] = [];
  const narrow = chain.find(({ scopes }) => !anyCovers(scopes, action.name));
  if (narrow !== undefined)
    failed.push({ reason: "delegation_exceeded", detail: `delegation ${narrow.id} does not cover ${action.name}` });
  for (const entry of charged) {
    if (!chain.some(({ id }) => id === entry.owner)) continue;
    const detail = overspent(entry, action);
    if (detail !== null) failed.push({ reason: "delegation_exceeded", detail });
  }
  const over = chain.find((link) => !runsAt(link, t_ms));
  if (over !== undefined) {
    const detail = t_ms < over.not_before_ms ? `delegation ${over.id} has not begun` : `delegation ${over.id}`;
    failed.push({ reason: "delegation_expired", detail });
  }
  const deep = chain.find(({ depth }, at) => chain.length - 1 - at > depth);
  if (deep !== undefined) failed.push({ reason: "delegation_depth", detail: `below delegation ${deep.id}` });
  else if (chain.length > max_depth)
    failed.push({ reason: "delegation_depth", detail: `${chain.length} links; ${max_depth} are allowed` });
  return failed;
}

/** What a step under this chain is charged to: run, packs and every link. */
export const chargedUnder = (charged: readonly Charged[], chain: readonly Delegation[]): readonly Charged[] =>
  charged.filter((entry) => !isLimit(entry) || chain.some(({ id }) => id === entry.owner));

/** Whether a delegation owns it: the others are `run` and `pack/<name>`, and neither is an id. */
export const isLimit = ({ owner }: Charged): boolean => owner !== "run" && !owner.startsWith("pack/");
