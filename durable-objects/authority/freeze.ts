import type { AdminResult } from "../../src/objects/admin.ts";
import type { AuthorityStatus, FreezeStanding, UnfreezeRequest } from "../../src/objects/authority-status.ts";
import type { Wait } from "../../src/objects/revocations.ts";
import type { FreezeView, UnfreezeMessage } from "../../src/objects/freeze.ts";
import type { Region } from "../../src/region/config.ts";
import type { Acknowledgement } from "../../src/sync/acknowledgement.ts";
import { eventId } from "../../src/trust/event-chain.ts";
import { frozenKey } from "../../src/trust/keys.ts";
import { firstGeneration } from "../../src/trust/merge.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import { ALL_MS, UNCHECKED } from "./revocations.ts";
import type { PeerStore } from "./peer-store.ts";
import type { Shards } from "./shards.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore, EntryRow } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** How long the second administrator has. */
const ASKED_MS = 600_000;
const ASKED = "unfreeze_asked";

/** `rests_on` is absent in what an earlier version stored. */
type Asked = UnfreezeRequest & { readonly key: string; readonly rests_on?: readonly string[] };

export type FreezeRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly writer: EventWriter;
  readonly shards: Shards;
  readonly standing: Standing;
  readonly peers: PeerStore;
  readonly sync: RegionSync;
  readonly pseudonyms: Pseudonyms;
  readonly status: () => AuthorityStatus;
  /** Whether one of these canonical keys is revoked here. */
  readonly shutOut: (keys: readonly string[]) => boolean;
};

/** One administrator freezes the region; two let it go on. */
export class Freeze {
  readonly #region: Region;
  readonly #room: FreezeRoom;

  constructor(region: Region, room: FreezeRoom) {
    this.#region = region;
    this.#room = room;
  }

  /** Who asked to lift the freeze, while somebody may confirm it. */
  request(): UnfreezeRequest | null {
    const asked = this.#asked();
    if (asked === null) return null;
    const { asked_by, reason, asked_at_ms, expires_ms } = asked;
    return { asked_by, reason, asked_at_ms, expires_ms };
  }

