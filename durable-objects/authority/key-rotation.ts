import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { gate } from "../../src/credentials/gate.ts";
import { thumbprintOf } from "../../src/credentials/thumbprint.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { KeysView, NextKeyMessage, OwnKeyView, SwitchKeyMessage } from "../../src/objects/keys.ts";
import type { Region } from "../../src/region/config.ts";
import { listedKey, speaks, validityOf, type KeyValidity } from "../../src/trust/key-validity.ts";
import { keyKey } from "../../src/trust/keys.ts";
import { nodeSha256, signJws } from "../platform.ts";
import type { AdminRows } from "./admin-rows.ts";
import type { CertifiedKeys } from "./keys.ts";
import type { OwnKeys } from "./own-keys.ts";
import { UNCHECKED } from "./revocations.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** How long a switch waits for peers to say that they hold the membership. Below the Worker's 12 s. */
const PEERS_MS = 5_000;
const ASK_MS = 500;
/** Own events that are signed anew, read at a time. */
const PAGE = 500;
const SET_LIMITS = { what: "event", max_chars: 16_384, limits: { max_depth: 8, max_values: 200 } };
const REGION = "region";

type Refusal = Extract<AdminResult<never>, { ok: false }>;

export type KeyRotationRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly own: OwnKeys;
  readonly keys: CertifiedKeys;
  readonly writer: EventWriter;
  readonly standing: Standing;
  readonly sync: RegionSync;
  /** The own snapshot is offered under the key in use. */
  readonly signSnapshot: () => Promise<void>;
};

/**
 * The authority changes its key while it runs (docs/operations/rotate-keys.md): it makes the next one, the roots list
 * it beside the one in use, the peers have that membership, and then the last event under the old key names the new
 * one and the first under the new key says so. Each step is one transaction; a start goes on with the next.
 *
 * Where the roots take the key in use away, there is nothing to wait for and nobody who could sign the change: the next
 * key, where they list it, is in use at once. What the region had signed behind the last event that counts is signed
 * anew: the events stay what they are.
 */
export class KeyRotation {
  readonly #region: Region;
  readonly #room: KeyRotationRoom;
  #looking: Promise<unknown> = Promise.resolve();

  constructor(region: Region, room: KeyRotationRoom) {
    this.#region = region;
    this.#room = room;
  }

