import { digestOf } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { buildEntityStore, compilePolicySet, type EntityStore, type Policy, type PolicySet } from "../cedar/index.ts";
import type { Determining, Obligation } from "../vocabulary/types.ts";
import { readAnnotations } from "./annotations.ts";
import { describeProblem, packDigest, type Bundle, type BundledPolicy, type ValidPack } from "./bundle.ts";
import { packTypes, type PackTypes } from "./cedar-request.ts";
import { demandsOf, flowsOf, type Demands } from "./demands.ts";
import type { Flow } from "./manifest-rules.ts";
import { readSchema, type SchemaShapes } from "./schema.ts";

/** What a determining policy contributes, made once. */
export type PolicyFacts = {
  readonly determining: Determining;
  readonly step_up: "approval" | null;
  readonly obligations: readonly Obligation[];
  readonly permit_ttl_ms: number | null;
  readonly valid_for_ms: number | null;
};

export type LoadedPack = {
  readonly name: string;
  readonly policies: PolicySet;
  /** By policy id. */
  readonly facts: ReadonlyMap<string, PolicyFacts>;
  /** As written, in the order of positions: what an explanation names. */
  readonly written: readonly BundledPolicy[];
  readonly directory: EntityStore;
  /** Without a quorum for longer, it allows nothing; `null`: it sets no limit. */
  readonly max_unanchored_ms: number | null;
};

export type ApplicationPack = LoadedPack & {
  readonly types: PackTypes;
  readonly demands: Demands;
  /** AuthZEN names of the actions that may rest on a degraded key. */
  readonly degraded: ReadonlySet<string>;
  /** The permits alone, for a pack with `@step_up`: whether one matches beside the forbid. */
  readonly permits: PolicySet | null;
  /** Ids of the directory by Cedar type, sorted; empty where the pack is not searchable. */
  readonly ids: ReadonlyMap<string, readonly string[]>;
  /** AuthZEN action names, sorted. */
  readonly action_names: readonly string[];
};

export type PackStatus = {
  readonly name: string;
  readonly status: "active" | "invalid";
  readonly problem: string | null;
};

/** What one pack was built from; `source` is `null` where it is not active. */
export type PolicyPart = {
  readonly name: string;
  /** As its manifest says; empty where that is not known. */
  readonly version: string;
  readonly digest: string;
  readonly source: ValidPack | null;
};

/** A region's packs, compiled. Immutable; an isolate makes one and keeps it. */
export type LoadedPolicy = {
  /** Digest text over the names and digests of all packs: what a decision names as its policy. */
  readonly digest: string;
  readonly packs: readonly PackStatus[];
  /** The same packs by content, in name order. */
  readonly parts: readonly PolicyPart[];
  /** Why the region cannot decide; `null` where every pack is active. Non-null denies everything, `policy_stale`. */
  readonly problem: string | null;
  /** Whether an action needs a run, by AuthZEN name, over all packs that list it: one that requires it wins. */
  readonly actions: ReadonlyMap<string, "optional" | "required">;
  /** Where data of a class of labels may go: what every pack says that knows it. One label means the same in all. */
  readonly flows: ReadonlyMap<string, readonly Flow[]>;
  readonly sovereign: readonly LoadedPack[];
  /** In name order, which is the order of evaluation. */
  readonly application: readonly ApplicationPack[];
};

/** What a decision names as its policy: digest text over the names and digests of its packs, in name order. */
export const lawDigest = (packs: readonly { readonly name: string; readonly digest: string }[]): string =>
  digestOf(jcs(packs.map(({ name, digest }) => [name, digest])));

/**
 * Compiles the named packs of a bundle, once per isolate.
 *
 * A pack that is missing, invalid or changed since it was built leaves the region without any policy rather than with
 * the other packs: a missing pack may be the one that forbids. Never throws.
 */
export function loadPolicy(bundle: Bundle, packs: readonly string[]): LoadedPolicy {
  const names = [...new Set(packs)].sort();
  const loaded = names.map((name) => loadPack(bundle, name));
  const digest = lawDigest(loaded);
  const statuses = loaded.map(({ name, problem }): PackStatus => ({
    name,
    status: problem === null ? "active" : "invalid",
    problem,
  }));
  const problem =
    names.length === 0 ? "no pack is configured" : (statuses.find((pack) => pack.problem !== null)?.problem ?? null);
  const layers = problem === null ? loaded.flatMap(({ pack }) => pack ?? []) : [];
  const application = layers.filter(isApplication);
  const sovereign = layers.filter((pack) => !isApplication(pack));
  const actions = new Map<string, "optional" | "required">();
  const sources = problem === null ? loaded.flatMap(({ source }) => source ?? []) : [];
  const manifests = sources.flatMap(({ manifest }) => (manifest.layer === "application" ? manifest : []));
  for (const manifest of manifests) {
    for (const [name, { run }] of Object.entries(manifest.actions)) {
      if (actions.get(name) !== "required") actions.set(name, run ?? "optional");
    }
  }
  const parts = loaded.map(({ name, digest, source }) => ({
    name,
    version: source?.manifest.version ?? "",
    digest,
    source,
  }));
  return { digest, packs: statuses, parts, problem, actions, flows: flowsOf(manifests), sovereign, application };
}

