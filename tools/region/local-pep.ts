import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { PepScope } from "../../src/vocabulary/types.ts";
import { readSecretJson, writeSecret, type DataDir } from "../workerd/data-dir.ts";
import type { AdminClient } from "./admin-client.ts";

const SCOPES: readonly PepScope[] = ["evaluate", "search", "runs", "lineage.read", "approve"];
const LIFETIME_S = 90 * 86_400;

type Kept = { readonly pdp: string; readonly id: string; readonly credential: string; readonly exp_ms: number };

/** The developer's PEP credential: kept in the data directory, registered anew where it is missing or has run out. */
export async function localPep(dir: DataDir, client: AdminClient, pdp: string): Promise<string> {
  const path = join(dir.keys, "pep.json");
  const kept = readSecretJson(path) as Kept | null;
  const now_ms = Date.now();
  if (kept !== null && kept.pdp === pdp && kept.exp_ms - now_ms > 86_400_000) return kept.credential;
  // A registered id stays taken, and a lost file must not end the region: each registration has an id of its own.
  const id = `local-${randomBytes(4).toString("hex")}`;
  const pep = await client.registerPep({ id, scopes: SCOPES, ttl_s: LIFETIME_S });
  writeSecret(
    path,
    JSON.stringify({ pdp, id, credential: pep.credential, exp_ms: pep.exp_ms } satisfies Kept, null, 2) + "\n",
  );
  return pep.credential;
}
