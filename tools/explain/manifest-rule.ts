import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isObject, type JsonValue } from "../../src/base/json.ts";
import { covers } from "../../src/policy/cedar-request.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { CanonicalRequest, FailedCheck } from "../../src/vocabulary/types.ts";
import { offsetOf, wordAt } from "../policy/json-place.ts";
import { problemAt } from "../policy/source.ts";

/** A rule of a pack's manifest that asked for what was lacking: where `pack.json` says it. */
export type ManifestRule = { readonly pack: string; readonly path: readonly (string | number)[] };

/**
 * The manifest rules behind a failed check: of every pack that covers the request, the narrowest that says something.
 * Of the packs that decided, whatever this checkout has. Empty where the check is no rule's (trust, the region, the
 * run's own plan and budgets), or a policy's.
 */
export function manifestRules(
  policy: LoadedPolicy,
  request: CanonicalRequest,
  { reason, detail = "" }: FailedCheck,
): ManifestRule[] {
  return policy.application
    .filter(({ types }) => covers(types, request))
    .flatMap((pack): ManifestRule[] => {
      const source = policy.parts.find(({ name }) => name === pack.name)?.source ?? null;
      if (source === null) return [];
      const manifest = source.manifest as unknown as JsonValue;
      const action = ["actions", request.action.name];
      const subject = ["subjects", request.subject.type];
      const resource = ["resources", request.resource.type];
      const first = (...paths: readonly (readonly (string | number)[])[]): ManifestRule[] => {
        const path = paths.find((one) => valueAt(manifest, one) !== undefined);
        return path === undefined ? [] : [{ pack: pack.name, path }];
      };
      if (reason.startsWith("identity_")) return first([...action, ...subject, "identity"], [...subject, "identity"]);
      if (reason.startsWith("attestation_"))
        return first([...action, ...subject, "attestation"], [...subject, "attestation"]);
      if (reason === "delegation_missing" || reason === "delegation_depth")
        return first([...action, "delegation"], ["delegation"]);
      if (reason === "run_required") return first([...action, "run"]);
      if (reason === "approval_required" || reason === "approver_not_independent")
        return first([...action, "approval"]);
      if (reason === "trust_degraded") return first(["degraded"]);
      if (reason === "zone_mismatch") return first(["edges"], ["zones"]);
      if (reason === "residency_violation")
        return first(["labels", detail.split(":")[0]!], ["unknown_label"], ["labels"]);
      if (reason === "tool_changed" || reason === "context_missing")
        return first([...action, "pinned"], [...resource, "pinned"], [...resource, "depends"]);
      if (reason === "budget_exceeded" || reason === "rate_exceeded") {
        const [, id, owner] = /^budget (\S+) of (\S+):/.exec(detail) ?? [];
        const budgets = valueAt(manifest, ["budgets"]);
        const at = Array.isArray(budgets)
          ? budgets.findIndex((one: JsonValue) => isObject(one) && one["id"] === id)
          : -1;
        return owner === `pack/${pack.name}` && at !== -1 ? [{ pack: pack.name, path: ["budgets", at] }] : [];
      }
      return [];
    });
}

function valueAt(json: JsonValue, path: readonly (string | number)[]): JsonValue | undefined {
  let at: JsonValue | undefined = json;
  for (const step of path)
    at = Array.isArray(at)
      ? (at as readonly JsonValue[])[Number(step)]
      : isObject(at ?? null) && Object.hasOwn(at as object, step)
        ? (at as { readonly [name: string]: JsonValue })[String(step)]
        : undefined;
  return at;
}

/** With the line and a caret, where the pack is at hand. */
export function manifestRuleText(directory: string, { pack, path }: ManifestRule): string[] {
  const file = `${pack}/pack.json`;
  let text: string;
  try {
    text = readFileSync(join(directory, file), "utf8");
  } catch {
    return [`    ${file}: ${path.join(".")}`];
  }
  const at = problemAt({ file, text }, offsetOf(text, path), wordAt(text, path), "");
  return [`  rule     ${path.join(".")}`, `    ${file}:${at.line}:${at.column}`, at.excerpt!];
}
