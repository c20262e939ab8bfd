import { z } from "zod";
import { isRegionName, parseDecisionId, parseRunId } from "../../base/ids.ts";
import { MAX_PASS_MS } from "../../credentials/between/pass.ts";
import { MAX_STATEMENT_CHARS } from "../../credentials/between/statement.ts";
import { BudgetsInput } from "../../runs/budgets.ts";
import { PlanInput } from "../../runs/plan.ts";
import { MAX_STEP_RECEIPTS } from "../between-option.ts";
import { MAX_PARENTS, STEP_ID } from "../step-options.ts";
import { IRREVOCABLE, irrevocable } from "../../trust/keys.ts";

const entity = z
  .strictObject({ type: z.string().min(1).max(1_024), id: z.string().min(1).max(1_024) })
  .superRefine(({ type, id }, context) => {
    const member = irrevocable(type, id);
    if (member !== null) context.addIssue({ code: "custom", path: [member], message: IRREVOCABLE });
  });

/** Data labels: what a run's data may touch, by the packs' rules. */
const label = z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/, "1 to 64 of A-Z a-z 0-9 . _ : -");

/** A delegation as a caller enters it: from whom to whom, for what, until when. */
const delegation = z.strictObject({
  delegator: entity.optional().describe("Default: the run's principal"),
  delegate: entity,
  scopes: z.array(z.string()).min(1).max(64).describe("Actions, prefixes followed by .*, or *"),
  limits: z.array(z.looseObject({})).max(32).optional().describe("Budgets that everything done under it is charged to"),
  not_before_ms: z.int().min(0).optional().describe("Default: now"),
  expires_ms: z.int().min(0),
  depth: z.int().min(0).optional().describe("How many delegations may follow below it; default 0"),
  parent: z.string().max(128).nullish().describe("The delegation that the delegator acts under"),
});

export type DelegationBody = z.output<typeof delegation>;

const stateVersion = z.int().min(1).nullish().describe("Denied with state_conflict where the run has another version");

export const openRunBody = z
  .strictObject({
    principal: entity.describe("Who the run is for"),
    members: z.array(entity).max(100).default([]).describe("Subjects that may step in it besides the principal"),
    plan: PlanInput.nullish().describe("The steps of the run and what each comes after; without one any step is taken"),
    budgets: BudgetsInput.default([]).describe("What its steps may add up to"),
    labels: z.array(label).max(64).default([]).describe("Labels of the data that it begins with"),
    delegations: z.array(delegation).max(64).default([]).describe("From the principal, in their own right"),
    parent_run: z.string().max(1_024).nullish().describe("The run that this one is part of; parent_step beside it"),
    parent_step: z.string().max(128).nullish().describe("Decision id of the step of it that this run rests on"),
  })
  .refine(
    ({ parent_run, parent_step }) => !parent_run === !parent_step,
    "parent_run and parent_step are sent together, or not at all",
  )
  .meta({ id: "OpenRun" });

export const amendRunBody = z
  .strictObject({ plan: PlanInput.describe("The whole plan as it is to be"), state_version: stateVersion })
  .meta({ id: "AmendRun" });

export const delegateBody = delegation.extend({ state_version: stateVersion }).meta({ id: "Delegate" });

export const outcomeBody = z.strictObject({ outcome: z.enum(["completed", "failed"]) }).meta({ id: "StepOutcome" });

export const openPassBody = z
  .strictObject({
    step: z.string().regex(STEP_ID).describe("Node of the run's plan, whose region is the one named here"),
    region: z.string().refine(isRegionName, "a region's name").describe("Where the step is to be taken"),
    subject: entity.describe("Who takes it"),
    action: z.string().min(1).max(256),
    parents: z
      .array(z.string().refine((id) => parseDecisionId(id) !== null || parseRunId(id) !== null, "an id of a step"))
      .max(MAX_PARENTS)
      .default([])
      .describe("Steps whose results it uses, beside those that the plan names: decision ids, or ids of passes"),
    ttl_ms: z.int().min(1_000).max(MAX_PASS_MS).default(60_000).describe("How long it may be used"),
  })
  .meta({ id: "OpenPass" });

export const stepReceiptsBody = z
  .strictObject({
    step_receipts: z
      .array(z.string().min(1).max(MAX_STATEMENT_CHARS))
      .min(1)
      .max(MAX_STEP_RECEIPTS)
      .describe("As the other regions gave them: header Interlock-Step-Receipt"),
  })
  .meta({ id: "StepReceipts" });

/** Closing takes no input; an empty object is as good as no body. */
export const closeRunBody = z.strictObject({}).meta({ id: "CloseRun" });

const counter = (name: string, min: number, max: number) =>
  z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, `${name} is a whole number`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `${name} is ${min} to ${max}`);

export const readRunQuery = z.strictObject({
  limit: counter("limit", 1, 500).optional(),
  before: counter("before", 1, Number.MAX_SAFE_INTEGER).optional(),
});
