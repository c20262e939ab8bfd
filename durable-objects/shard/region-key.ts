import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import type { RegionKey } from "../../src/lineage/seal.ts";
import { randomBytes } from "../platform.ts";
import type { ShardStore } from "./store.ts";

/** From configuration where the operator holds it apart; else made here and kept beside the data that it seals. */
export function readRegionKey(configured: string | undefined, store: ShardStore): RegionKey {
  if (configured !== "" && configured !== undefined) {
    const bytes = fromBase64url(configured);
    if (bytes?.length !== 32) throw new Error("INTERLOCK_REGION_KEY: base64url of 32 bytes is required");
    return { number: 1, bytes };
  }
  let stored = store.meta("region_key");
  if (stored === null) {
    stored = base64url(randomBytes(32));
    store.setMeta("region_key", stored);
  }
  return { number: 1, bytes: fromBase64url(stored)! };
}
