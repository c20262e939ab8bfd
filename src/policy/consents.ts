import { consentKey, parseKey } from "../trust/keys.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { textAttribute } from "./attributes.ts";
import { covers, type Searched } from "./cedar-request.ts";
import type { DependsEntry } from "./manifest-rules.ts";
import type { ApplicationPack, LoadedPolicy } from "./load.ts";

/** Consents that a step rests on, as canonical keys; withdrawing one is revoking its key. */
export type Consents = {
  readonly keys: readonly string[];
  /** `context_missing` where the request does not say what the consent would be for. */
  readonly failed: readonly FailedCheck[];
};

const NONE: Consents = { keys: [], failed: [] };
const PURPOSE = /^[a-z][a-z0-9._-]{0,62}$/;

/** What the packs that cover a request name under `depends` (docs/pack.md). */
export function consentsOf(policy: LoadedPolicy, request: CanonicalRequest, searched: Searched = null): Consents {
  let found = NONE;
  for (const pack of policy.application) {
    const depends = pack.demands.resources.get(request.resource.type)?.depends ?? [];
    if (depends.length === 0 || !covers(pack.types, request)) continue;
    for (const entry of depends) found = together(found, consentOf(pack, entry, request, searched));
  }
  return found;
}

const together = (a: Consents, b: Consents): Consents => ({
  keys: [...new Set([...a.keys, ...b.keys])],
  failed: [...a.failed, ...b.failed],
});

function consentOf(
  pack: ApplicationPack,
  { type, of, for: purpose }: DependsEntry,
  request: CanonicalRequest,
  searched: Searched,
): Consents {
  const { context } = request;
  const id = of === "id" ? request.resource.id : textAttribute(pack, request, "resource", of.attribute, searched);
  // The attribute is always there, so it is nobody that the pack knows: it denies by itself.
  if (id === null) return NONE;
  if (typeof purpose === "string") return resting(consentKey(type, id, purpose));
  const stated =
    context !== undefined && Object.hasOwn(context, purpose.context) ? context[purpose.context] : undefined;
  return typeof stated === "string" && PURPOSE.test(stated)
    ? resting(consentKey(type, id, stated))
    : { keys: [], failed: [{ reason: "context_missing", detail: purpose.context }] };
}

/** A consent that has no canonical key could never be withdrawn. */
const resting = (key: string): Consents =>
  parseKey(key).ok
    ? { keys: [key], failed: [] }
    : { keys: [], failed: [{ reason: "policy_error", detail: "the consent that it rests on has no usable name" }] };
