import { parseDecisionId, parseRunId } from "../../src/base/ids.ts";
import { inEpoch, shardAt, shardOfRun, type Env } from "../../src/objects/address.ts";
import type { EpochView } from "../../src/objects/epochs.ts";
import type { ErasureTarget, PrepareErasureAnswer } from "../../src/objects/erasure.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { withDeadline } from "../../src/objects/deadline.ts";
import type { Region } from "../../src/region/config.ts";
import type { ShardPart, ShardPlace } from "./erasure-rows.ts";
import type { AuthorityStore } from "./store.ts";

/** All shards together have this long to say what is asked for; the administrator waits 12 s. */
const PREPARE_MS = 9_000;
/** A shard that its epoch was ended without does not hold up the others for longer. */
const LEFT_MS = 2_000;

/** `unasked`: shards that their epoch was ended without, and that did not answer. */
export type Prepared = { readonly parts: readonly ShardPart[]; readonly unasked: readonly ShardPlace[] };

/** What an erasure means in each shard of each log epoch that is held: in the shards' own terms, asked of them. */
export class ErasureTargets {
  readonly #env: Env;
  readonly #region: Region;
  readonly #store: AuthorityStore;

  constructor(env: Env, region: Region, store: AuthorityStore) {
    this.#env = env;
    this.#region = region;
    this.#store = store;
  }

  /** Why the target cannot be of this region; `null` where it can. */
  foreign(target: ErasureTarget): string | null {
    if (target.kind !== "run" && target.kind !== "decision") return null;
    const named = target.kind === "run" ? target.run : target.id;
    const parts = target.kind === "run" ? parseRunId(named) : parseDecisionId(named);
    const epoch = this.#store.epochs().find(({ log_epoch }) => log_epoch === parts?.log_epoch);
    if (parts?.region !== this.#region.name || epoch === undefined)
      return `${named}: is not a ${target.kind} of region ${this.#region.name}`;
    return epoch.dropped === null
      ? null
      : `${named}: log epoch ${epoch.log_epoch} was dropped, and all payloads with it`;
  }

  /** Epochs whose shards hold records. */
  get held(): readonly EpochView[] {
    return this.#store.epochs().filter(({ dropped }) => dropped === null);
  }

  /** Shards that may hold something of the target. */
  #asked(target: ErasureTarget): readonly ShardPlace[] {
    const held = this.held;
    if (target.kind === "run") {
      const epoch = held.find(({ log_epoch }) => log_epoch === parseRunId(target.run)?.log_epoch);
      return epoch === undefined ? [] : [{ log_epoch: epoch.log_epoch, shard: shardOfRun(target.run, epoch.shards) }];
    }
    if (target.kind === "decision") {
      const { log_epoch, shard } = parseDecisionId(target.id)!;
      const epoch = held.find((one) => one.log_epoch === log_epoch);
      return epoch === undefined || shard >= epoch.shards ? [] : [{ log_epoch, shard }];
    }
    return held.flatMap(({ log_epoch, shards }) =>
      Array.from({ length: shards }, (_, shard) => ({ log_epoch, shard })),
    );
  }

  /** A new stub each time: one that threw is never used again. */
  stub({ log_epoch, shard }: ShardPlace): ShardRpc {
    return shardAt(this.#env, inEpoch(this.#region, { log_epoch, shards: this.#region.shards }), shard);
  }

  /** `null`: there is no such thing. Throws where a shard does not answer: nothing is entered then. */
  async prepare(target: ErasureTarget): Promise<Prepared | null> {
    const asked = this.#asked(target);
    const one = target.kind === "run" || target.kind === "decision";
    if (one && asked.length === 0) return null;
    const answers = await withDeadline(
      Promise.all(asked.map(async (place) => ({ place, answer: await this.#ask(place, target, one) }))),
      PREPARE_MS,
    );
    const parts: ShardPart[] = [];
    const unasked: ShardPlace[] = [];
    for (const { place, answer } of answers) {
      if (answer === null) {
        unasked.push(place);
        continue;
      }
      if (!answer.ok) return null;
      if (answer.selector !== null) parts.push({ ...place, selector: answer.selector });
    }
    return { parts, unasked };
  }

  /** `null`: the epoch was ended without this shard, and it still does not answer. */
  async #ask(place: ShardPlace, target: ErasureTarget, alone: boolean): Promise<PrepareErasureAnswer | null> {
    const asked = this.stub(place).prepareErasure(target);
    const isLeft = this.held.some(({ log_epoch, left }) => log_epoch === place.log_epoch && left.includes(place.shard));
    return isLeft && !alone ? withDeadline(asked, LEFT_MS).catch(() => null) : asked;
  }
}
