import { base64url } from "../../src/base/bytes.ts";
import { shardAt, type Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { ReplayView, ShardReplay, StartReplayMessage } from "../../src/objects/replay.ts";
import type { Region } from "../../src/region/config.ts";
import { randomBytes } from "../platform.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import { pause } from "./pause.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** A shard that has not said how far it is by then is named as silent; it is asked again by the next look. */
const SHARD_MS = 3_000;
const ASKED = "replay_asked";

type Asked = {
  readonly id: string;
  /** Absent: asked before it was kept. */
  readonly log_epoch?: number;
  readonly from_ms: number;
  readonly reason: string;
  readonly t_ms: number;
};

export type ReplaysRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly writer: EventWriter;
};

/** An administrator has every shard decide its records again; one such order at a time, kept until the next. */
export class Replays {
  readonly #env: Env;
  readonly #region: Region;
  readonly #room: ReplaysRoom;
  #starting: Promise<unknown> = Promise.resolve();

  constructor(env: Env, region: Region, room: ReplaysRoom) {
    this.#env = env;
    this.#region = region;
    this.#room = room;
  }

  /** One after the other: whether an order is running is asked of the shards, and others may come meanwhile. */
  start(message: StartReplayMessage): Promise<AdminResult<ReplayView>> {
    const started = this.#starting.then(() => this.#start(message));
    this.#starting = started.catch(() => undefined);
    return started;
  }

  async #start({ from_ms, reason, actor }: StartReplayMessage): Promise<AdminResult<ReplayView>> {
    const running = await this.view();
    if (running?.state === "running" && running.since_ms === from_ms) return { ok: true, value: running };
    // Not for a shard that says nothing: one that is broken would stand in the way for ever.
    if (running?.shards.some(({ state }) => state === "running"))
      return { ok: false, code: "conflict", message: `replay ${running.id} is still running` };
    const { store, rows, writer } = this.#room;
    const { log_epoch } = this.#region;
    const asked: Asked = { id: base64url(randomBytes(12)), log_epoch, from_ms, reason, t_ms: Date.now() };
    const act = { what: "replay_asked", actor, reason: `${asked.id} ${reason}`, t_ms: asked.t_ms } as const;
    recordAct(rows, writer, act, () => store.setMeta(ASKED, JSON.stringify(asked)));
    return { ok: true, value: await this.#ask(asked) };
  }

  /** `null`: nothing was asked for, or in an epoch that has ended, whose shards are not asked any more. */
  async view(): Promise<ReplayView | null> {
    const text = this.#room.store.meta(ASKED);
    if (text === null) return null;
    const asked = JSON.parse(text) as Asked;
    const { log_epoch } = this.#region;
    return (asked.log_epoch ?? log_epoch) === log_epoch ? this.#ask(asked) : null;
  }

  /** Asking is ordering: a shard that did not hear of it before begins now, and one that slept goes on. */
  async #ask({ id, from_ms, reason, t_ms }: Asked): Promise<ReplayView> {
    const shards = await Promise.all(
      Array.from({ length: this.#region.shards }, async (_, shard) => {
        const asked = shardAt(this.#env, this.#region, shard)
          .replayAll({ v: 1, id, from_ms })
          .catch(() => null);
        return (await Promise.race([asked, pause(SHARD_MS).then(() => null)])) ?? ({ shard, state: "silent" } as const);
      }),
    );
    const heard = shards.flatMap((shard): readonly ShardReplay[] => (shard.state === "silent" ? [] : [shard]));
    const counts: Record<string, number> = {};
    for (const shard of heard)
      for (const [word, n] of Object.entries(shard.counts)) counts[word] = (counts[word] ?? 0) + n;
    const done = shards.every(({ state }) => state === "done");
    const sum = (of: (shard: ShardReplay) => number): number => heard.reduce((all, shard) => all + of(shard), 0);
    return {
      region: this.#region.name,
      id,
      since_ms: from_ms,
      reason,
      asked_ms: t_ms,
      state: done ? "done" : "running",
      verdict: verdictOf(counts, done),
      looked: sum(({ looked }) => looked),
      of: sum(({ of }) => of),
      counts,
      shards,
    };
  }
}

function verdictOf(counts: Readonly<Record<string, number>>, done: boolean): ReplayView["verdict"] {
  const found = new Set(Object.keys(counts).map((word) => word.split(" ")[0]));
  // Under its own key a payload always opens.
  if (found.has("different") || "unreplayable unreadable" in counts) return "different";
  if (!done) return null;
  return found.has("unreplayable") ? "incomplete" : "identical";
}
