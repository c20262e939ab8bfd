import { base64url } from "../../src/base/bytes.ts";
import { parseDecisionId, parseRunId } from "../../src/base/ids.ts";
import { jcs } from "../../src/base/jcs.ts";
import { COMMITMENT_SALT_BYTES, commitment } from "../../src/lineage/record.ts";
import { shardAt, shardOfRun, type Env } from "../../src/objects/address.ts";
import type { AdminResult, AuthorityRpc } from "../../src/objects/authority.ts";
import type {
  EraseOrder,
  ErasureGround,
  ErasureTarget,
  ErasureView,
  JournalEntry,
  ShardSelector,
} from "../../src/objects/erasure.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import { ErasureRows, type ErasureRow, type ErasureShardRow } from "./erasure-rows.ts";
import { pause } from "./pause.ts";
import type { Rewind } from "./rewind.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** Records in one leaf: it stays below 60,000 bytes. */
const RECORDS_PER_LEAF = 1_000;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 30_000;
const DAY_MS = 86_400_000;
/** When an alarm looks again: for what is pending, and for what has become too old. */
const PENDING_MS = 60_000;
const RETENTION_MS = 3_600_000;

type Part = { readonly shard: number; readonly selector: ShardSelector };

/**
 * The journal of erasures (DESIGN section 9, G11). An entry says what each shard has to erase, in the shard's own terms:
 * tags and numbers, no names. It is entered with a leaf of its own, driven until each shard has carried it out, and sent
 * again to a shard that no longer has: one whose storage was put back. Every payload erased has one `erasure` leaf.
 */
export class Erasures {
  readonly #env: Env;
  readonly #region: Region;
  readonly #storage: DurableObjectStorage;
  readonly #store: AuthorityStore;
  readonly #rows: ErasureRows;
  readonly #writer: EventWriter;
  readonly #rewind: Rewind;
  readonly #driving = new Set<number>();

  constructor(
    env: Env,
    region: Region,
    storage: DurableObjectStorage,
    store: AuthorityStore,
    writer: EventWriter,
    rewind: Rewind,
  ) {
    this.#env = env;
    this.#region = region;
    this.#storage = storage;
    this.#store = store;
    this.#rows = new ErasureRows(storage, region.log_epoch);
    this.#writer = writer;
    this.#rewind = rewind;
  }

  /** Goes on with what was under way. */
  start(): void {
    this.#kick();
    void this.#arm();
  }

