import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import type { CanonicalRequest, Obligation } from "../vocabulary/types.ts";
import type { LoadedPolicy } from "./load.ts";

/**
 * Obligations as AuthZEN's obligations profile (draft 1, July 2026) shows them (docs/approvals.md): what a PEP says it
 * can honour, what this region's packs may ask of it, and how one of them stands in an answer.
 */

/** Member of the request's `context` that declares what the PEP can honour. */
const DECLARED = "obligations_supported";

/** Types that the draft defines: their members stand beside `type` and `id`. */
const REGISTERED: ReadonlySet<string> = new Set(["step-up", "notification", "session_termination", "custom"]);

/** Types that the packs may attach, sorted. */
export function issuedTypes({ sovereign, application }: LoadedPolicy): readonly string[] {
  const types = [...sovereign, ...application].flatMap(({ facts }) =>
    [...facts.values()].flatMap(({ obligations }) => obligations.map(({ type }) => type)),
  );
  return [...new Set(types)].sort();
}

/** The first of the obligations that the PEP says it cannot honour; `null`: none, or it says nothing. */
export function unsupported(obligations: readonly Obligation[], { context }: CanonicalRequest): Obligation | null {
  if (obligations.length === 0 || context === undefined || !Object.hasOwn(context, DECLARED)) return null;
  const declared: JsonValue | undefined = context[DECLARED];
  // A declaration that cannot be read declares nothing.
  const types: readonly JsonValue[] = Array.isArray(declared) ? (declared as readonly JsonValue[]) : [];
  return obligations.find(({ type }) => !types.includes(type)) ?? null;
}

/** As it leaves the region: `properties`, and of the draft's own types the same members where the draft has them. */
export function shownObligation({ id, type, properties }: Obligation): JsonObject {
  const own = REGISTERED.has(type) && isObject(properties) ? properties : {};
  return { ...own, id, type, properties };
}
