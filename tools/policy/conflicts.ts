import { jcs } from "../../src/base/jcs.ts";
import { isObject, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import type { Artefact } from "../../src/policy/bundles/artefact.ts";
import type { Bundle, BundledPolicy, ValidPack } from "../../src/policy/bundle.ts";
import { loadPolicy } from "../../src/policy/evaluate.ts";
import type { Golden, GoldenCase } from "../../src/policy/golden-format.ts";
import { runCase } from "../../src/replay/golden.ts";

/** What is worth a look before a bundle is signed. Findings are structural: what they say is so, and there may be more. */
export type Finding = {
  readonly kind: "unsatisfiable" | "duplicate" | "shadowed" | "redundant" | "newly_allowed" | "newly_denied";
  /** `pack/policy`, or pack and golden case. */
  readonly where: string;
  readonly detail: string;
};

/**
 * Policies that cannot take effect, and golden questions of either bundle that the candidate answers otherwise than
 * `before`. Whether an allow is meant the reader has to say.
 */
export function conflicts(candidate: Artefact, before: Bundle | null): readonly Finding[] {
  const policies = candidate.packs.flatMap((pack) => (pack.status === "valid" ? policyFindings(pack) : []));
  return before === null ? policies : [...policies, ...changedAnswers(candidate, before)];
}

export function policyFindings({ name, policies }: Pick<ValidPack, "name" | "policies">): Finding[] {
  const found: Finding[] = [];
  for (const [at, policy] of policies.entries()) {
    const where = `${name}/${policy.id}`;
    const never = unsatisfiable(policy);
    if (never !== null) found.push({ kind: "unsatisfiable", where, detail: `${place(policy)}: ${never}` });
    for (const [other, one] of policies.entries()) {
      if (other === at || never !== null || !covers(one, policy)) continue;
      const same = covers(policy, one) && effectOf(one) === effectOf(policy);
      if (same && other < at)
        found.push({ kind: "duplicate", where, detail: `${place(policy)}: says what ${one.id} says` });
      else if (effectOf(one) === "forbid" && effectOf(policy) === "permit")
        found.push({ kind: "shadowed", where, detail: `${place(policy)}: whatever it permits, ${one.id} forbids` });
      // Effects alone: the other one may give another reason or obligation.
      else if (!same && effectOf(one) === effectOf(policy))
        found.push({ kind: "redundant", where, detail: `${place(policy)}: wherever it matches, ${one.id} does too` });
    }
  }
  return found;
}

const effectOf = ({ json }: BundledPolicy): string => (json as { readonly effect: string }).effect;
const place = ({ file, line }: BundledPolicy): string => `${file}:${line}`;

type Condition = { readonly kind: "when" | "unless"; readonly body: JsonValue };

type Asked = { readonly holds: boolean; readonly text: string };

/** Conditions in one form: `unless` as a negation, conjunctions apart. */
function conditionsOf({ json }: BundledPolicy): readonly Asked[] {
  const { conditions = [] } = json as { readonly conditions?: readonly Condition[] };
  return conditions.flatMap(({ kind, body }): readonly Asked[] =>
    kind === "when"
      ? conjuncts(body).map((part) => ({ holds: true, text: jcs(part) }))
      : [{ holds: false, text: jcs(body) }],
  );
}

function conjuncts(body: JsonValue): readonly JsonValue[] {
  const both = isObject(body) ? body["&&"] : undefined;
  return isObject(both) ? [...conjuncts(both["left"]!), ...conjuncts(both["right"]!)] : [body];
}

/** Why nothing ever matches it; `null` where nothing says so. */
function unsatisfiable(policy: BundledPolicy): string | null {
  const conditions = conditionsOf(policy);
  if (conditions.some(({ holds, text }) => text === literal(!holds))) return "its condition is always false";
  const both = conditions.find(({ holds, text }) => holds && conditions.some((one) => !one.holds && one.text === text));
  return both === undefined ? null : "it asks for a condition and for its opposite";
}

const literal = (value: boolean): string => jcs({ Value: value });

/** Whether `wide` matches whatever `narrow` does: a scope as wide in each part, and no condition of its own. */
function covers(wide: BundledPolicy, narrow: BundledPolicy): boolean {
  const [a, b] = [scopeOf(wide), scopeOf(narrow)];
  if (!["principal", "action", "resource"].every((part) => scopeCovers(a[part]!, b[part]!))) return false;
  const asked = conditionsOf(narrow).map((one) => jcs(one));
  return conditionsOf(wide).every((one) => one.text === literal(one.holds) || asked.includes(jcs(one)));
}

const scopeOf = ({ json }: BundledPolicy): JsonObject => json as unknown as JsonObject;

function scopeCovers(wide: JsonValue, narrow: JsonValue): boolean {
  if (jcs(wide) === jcs(narrow)) return true;
  if (!isObject(wide) || !isObject(narrow)) return false;
  if (wide["op"] === "All") return true;
  const listed = wide["entities"];
  const one = narrow["op"] === "==" ? [narrow["entity"]!] : narrow["op"] === "in" ? narrow["entities"] : undefined;
  if (wide["op"] !== "in" || !Array.isArray(listed) || !Array.isArray(one)) return false;
  const known = listed.map((entity: JsonValue) => jcs(entity));
  return one.every((entity: JsonValue) => known.includes(jcs(entity)));
}

function changedAnswers(candidate: Artefact, before: Bundle): Finding[] {
  const found: Finding[] = [];
  for (const [pack, golden] of Object.entries(candidate.tests)) {
    const old = before.packs.some(({ name }) => name === pack) ? loadPolicy(before, [pack]) : null;
    const now = loadPolicy(candidate, [pack]);
    // A pack that was not there allowed nothing.
    if ((old?.problem ?? null) !== null || now.problem !== null) continue;
    for (const one of (golden as unknown as Golden).cases) {
      const asked: GoldenCase = { ...one, expect: { decision: true } };
      const allows = (policy: typeof now): boolean => runCase(policy, pack, asked).differences.length === 0;
      const [was, is] = [old !== null && allows(old), allows(now)];
      if (was === is) continue;
      const kind = is ? "newly_allowed" : "newly_denied";
      found.push({
        kind,
        where: `${pack}: ${one.name}`,
        detail: `${one.request.action?.name ?? "search"} ${is ? "is allowed now" : "is denied now"}`,
      });
    }
  }
  return found;
}