const isApplication = (pack: LoadedPack | ApplicationPack): pack is ApplicationPack => "types" in pack;

type Loading = {
  readonly name: string;
  readonly digest: string;
  readonly problem: string | null;
  readonly source: ValidPack | null;
  readonly pack: LoadedPack | ApplicationPack | null;
};

function loadPack(bundle: Bundle, name: string): Loading {
  const refuse = (digest: string, why: string): Loading => ({
    name,
    digest,
    problem: `pack ${name}: ${why}`,
    source: null,
    pack: null,
  });
  const built = bundle.packs.find((pack) => pack.name === name);
  if (built === undefined) return refuse("", "not in the bundle");
  if (built.status === "invalid") {
    const [first, ...others] = built.errors;
    const more = others.length > 0 ? ` (and ${others.length} more)` : "";
    return refuse(built.digest, first === undefined ? "invalid" : describeProblem(first) + more);
  }
  try {
    // What its policies see of the run's history is found by the one name and read by the other.
    if (built.manifest.name !== name) return refuse(built.digest, "its manifest is of another pack");
    if (packDigest(built) !== built.digest) return refuse(built.digest, "its content does not match its digest");
    return { name, digest: built.digest, problem: null, source: built, pack: compilePack(built) };
  } catch (cause) {
    return refuse(built.digest, cause instanceof Error ? cause.message : "does not compile");
  }
}

/** Throws an Error that says what does not compile: the builder has checked that nothing does. */
function compilePack(pack: ValidPack): LoadedPack | ApplicationPack {
  const policies = compile(pack.policies);
  const directory = buildEntityStore(pack.entities);
  if (!directory.ok) throw new TypeError(directory.error);
  const facts = new Map(policies.policies.map((policy) => [policy.id, policyFacts(pack.name, policy)]));
  const { manifest } = pack;
  const loaded: LoadedPack = {
    name: pack.name,
    policies,
    facts,
    written: pack.policies,
    directory: directory.value,
    max_unanchored_ms: manifest.max_unanchored_ms ?? null,
  };
  if (manifest.layer === "sovereign") return loaded;
  const schema = readSchema(pack.schema.json);
  const steps_up = [...facts.values()].some(({ step_up }) => step_up !== null);
  return {
    ...loaded,
    types: packTypes(manifest, schema),
    demands: demandsOf(manifest, schema),
    degraded: new Set(manifest.degraded),
    permits: steps_up ? compile(pack.policies.filter(({ json }) => json.effect === "permit")) : null,
    ids: manifest.searchable === false ? new Map() : idsByType(pack, schema),
    action_names: Object.keys(manifest.actions).sort(),
  };
}

function compile(policies: ValidPack["policies"]): PolicySet {
  const compiled = compilePolicySet(policies);
  if (!compiled.ok) throw new TypeError(`policy ${compiled.error.policyId}: ${compiled.error.message}`);
  return compiled.value;
}

function policyFacts(pack: string, { id, effect, annotations }: Policy): PolicyFacts {
  const read = readAnnotations(effect, annotations);
  if (!read.ok) throw new TypeError(`policy ${id}: ${read.error}`);
  const { reason, ...rest } = read.value;
  return { determining: { policy: `${pack}/${id}`, reason }, ...rest };
}

/** Entities of the directory, and the members of enumerated types, which exist without being listed there. */
function idsByType({ entities }: ValidPack, schema: SchemaShapes): Map<string, readonly string[]> {
  const ids = new Map<string, Set<string>>();
  for (const [type, shape] of schema.entities) if (shape.ids !== null) ids.set(type, new Set(shape.ids));
  for (const { uid } of entities) {
    const { type, id } = "__entity" in uid ? uid.__entity : uid;
    const known = ids.get(type);
    if (known === undefined) ids.set(type, new Set([id]));
    else known.add(id);
  }
  return new Map([...ids].map(([type, known]) => [type, [...known].sort()]));
}
