import { err, ok, type Result } from "../base/result.ts";
import type { IdentityFailure } from "../credentials/failure.ts";
import { gateCredential } from "../credentials/jws/verify.ts";
import { bearer, callerOf, type Caller } from "../credentials/pep.ts";
import type { KeySet } from "../credentials/material.ts";
import type { Towards } from "../credentials/sources/compile.ts";
import { sourceName } from "../credentials/sources/material.ts";
import { verifyCredentials } from "../credentials/workload-facts.ts";
import type { Presented } from "../credentials/workload/present.ts";
import { proofInHeaders } from "../credentials/workload/wpt.ts";
import type { Room } from "./deps.ts";
import { pepOf } from "./pep-guard.ts";
import { unavailable, type Problem } from "./reply.ts";

/** A workload that asks for itself: what it presented, and what that had to be made for. */
export type Self = { readonly presented: Presented; readonly towards: Towards };

export type Asking = { readonly caller: Caller; readonly self: Self | null };

/**
 * Who asks: a PEP under its own credential, or a workload under its (docs/identity.md). The two never mix: what stands
 * in the headers about a workload is either all of the caller's authentication or none of it.
 */
export function requireCaller(
  room: Room,
  request: Request,
  now_ms: number,
): Result<Asking, Problem> | Promise<Result<Asking, Problem>> {
  const { headers } = request;
  const authorization = headers.get("authorization");
  const proves =
    headers.has("workload-identity-token") ||
    headers.has("workload-proof-token") ||
    (authorization !== null && /^(?:wpt|dpop) /i.test(authorization));
  if (proves) return askForSelf(room, request, now_ms);
  const who = pepOf(room, authorization, "evaluate", now_ms);
  const judge = (answer: Result<Caller, Problem>): Result<Asking, Problem> | Promise<Result<Asking, Problem>> => {
    if (answer.ok) return ok({ caller: answer.value, self: null });
    // No PEP's credential: a workload's own, perhaps, where such bearers are registered.
    return answer.error.code === "credential_invalid" && bearerKind(authorization) !== null
      ? askForSelf(room, request, now_ms)
      : answer;
  };
  return who instanceof Promise ? who.then(judge) : judge(who);
}

/** Of what kind a bearer says it is, where it is no PEP's: those are `at+jwt`. */
function bearerKind(authorization: string | null): "jwt_svid" | "service_account" | null {
  const text = authorization === null ? null : bearer(authorization);
  const token = text === null ? null : gateCredential(text, "credential");
  if (token?.ok !== true || token.value.header["typ"] === "at+jwt") return null;
  return token.value.claims["kubernetes.io"] === undefined ? "jwt_svid" : "service_account";
}

async function askForSelf(room: Room, request: Request, now_ms: number): Promise<Result<Asking, Problem>> {
  const presented = presentedIn(request.headers);
  if (!presented.ok) return err(challenge(presented.error.message, "WPT"));
  const path = new URL(request.url).pathname;
  const self: Self = { presented: presented.value, towards: towardsHere(room, request.method, path) };
  const caller = await authenticateSelf(room, self, now_ms);
  return caller.ok ? ok({ caller: caller.value, self }) : caller;
}

function presentedIn(headers: Headers): Result<Presented, IdentityFailure> {
  const authorization = headers.get("authorization");
  const wit = headers.get("workload-identity-token");
  const dpop = headers.get("dpop");
  const txn_token = headers.get("txn-token");
  const proof = proofInHeaders({ authorization, workload_proof_token: headers.get("workload-proof-token") }, false);
  if (!proof.ok) return proof;
  const token = authorization === null ? null : /^dpop +([^\s,]+)$/i.exec(authorization);
  const kind = bearerKind(authorization);
  const text = kind === null || authorization === null ? null : bearer(authorization);
  return ok({
    ...(wit === null ? {} : { wit }),
    ...(proof.value === null ? {} : { wpt: proof.value }),
    ...(token === null ? {} : { access_token: token[1]! }),
    ...(dpop === null ? {} : { dpop }),
    ...(txn_token === null ? {} : { txn_token }),
    ...(kind === null || text === null ? {} : { [kind]: text }),
  });
}

/** The region's own address is from configuration, the path from its routing: never from Host. */
const towardsHere = ({ region }: Room, method: string, path: string): Towards => ({
  audiences: [region.pdp, `${region.pdp}${path}`],
  targets: [{ method, uri: `${region.pdp}${path}` }],
  legacy_wpt: false,
  allow_bearer: true,
});

/** The PEP that the workload may ask as. Its uses are recorded with the decision (`workload.ts`), not here. */
export async function authenticateSelf(room: Room, self: Self, now_ms: number): Promise<Result<Caller, Problem>> {
  const keys = await room.peps.loaded(now_ms);
  if (keys === null)
    return err(unavailable("the region's key material cannot be read; retry", "authentication_unavailable"));
  const who = await authenticateWith(room, self, keys, now_ms);
  if (who.ok) return who;
  const newer = await room.peps.fresher(keys.digest, now_ms);
  return newer === null ? who : authenticateWith(room, self, newer, now_ms);
}

async function authenticateWith(
  room: Room,
  self: Self,
  keys: KeySet,
  now_ms: number,
): Promise<Result<Caller, Problem>> {
  const sources = keys.identity(room.region.name);
  const selves = sources.of("caller").filter(({ rules }) => rules.self !== undefined);
  const scheme = self.presented.access_token === undefined ? "WPT" : "DPoP";
  if (selves.length === 0) return err(challenge("no workload may ask for itself in this region", scheme));
  const verified = await verifyCredentials(
    self.presented,
    { sources, caller: null, towards: self.towards, pdp: room.region.pdp },
    now_ms,
  );
  const { identity } = verified;
  if (identity === null) return err(challenge(verified.failed[0]?.detail ?? "no credential came along", scheme));
  const found = selves.find(({ rules }) => rules.self!.workloads.includes(identity.workload));
  if (found === undefined) return err(challenge("this workload may not ask for itself in this region", scheme));
  if (identity.bearer && !found.rules.self!.allow_bearer)
    return err(challenge("this workload has to prove that it holds its key", scheme));
  return ok(
    callerOf({
      pep: found.id,
      credential: verified.credential ?? "",
      issuer: identity.issuer,
      scopes: ["evaluate"],
      audiences: [],
      exp_ms: identity.valid_until_ms,
      keys: [],
      thumbprints: [],
      sources: [...new Set([...verified.sources, sourceName(found)])].sort(),
      material: keys.digest,
    }),
  );
}

const challenge = (detail: string, scheme: "WPT" | "DPoP"): Problem => ({
  status: 401,
  code: "credential_invalid",
  detail,
  headers: { "WWW-Authenticate": scheme },
});
