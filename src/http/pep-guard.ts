import type { PepScope } from "../vocabulary/types.ts";
import type { Caller, PepAuthentication, PepRefusal } from "../credentials/pep.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Room } from "./deps.ts";
import { unavailable, type Problem } from "./reply.ts";
import { twice } from "../objects/deadline.ts";

/** The authenticated PEP with `scope`, or the problem to answer with; a promise only where a credential is new. */
export const requirePep = (
  room: Room,
  request: Request,
  scope: PepScope,
  now_ms: number,
): Result<Caller, Problem> | Promise<Result<Caller, Problem>> =>
  pepOf(room, request.headers.get("authorization"), scope, now_ms);

/** The same by the text of the header. */
export function pepOf(
  room: Room,
  authorization: string | null,
  scope: PepScope,
  now_ms: number,
): Result<Caller, Problem> | Promise<Result<Caller, Problem>> {
  const who = room.peps.authenticate(authorization, now_ms);
  return who instanceof Promise
    ? who.then((answer) => judge(answer, scope, room.region.pdp))
    : judge(who, scope, room.region.pdp);
}

const READ_MS = 2_000;

/**
 * Like `requirePep`, for routes that only read: no shard looks at the facts there, so the authority is asked whether
 * the PEP is still registered. A revoked PEP reads nothing.
 */
export async function requireRegisteredPep(
  room: Room,
  request: Request,
  scope: PepScope,
  now_ms: number,
): Promise<Result<Caller, Problem>> {
  const who = await requirePep(room, request, scope, now_ms);
  if (!who.ok) return who;
  try {
    const pep = await twice(READ_MS, () => room.authority().pepStatus(who.value.pep));
    const status = pep?.status ?? "not registered";
    return status === "active" ? who : err(unauthenticated("invalid", `the PEP is ${status}`, room.region.pdp));
  } catch {
    return err(
      unavailable("the trust authority does not answer, so nothing can be read; retry", "authority_unavailable"),
    );
  }
}

function judge(who: PepAuthentication, scope: PepScope, pdp: string): Result<Caller, Problem> {
  if (!who.ok) return err(pepProblem(who.error, pdp));
  return who.value.scopes.includes(scope) ? ok(who.value) : err(insufficientScope(scope, pdp));
}

export function pepProblem(refusal: PepRefusal, pdp: string): Problem {
  return refusal.code === "unavailable"
    ? unavailable(refusal.message, "authentication_unavailable")
    : unauthenticated(refusal.code, refusal.message, pdp);
}

/** RFC 6750 section 3: no `error` where no credential was sent. */
export function unauthenticated(code: "missing" | "invalid", message: string, pdp: string): Problem {
  const challenge =
    code === "missing"
      ? `Bearer realm="${pdp}"`
      : `Bearer realm="${pdp}", error="invalid_token", error_description="${message.replaceAll(/["\\]/g, "'").replaceAll(/[^ -~]/g, "?")}"`;
  return {
    status: 401,
    code: code === "missing" ? "credential_missing" : "credential_invalid",
    detail: message,
    headers: { "WWW-Authenticate": challenge },
  };
}

export function insufficientScope(scope: string, pdp: string): Problem {
  return {
    status: 403,
    code: "insufficient_scope",
    detail: `the credential does not have the scope ${scope}; ask an administrator of this region for one that has`,
    headers: { "WWW-Authenticate": `Bearer realm="${pdp}", error="insufficient_scope", scope="${scope}"` },
  };
}
