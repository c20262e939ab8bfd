import { readPublicKey, type PublicKey } from "../credentials/jws/public-key.ts";
import type { Room } from "./deps.ts";
import { twice } from "./with-deadline.ts";

const READ_MS = 2_000;
/** The caller chooses the `kid`, so one that nobody lists costs at most one look a second. */
const PAUSE_MS = 1_000;
/** A key that the authority has taken out of the list verifies nothing for longer than this. */
const FRESH_MS = 60_000;

type Kept = { readonly keys: readonly PublicKey[]; readonly at_ms: number };
const kept = new WeakMap<Room, Kept>();

/** Keys of this region's shards, current and past; `null`: they cannot be read now. */
export async function shardKeys(room: Room, kid: string | null): Promise<readonly PublicKey[] | null> {
  const now = room.now();
  const known = kept.get(room);
  const age = known === undefined ? Infinity : now - known.at_ms;
  const lists = known?.keys.some((key) => key.kid === kid) === true;
  if (known !== undefined && age >= 0 && age < (lists ? FRESH_MS : PAUSE_MS)) return known.keys;
  try {
    const listed = await twice(READ_MS, () => room.authority().jwks());
    const keys = listed.keys.flatMap((jwk) => {
      if (!isShardKid(jwk.kid)) return [];
      const read = readPublicKey({ kid: jwk.kid, kty: jwk.kty, crv: jwk.crv ?? "", x: jwk.x ?? "" }, room.sha256);
      return read.ok ? [read.value] : [];
    });
    kept.set(room, { keys, at_ms: now });
    return keys;
  } catch {
    return known === undefined || age >= FRESH_MS ? null : known.keys;
  }
}

/** `<region>.<log_epoch>.shard-<k>.<n>`: what signs checkpoints or cosignatures signs no permits. */
const isShardKid = (kid: string): boolean => /^[a-z][a-z0-9-]*\.[0-9]+\.shard-[0-9]+\.[0-9]+$/.test(kid);
