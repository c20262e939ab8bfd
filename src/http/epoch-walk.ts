import { err, ok, type Result } from "../base/result.ts";
import type { DroppedEpoch } from "../objects/epochs.ts";
import type { Room } from "./deps.ts";
import { SILENT } from "./epochs.ts";
import { twice } from "../objects/deadline.ts";

/**
 * The way of a search through the log epochs of a region: the running one first, then the one before it, and so on. A
 * page is of one epoch; its token names the epoch, and says where the search began.
 */

const READ_MS = 2_000;

type Entry = { readonly log_epoch: number; readonly shards: number; readonly dropped: DroppedEpoch | null };

/** What became of an epoch in a search, up to and with this page. */
export type EpochReport = {
  readonly log_epoch: number;
  /** `searched` to its end, `begun`, `next` (a later page), or `dropped`: its archive has what it held. */
  readonly state: "searched" | "begun" | "next" | "dropped";
  /** Of one that was dropped: when, and which log its archive holds. */
  readonly dropped: { readonly t_ms: number; readonly size: number; readonly root: string } | null;
};

/** All of them, newest first. */
export class EpochWalk {
  readonly #room: Room;
  readonly #entries: readonly Entry[];

  constructor(room: Room, entries: readonly Entry[]) {
    this.#room = room;
    this.#entries = entries;
  }

  /** The region in that epoch; `null` where it ran none such, or where it was dropped. */
  room(log_epoch: number): Room | null {
    const found = this.#entries.find((entry) => entry.log_epoch === log_epoch);
    if (found === undefined || found.dropped !== null) return null;
    return log_epoch === this.#room.region.log_epoch ? this.#room : { ...this.#room, ...this.#room.epoch(found) };
  }

  isDropped(log_epoch: number): boolean {
    return this.#entries.some((entry) => entry.log_epoch === log_epoch && entry.dropped !== null);
  }

  /** The epoch to search after that one; `null` where there is none. */
  before(log_epoch: number): number | null {
    return this.#entries.find((entry) => entry.log_epoch < log_epoch && entry.dropped === null)?.log_epoch ?? null;
  }

  /** Of a search that began in epoch `first` and has come to `at`; epochs that began later are no part of it. */
  report(first: number, at: number, ended: boolean): readonly EpochReport[] {
    return this.#entries
      .filter(({ log_epoch }) => log_epoch <= first)
      .map(({ log_epoch, dropped }) => {
        if (dropped !== null) {
          const { t_ms, size, root } = dropped;
          return { log_epoch, state: "dropped", dropped: { t_ms, size, root } };
        }
        const state = log_epoch > at || (log_epoch === at && ended) ? "searched" : log_epoch === at ? "begun" : "next";
        return { log_epoch, state, dropped: null };
      });
  }
}

/** Asks the authority which epochs there were; one that was dropped since must not be made again by asking it. */
export async function epochWalk(room: Room): Promise<Result<EpochWalk, typeof SILENT>> {
  const { log_epoch, shards } = room.region;
  const running: Entry = { log_epoch, shards, dropped: null };
  if (log_epoch === 1) return ok(new EpochWalk(room, [running]));
  try {
    const listed = await twice(READ_MS, () => room.authority().epochs());
    const past = listed.filter((epoch) => epoch.log_epoch < log_epoch).sort((a, b) => b.log_epoch - a.log_epoch);
    return ok(new EpochWalk(room, [running, ...past]));
  } catch {
    return err(SILENT);
  }
}