  /** Must not throw: the platform rings a few times more, and then never. */
  async alarm(): Promise<void> {
    this.#kick();
    try {
      await this.retain(Date.now());
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "retention_delayed", message }));
      return this.#arm(PENDING_MS);
    }
    await this.#arm();
  }

  // ── the journal ─────────────────────────────────────────────────────────────────────────────────────────────────

  async erase(order: EraseOrder): Promise<AdminResult<ErasureView>> {
    const problem = this.#foreign(order.target);
    if (problem !== null) return { ok: false, code: "not_found", message: problem };
    const prepared = await this.#prepare(order.target);
    if (prepared === null) return { ok: false, code: "not_found", message: "this region has no such decision or run" };
    const closed = this.#closed;
    if (closed !== null) return { ok: false, code: "conflict", message: closed };
    // From here to the entry no `await`: the same order asked twice at once is one.
    const known = this.#known(order, prepared);
    if (known !== null) return known;
    const id = this.#newId();
    return { ok: true, value: this.#enter({ ...rowOf(order), id, t_ms: Date.now() }, prepared) };
  }

  /** The same content under the same key, or under none and not done yet, is the same entry. */
  #known(order: EraseOrder, parts: readonly Part[]): AdminResult<ErasureView> | null {
    const same = (row: ErasureRow): boolean =>
      row.ground === order.ground &&
      row.what === order.target.kind &&
      content(this.#rows.shardsOf(row.seq)) === content(parts);
    if (order.idempotency_key === null) {
      const row = this.#rows.pending().find(same);
      return row === undefined ? null : { ok: true, value: this.#describe(row) };
    }
    const row = this.#rows.byKey(order.idempotency_key);
    if (row === null) return null;
    return same(row)
      ? { ok: true, value: this.#describe(row) }
      : { ok: false, code: "conflict", message: "the idempotency key was used for another erasure" };
  }

  #enter(entry: Omit<ErasureRow, "seq">, parts: readonly Part[]): ErasureView {
    const row = { ...entry, seq: this.#rows.head() + 1 };
    const salt = randomBytes(COMMITMENT_SALT_BYTES);
    const text = jcs({ ...row, shards: parts });
    this.#writer.record((leaf) => {
      this.#rows.add(row, parts);
      leaf(
        "erasure.order",
        { commit: commitment("input", salt, text, nodeSha256), ground: row.ground, seq: row.seq },
        row.t_ms,
        salt,
      );
    });
    this.#kick();
    void this.#arm();
    return this.#describe(row);
  }

  /** Why nothing is entered; `null` while entries are. What is entered is carried out in the epoch of now, or never. */
  get #closed(): string | null {
    if (this.#rewind.noted) return "the authority's storage was put back: restore the region first";
    const { log_epoch } = this.#region;
    const newest = this.#store.epochs().at(-1);
    if (newest !== undefined && newest.log_epoch !== log_epoch)
      return `log epoch ${log_epoch} is not the one that runs`;
    return (newest?.next ?? null) === null
      ? null
      : `log epoch ${log_epoch + 1} was let in: nobody would carry it out after the change of INTERLOCK_LOG_EPOCH`;
  }

  get #prefix(): string {
    return `${this.#region.name}.${this.#region.log_epoch}.e.`;
  }

  #newId(): string {
    return this.#prefix + base64url(randomBytes(16));
  }

  reenter(entries: readonly JournalEntry[]): AdminResult<readonly ErasureView[]> {
    const closed = this.#closed;
    if (closed !== null) return { ok: false, code: "conflict", message: closed };
    // What a shard has to erase it says in numbers of one log epoch: in another they are other records.
    const foreign = entries.find(
      ({ id, shards }) =>
        this.#rows.byId(id) === null &&
        (!id.startsWith(this.#prefix) || shards.some(({ shard }) => shard >= this.#region.shards)),
    );
    if (foreign !== undefined)
      return {
        ok: false,
        code: "invalid",
        message: `${foreign.id}: is not of this region's journal in log epoch ${this.#region.log_epoch}`,
      };
    const views = entries.map((entry) => {
      const known = this.#rows.byId(entry.id);
      if (known !== null) return this.#describe(known);
      const { id, what, ground, reason, asked_by, asked_at_ms, shards } = entry;
      return this.#enter(
        { id, what, ground, reason, actor: asked_by, t_ms: asked_at_ms, idempotency_key: null },
        shards.map(({ shard, selector }) => ({ shard, selector })),
      );
    });
    return { ok: true, value: views };
  }

  read(id: string): AdminResult<ErasureView> {
    const row = this.#rows.byId(id);
    return row === null
      ? { ok: false, code: "not_found", message: `no erasure ${id} is in this region's journal` }
      : { ok: true, value: this.#describe(row) };
  }

  list(after: number, limit: number): Awaited<ReturnType<AuthorityRpc["listErasures"]>> {
    const rows = this.#rows.after(after, limit + 1);
    const page = rows.slice(0, limit);
    return { erasures: page.map((row) => this.#describe(row)), next: rows.length > limit ? page.at(-1)!.seq : null };
  }

  #describe(row: ErasureRow): ErasureView {
    const shards = this.#rows.shardsOf(row.seq);
    const status = (done: boolean) => (done ? "done" : "pending");
    return {
      id: row.id,
      what: row.what,
      ground: row.ground,
      reason: row.reason,
      asked_by: row.actor,
      asked_at_ms: row.t_ms,
      status: status(shards.every(({ done }) => done)),
      payloads: shards.reduce((sum, { payloads }) => sum + payloads, 0),
      shards: shards.map(({ shard, done, payloads, selector }) => ({
        shard,
        status: status(done),
        payloads,
        selector,
      })),
    };
  }

  // ── what it means in each shard ─────────────────────────────────────────────────────────────────────────────────

  /** Why the target cannot be of this region; `null` where it can. */
  #foreign(target: ErasureTarget): string | null {
    const { name, log_epoch, shards } = this.#region;
    if (target.kind === "run")
      return parseRunId(target.run)?.region === name ? null : `${target.run}: is not a run of region ${name}`;
    if (target.kind !== "decision") return null;
    const parts = parseDecisionId(target.id);
    const here = parts?.region === name && parts.log_epoch === log_epoch && parts.shard < shards;
    return here ? null : `${target.id}: is not a decision of region ${name}`;
  }

  /** `null`: there is no such thing. Throws where a shard does not answer: nothing is entered then. */
  async #prepare(target: ErasureTarget): Promise<readonly Part[] | null> {
    const { shards } = this.#region;
    const asked =
      target.kind === "run"
        ? [shardOfRun(target.run, shards)]
        : target.kind === "decision"
          ? [parseDecisionId(target.id)!.shard]
          : Array.from({ length: shards }, (_, shard) => shard);
    const answers = await Promise.all(
      asked.map(async (shard) => ({
        shard,
        answer: await shardAt(this.#env, this.#region, shard).prepareErasure(target),
      })),
    );
    const parts: Part[] = [];
    for (const { shard, answer } of answers) {
      if (!answer.ok) return null;
      if (answer.selector !== null) parts.push({ shard, selector: answer.selector });
    }
    return parts;
  }

  // ── carrying it out ─────────────────────────────────────────────────────────────────────────────────────────────

  /** A shard has started, and is at `position` of the journal: behind what it had done, its storage was put back. */
  headOf(log_epoch: number, shard: number, position: number): number {
    // Of an epoch that is past nothing is carried out any more; its shard only has to know what it must not show.
    if (log_epoch !== this.#region.log_epoch) return this.#rows.headOf(log_epoch, shard);
    if (this.#rows.reopen(shard, position)) {
      console.warn(JSON.stringify({ level: "warn", event: "erasures_reapplied", shard, after: position }));
      void this.#arm();
    }
    this.#kick();
    return this.#rows.headOf(log_epoch, shard);
  }

  #kick(): void {
    for (const shard of this.#rows.waitingShards()) void this.#drive(shard);
  }

  /** One entry after the other, one slice after the other, until the shard has carried out all of them. */
  async #drive(shard: number): Promise<void> {
    if (this.#driving.has(shard)) return;
    this.#driving.add(shard);
    for (let wait = RETRY_MS; ;) {
      try {
        const entry = this.#rows.next(shard);
        if (entry === null) break;
        await this.#carryOut(entry);
        wait = RETRY_MS;
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(JSON.stringify({ level: "warn", event: "erasure_delayed", shard, message }));
        await pause(wait);
        wait = Math.min(RETRY_MAX_MS, wait * 2);
      }
    }
    this.#driving.delete(shard);
  }

  async #carryOut({ shard, seq, selector }: ErasureShardRow): Promise<void> {
    const ground = this.#rows.after(seq - 1, 1)[0]!.ground;
    for (let acked = 0; ;) {
      // A new stub each time: one that threw is never used again.
      const answer = await shardAt(this.#env, this.#region, shard).erase({ v: 1, seq, selector, acked });
      if (!answer.ok) throw new Error(answer.code);
      if (answer.slice !== null) {
        this.#addLeaves(shard, seq, ground, answer.slice.sseqs);
        // The shard forgets the slice when it hears that the leaf is on disk.
        await this.#store.sync();
        acked = answer.slice.number;
      }
      if (answer.done) return this.#rows.markDone(shard, seq);
    }
  }

  /** A slice that comes again, or records that were erased before a restore, have their leaf already. */
  #addLeaves(shard: number, seq: number, ground: ErasureGround, sseqs: readonly number[]): void {
    const fresh = sseqs.filter((sseq) => this.#rows.leafOf(shard, sseq) === null).sort((a, b) => a - b);
    if (fresh.length === 0) return;
    const source = `shard/${shard}`;
    this.#writer.record((leaf) => {
      for (let at = 0; at < fresh.length; at += RECORDS_PER_LEAF) {
        const part = fresh.slice(at, at + RECORDS_PER_LEAF);
        const records = part.map((sseq) => ({ source, sseq }));
        this.#rows.addRanges(shard, part, leaf("erasure", { ground, records }, Date.now()));
      }
      this.#rows.count(shard, seq, fresh.length);
    });
  }

  leavesOf(
    log_epoch: number,
    shard: number,
    sseqs: readonly number[],
  ): Awaited<ReturnType<AuthorityRpc["erasureLeaves"]>> {
    const leaves = new Map<number, number[]>();
    for (const sseq of sseqs) {
      const leaf = this.#rows.leafOf(shard, sseq, log_epoch);
      if (leaf === null) continue;
      const records = leaves.get(leaf);
      if (records === undefined) leaves.set(leaf, [sseq]);
      else records.push(sseq);
    }
    return [...leaves].map(([sseq, records]) => ({ sseq, leaf: this.#store.leaves(log_epoch, sseq, 1)[0]!, records }));
  }

  // ── retention ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Once a day, what is older than the region keeps payloads. */
  async retain(now_ms: number): Promise<void> {
    const days = this.#region.retention_days;
    if (days === null || this.#closed !== null) return;
    const last = Number(this.#store.meta("retained_t_ms") ?? "0");
    if (now_ms - last < DAY_MS) return;
    const target = { kind: "older_than", t_ms: now_ms - days * DAY_MS } as const;
    const prepared = (await this.#prepare(target)) ?? [];
    // Only what the entries before did not cover: a day without decisions is no entry.
    const parts = prepared.flatMap(({ shard, selector }): readonly Part[] => {
      const reached = this.#rows.retainedUntil(shard);
      if (selector.until <= reached) return [];
      return [{ shard, selector: { kind: "old", from: reached + 1, until: selector.until } }];
    });
    if (parts.length > 0) {
      const id = this.#newId();
      const order = { target, ground: "retention", reason: `older than ${days} days`, idempotency_key: null } as const;
      this.#enter({ ...rowOf({ ...order, actor: "retention" }), id, t_ms: now_ms }, parts);
    }
    this.#store.setMeta("retained_t_ms", String(now_ms));
  }

  /** The object may be evicted before it is done; an alarm brings it back. */
  async #arm(at_most_ms = RETENTION_MS): Promise<void> {
    const pending = this.#rows.waitingShards().length > 0;
    const wait = pending ? PENDING_MS : this.#region.retention_days === null ? null : at_most_ms;
    if (wait === null) return;
    const set = await this.#storage.getAlarm();
    if (set === null || set > Date.now() + wait) await this.#storage.setAlarm(Date.now() + wait);
  }
}

const rowOf = ({ target, ground, reason, idempotency_key, actor }: EraseOrder) => ({
  what: target.kind,
  ground,
  reason,
  actor,
  idempotency_key,
});

/** What an order is about, without how far the shards were when it was given. */
const content = (parts: readonly Part[]): string =>
  JSON.stringify(
    parts.map(({ shard, selector }) =>
      selector.kind === "range" || selector.kind === "old"
        ? [shard, selector.kind, selector.from, selector.until]
        : [shard, selector.kind, selector.kind === "tag" ? selector.tag : selector.run],
    ),
  );
