import { verifyAdmin, type Administrator } from "../credentials/admin.ts";
import { bearer } from "../credentials/pep.ts";
import { err, type Result } from "../base/result.ts";
import type { Room } from "./deps.ts";
import { insufficientScope, unauthenticated } from "./pep-guard.ts";
import type { Problem } from "./reply.ts";

/** The authenticated administrator with `scope`. `--open` never opens anything here. */
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
  return who.value.scopes.includes(scope) ? who : err(insufficientScope(scope, pdp));
}
