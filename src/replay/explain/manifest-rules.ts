import { covers } from "../../policy/cedar-request.ts";
import type { LoadedPolicy } from "../../policy/load.ts";
import type { ApplicationManifest } from "../../policy/manifest.ts";
import type { Flow } from "../../policy/manifest-rules.ts";
import { pointerOf, type RulePath } from "../../policy/rule-lines.ts";
import type { CanonicalRequest } from "../../vocabulary/types.ts";
import type { FailedCheck } from "../../vocabulary/reasons.ts";

/** A rule of a manifest that asked for what was lacking. `line`: from 1; `null`: the pack was built without lines. */
export type ManifestRule = {
  readonly pack: string;
  /** Below the policies folder. */
  readonly file: string;
  readonly line: number | null;
  /** JSON pointer in that file. */
  readonly pointer: string;
};

type Pack = { readonly name: string; readonly manifest: ApplicationManifest; readonly covers: boolean };

/**
 * The rules of manifests behind a failed check, of every pack whose rule fails it: the narrowest that says something.
 * Empty where no manifest asks for it (trust, the region, the run's own plan and budgets, a delegation's limits), or a
 * policy does. Reads the law, the check and the request's names; no entity.
 */
export function manifestRules(policy: LoadedPolicy, request: CanonicalRequest, check: FailedCheck): ManifestRule[] {
  const covering = new Set(policy.application.filter(({ types }) => covers(types, request)).map(({ name }) => name));
  return policy.parts.flatMap(({ name, source }): ManifestRule[] => {
    if (source === null) return [];
    const { manifest, rule_lines } = source;
    const paths =
      check.reason === "lineage_unavailable"
        ? anchoring(name, check)
        : manifest.layer === "sovereign"
          ? []
          : behind({ name, manifest, covers: covering.has(name) }, policy, request, check);
    return paths.map((path) => {
      const pointer = pointerOf(path);
      return { pack: name, file: `${name}/pack.json`, line: rule_lines?.[pointer] ?? null, pointer };
    });
  });
}

const anchoring = (pack: string, { detail = "" }: FailedCheck): readonly RulePath[] =>
  detail.includes(`pack ${pack} allows `) ? [["max_unanchored_ms"]] : [];

const NONE: readonly never[] = [];

function behind(
  { name, manifest, covers: covering }: Pack,
  policy: LoadedPolicy,
  { subject, action, resource }: CanonicalRequest,
  { reason, detail = "" }: FailedCheck,
): readonly RulePath[] {
  // Whether an action needs a run, and where data may go, is said by every pack that knows the action or the label.
  const entry = manifest.actions[action.name];
  if (reason === "run_required") return entry?.run === "required" ? [["actions", action.name, "run"]] : NONE;
  if (reason === "residency_violation") return flows(manifest, covering, policy, detail);
  if (!covering || entry === undefined) return NONE;
  const over = entry.subjects?.[subject.type];
  const acted: RulePath = ["actions", action.name];
  const overridden: RulePath = [...acted, "subjects", subject.type];
  switch (reason) {
    case "identity_missing":
    case "identity_invalid":
    case "identity_expired":
    case "identity_mismatch":
    case "identity_bearer_not_allowed":
    case "identity_proof_invalid":
    case "identity_proof_reused": {
      if (detail === "the PEP's credential has expired") return NONE;
      const asked = over?.identity ?? manifest.subjects[subject.type]!.identity;
      if (asked === "pep-asserted") return NONE;
      return [over?.identity === undefined ? ["subjects", subject.type, "identity"] : [...overridden, "identity"]];
    }
    case "attestation_missing":
    case "attestation_invalid":
    case "attestation_stale":
    case "attestation_unbound": {
      if (over?.attestation !== undefined) return over.attestation === null ? NONE : [[...overridden, "attestation"]];
      return manifest.subjects[subject.type]!.attestation === undefined
        ? NONE
        : [["subjects", subject.type, "attestation"]];
    }
    case "delegation_missing":
    case "delegation_depth": {
      const asked = entry.delegation ?? manifest.delegation;
      const fails =
        reason === "delegation_missing" ? asked?.required : detail.endsWith(` ${asked?.max_depth} are allowed`);
      if (fails !== true) return NONE;
      return [entry.delegation === undefined ? ["delegation"] : [...acted, "delegation"]];
    }
    case "approval_required":
    case "approver_not_independent":
      return entry.approval === undefined ? NONE : [[...acted, "approval"]];
    case "zone_mismatch":
      return zones(manifest, subject.type, resource.type, detail);
    case "tool_changed":
    case "context_missing": {
      const { pinned, depends = [] } = manifest.resources[resource.type]!;
      const paths: RulePath[] = [];
      if (entry.pinned?.context === detail) paths.push([...acted, "pinned"]);
      if (pinned?.context === detail) paths.push(["resources", resource.type, "pinned"]);
      if (reason === "context_missing")
        depends.forEach(({ for: purpose }, at) => {
          if (typeof purpose === "object" && purpose.context === detail)
            paths.push(["resources", resource.type, "depends", at]);
        });
      return paths;
    }
    case "budget_exceeded":
    case "rate_exceeded":
      return (manifest.budgets ?? []).flatMap(({ id }, at): readonly RulePath[] =>
        detail.startsWith(`budget ${id} of pack/${name}: `) ? [["budgets", at]] : NONE,
      );
    default:
      return NONE;
  }
}

/** Both zones in the detail are names that the law knows, or it says that it knows none of that name. */
function zones(
  { zones = {}, edges, subjects, resources }: ApplicationManifest,
  subject: string,
  resource: string,
  detail: string,
): readonly RulePath[] {
  const sides: RulePath[] = [];
  if (subjects[subject]!.zone !== undefined) sides.push(["subjects", subject, "zone"]);
  if (resources[resource]!.zone !== undefined) sides.push(["resources", resource, "zone"]);
  const unknown = /^no zone (.*)$/s.exec(detail)?.[1];
  if (unknown !== undefined) return sides.length === 0 || Object.hasOwn(zones, unknown) ? NONE : sides;
  const [, from = "", to = ""] = /^no edge from (\S+) to (\S+)$/.exec(detail) ?? [];
  if (sides.length < 2 || !Object.hasOwn(zones, from) || !Object.hasOwn(zones, to)) return NONE;
  if (edges?.some((edge) => edge.from === from && edge.to === to) === true) return NONE;
  return [edges === undefined ? ["zones"] : ["edges"]];
}

/** What a class of labels says, or the one that an unknown class counts as; neither: it stays where it is by default. */
function flows(
  { labels = {}, unknown_label }: ApplicationManifest,
  covering: boolean,
  policy: LoadedPolicy,
  detail: string,
): readonly RulePath[] {
  const [, label, target = ""] = /^(.*) may not go to (\S+) \([a-z ]+\)$/s.exec(detail) ?? [];
  if (label === undefined) return NONE;
  const colon = label.lastIndexOf(":");
  const own = colon === -1 ? null : label.slice(colon + 1);
  const named = colon === -1 ? label : label.slice(0, colon);
  const known = policy.flows.has(named);
  const counted = known ? named : unknown_label;
  const paths: RulePath[] = known || !covering || unknown_label === undefined ? [] : [["unknown_label"]];
  const rule = counted !== undefined && Object.hasOwn(labels, counted) ? labels[counted]!.may_flow_to : undefined;
  if (rule !== undefined && !lets(rule, own, target)) paths.push(["labels", counted!]);
  return paths;
}

const lets = (rule: Flow, own: string | null, target: string): boolean =>
  rule === "own" ? own === target : rule === "any" || rule.includes(target);
