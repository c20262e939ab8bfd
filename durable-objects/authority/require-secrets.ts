import type { Region } from "../../src/region/config.ts";
import { beginning } from "../../src/sync/mark.ts";
import type { PeerStore } from "./peer-store.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";

/**
 * Whether every entry can still be looked up under the federation secrets that are configured. One that this region
 * made, or a region that is gone, comes from nobody anew: without its secret a revocation would be lost, so the region
 * does not start. Of a region that serves the names are noted, and nothing that rests on it is allowed until its
 * snapshot is here (`take-head.ts`).
 */
export function requireSecrets(
  { name, secrets }: Region,
  store: AuthorityStore,
  peers: PeerStore,
  { membership }: Standing,
): void {
  const held = secrets.map(({ id }) => id).join();
  if (store.meta("secrets_held") === held) return;
  const records = peers.peers();
  for (const { origin, secret } of store.secretsInUse()) {
    if (secrets.some(({ id }) => id === secret)) continue;
    const member = membership?.regions.find(({ region }) => region === origin);
    const comesAnew = origin !== name && member !== undefined && member.state !== "removed";
    if (!comesAnew) {
      throw new Error(
        `INTERLOCK_FEDERATION_SECRETS lacks ${secret}, under which entries of region ${origin} are named that nobody can name anew: put it back, as the last one`,
      );
    }
    const record = records[origin] ?? { mark: beginning(member.incarnation ?? 1), kid: null, poison: null };
    peers.savePeer(origin, { ...record, secret });
  }
  store.setMeta("secrets_held", held);
}
