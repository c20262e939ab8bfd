import { z } from "zod";
import type { Budget } from "../vocabulary/run.ts";
import type { ApprovalRule, AttestationRule, HistoryRule, StepRules } from "../vocabulary/rules.ts";

/**
 * The parts of `pack.json` that say what a step has to bring along, where its data may go and what it may add up to
 * (docs/pack.md). Durations are in milliseconds unless the name says otherwise.
 */

export const attributeName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, "an attribute name");
export const authzenName = z.string().min(1).max(256);
const word = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, "lower-case letters, digits and hyphens");
const regionName = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, "a region name");
const DAY_MS = 86_400_000;
const window = z.int().min(1_000).max(DAY_MS);
const decimal = z.string().regex(/^(0|[1-9][0-9]{0,13})(\.[0-9]{1,4})?$/, 'decimal text, e.g. "20000" or "0.25"');

/** `payment.execute`, `payment.*` or `*`. */
const scope = z.string().regex(/^(\*|[^*\s]{1,200}|[^*\s]{1,200}\.\*)$/, "an action, `prefix.*` or `*`");

const kinds = z.enum(["wit", "jwt-svid", "service-account", "access-token"]);
const several = <T extends z.ZodType>(one: T) => z.array(one).min(1);

/** How `subject.id` is established. `pep-asserted`: the authenticated PEP's word is enough. */
export const IdentityEntry = z.union([
  z.literal("pep-asserted"),
  z.strictObject({ accept: several(kinds), allow_bearer: z.boolean().optional() }),
]);

export const AttestationEntry = z.strictObject({
  max_age_ms: z.int().min(1_000).max(DAY_MS),
  tiers: several(z.enum(["affirming", "warning", "none"])),
  /** The result has to be bound to the key that the workload proved. Default `true`. */
  bound: z.boolean().optional(),
});

/** What an action asks of one subject type instead of what the type says by itself; `null`: no attestation. */
export const SubjectOverride = z.strictObject({
  identity: IdentityEntry.optional(),
  attestation: AttestationEntry.nullable().optional(),
});

export const DelegationEntry = z.strictObject({ required: z.boolean(), max_depth: z.int().min(0).max(8) });

export const ApprovalEntry = z.strictObject({
  action: authzenName,
  ttl_s: z
    .int()
    .min(1)
    .max(7 * 86_400),
});

/** An attribute of the resource, or for an action the digest itself, against a text in the request's `context`. */
export const PinnedResource = z.strictObject({ attribute: attributeName, context: attributeName });
export const PinnedAction = z.strictObject({ digest: z.string().min(1).max(256), context: attributeName });

/** Attribute that holds the labels, or the labels of every entity of the type. */
export const LabelsEntry = z.union([attributeName, z.array(z.string().min(1).max(128)).min(1)]);

/** `consent:<type>/<id>#<for>`: what is decided about such a resource rests on it. */
export const DependsEntry = z.strictObject({
  kind: z.literal("consent"),
  /** AuthZEN type of who consents. */
  type: authzenName,
  /** Whose consent: the resource's id, or an attribute of it. */
  of: z.union([z.literal("id"), z.strictObject({ attribute: attributeName })]),
  /** To what: a fixed word, or a member of the request's `context`. */
  for: z.union([z.string().regex(/^[a-z][a-z0-9._-]{0,62}$/), z.strictObject({ context: attributeName })]),
});
export type DependsEntry = z.infer<typeof DependsEntry>;

export const ZoneEntry = z.strictObject({ region: regionName });
export const ZoneEdge = z.strictObject({ from: word, to: word });
export const zoneName = word;

export const LabelRule = z.strictObject({
  /** `own`: the region that the label names (`pii:eu`), and none where it names none. */
  may_flow_to: z.union([z.enum(["own", "any"]), z.array(regionName)]),
});
export type Flow = z.infer<typeof LabelRule>["may_flow_to"];
export const labelClass = z.string().regex(/^[^:\s]{1,64}$/, "a label's class, without its region");

export const BudgetEntry = z.strictObject({
  id: word,
  actions: several(scope),
  sum: attributeName.optional(),
  unit: z.strictObject({ property: attributeName, value: z.string().min(1).max(64) }).optional(),
  per: z.enum(["step", "run", "subject"]),
  window_ms: window.optional(),
  max: decimal,
});
export type BudgetEntry = z.infer<typeof BudgetEntry>;

export const HistoryEntry = z.strictObject({
  action: authzenName,
  sum: attributeName.optional(),
  within_ms: window.optional(),
  /** Default `run`. */
  among: z.enum(["run", "ancestors"]).optional(),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

/** Which way data move in a step: `in` from the run to the resource, `out` from the resource to the run. */
export const DataEntry = z.enum(["none", "in", "out", "both"]);

export const budgetOf = ({ id, actions, sum, unit, per, window_ms, max }: BudgetEntry): Budget => ({
  id,
  actions,
  sum: sum ?? null,
  unit: unit ?? null,
  per,
  window_ms: window_ms ?? null,
  max,
});

export const historyRuleOf = (name: string, { action, sum, within_ms, among }: HistoryEntry): HistoryRule => ({
  name,
  action,
  sum: sum ?? null,
  within_ms: within_ms ?? null,
  among: among ?? "run",
});

export const identityRuleOf = (entry: z.infer<typeof IdentityEntry>): StepRules["identity"] =>
  entry === "pep-asserted" ? null : { accept: entry.accept, allow_bearer: entry.allow_bearer ?? false };

export const attestationRuleOf = (entry: z.infer<typeof AttestationEntry>): AttestationRule => ({
  max_age_ms: entry.max_age_ms,
  tiers: entry.tiers,
  bound: entry.bound ?? true,
});

export const approvalRuleOf = ({ action, ttl_s }: z.infer<typeof ApprovalEntry>): ApprovalRule => ({
  action,
  ttl_ms: ttl_s * 1_000,
});
