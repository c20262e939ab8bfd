import type { AdminResult } from "../../src/objects/admin.ts";
import type { ClockResetView, EquivocationProof, PeersView } from "../../src/objects/peers.ts";
import type { Region } from "../../src/region/config.ts";
import type { AlarmChange } from "../../src/sync/alarm.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import type { PeerStore } from "./peer-store.ts";
import type { Shards } from "./shards.ts";
import type { Standing } from "./standing.ts";
import type { RegionSync } from "./sync.ts";
import { isAuthorityKey } from "./sync-messages.ts";
import type { EventWriter } from "./writer.ts";

export type WatchRoom = {
  readonly peers: PeerStore;
  readonly rows: AdminRows;
  readonly writer: EventWriter;
  readonly standing: Standing;
  readonly sync: RegionSync;
  readonly shards: Pick<Shards, "resetClocks">;
};

/** What an operator sees of the exchange between regions, and does about it. */
export class Watch {
  readonly #region: Region;
  readonly #room: WatchRoom;

  constructor(region: Region, room: WatchRoom) {
    this.#region = region;
    this.#room = room;
  }

  view(): PeersView {
    const { sync } = this.#room;
    const { delta_ms, lease_ms } = sync.timing;
    return { region: this.#region.name, at_ms: Date.now(), delta_ms, lease_ms, ...sync.overview() };
  }

  /** Both signed statements of an origin that showed two histories. */
  proof(origin: string): AdminResult<EquivocationProof> {
    const { peers, standing } = this.#room;
    const poison = peers.peers()[origin]?.poison ?? null;
    if (poison === null)
      return { ok: false, code: "not_found", message: `no equivocation of region ${origin} is known here` };
    const { held, shown } = poison.proof;
    const { membership } = standing;
    const keys = membership?.regions.find(({ region }) => region === origin)?.keys ?? [];
    return {
      ok: true,
      value: {
        v: 1,
        type: "interlock-equivocation",
        origin,
        reason: poison.reason,
        found_by: this.#region.name,
        found_at_ms: poison.at_ms,
        held: { ...held, jws: held.jws ?? peers.setAt(origin, held.incarnation, held.seq) },
        shown,
        keys: keys.filter(({ kid }) => isAuthorityKey(kid)),
        membership_version: membership?.version ?? null,
      },
    };
  }

  async resetClock(reason: string, actor: string): Promise<AdminResult<ClockResetView>> {
    const { rows, writer, sync, shards } = this.#room;
    // The leaf is dated by the clock that the administrator vouches for.
    recordAct(rows, writer, { what: "clock_reset", actor, reason, t_ms: Date.now() }, () => undefined);
    sync.feed({ type: "reset_clock" });
    const reset = await shards.resetClocks();
    return { ok: true, value: { ...this.view(), shards: reset } };
  }

  /** One line when somebody goes unheard or shows what cannot be, and one when that is over. */
  alarm(changes: readonly AlarmChange[]): void {
    const now_ms = Date.now();
    for (const { region, why, since_ms } of changes) {
      const line =
        why === null
          ? { level: "info", event: "sync_well", region: this.#region.name, peer: region, for_ms: now_ms - since_ms }
          : { level: "alarm", event: "sync_alarm", region: this.#region.name, peer: region, why };
      console.error(JSON.stringify({ ...line, t_ms: now_ms }));
    }
  }
}