  view(): KeysView {
    const { own, standing, store, sync } = this.#room;
    const version = standing.membership?.version ?? null;
    const behind = version === null ? [] : sync.behind(version);
    const next = own.next;
    const listed = next !== null && speaks(this.#listed(next.publicJwk));
    return {
      region: this.#region.name,
      membership_version: version,
      current: this.#describe(own.current.publicJwk),
      next: next === null ? null : this.#describe(next.publicJwk),
      past: own.past.flatMap((past) => {
        const jwk = this.#room.keys.find(past.kid);
        return jwk === undefined
          ? []
          : [{ ...this.#describe(jwk), incarnation: past.incarnation, until_seq: past.until_seq }];
      }),
      waits_for: next === null ? null : !listed ? "membership" : behind.length > 0 ? "peers" : null,
      behind,
      seq: sync.state.own.mark.seq,
      certified: store.certified().map(({ jwk, role }) => ({ kid: jwk.kid, role })),
    };
  }

  #describe(jwk: PublicJwk): OwnKeyView {
    return { kid: jwk.kid, thumbprint: thumbprintOf(jwk, nodeSha256), membership: this.#room.keys.standingOf(jwk) };
  }

  #member() {
    return this.#room.standing.membership?.regions.find(({ region }) => region === this.#region.name);
  }

  #listed({ kid, x }: PublicJwk): KeyValidity | null {
    return listedKey(this.#member(), kid, x);
  }

  async next({ reason, actor, idempotency_key }: NextKeyMessage): Promise<AdminResult<KeysView>> {
    const { own, keys, rows, writer } = this.#room;
    const asked = digestOf(jcs({ what: "next_key", reason, actor }), nodeSha256);
    const known = idempotency_key === undefined ? null : rows.call(idempotency_key, Date.now());
    if (known !== null && known.asked !== asked)
      return { ok: false, code: "idempotency_conflict", message: "the idempotency key was used for something else" };
    if (known !== null) return { ok: true, value: this.view() };
    const before = own.next;
    // One that the roots have taken away before its first use is of no use.
    const spent = before !== null && this.#taken(before.publicJwk);
    if (before === null || spent) {
      if (!(await writer.numbered())) return UNCHECKED;
      const n = this.#lastNumber() + 1;
      const made = await own.make(`${this.#region.name}.${this.#region.log_epoch}.authority.${n}`);
      const { result } = await writer.append(
        {
          kind: "key",
          key: keyKey(thumbprintOf(made.publicJwk, nodeSha256)),
          generation: n,
          reason_code: "next_key",
          actor,
          note: `${made.publicJwk.kid}: ${reason}`,
        },
        ({ row }) => {
          // Unnumbered after all; or asked for twice at once, and the other one was first.
          if (row < 0 || own.next?.kid !== before?.kid) return false;
          made.keep();
          keys.add(made.publicJwk, "authority", row);
          if (idempotency_key !== undefined)
            rows.putCall(idempotency_key, { asked, made: made.publicJwk.kid }, Date.now());
          return true;
        },
      );
      if (result !== true && own.next === null) return UNCHECKED;
    }
    return { ok: true, value: this.view() };
  }

  #taken(jwk: PublicJwk): boolean {
    const listed = this.#listed(jwk);
    return listed !== null && !speaks(listed);
  }

  /** Highest number of an authority key, here or in the membership: storage that was put back forgets one. */
  #lastNumber(): number {
    const kids = [...this.#room.keys.ofRole("authority"), ...(this.#member()?.keys ?? [])].map(({ kid }) => kid);
    const numbers = kids.map((kid) => Number(/\.authority\.([1-9][0-9]{0,8})$/.exec(kid)?.[1] ?? "0"));
    return Math.max(1, ...numbers);
  }

  async switch({ reason, actor, force }: SwitchKeyMessage): Promise<AdminResult<KeysView>> {
    const done = await this.#advance(reason, actor, force === true);
    return done ?? { ok: true, value: this.view() };
  }

  /** A start or a membership: goes on where it can. What stands against it is said when somebody asks for the switch. */
  look(): void {
    this.#looking = this.#looking
      .then(() => this.#go())
      .catch((cause: unknown) => {
        console.error(JSON.stringify({ level: "error", event: "key_rotation_failed", message: String(cause) }));
      });
  }

  async #go(): Promise<void> {
    const { own } = this.#room;
    await this.#finish("goes on", REGION);
    if (own.next !== null && speaks(this.#listed(own.next.publicJwk)))
      await this.#advance("the membership lists it", REGION, false);
  }

  /** What follows from a change of the key, and is done anew where it was not done. */
  async #finish(reason: string, actor: string): Promise<void> {
    await this.#signAnew();
    await this.#say(reason, actor);
  }

  /** `null`: the next key is in use. */
  async #advance(reason: string, actor: string, force: boolean): Promise<Refusal | null> {
    const { own, standing, sync, writer } = this.#room;
    const { current, next } = own;
    const wrong = (message: string): Refusal => ({ ok: false, code: "wrong_order", message });
    if (next === null) return wrong("there is no next key: interlock keys next comes first");
    const version = standing.membership?.version ?? 0;
    const listed = this.#listed(next.publicJwk);
    if (listed === null)
      return wrong(
        `membership version ${version} does not list ${next.kid}: enrol, have the roots sign, activate it in every region; then switch`,
      );
    if (!speaks(listed))
      return wrong(`membership version ${version} says that ${next.kid} signs nothing: make another`);
    if (!speaks(this.#listed(current.publicJwk))) await this.#replace();
    else {
      if (!force && !(await this.#peersHold(version)))
        return {
          ok: false,
          code: "peers_behind",
          message: `${sync.behind(version).join(", ")}: not heard to hold membership version ${version}, and would deny what rests on this region; activate it there, or force the switch`,
        };
      if (!(await writer.numbered())) return UNCHECKED;
      const first = sync.state.own.mark.seq + 2;
      if (listed.from_seq > first)
        return wrong(`${next.kid} may sign from event ${listed.from_seq} on, and ${first} would be its first`);
      await this.#rotate(next.kid, next.publicJwk, reason, actor);
      if (own.current.kid !== next.kid) return UNCHECKED;
    }
    await this.#finish(reason, actor);
    return null;
  }

  async #peersHold(version: number): Promise<boolean> {
    const { sync } = this.#room;
    for (const end = Date.now() + PEERS_MS; Date.now() < end;) {
      if (sync.behind(version).length === 0) return true;
      // A region that is idle polls nobody, and is told nothing.
      sync.askAll();
      await sync.until(() => sync.behind(version).length === 0, Date.now() + ASK_MS);
    }
    return sync.behind(version).length === 0;
  }

  /** The last event under the old key, and with it the change. */
  async #rotate(kid: string, jwk: PublicJwk, reason: string, actor: string): Promise<void> {
    const { own, standing, store, writer } = this.#room;
    await writer.append(
      {
        kind: "key",
        key: keyKey(thumbprintOf(jwk, nodeSha256)),
        generation: numberOf(kid),
        reason_code: "rotated",
        actor,
        note: `${kid}: ${reason}`,
      },
      ({ row }) => {
        if (row < 0 || own.next?.kid !== kid) return false;
        const { incarnation } = standing;
        own.advance({ incarnation, seq: store.head(incarnation).seq + 1 });
        return true;
      },
    );
  }

  /** The membership's own event did it where it could be numbered; this is for where it could not. */
  #replace(): Promise<void> {
    const { own, standing, store, writer } = this.#room;
    return writer.alone(async () => {
      if (own.replacement(this.#member()) !== null)
        store.transaction(() => own.replace(this.#member(), standing.incarnation));
    });
  }

  /** The first event under the key in use. A crash before it is made good at the next start. */
  async #say(reason: string, actor: string): Promise<void> {
    const { own, writer, signSnapshot } = this.#room;
    const kid = own.unsaid;
    if (kid === null || kid !== own.current.kid) return;
    await signSnapshot();
    await writer.append(
      {
        kind: "key",
        key: keyKey(thumbprintOf(own.current.publicJwk, nodeSha256)),
        generation: numberOf(kid),
        reason_code: "in_use",
        actor,
        note: `${kid}: ${reason}`,
      },
      () => {
        if (own.unsaid !== kid) return false;
        own.said();
        return true;
      },
    );
  }

  /**
   * Own events behind the last one that counts under their key. Their digests do not cover the signature, so the chain
   * stays; a peer that holds them already under the old key is told by the roots, with another incarnation.
   */
  async #signAnew(): Promise<void> {
    const { own, standing, store, writer } = this.#room;
    const member = this.#member();
    if (member === undefined || !speaks(this.#listed(own.current.publicJwk))) return;
    const ends = new Map(
      own.past.map(({ kid }) => [kid, validityOf(member, kid).last_seq ?? Number.MAX_SAFE_INTEGER] as const),
    );
    const first = Math.min(...ends.values()) + 1;
    const { incarnation } = standing;
    if (ends.size === 0 || first > store.head(incarnation).seq) return;
    await writer.alone(async () => {
      for (let from = first; ; from += PAGE) {
        const sets = store.sets(incarnation, from, PAGE);
        for (const [at, set] of sets.entries()) {
          const read = set === "" ? null : gate(set, SET_LIMITS);
          const kid = read?.ok === true ? read.value.header["kid"] : undefined;
          if (read?.ok !== true || typeof kid !== "string" || from + at <= (ends.get(kid) ?? Number.MAX_SAFE_INTEGER))
            continue;
          const again = await signJws(own.current, "secevent+jwt", JSON.stringify(read.value.claims));
          store.resign(incarnation, from + at, again);
        }
        if (sets.length < PAGE) return;
      }
    });
  }
}

const numberOf = (kid: string): number => Number(kid.slice(kid.lastIndexOf(".") + 1));
