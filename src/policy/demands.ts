import type { ApprovalRule, AttestationRule, HistoryRule, StepRules } from "../vocabulary/rules.ts";
import type { Budget } from "../vocabulary/run.ts";
import type { ApplicationManifest } from "./manifest.ts";
import {
  approvalRuleOf,
  attestationRuleOf,
  budgetOf,
  historyRuleOf,
  identityRuleOf,
  type DependsEntry,
  type Flow,
} from "./manifest-rules.ts";
import { actionNamed, type SchemaShapes } from "./schema.ts";

/**
 * What one application pack demands of a step, read once from its manifest. Maps, so that a type named `__proto__` is a
 * type that no pack lists.
 */
export type Demands = {
  readonly subjects: ReadonlyMap<string, SubjectDemands>;
  readonly resources: ReadonlyMap<string, ResourceDemands>;
  readonly actions: ReadonlyMap<string, ActionDemands>;
  /** Region of each zone. */
  readonly zones: ReadonlyMap<string, string>;
  /** Zones in which subjects of a zone may act, besides their own. */
  readonly edges: ReadonlyMap<string, ReadonlySet<string>>;
  /** Class that labels of an unknown class count as; `null`: they stay in the region that they name. */
  readonly unknown_label: string | null;
  readonly budgets: readonly Budget[];
};

type Establishing = { readonly identity: StepRules["identity"]; readonly attestation: AttestationRule | null };

export type SubjectDemands = Establishing & { readonly zone: string | null };

export type ResourceDemands = {
  readonly zone: string | null;
  /** Name of the attribute that holds them, or the labels themselves. */
  readonly labels: string | readonly string[] | null;
  readonly pinned: { readonly attribute: string; readonly context: string } | null;
  readonly depends: readonly DependsEntry[];
};

export type ActionDemands = {
  readonly data: "none" | "in" | "out" | "both";
  /** Properties that may be there without carrying data of the run; `null`: whatever is sent may. */
  readonly unlabelled: ReadonlySet<string> | null;
  readonly subjects: ReadonlyMap<string, Partial<Establishing>>;
  readonly delegation: StepRules["delegation"];
  readonly approval: ApprovalRule | null;
  readonly pinned: { readonly digest: string; readonly context: string } | null;
  /** Only those that the action's schema declares: nothing else can look at them. Names without the pack's. */
  readonly history: readonly HistoryRule[];
};

export const NO_DELEGATION: StepRules["delegation"] = { required: false, max_depth: 8 };

export function demandsOf(manifest: ApplicationManifest, schema: SchemaShapes): Demands {
  const subjects = Object.entries(manifest.subjects).map(([type, entry]): [string, SubjectDemands] => [
    type,
    {
      identity: identityRuleOf(entry.identity),
      attestation: entry.attestation === undefined ? null : attestationRuleOf(entry.attestation),
      zone: entry.zone ?? null,
    },
  ]);
  const resources = Object.entries(manifest.resources).map(([type, entry]): [string, ResourceDemands] => [
    type,
    {
      zone: entry.zone ?? null,
      labels: entry.labels ?? null,
      pinned: entry.pinned ?? null,
      depends: entry.depends ?? [],
    },
  ]);
  const actions = Object.entries(manifest.actions).map(([name, entry]): [string, ActionDemands] => [
    name,
    {
      data: entry.data ?? "both",
      unlabelled: entry.unlabelled === undefined ? null : new Set(entry.unlabelled),
      subjects: new Map(Object.entries(entry.subjects ?? {}).map(([type, over]) => [type, overrideOf(over)])),
      delegation: entry.delegation ?? manifest.delegation ?? NO_DELEGATION,
      approval: entry.approval === undefined ? null : approvalRuleOf(entry.approval),
      pinned: entry.pinned ?? null,
      history: historyOf(manifest, schema, entry.cedar ?? name),
    },
  ]);
  const edges = new Map<string, Set<string>>();
  for (const { from, to } of manifest.edges ?? []) edges.set(from, (edges.get(from) ?? new Set<string>()).add(to));
  return {
    subjects: new Map(subjects),
    resources: new Map(resources),
    actions: new Map(actions),
    zones: new Map(Object.entries(manifest.zones ?? {}).map(([zone, { region }]) => [zone, region])),
    edges,
    unknown_label: manifest.unknown_label ?? null,
    budgets: (manifest.budgets ?? []).map(budgetOf),
  };
}

type Override = NonNullable<ApplicationManifest["actions"][string]["subjects"]>[string];

const overrideOf = ({ identity, attestation }: Override): Partial<Establishing> => ({
  ...(identity === undefined ? {} : { identity: identityRuleOf(identity) }),
  ...(attestation === undefined ? {} : { attestation: attestation === null ? null : attestationRuleOf(attestation) }),
});

function historyOf({ history = {} }: ApplicationManifest, schema: SchemaShapes, cedar: string): readonly HistoryRule[] {
  const interlock = actionNamed(schema, cedar)?.shape.context.attributes.get("interlock")?.shape;
  const declared = interlock?.kind === "record" ? interlock.attributes.get("history")?.shape : undefined;
  if (declared?.kind !== "record") return [];
  return Object.entries(history)
    .filter(([name]) => declared.attributes.has(name))
    .map(([name, entry]) => historyRuleOf(name, entry))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Where data may go, by class of label: what every application pack that knows the class says of it. */
export function flowsOf(manifests: readonly ApplicationManifest[]): ReadonlyMap<string, readonly Flow[]> {
  const flows = new Map<string, Flow[]>();
  for (const { labels = {} } of manifests) {
    for (const [name, { may_flow_to }] of Object.entries(labels)) {
      const known = flows.get(name);
      if (known === undefined) flows.set(name, [may_flow_to]);
      else known.push(may_flow_to);
    }
  }
  return flows;
}
