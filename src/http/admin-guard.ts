import { verifyAdmin, type Administrator } from "../credentials/admin.ts";
import { bearer } from "../credentials/pep.ts";
import { err, type Result } from "../base/result.ts";
import { credentialKey, issuerKey, keyKey } from "../trust/keys.ts";
import type { Room } from "./deps.ts";
import { insufficientScope, unauthenticated } from "./pep-guard.ts";
import { unavailable, type Problem } from "./reply.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 2_000;

/** Canonical keys that an administrator's word rests on: once one of them is revoked it counts no more. */
export const restsOn = ({ jti, issuer, thumbprint }: Administrator): readonly string[] => [
  credentialKey(issuer, jti),
  issuerKey(issuer),
  keyKey(thumbprint),
];

/**
 * The authenticated administrator with `scope`. `--open` never opens anything here. The authority is asked each time
 * whether the credential, its issuer or its key is revoked: admin routes are rare, and nothing is cached.
 */
export async function requireAdmin(
  room: Room,
  request: Request,
  scope: string,
  now_ms: number,
): Promise<Result<Administrator, Problem>> {
  const { pdp } = room.region;
  const authorization = request.headers.get("authorization");
  if (authorization === null) {
    return err(
      unauthenticated(
        "missing",
        "an admin credential of this region is required: Authorization: Bearer <credential>",
        pdp,
      ),
    );
  }
  const token = bearer(authorization);
  if (token === null)
    return err(unauthenticated("invalid", "Authorization is not of the form: Bearer <credential>", pdp));
  const who = await verifyAdmin(token, pdp, room.admin_keys, now_ms);
  if (!who.ok) return err(unauthenticated("invalid", who.error, pdp));
  try {
    const keys = restsOn(who.value);
    if (await twice(READ_MS, () => room.authority().anyRevoked(keys)))
      return err(unauthenticated("invalid", "the credential is revoked", pdp));
  } catch {
    return err(
      unavailable(
        "the trust authority does not answer, so it is not known whether the credential is revoked; retry",
        "authority_unavailable",
      ),
    );
  }
  return who.value.scopes.includes(scope) ? who : err(insufficientScope(scope, pdp));
}
