import { inEpoch, regionLog, shardAt, type Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { DropEpochMessage, EpochStatus, EpochView } from "../../src/objects/epochs.ts";
import { withDeadline } from "../../src/objects/deadline.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import type { Epochs } from "./epochs.ts";
import { restateErasures } from "./erasure-leaves.ts";
import { ErasureRows } from "./erasure-rows.ts";
import { pause } from "./pause.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** One request of an administrator waits this long for the objects; they are emptied all the same. */
const DROP_MS = 5_000;
/** `deleteAll` of a large object takes its time; one that was done and not heard of is done again. */
const EMPTY_MS = 60_000;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 30_000;

/**
 * Past epochs that were archived, and whose objects are emptied (docs/operations/archive.md). In this order: an event
 * and a leaf in the running log, with the mark that makes every read answer 410; then the shards; then the log. A crash
 * in between is gone on from at the next start.
 */
export class EpochDrops {
  readonly #env: Env;
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly #epochs: Epochs;
  readonly #erasures: ErasureRows;
  #driving: Promise<void> | null = null;

  constructor(
    env: Env,
    region: Region,
    storage: DurableObjectStorage,
    store: AuthorityStore,
    writer: EventWriter,
    epochs: Epochs,
  ) {
    this.#erasures = new ErasureRows(storage);
    this.#env = env;
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.#epochs = epochs;
  }

  /** Goes on with what was under way. */
  start(): void {
    if (this.#unfinished().length > 0) void this.#drive();
  }

  async drop(message: DropEpochMessage): Promise<AdminResult<EpochStatus>> {
    const { log_epoch, size, root, reason, actor } = message;
    const refused = await this.#problem(message);
    if (refused !== null) return refused;
    // From here to the event no `await`: the same order given twice at once is one.
    if (this.#find(log_epoch)?.dropped === null) {
      const t_ms = Date.now();
      const draft = { kind: "epoch", key: regionKey(this.#region.name), reason_code: "dropped" } as const;
      await this.#writer.append({ ...draft, generation: log_epoch, actor, note: reason }, () => {
        if (this.#find(log_epoch)?.dropped !== null) return false;
        this.#store.setDropped(log_epoch, { t_ms, size, root, done: false });
        this.#erasures.markDropped(log_epoch);
        restateErasures(log_epoch, { rows: this.#erasures, store: this.#store, writer: this.#writer });
        this.#writer.storeLeaf("log.drop", { log_epoch, root, size }, t_ms, new Uint8Array(0));
        return true;
      });
    }
    await Promise.race([this.#drive(), pause(DROP_MS)]);
    return { ok: true, value: await this.#epochs.status() };
  }

  #find(log_epoch: number): EpochView | undefined {
    return this.#store.epochs().find((epoch) => epoch.log_epoch === log_epoch);
  }

  /** Why that epoch may not be dropped, or not with this confirmation. */
  async #problem({
    log_epoch,
    size,
    root,
  }: DropEpochMessage): Promise<Exclude<AdminResult<never>, { ok: true }> | null> {
    const conflict = (message: string) => ({ ok: false, code: "conflict", message }) as const;
    const epoch = this.#find(log_epoch);
    if (epoch === undefined)
      return { ok: false, code: "not_found", message: `this region has run no log epoch ${log_epoch}` };
    if (epoch.dropped !== null) {
      const same = epoch.dropped.size === size && epoch.dropped.root === root;
      return same
        ? null
        : conflict(`log epoch ${log_epoch} was dropped with size ${epoch.dropped.size} and another root`);
    }
    if (log_epoch >= this.#region.log_epoch || this.#epochs.problem !== null)
      return conflict(
        this.#epochs.problem ?? `log epoch ${log_epoch} is the one that runs: seal it, let the next begin`,
      );
    // The next log begins with the end of the one before: until it has, that one is still needed.
    const running = await regionLog(this.#env, this.#region).status();
    if (running.state !== "open") return conflict(`the log of the running epoch is ${running.state}: it must be open`);
    const past = await regionLog(this.#env, inEpoch(this.#region, epoch)).status();
    if (past.state !== "sealed")
      return conflict(`the log of epoch ${log_epoch} is ${past.state}: only a sealed one is dropped`);
    if (past.anchored_size !== past.size)
      return conflict(`the last checkpoint of log epoch ${log_epoch} has no quorum of witnesses yet`);
    return past.size === size && past.root === root
      ? null
      : conflict(
          `log epoch ${log_epoch} has ${past.size} leaves and root ${past.root}: what was archived is another log`,
        );
  }

  #unfinished(): readonly EpochView[] {
    return this.#store.epochs().filter(({ dropped }) => dropped?.done === false);
  }

  #drive(): Promise<void> {
    this.#driving ??= this.#driveAll().finally(() => {
      this.#driving = null;
    });
    return this.#driving;
  }

  async #driveAll(): Promise<void> {
    for (let wait_ms = RETRY_MS; ; wait_ms = Math.min(2 * wait_ms, RETRY_MAX_MS)) {
      const [epoch] = this.#unfinished();
      if (epoch === undefined) return;
      try {
        await this.#empty(epoch);
        this.#store.setDropped(epoch.log_epoch, { ...epoch.dropped!, done: true });
        wait_ms = RETRY_MS;
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(
          JSON.stringify({ level: "warn", event: "epoch_not_dropped", log_epoch: epoch.log_epoch, message }),
        );
        await pause(wait_ms);
      }
    }
  }

  /** The log last: a shard that starts may ask it. Each may be emptied twice. */
  async #empty(epoch: EpochView): Promise<void> {
    const at = inEpoch(this.#region, epoch);
    for (let k = 0; k < epoch.shards; k++) {
      const emptied = withDeadline(shardAt(this.#env, at, k).drop({ v: 1 }), EMPTY_MS);
      if (!epoch.left.includes(k)) await emptied;
      // It did not answer when the epoch ended: nothing waits for it, and nothing asks it again.
      else
        await emptied.catch(() =>
          console.warn(JSON.stringify({ level: "warn", event: "shard_not_emptied", ...epoch, shard: k })),
        );
    }
    await regionLog(this.#env, at).drop({ v: 1 });
  }
}