  #asked(): Asked | null {
    const { store, standing } = this.#room;
    const text = store.meta(ASKED);
    if (text === null || text === "" || !standing.frozen) return null;
    const asked = JSON.parse(text) as Asked;
    const now = Date.now();
    // Also where the clock was set back behind the request.
    const stands = now < asked.expires_ms && now >= asked.asked_at_ms;
    return stands && !this.#room.shutOut(asked.rests_on ?? []) ? asked : null;
  }

  /** Freezing again takes back what was asked: whoever disagrees with lifting it says so by freezing. */
  async freeze(reason: string, actor: string, wait: Wait = "local"): Promise<AdminResult<FreezeView>> {
    const { store, standing } = this.#room;
    store.setMeta(ASKED, "");
    // One of a version that told nobody else has no entry yet.
    if (!standing.frozen || this.#entry()?.state !== "revoked")
      await this.#append("freeze", reason, actor, () => standing.setFrozen(true));
    return this.#settled(wait);
  }

  async unfreeze({
    reason,
    actor,
    key,
    another_key,
    rests_on,
    wait = "local",
  }: UnfreezeMessage): Promise<AdminResult<FreezeView>> {
    const { store, standing } = this.#room;
    if (!standing.frozen) return this.#settled(wait);
    const asked = this.#asked();
    const isOther = asked !== null && asked.asked_by !== actor && !(another_key && asked.key === key);
    if (!isOther) {
      if (asked === null || asked.asked_by === actor) return this.#ask({ reason, actor, key, rests_on });
      return {
        ok: false,
        code: "conflict",
        message: `${asked.asked_by} asked with a credential of the same admin key: confirm with one that another key signed`,
      };
    }
    const note = `${reason} (asked for by ${asked.asked_by}: ${asked.reason})`;
    const result = await this.#append("unfreeze", note, actor, () => {
      // Frozen again meanwhile, or lifted: the request does not stand any more.
      if (this.#asked()?.asked_at_ms !== asked.asked_at_ms) return false;
      standing.setFrozen(false);
      store.setMeta(ASKED, "");
      return true;
    });
    if (result === "unchecked") return UNCHECKED;
    if (!result) return { ok: false, code: "conflict", message: "the region was frozen again meanwhile: ask anew" };
    return this.#settled(wait);
  }

  /** Asking again begins the time anew, with the new reason. */
  #ask({
    reason,
    actor,
    key,
    rests_on,
  }: Pick<UnfreezeMessage, "reason" | "actor" | "key" | "rests_on">): AdminResult<FreezeView> {
    const { store, rows, writer } = this.#room;
    const t_ms = Date.now();
    const asked: Asked = { asked_by: actor, reason, asked_at_ms: t_ms, expires_ms: t_ms + ASKED_MS, key, rests_on };
    recordAct(rows, writer, { what: "unfreeze_asked", actor, reason, t_ms }, () =>
      store.setMeta(ASKED, JSON.stringify(asked)),
    );
    return { ok: true, value: this.#view() };
  }

  /** What this region tells the others of its freeze: an entry of its own, which they apply like a revocation. */
  #entry(): EntryRow | null {
    const { store, pseudonyms } = this.#room;
    return store.entry(pseudonyms.current(frozenKey(this.#region.name)), this.#region.name);
  }

  async #append(
    kind: "freeze" | "unfreeze",
    note: string,
    actor: string,
    change: () => boolean | void,
  ): Promise<boolean | void | "unchecked"> {
    const { store, writer, standing } = this.#room;
    const key = frozenKey(this.#region.name);
    const origin = this.#region.name;
    // Above the events of before, which counted otherwise.
    const last = Math.max(store.revision(), this.#entry()?.generation ?? 0);
    const generation = Math.max(last + 1, firstGeneration(standing.incarnation));
    const draft = { kind, key, generation, reason_code: "admin", actor, note } as const;
    const { result } = await writer.append(draft, ({ key: pseudonym, generation: placed, revision, row }) => {
      const outcome = change();
      if (outcome === false) return false;
      const state = kind === "freeze" ? "revoked" : "restored";
      const revoked_seq = kind === "freeze" ? row : (this.#entry()?.revoked_seq ?? row);
      const entry = { key: pseudonym, clear: key, origin, generation: placed, state, from: "issue" } as const;
      store.putEntry({ ...entry, until_ms: null, revoked_seq, revision });
      return outcome;
    });
    return result;
  }

  async #settled(wait: Wait): Promise<AdminResult<FreezeView>> {
    const { store, shards, sync } = this.#room;
    shards.spread();
    if (wait === "local") await shards.effective(store.revision());
    if (wait === "all" || wait === "barrier") await sync.until(() => this.#acknowledged()[wait], Date.now() + ALL_MS);
    return { ok: true, value: this.#view() };
  }

  /** Whoever rests on this region needs a lease of it, so that the end of the last one counts. */
  #acknowledged(): Acknowledgement {
    const { store, sync } = this.#room;
    const entry = this.#entry();
    const row = entry?.revoked_seq ?? 0;
    const lifted = entry === null || entry.state === "restored";
    const seq = lifted ? sync.state.own.mark.seq : row < 0 ? null : (store.event(row)?.event.seq ?? row);
    return sync.acknowledgement({ seq, revision: entry?.revision ?? store.revision() }, "here");
  }

  #status(): FreezeView["status"] {
    const { shards, store } = this.#room;
    const revision = this.#entry()?.revision ?? store.revision();
    return { ...this.#acknowledged().regions, [this.#region.name]: shards.statusOf(revision) };
  }

  /** `null` where the region is not frozen. */
  standing(): FreezeStanding | null {
    const { store, peers, standing } = this.#room;
    const entry = this.#entry();
    if (!standing.frozen || entry === null) return null;
    const row = entry.revoked_seq;
    const made = row < 0 ? null : store.event(row);
    return {
      id: made === null ? `${this.#region.name}.waiting.${-row}` : eventId(made.event),
      since_ms: made?.event.issued_at_ms ?? peers.draft(-row)?.t_ms ?? 0,
      status: this.#status(),
    };
  }

  #view(): FreezeView {
    return { ...this.#room.status(), status: this.#status() };
  }
}
