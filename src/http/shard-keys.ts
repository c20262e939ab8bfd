import { readPublicKey, type PublicKey } from "../credentials/jws/public-key.ts";
import type { Room } from "./deps.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 2_000;
/** The caller chooses the `kid`, so those that nobody lists cost at most ten looks a second, however many ask. */
const PAUSE_MS = 100;
/** A key that the authority has taken out of the list verifies nothing for longer than this. */
const FRESH_MS = 60_000;

type Kept = { readonly keys: readonly PublicKey[]; readonly at_ms: number };
const kept = new WeakMap<Room, Kept>();

/**
 * Keys of this region's shards, current and past; `null`: they cannot be read now. A key that is not among those at hand
 * may have been certified a moment ago: who brings it waits for the next look rather than being told that it is none.
 */
export async function shardKeys(room: Room, kid: string | null): Promise<readonly PublicKey[] | null> {
  const asked = room.now();
  const lists = (of: Kept | undefined): boolean => of?.keys.some((key) => key.kid === kid) === true;
  let known = kept.get(room);
  let age = known === undefined ? Infinity : asked - known.at_ms;
  if (known !== undefined && age >= 0 && age < PAUSE_MS && !lists(known)) {
    const left = PAUSE_MS - age;
    await new Promise((resolve) => setTimeout(resolve, left));
    known = kept.get(room);
    // Somebody else has looked meanwhile.
    if (known !== undefined && known.at_ms > asked) return known.keys;
  }
  const now = room.now();
  age = known === undefined ? Infinity : now - known.at_ms;
  if (known !== undefined && age >= 0 && age < (lists(known) ? FRESH_MS : PAUSE_MS)) return known.keys;
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
