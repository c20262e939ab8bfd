import { runAdmits } from "../../../src/decision/checks.ts";
import type { OpenPassMessage } from "../../../src/objects/runs.ts";
import { withinBudgets } from "../../../src/runs/budgets.ts";
import { authorityOf, chainKeys, isLimit } from "../../../src/runs/delegation.ts";
import { effectOf } from "../../../src/runs/effect.ts";
import { stepStateOf } from "../../../src/runs/rows.ts";
import { nothingAboveRevoked, parentsHold, position } from "../../../src/runs/sequence.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { entityForm, regionKey, runKey } from "../../../src/trust/keys.ts";
import type { ParentStep, PlanNode, StepEffect } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts } from "../../../src/vocabulary/types.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import { nodeSha256 } from "../../platform.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import { OpenedRun } from "./opened-run.ts";
import { statusOf, storedParents, type OpenedStep } from "./steps.ts";

/** What this region knows of a step that is to be taken in another one. */
export type PassVerdict = {
  readonly opened: OpenedRun;
  readonly failed: readonly FailedCheck[];
  /** `type/id`. */
  readonly subject: string;
  readonly node: PlanNode | null;
  readonly parents: OpenedStep["parents"];
  /** Canonical keys whose revocation ends the pass. */
  readonly keys: readonly string[];
  /** Other regions whose word it needs. */
  readonly homes: readonly string[];
  readonly effect: StepEffect;
  readonly expires_ms: number;
};

/**
 * The checks that need no resource: who acts under whose authority, the step's place in the plan, its parents, and
 * budgets that count steps. One that sums amounts denies: no amount crosses a border.
 */
export function passVerdict(
  turn: Turn,
  row: RunRow,
  { step, region, subject, action, parents: declared }: OpenPassMessage,
  facts: Facts,
): PassVerdict {
  const { t_ms, trust, policy } = turn;
  const opened = new OpenedRun(turn.writer.runs, row);
  const planned = opened.node(step);
  const request: CanonicalRequest = {
    v: 1,
    subject,
    action: { name: action },
    // The other region looks at it; where the plan names one, the pass does.
    resource: { type: planned?.resource?.type ?? "run", id: planned?.resource?.id ?? row.id },
    run: row.id,
    step,
    ...(declared.length === 0 ? {} : { parents: declared }),
  };
  const rules = rulesFor(policy, request);
  const state = stepStateOf(opened, { request, rules, delegations: facts.delegations ?? [], t_ms, hash: nodeSha256 });
  const above = opened.parent;
  const parents: readonly ParentStep[] = above === null ? state.parents : [...state.parents, above];
  const dead = (keys: readonly string[]): boolean =>
    trust.match(keys, t_ms).some((match) => match.state !== "degraded" && match.state !== "trusted");
  const form = entityForm(subject.type, subject.id);
  const authority = authorityOf(state, row.members, form, request.action, rules.delegation, t_ms, dead);
  const homes = [...new Set(parents.flatMap((parent) => parent.homes))].filter((home) => home !== turn.region);
  const admitted = { id: row.id, kind: row.kind, status: statusOf(turn, row, opened), members: row.members } as const;
  const failed: FailedCheck[] = [];
  const add = (check: FailedCheck | null): void => {
    if (check !== null) failed.push(check);
  };
  if (region === turn.region || !trust.origins.has(region))
    failed.push({ reason: "plan_violation", detail: `${region} is no other region that serves` });
  add(nothingAboveRevoked(parents));
  failed.push(...authority.failed, ...runAdmits({ ...admitted, version: row.seq, step: state }, subject, true));
  // A node without a region is taken at home.
  if (planned !== null && planned.region === null)
    failed.push({ reason: "plan_violation", detail: `node ${step} is taken in ${turn.region}` });
  failed.push(...position(state, request, region), ...parentsHold(parents));
  failed.push(
    ...withinBudgets(
      state.charged.filter((entry) => !isLimit(entry)),
      request.action,
    ),
  );
  if (!turn.vouchedFor || turn.toldNames(regionKey(turn.region)).length === 0)
    failed.push({ reason: "trust_lease_expired", detail: "this shard cannot speak for its region yet" });
  const keys = new Set([
    `subject:${form}`,
    `subject:${opened.principal}`,
    ...[row.id, ...opened.above].map(runKey),
    ...chainKeys(authority.chain),
    ...homes.map(regionKey),
    regionKey(region),
  ]);
  return {
    opened,
    failed,
    subject: form,
    node: planned,
    parents: storedParents(turn, parents),
    keys: [...keys],
    homes,
    effect: effectOf(request, state.charged, authority.chain, [], homes),
    expires_ms: Math.min(facts.pep.exp_ms, ...authority.chain.map(({ expires_ms }) => expires_ms)),
  };
}
