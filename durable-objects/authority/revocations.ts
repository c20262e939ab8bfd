import type { AdminResult } from "../../src/objects/admin.ts";
import type { AuthorityRpc } from "../../src/objects/authority.ts";
import type { RevocationStatus, RevocationView, RevokeMessage, Wait } from "../../src/objects/revocations.ts";
import type { Region } from "../../src/region/config.ts";
import type { Acknowledgement, Home } from "../../src/sync/acknowledgement.ts";
import { encodeConsistency } from "../../src/trust/consistency.ts";
import { eventId, parseEventId } from "../../src/trust/event-chain.ts";
import { Federation } from "../../src/trust/federation.ts";
import { bindsDecisions, parseKey } from "../../src/trust/keys.ts";
import { severity, type EntryState } from "../../src/trust/levels.ts";
import { jcs } from "../../src/base/jcs.ts";
import { digestOf } from "../../src/base/digest.ts";
import { nodeSha256 } from "../platform.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import type { Forwards } from "./forwards.ts";
import type { AdminCallRow, AdminRows } from "./admin-rows.ts";
import type { PeerStore } from "./peer-store.ts";
import type { Shards } from "./shards.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore, EntryRow } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** Beyond this nobody waits any longer for regions that do not confirm; the answer says how far it is. Below the Worker's 10 s. */
export const ALL_MS = 8_000;

export type RevocationsRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly peers: PeerStore;
  readonly writer: EventWriter;
  readonly shards: Shards;
  readonly standing: Standing;
  readonly sync: RegionSync;
  readonly pseudonyms: Pseudonyms;
  readonly forwards: Forwards;
};

/** On whose behalf a revocation is made, and what else its transaction writes. */
export type Cause = { readonly reason_code: string; readonly also?: () => void };
/** A source of signals is degraded (`signals`). */
export const SOURCE = "ssf_source";
const ADMIN: Cause = { reason_code: "admin" };

/** Revocations and trust levels that this region entered: by key, and each by the id of the event that made it. */
export class Revocations {
  readonly #region: Region;
  readonly #room: RevocationsRoom;
  #federation: Federation | null = null;

  constructor(region: Region, room: RevocationsRoom) {
    this.#region = region;
    this.#room = room;
  }

