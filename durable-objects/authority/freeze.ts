import type { AdminResult, AuthorityStatus } from "../../src/objects/authority.ts";
import type { FreezeView, UnfreezeMessage, UnfreezeRequest } from "../../src/objects/freeze.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import { UNCHECKED } from "./revocations.ts";
import type { Shards } from "./shards.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** How long the second administrator has. */
const ASKED_MS = 600_000;
const ASKED = "unfreeze_asked";

type Asked = UnfreezeRequest & { readonly key: string };

export type FreezeRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly writer: EventWriter;
  readonly shards: Shards;
  readonly standing: Standing;
  readonly status: () => AuthorityStatus;
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
    return now < asked.expires_ms && now >= asked.asked_at_ms ? asked : null;
  }

  /** Freezing again takes back what was asked: whoever disagrees with lifting it says so by freezing. */
  async freeze(reason: string, actor: string): Promise<AdminResult<FreezeView>> {
    const { store, standing } = this.#room;
    store.setMeta(ASKED, "");
    if (!standing.frozen) await this.#append("freeze", reason, actor, () => standing.setFrozen(true));
    return this.#settled();
  }

  async unfreeze({ reason, actor, key, another_key }: UnfreezeMessage): Promise<AdminResult<FreezeView>> {
    const { store, standing } = this.#room;
    if (!standing.frozen) return this.#settled();
    const asked = this.#asked();
    const isOther = asked !== null && asked.asked_by !== actor && !(another_key && asked.key === key);
    if (!isOther) {
      if (asked === null || asked.asked_by === actor) return this.#ask(reason, actor, key);
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
    return this.#settled();
  }

  /** Asking again begins the time anew, with the new reason. */
  #ask(reason: string, actor: string, key: string): AdminResult<FreezeView> {
    const { store, rows, writer } = this.#room;
    const t_ms = Date.now();
    const asked: Asked = { asked_by: actor, reason, asked_at_ms: t_ms, expires_ms: t_ms + ASKED_MS, key };
    recordAct(rows, writer, { what: "unfreeze_asked", actor, reason, t_ms }, () =>
      store.setMeta(ASKED, JSON.stringify(asked)),
    );
    return { ok: true, value: this.#view() };
  }

  async #append(
    kind: "freeze" | "unfreeze",
    note: string,
    actor: string,
    change: () => boolean | void,
  ): Promise<boolean | void | "unchecked"> {
    const { store, writer } = this.#room;
    const key = regionKey(this.#region.name);
    const generation = store.revision() + 1;
    return (await writer.append({ kind, key, generation, reason_code: "admin", actor, note }, change)).result;
  }

  async #settled(): Promise<AdminResult<FreezeView>> {
    const { store, shards } = this.#room;
    await shards.effective(store.revision());
    return { ok: true, value: this.#view() };
  }

  #view(): FreezeView {
    const { store, shards, status } = this.#room;
    return { ...status(), status: { [this.#region.name]: shards.statusOf(store.revision()) } };
  }
}
