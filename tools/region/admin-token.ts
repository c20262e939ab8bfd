import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { decodeJwt, SignJWT } from "jose";
import { readSecret, writeSecret, type DataDir } from "../workerd/data-dir.ts";
import { adminKey, type LocalAdmin, type SigningKey } from "./keys.ts";

/** Every admin scope of docs/routes.md, and what an auditor may read. */
const ADMIN_SCOPES = [
  "status:read",
  "membership:write",
  "peps:write",
  "revocations:read",
  "revocations:write",
  "erasures:read",
  "erasures:write",
  "policy:read",
  "policy:write",
  "freeze:write",
  "epoch:write",
  "epoch:drop",
  "ssf:write",
  "identity:read",
  "identity:write",
  "peers:read",
  "clock:write",
  "keys:write",
  "reads:read",
  "replay:write",
  "lineage:read",
  "log:read",
] as const;

/** All that an auditor may do: read records, and the entry bundles of the log. */
export const AUDITOR_SCOPES = ["lineage:read", "log:read"] as const;

const LIFETIME_S = 30 * 86_400;

/**
 * An admin credential (RFC 9068 access token) of one region: audience and issuer name the region, so that another
 * region refuses it.
 */
export async function signAdminToken(
  key: SigningKey,
  {
    pdp,
    admin,
    scopes,
    now_s,
    lifetime_s = LIFETIME_S,
  }: { pdp: string; admin: string; scopes: readonly string[]; now_s: number; lifetime_s?: number },
): Promise<string> {
  return new SignJWT({ scope: scopes.join(" ") })
    .setProtectedHeader({ typ: "at+jwt", alg: "Ed25519", kid: key.kid })
    .setIssuer(`${pdp}/admin`)
    .setAudience(pdp)
    .setSubject(admin)
    .setJti(randomUUID())
    .setIssuedAt(now_s)
    .setExpirationTime(now_s + lifetime_s)
    .sign(key.key);
}

export const adminTokenPath = (dir: DataDir, n: LocalAdmin): string =>
  join(dir.keys, n === 1 ? "admin.jwt" : "admin-2.jwt");

/** The credential kept in the data directory, or a new one where it is for another region, or ends within a day. */
export async function localAdminToken(dir: DataDir, region: string, pdp: string, n: LocalAdmin = 1): Promise<string> {
  const path = adminTokenPath(dir, n);
  const now_s = Math.floor(Date.now() / 1000);
  const kept = readSecret(path)?.trim();
  if (kept !== undefined && stillGood(kept, pdp, now_s)) return kept;
  const token = await signAdminToken(await adminKey(dir, region, n), {
    pdp,
    admin: n === 1 ? "local-admin" : "local-admin-2",
    scopes: ADMIN_SCOPES,
    now_s,
  });
  writeSecret(path, token + "\n");
  return token;
}

/** Not for this region, nearly over, or damaged: a new one costs nothing, since the key that signs it is here. */
function stillGood(token: string, pdp: string, now_s: number): boolean {
  try {
    const { aud, exp, scope } = decodeJwt(token);
    return aud === pdp && exp !== undefined && exp - now_s > 86_400 && scope === ADMIN_SCOPES.join(" ");
  } catch {
    return false;
  }
}
