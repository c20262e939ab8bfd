import type { AdminResult } from "../../../src/objects/admin.ts";
import type { EquivocationProof, PeersRpc, ClockResetView, PeersView } from "../../../src/objects/peers.ts";
import type { PeerOverview, SyncOverview } from "../../../src/sync/overview.ts";
import { MemoryIdentity } from "./memory-identity.ts";

/** A region without others. */
export const ALONE: SyncOverview = {
  word: "region_only",
  self: {
    stale: null,
    own: { incarnation: 1, seq: 0, hash: null },
    check: "passed",
    check_answered: [],
    halted: null,
    unnumbered: 0,
    clock: { behind_ms: 0, high_ms: 0, steps: 0 },
    membership: 1,
    newer_membership: null,
    secrets: { writes: "f1", also: [], settled: true },
  },
  peers: [],
  counters: { bad_signature: 0, unmatched: 0, malformed: 0, refused: 0, failed: 0, gaps: 0, clock_steps: 0 },
};

export const peerOf = (region: string, over: Partial<PeerOverview> = {}): PeerOverview => ({
  region,
  member: "active",
  stale: null,
  fresh_for_ms: 1_200,
  heard_ms: 300,
  applied: { incarnation: 1, seq: 4, hash: "h" },
  effective_seq: 4,
  known_seq: 4,
  confirmed_seq: 0,
  leased_for_ms: 0,
  failures: 0,
  next_poll_ms: 100,
  contradicted_by: [],
  unsupported_seq: null,
  secret: "f1",
  equivocation: null,
  ...over,
});

/** What an authority says of the other regions; a test sets `sync`. */
export class MemoryPeers extends MemoryIdentity implements PeersRpc {
  sync: SyncOverview = ALONE;
  proof: EquivocationProof | null = null;
  readonly resets: string[] = [];

  async peers(): Promise<PeersView> {
    return { region: "eu", at_ms: 0, delta_ms: 2_000, lease_ms: 1_500, ...this.sync };
  }
  async peerProof(region: string): Promise<AdminResult<EquivocationProof>> {
    return this.proof?.origin === region
      ? { ok: true, value: this.proof }
      : { ok: false, code: "not_found", message: `no equivocation of region ${region} is known here` };
  }
  async resetClock(reason: string, actor: string): Promise<AdminResult<ClockResetView>> {
    this.resets.push(`${actor}: ${reason}`);
    return { ok: true, value: { ...(await this.peers()), shards: [{ shard: 0, ahead_ms: 0 }] } };
  }
}