  /** Deny-ward writes are always accepted, also while the region is joining, frozen or cut off. */
  async revoke(message: RevokeMessage, cause: Cause = ADMIN): Promise<AdminResult<RevocationView>> {
    const parsed = parseKey(message.key);
    if (!parsed.ok) return { ok: false, code: "invalid", message: `key: ${parsed.error}` };
    const { store, writer, pseudonyms } = this.#room;
    const call = callOf(message);
    const known = call === null ? null : this.#room.rows.call(call.key, Date.now());
    if (call !== null && known !== null) return this.#again(call, known, message.wait);
    const origin = this.#region.name;
    const pseudonym = pseudonyms.current(message.key);
    const state: EntryState = message.level ?? "revoked";
    const until_ms = message.until_ms ?? null;
    const before = store.entry(pseudonym, origin);
    if (before !== null && saysAlready(before, state, message) && this.#covers(before, cause)) {
      const { revoked_seq: row } = before;
      store.transaction(() => {
        this.#remember(call, row);
        this.#forward(message.key, state, before.from, cause);
        cause.also?.();
      });
      await Promise.all([this.#settle(before, message.wait), this.#asked(message.key, message.wait)]);
      return { ok: true, value: this.#describe(before) };
    }
    if (before?.state === "revoked" && severity(state) < severity("revoked")) {
      return { ok: false, code: "conflict", message: "the key is revoked; restore the revocation first" };
    }
    const { result } = await writer.append(
      {
        kind: state === "revoked" ? "revoke" : "level",
        key: message.key,
        generation: "next",
        from: message.from,
        level: message.level ?? null,
        until_ms,
        reason_code: cause.reason_code,
        actor: message.actor,
        note: message.reason,
      },
      ({ key, generation, revision, row }) => {
        // The same call came twice at once, and the other one was first.
        if (call !== null && this.#room.rows.call(call.key, Date.now()) !== null) return false;
        store.putEntry({
          key,
          clear: message.key,
          origin,
          generation,
          state,
          from: message.from,
          until_ms,
          revoked_seq: row,
          revision,
        });
        this.#remember(call, row);
        this.#forward(message.key, state, message.from, cause);
        cause.also?.();
        return true;
      },
    );
    if (result === "unchecked") return UNCHECKED;
    if (!result) return this.revoke(message, cause);
    const entry = store.entry(pseudonym, origin)!;
    await Promise.all([this.#settle(entry, message.wait), this.#asked(message.key, message.wait)]);
    return { ok: true, value: this.#describe(store.entry(pseudonym, origin)!) };
  }

  /** The same call once more: what it made, as it stands now. */
  async #again(call: IdempotentCall, known: AdminCallRow, wait: Wait): Promise<AdminResult<RevocationView>> {
    if (known.asked !== call.asked) {
      const message = "the idempotency key was used for another revocation";
      return { ok: false, code: "idempotency_conflict", message };
    }
    const row = Number(known.made);
    const found = this.#atRow(row < 0 ? (this.#room.peers.numberedAs(-row) ?? row) : row, null);
    if (!found.ok) return found;
    await this.#settle(found.value, wait);
    return { ok: true, value: this.#describe(found.value) };
  }

  #remember(call: IdempotentCall | null, row: number): void {
    if (call !== null) this.#room.rows.putCall(call.key, { asked: call.asked, made: String(row) }, Date.now());
  }

  /**
   * Whether what stands is enough for this cause. A deny because a source fell silent is lifted when the source is
   * live again, so whoever else revokes the key makes an entry of their own.
   */
  #covers({ revoked_seq: row }: EntryRow, cause: Cause): boolean {
    return cause.reason_code === SOURCE || this.#causeOf(row) !== SOURCE;
  }

  #causeOf(row: number): string | null {
    const { store, peers } = this.#room;
    return row < 0 ? (peers.draft(-row)?.reason_code ?? null) : (store.event(row)?.event.reason_code ?? null);
  }

  /** Whether the revocation was made for this cause. */
  madeFor(id: string, reason_code: string): boolean {
    const made = this.#find(id);
    return made.ok && this.#causeOf(made.value.revoked_seq) === reason_code;
  }

  /** What this region itself says of the key; `restored` where it says nothing. */
  ownState(key: string): EntryState {
    const { store, pseudonyms } = this.#room;
    return store.entry(pseudonyms.current(key), this.#region.name)?.state ?? "restored";
  }

  async restore(
    id: string,
    reason: string,
    actor: string,
    wait: "local" | "all" = "local",
  ): Promise<AdminResult<RevocationView>> {
    const { store, writer } = this.#room;
    // It cites the number of what it lifts, so that has to have one.
    const numbered = await writer.numbered();
    const found = this.#find(id);
    if (!found.ok) return found;
    const entry = found.value;
    if (!numbered && entry.state !== "restored") return UNCHECKED;
    if (entry.state === "restored") {
      await this.#settle(entry, wait);
      return { ok: true, value: this.#describe(entry) };
    }
    if (entry.clear === null)
      return {
        ok: false,
        code: "conflict",
        message: "the event came back from a peer, which has the key's pseudonym only",
      };
    const { result } = await writer.append(
      {
        kind: "restore",
        key: entry.clear,
        generation: "next",
        from: entry.from,
        cites: this.#seqOf(entry.revoked_seq),
        reason_code: "admin",
        actor,
        note: reason,
      },
      ({ generation, revision }) => {
        const current = store.entry(entry.key, entry.origin);
        // Revoked again meanwhile: this restoration cites an event that no longer stands.
        if (current?.revoked_seq !== entry.revoked_seq) return false;
        store.putEntry({ ...entry, generation, state: "restored", until_ms: null, revision });
        this.#room.forwards.drop(entry.clear!);
        return true;
      },
    );
    if (result === "unchecked") return UNCHECKED;
    if (!result)
      return { ok: false, code: "conflict", message: "the key was revoked again; restore the newer revocation" };
    const restored = store.entry(entry.key, entry.origin)!;
    await this.#settle(restored, wait);
    return { ok: true, value: this.#describe(restored) };
  }

  async read(id: string, wait: Wait): Promise<AdminResult<RevocationView>> {
    const found = this.#find(id);
    if (!found.ok) return found;
    const { clear } = found.value;
    await Promise.all([this.#settle(found.value, wait), clear === null ? null : this.#asked(clear, wait)]);
    return { ok: true, value: this.#describe(found.value) };
  }

  list(after: number, limit: number): Awaited<ReturnType<AuthorityRpc["listRevocations"]>> {
    const rows = this.#room.store.revocations(this.#region.name, after, limit + 1);
    const page = rows.slice(0, limit);
    return {
      revocations: page.map((row) => this.#describe(row)),
      next: rows.length > limit ? page.at(-1)!.revision : null,
    };
  }

  /** From storage, not from memory: a superseded twin of this object would fail here instead of letting through. */
  any(keys: readonly string[]): boolean {
    const { store, pseudonyms } = this.#room;
    return keys.some((key) =>
      store
        .entriesOn(pseudonyms.of(key).map(({ text }) => text))
        .some(({ origin, state }) => state === "revoked" && this.#binds(origin, key)),
    );
  }

  /** An administrator rests on these keys: what other regions say counts only where membership names them for it. */
  shutOut(keys: readonly string[]): boolean {
    const { store, pseudonyms, standing } = this.#room;
    const may = standing.federation()?.may_revoke ?? {};
    const counts = (origin: string, key: string): boolean => {
      const kinds = Object.hasOwn(may, origin) ? may[origin]! : [];
      return origin === this.#region.name || kinds.includes("*") || kinds.includes(key.slice(0, key.indexOf(":")));
    };
    return keys.some((key) =>
      store
        .entriesOn(pseudonyms.of(key).map(({ text }) => text))
        .some(({ origin, state }) => state === "revoked" && counts(origin, key)),
    );
  }

  /** The one other region that the key is at home in and that serves; `null` where there is none. */
  #foreignHome(key: string): string | null {
    const federation = this.#compiled();
    const home = federation?.home(key) ?? null;
    return home !== null && home !== this.#region.name && federation!.all.includes(home) ? home : null;
  }

  /**
   * Asks the home for the same, where this region's event does not count there. In the entry's transaction. Only what
   * an administrator did: what a source of signals says is about this region's own streams.
   */
  #forward(key: string, state: EntryState, from: EntryRow["from"], cause: Cause): void {
    const { forwards } = this.#room;
    const home = this.#foreignHome(key);
    if (home === null || cause !== ADMIN) return;
    if (state === "restored" || state === "trusted") return forwards.drop(key);
    if (!this.#bindsIn(home, key)) forwards.note(key, home, state, from);
  }

  /** Whoever waits for an effect waits a little for the home's word too. */
  async #asked(key: string, wait: Wait): Promise<void> {
    const home = this.#foreignHome(key);
    if (home !== null) await this.#room.forwards.send(key, home, wait === "accepted" ? 0 : this.#room.sync.timeout_ms);
  }

  #forwarded({ state, clear }: EntryRow): RevocationView["forwarded"] {
    const home = clear === null ? null : this.#foreignHome(clear);
    if (home === null || state === "restored" || state === "trusted") return {};
    const said = this.#bindsIn(home, clear!) ? "accepted" : this.#room.forwards.said(clear!, home);
    return said === null ? {} : { [home]: said };
  }

  /** Waits as far as it is asked to; what was reached is in the view, whatever was waited for. */
  async #settle(entry: EntryRow, wait: Wait): Promise<void> {
    const { shards, sync } = this.#room;
    // The shards hear of it all the same, and nobody waits.
    shards.spread();
    if (wait === "accepted") return;
    if (wait === "local") return shards.effective(entry.revision);
    const reached = (ack: Acknowledgement): boolean => (wait === "all" ? ack.all : ack.barrier);
    // Away from home no lease ends by itself: whoever has not confirmed after Δ is unconfirmed.
    const away = wait === "barrier" && this.#homeOf(entry) === "away";
    const patience_ms = away ? sync.delta_ms : ALL_MS;
    await sync.until(() => reached(this.#acknowledgement(entry)), Date.now() + patience_ms);
  }

  #acknowledgement(entry: EntryRow): Acknowledgement {
    const { revoked_seq, revision, state } = entry;
    const { sync } = this.#room;
    // The event of a restoration is not kept with the entry: whoever has the whole chain has it.
    const seq = state === "restored" ? sync.state.own.mark.seq : revoked_seq < 0 ? null : this.#seqOf(revoked_seq);
    return sync.acknowledgement({ seq, revision }, this.#homeOf(entry));
  }

  #homeOf({ clear }: EntryRow): Home {
    const federation = this.#compiled();
    if (clear === null || federation === null) return "here";
    return federation.homes(clear).includes(this.#region.name) ? "here" : "away";
  }

  #binds(origin: string, key: string): boolean {
    return origin === this.#region.name || (this.#compiled()?.binds(origin, key) ?? true);
  }

  #compiled(): Federation | null {
    const view = this.#room.standing.federation();
    if (this.#federation?.view !== view) this.#federation = view === null ? null : new Federation(view);
    return this.#federation;
  }

  /** Number of an own event in its chain; its row while it waits for one. */
  #seqOf(row: number): number {
    return this.#room.store.event(row)?.event.seq ?? row;
  }

  #find(id: string): AdminResult<EntryRow> {
    const { store, peers } = this.#room;
    const unknown = this.#unknown(id);
    const waiting = /^([a-z][a-z0-9-]{0,30})\.waiting\.([1-9][0-9]{0,14})$/.exec(id);
    const parts = parseEventId(id);
    let row: number | null = null;
    if (waiting?.[1] === this.#region.name) {
      const numbered = peers.numberedAs(Number(waiting[2]));
      row = numbered === undefined ? null : (numbered ?? -Number(waiting[2]));
    } else if (parts?.origin === this.#region.name) {
      row = store.rowOf(parts.incarnation, parts.seq);
    }
    return row === null ? unknown : this.#atRow(row, id);
  }

  #atRow(row: number, named: string | null): AdminResult<EntryRow> {
    const { store, peers } = this.#room;
    const id = named ?? this.#idOf(row);
    const key = row < 0 ? peers.keyOf(-row) : this.#keyAt(row, id);
    const entry = key === null ? null : store.entry(key, this.#region.name);
    if (entry === null) return this.#unknown(id);
    if (entry.revoked_seq !== row) {
      return {
        ok: false,
        code: "conflict",
        message: `revocation ${id} was superseded by ${this.#idOf(entry.revoked_seq)}`,
      };
    }
    return { ok: true, value: entry };
  }

  #unknown(id: string): AdminResult<never> {
    return { ok: false, code: "not_found", message: `no revocation ${id} was made in region ${this.#region.name}` };
  }

  /** Pseudonym, under today's secret, of the key that the event at `row` took away. */
  #keyAt(row: number, id: string): string | null {
    const found = this.#room.store.event(row);
    if (found === null || (found.event.kind !== "revoke" && found.event.kind !== "level")) return null;
    if (!id.includes(".waiting.") && eventId(found.event) !== id) return null;
    return found.clear === null ? found.event.key : this.#room.pseudonyms.current(found.clear);
  }

  #idOf(row: number): string {
    const found = row < 0 ? null : this.#room.store.event(row);
    return found === null ? `${this.#region.name}.waiting.${-row}` : eventId(found.event);
  }

  #describe(entry: EntryRow): RevocationView {
    const { store, peers, sync } = this.#room;
    const { revoked_seq: row } = entry;
    const made = row < 0 ? null : store.event(row);
    const waiting = row < 0 ? peers.draft(-row) : null;
    const clear = entry.clear ?? entry.key;
    const key = parseKey(clear);
    const federation = this.#compiled();
    const serving = federation?.all ?? [this.#region.name];
    const { mark } = sync.state.own;
    return {
      id: this.#idOf(row),
      key: clear,
      origin: entry.origin,
      generation: entry.generation,
      state: entry.state,
      from: entry.from,
      until_ms: entry.until_ms,
      reason: made?.note ?? waiting?.note ?? "",
      issued_at_ms: made?.event.issued_at_ms ?? waiting?.t_ms ?? 0,
      revision: entry.revision,
      effect: key.ok && bindsDecisions(key.value.kind) ? "denies" : "recorded",
      home: key.ok && federation !== null ? federation.homes(clear) : [this.#region.name],
      binds: serving.filter((region) => this.#bindsIn(region, clear)),
      status: this.#status(entry, clear),
      forwarded: this.#forwarded(entry),
      consistency: encodeConsistency({
        region: this.#region.name,
        revision: entry.revision,
        events: { [this.#region.name]: [mark.incarnation, mark.seq] },
      }),
    };
  }

  /** Whether this region's entry counts in `region`, by the membership as it stands here. */
  #bindsIn(region: string, key: string): boolean {
    if (region === this.#region.name) return true;
    const view = this.#room.standing.federation();
    return view === null || new Federation({ ...view, self: region }).binds(this.#region.name, key);
  }

  /** By region. One where the entry does not count cannot confirm it, whatever it has received. */
  #status(entry: EntryRow, clear: string): RevocationView["status"] {
    const { regions } = this.#acknowledgement(entry);
    return Object.fromEntries(
      Object.entries(regions).map(([region, standing]): [string, RevocationStatus] => [
        region,
        region === this.#region.name
          ? this.#room.shards.statusOf(entry.revision)
          : this.#bindsIn(region, clear)
            ? standing
            : "unconfirmed",
      ]),
    );
  }
}

type IdempotentCall = { readonly key: string; readonly asked: string };

/** Keys are an administrator's own. How long the call waits is no part of what it asks for. */
function callOf(message: RevokeMessage): IdempotentCall | null {
  const { idempotency_key, actor, key, from, reason, level = "revoked", until_ms = null } = message;
  if (idempotency_key === undefined) return null;
  return {
    key: digestOf(jcs([actor, idempotency_key]), nodeSha256),
    asked: digestOf(jcs({ from, key, level, reason, until_ms }), nodeSha256),
  };
}

/** The same again is the same entry; only what says more is a new event. */
function saysAlready(before: EntryRow, state: EntryState, { from, until_ms }: RevokeMessage): boolean {
  if (before.state !== state) return false;
  if (state === "revoked") return before.from === from || before.from === "beginning";
  return before.until_ms === (until_ms ?? null);
}

export const UNCHECKED = {
  ok: false,
  code: "unchecked",
  message: "no peer has yet said that none of this region's events is missing; what gives back waits for that",
} as const;
