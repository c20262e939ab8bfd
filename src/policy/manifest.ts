import { z } from "zod";
import {
  ApprovalEntry,
  attributeName,
  AttestationEntry,
  authzenName,
  BudgetEntry,
  DataEntry,
  DelegationEntry,
  DependsEntry,
  HistoryEntry,
  IdentityEntry,
  labelClass,
  LabelRule,
  LabelsEntry,
  PinnedAction,
  PinnedResource,
  SubjectOverride,
  ZoneEdge,
  ZoneEntry,
  zoneName,
} from "./manifest-rules.ts";

/** `pack.json`. Unknown members are refused: a rule that is not read is a rule that is not kept. */

const name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, "lower-case letters, digits and hyphens");
const cedarType = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$/, "a Cedar entity type, e.g. Treasury::Agent");

/**
 * Where an entity's attributes come from: exactly the request's `properties`, or exactly the pack's `entities.json`.
 * Never both, so that no request can override what the directory says (DESIGN section 7).
 */
const attributes = z.enum(["request", "pack"]);

const SubjectType = z.strictObject({
  type: cedarType,
  attributes,
  identity: IdentityEntry,
  /** Absent: no attestation result is asked for. */
  attestation: AttestationEntry.optional(),
  /** Attribute that names the subject's zone. */
  zone: attributeName.optional(),
});
const ResourceType = z.strictObject({
  type: cedarType,
  attributes,
  /** Attribute that names the resource's zone. */
  zone: attributeName.optional(),
  labels: LabelsEntry.optional(),
  pinned: PinnedResource.optional(),
  depends: z.array(DependsEntry).max(4).optional(),
});
const ActionEntry = z.strictObject({
  /** `required`: only as a step of an opened run. Default `optional`. */
  run: z.enum(["optional", "required"]).optional(),
  /** Cedar action id; default: the AuthZEN name. */
  cedar: z.string().min(1).max(256).optional(),
  /** Which way data move. Default `both`. */
  data: DataEntry.optional(),
  /** Where the request has no other properties than these, whatever entity they are on, it carries no data of the run. */
  unlabelled: z.array(z.string().min(1)).optional(),
  /** By subject type, instead of what `subjects` says. */
  subjects: z.record(authzenName, SubjectOverride).optional(),
  delegation: DelegationEntry.optional(),
  /** Who can lift the `@step_up` forbids of this action. Without it nobody can. */
  approval: ApprovalEntry.optional(),
  pinned: PinnedAction.optional(),
  /** What is done cannot be undone: a bundle that newly allows it needs two signatures (`policy/gate`). Default `false`. */
  irreversible: z.boolean().optional(),
});

const head = {
  v: z.literal(1),
  name,
  version: z.string().min(1).max(64),
  description: z.string().min(1).max(1_000),
  /**
   * Deny (`lineage_unavailable`) while a record of the shard has waited longer than this for a quorum of witnesses, in
   * milliseconds; also where no witness is configured. Not below the 5 s that two checkpoints may take. Default: never.
   */
  max_unanchored_ms: z.int().min(5_000).max(86_400_000).optional(),
};

const ApplicationManifest = z.strictObject({
  ...head,
  layer: z.literal("application"),
  subjects: z.record(authzenName, SubjectType),
  resources: z.record(authzenName, ResourceType),
  actions: z.record(authzenName, ActionEntry),
  /**
   * Actions that may also rest on a key whose trust level is `degraded`; every other one is then denied
   * (`trust_degraded`). The policies see the level as `context.interlock.trust`. Default: none.
   */
  degraded: z.array(authzenName).optional(),
  /** `false`: the pack's directory is not enumerated by searches. Default `true`. */
  searchable: z.boolean().optional(),
  zones: z.record(zoneName, ZoneEntry).optional(),
  /** Who may act from one zone in another. There are no others, and none back. */
  edges: z.array(ZoneEdge).optional(),
  /** Where data of a label's class may go. */
  labels: z.record(labelClass, LabelRule).optional(),
  /** The class that a label of an unknown class counts as. Default: it stays in the region that it names. */
  unknown_label: labelClass.optional(),
  budgets: z.array(BudgetEntry).max(16).optional(),
  /** What policies may ask about the run so far, as `context.interlock.history.<name>`. */
  history: z.record(attributeName, HistoryEntry).optional(),
  delegation: DelegationEntry.optional(),
});

/** A sovereign pack sees every request in one uniform form, so it lists no types. */
const SovereignManifest = z.strictObject({ ...head, layer: z.literal("sovereign") });

export const Manifest = z.discriminatedUnion("layer", [ApplicationManifest, SovereignManifest]);
export type Manifest = z.infer<typeof Manifest>;
export type ApplicationManifest = z.infer<typeof ApplicationManifest>;
