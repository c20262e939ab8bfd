import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { PackTypes } from "./cedar-request.ts";
import type { PolicyEnv } from "./interlock-context.ts";
import { evaluateAs, type PolicyOutcome } from "./evaluate.ts";
import type { ApplicationPack, LoadedPolicy } from "./load.ts";

export type SearchKind = "subject" | "resource" | "action";

/**
 * What a search may find, in the order in which it is answered: ids of the searched type from the directories of the
 * packs that cover the question, or action names from their manifests. Sorted by UTF-16 code unit, each once; empty
 * for a type, action or resource that no pack lists. The searched entity's own id (or name) in `request` is ignored.
 */
export function searchCandidates(policy: LoadedPolicy, kind: SearchKind, request: CanonicalRequest): readonly string[] {
  const found = new Set<string>();
  for (const pack of policy.application) {
    if (!asks(pack.types, kind, request)) continue;
    for (const candidate of candidatesOf(pack, kind, request)) found.add(candidate);
  }
  return [...found].sort();
}

const asks = (types: PackTypes, kind: SearchKind, { subject, action, resource }: CanonicalRequest): boolean =>
  types.subjects.has(subject.type) &&
  types.resources.has(resource.type) &&
  (kind === "action" || types.actions.has(action.name));

function candidatesOf(pack: ApplicationPack, kind: SearchKind, request: CanonicalRequest): readonly string[] {
  if (kind === "action") return pack.action_names;
  const rule =
    kind === "subject"
      ? pack.types.subjects.get(request.subject.type)
      : pack.types.resources.get(request.resource.type);
  return pack.ids.get(rule!.type) ?? [];
}

/** The request that asks about one candidate: what the kernel decides, and what a PEP would ask afterwards. */
export function candidateRequest(kind: SearchKind, request: CanonicalRequest, candidate: string): CanonicalRequest {
  if (kind === "action") return { ...request, action: { name: candidate } };
  return { ...request, [kind]: { type: request[kind].type, id: candidate } };
}

/**
 * Decides one candidate. The searched entity is not described by the request, so its attributes come from the pack's
 * directory, also where its type takes them from the request otherwise.
 */
export const evaluateCandidate = (
  policy: LoadedPolicy,
  kind: SearchKind,
  request: CanonicalRequest,
  candidate: string,
  env: PolicyEnv,
): PolicyOutcome =>
  evaluateAs(policy, candidateRequest(kind, request, candidate), env, kind === "action" ? null : kind);
