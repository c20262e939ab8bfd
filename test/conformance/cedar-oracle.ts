import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import {
  authorize,
  buildEntityStore,
  compilePolicySet,
  type EntityJson,
  type PolicyJson,
  recordFromJson,
} from "../../src/cedar/index.ts";
import type { Json, Scenario } from "./cedar-generators.ts";

/** What either engine says: a decision with policy ids as sorted sets, or that it refuses the input. */
export type Verdict = { decision: string; reasons: string[]; errors: string[] } | "refused";

const HALF = 2n ** 32n;

/** cedar-wasm reads JSON as doubles, so a larger integer is handed over as arithmetic that makes it. */
function arithmetic(n: bigint): Json {
  const high: Json = { "*": { left: { Value: Number(n / HALF) }, right: { Value: Number(HALF) } } };
  return { "+": { left: high, right: { Value: Number(n % HALF) } } };
}

const holdsBigint = (json: Json): boolean =>
  typeof json === "bigint" ||
  (typeof json === "object" && json !== null && Object.values(json).some((part: Json) => holdsBigint(part)));

/** A literal as an expression, so that integers deep inside it can be arithmetic. */
function literal(json: Json): Json {
  if (typeof json === "bigint") return arithmetic(json);
  if (Array.isArray(json)) return { Set: json.map(literal) };
  if (typeof json !== "object" || json === null || !holdsBigint(json)) return { Value: json };
  return { Record: mapMembers(json, literal) };
}

const mapMembers = (json: { [name: string]: Json }, change: (value: Json) => Json): { [name: string]: Json } =>
  Object.fromEntries(Object.entries(json).map(([name, value]) => [name, change(value)]));

function forReference(json: Json): Json {
  if (Array.isArray(json)) return json.map(forReference);
  if (typeof json !== "object" || json === null || !holdsBigint(json)) return json;
  const names = Object.keys(json);
  return names.length === 1 && names[0] === "Value" ? literal(json.Value as Json) : mapMembers(json, forReference);
}

export function referenceVerdict(scenario: Scenario): Verdict {
  const staticPolicies: { [id: string]: cedar.Policy } = {};
  for (const [i, policy] of scenario.policies.entries()) {
    staticPolicies[`policy${i}`] = forReference(policy) as unknown as cedar.PolicyJson;
  }
  const { principal, action, resource } = scenario;
  const answer = cedar.isAuthorized({
    principal,
    action,
    resource,
    context: scenario.context as cedar.Context,
    entities: scenario.entities as unknown as cedar.Entities,
    policies: { staticPolicies },
  });
  if (answer.type !== "success") return "refused";
  const { decision, diagnostics } = answer.response;
  return {
    decision,
    reasons: diagnostics.reason.toSorted(),
    errors: diagnostics.errors.map(({ policyId }) => policyId).toSorted(),
  };
}

export function ownVerdict(scenario: Scenario): Verdict {
  const policies = compilePolicySet(
    scenario.policies.map((json, i) => ({ id: `policy${i}`, json: json as unknown as PolicyJson })),
  );
  const store = buildEntityStore(scenario.entities as unknown as EntityJson[]);
  const context = recordFromJson(scenario.context);
  if (!policies.ok || !store.ok || !context.ok) return "refused";
  const { principal, action, resource } = scenario;
  const { decision, reasons, errors } = authorize(policies.value, store.value, {
    principal,
    action,
    resource,
    context: context.value,
  });
  return { decision, reasons: reasons.toSorted(), errors: errors.map(({ policyId }) => policyId).toSorted() };
}
