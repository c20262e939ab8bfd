import { base64url } from "../../src/base/bytes.ts";
import { jcs } from "../../src/base/jcs.ts";
import { COMMITMENT_SALT_BYTES, commitment } from "../../src/lineage/record.ts";
import type { Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { AuthorityRpc } from "../../src/objects/authority.ts";
import type { EraseOrder, ErasureGround, ErasureView, JournalEntry } from "../../src/objects/erasure.ts";
import { withDeadline } from "../../src/objects/deadline.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import {
  epochSource,
  ErasureRows,
  type ErasureRow,
  type ErasureShardRow,
  type ShardPart,
  type ShardPlace,
} from "./erasure-rows.ts";
import { ErasureTargets, type Prepared } from "./erasure-targets.ts";
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
/** One slice; one that was carried out and not heard of is answered again. */
const SLICE_MS = 30_000;

const NO_SUCH =
  "this region has no such decision or run; what was asked without a run is erased by the id of its decision";

/** Of a shard that was not asked for everything: no read of a payload there waits to an end. */
const CLOSED = Number.MAX_SAFE_INTEGER;

const placeName = ({ log_epoch, shard }: ShardPlace): string => `${log_epoch}/${shard}`;

/**
 * The journal of erasures (DESIGN section 9, G11). An entry says what each shard has to erase, in the shard's own terms:
 * tags and numbers, no names. It is entered with a leaf of its own, driven until each shard has carried it out, and sent
 * again to a shard that no longer has: one whose storage was put back. Every payload erased has one `erasure` leaf.
 * Shards of past log epochs take part until they are dropped; the leaf is in the log that runs.
 */
export class Erasures {
  readonly #region: Region;
  readonly #storage: DurableObjectStorage;
  readonly #store: AuthorityStore;
  readonly #rows: ErasureRows;
  readonly #targets: ErasureTargets;
  readonly #writer: EventWriter;
  readonly #rewind: Rewind;
  readonly #driving = new Set<string>();

  constructor(
    env: Env,
    region: Region,
    storage: DurableObjectStorage,
    store: AuthorityStore,
    writer: EventWriter,
    rewind: Rewind,
  ) {
    this.#region = region;
    this.#storage = storage;
    this.#store = store;
    this.#rows = new ErasureRows(storage);
    this.#targets = new ErasureTargets(env, region, store);
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
    const problem = this.#targets.foreign(order.target);
    if (problem !== null) return { ok: false, code: "not_found", message: problem };
    const prepared = await this.#targets.prepare(order.target);
    if (prepared === null) return { ok: false, code: "not_found", message: NO_SUCH };
    const closed = this.#closed;
    if (closed !== null) return { ok: false, code: "conflict", message: closed };
    // From here to the entry no `await`: the same order asked twice at once is one.
    const known = this.#known(order, prepared.parts);
    if (known !== null) return known;
    const id = this.#newId();
    return { ok: true, value: this.#enter({ ...rowOf(order), id, t_ms: Date.now() }, prepared) };
  }

  /** The same content under the same key, or under none and not done yet, is the same entry. */
  #known(order: EraseOrder, parts: readonly ShardPart[]): AdminResult<ErasureView> | null {
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

  #enter(entry: Omit<ErasureRow, "seq">, { parts, unasked }: Prepared): ErasureView {
    const row = { ...entry, seq: this.#rows.head() + 1 };
    const salt = randomBytes(COMMITMENT_SALT_BYTES);
    const text = jcs({ ...row, not_asked: unasked, shards: parts });
    this.#writer.record((leaf) => {
      this.#rows.add(row, parts, unasked);
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

  /** Why nothing is entered; `null` while entries are. */
  get #closed(): string | null {
    if (this.#rewind.noted) return "the authority's storage was put back: restore the region first";
    const { log_epoch } = this.#region;
    const newest = this.#store.epochs().at(-1);
    return newest !== undefined && newest.log_epoch !== log_epoch
      ? `log epoch ${log_epoch} is not the one that runs`
      : null;
  }

  #newId(): string {
    return `${this.#region.name}.${this.#region.log_epoch}.e.${base64url(randomBytes(16))}`;
  }

  reenter(entries: readonly JournalEntry[]): AdminResult<readonly ErasureView[]> {
    const closed = this.#closed;
    if (closed !== null) return { ok: false, code: "conflict", message: closed };
    const known = new Map(this.#store.epochs().map((epoch) => [epoch.log_epoch, epoch]));
    const read = entries.map((entry) => ({ entry, parts: partsOf(entry, this.#region.name) }));
    const foreign = read.find(
      ({ entry, parts }) =>
        this.#rows.byId(entry.id) === null &&
        (parts === null || parts.some(({ log_epoch, shard }) => shard >= (known.get(log_epoch)?.shards ?? 0))),
    );
    if (foreign !== undefined)
      return {
        ok: false,
        code: "invalid",
        message: `${foreign.entry.id}: is not of this region's journal, or of a log epoch or shard that it has not`,
      };
    const views = read.map(({ entry, parts }) => {
      const row = this.#rows.byId(entry.id);
      if (row !== null) return this.#describe(row);
      const { id, what, ground, reason, asked_by, asked_at_ms } = entry;
      return this.#enter(
        { id, what, ground, reason, actor: asked_by, t_ms: asked_at_ms, idempotency_key: null },
        {
          // The shards of an epoch that was dropped are empty.
          parts: parts!.filter(({ log_epoch }) => known.get(log_epoch)!.dropped === null),
          unasked: entry.not_asked ?? [],
        },
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
      not_asked: this.#rows.unaskedOf(row.seq),
      shards: shards.map(({ log_epoch, shard, done, payloads, selector }) => ({
        log_epoch,
        shard,
        status: status(done),
        payloads,
        selector,
      })),
    };
  }

  // ── carrying it out ─────────────────────────────────────────────────────────────────────────────────────────────

  /** A shard has started, and is at `position` of the journal: behind what it had done, its storage was put back. */
  headOf(place: ShardPlace, position: number): number {
    // A shard that was emptied, and is made again by being asked, has nothing to erase.
    const held = this.#targets.held.some(({ log_epoch }) => log_epoch === place.log_epoch);
    if (held && this.#rows.reopen(place, position)) {
      console.warn(JSON.stringify({ level: "warn", event: "erasures_reapplied", ...place, after: position }));
      void this.#arm();
    }
    this.#kick();
    // It is back, with what was erased elsewhere while it did not answer: nobody can say of which of its payloads.
    return this.#rows.wasUnasked(place) ? CLOSED : this.#rows.headOf(place);
  }

  #kick(): void {
    for (const place of this.#rows.waitingShards()) void this.#drive(place);
  }

  /** One entry after the other, one slice after the other, until the shard has carried out all of them. */
  async #drive(place: ShardPlace): Promise<void> {
    const name = placeName(place);
    if (this.#driving.has(name)) return;
    this.#driving.add(name);
    for (let wait = RETRY_MS; ;) {
      try {
        const entry = this.#rows.next(place);
        if (entry === null) break;
        await this.#carryOut(entry);
        wait = RETRY_MS;
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : "unknown";
        console.warn(JSON.stringify({ level: "warn", event: "erasure_delayed", ...place, message }));
        await pause(wait);
        wait = Math.min(RETRY_MAX_MS, wait * 2);
      }
    }
    this.#driving.delete(name);
  }

  async #carryOut({ seq, selector, ...place }: ErasureShardRow): Promise<void> {
    const ground = this.#rows.after(seq - 1, 1)[0]!.ground;
    for (let acked = 0; ;) {
      // Dropped meanwhile: who asks an object makes it again.
      if (this.#rows.next(place)?.seq !== seq) return;
      const answer = await withDeadline(this.#targets.stub(place).erase({ v: 1, seq, selector, acked }), SLICE_MS);
      if (!answer.ok) throw new Error(answer.code);
      if (answer.slice !== null) {
        this.#addLeaves(place, seq, ground, answer.slice.sseqs);
        // The shard forgets the slice when it hears that the leaf is on disk.
        await this.#store.sync();
        acked = answer.slice.number;
      }
      if (answer.done) return this.#rows.markDone(place, seq);
    }
  }

  /** A slice that comes again, or records that were erased before a restore, have their leaf already. */
  #addLeaves(place: ShardPlace, seq: number, ground: ErasureGround, sseqs: readonly number[]): void {
    const fresh = sseqs.filter((sseq) => this.#rows.leafOf(place, sseq) === null).sort((a, b) => a - b);
    if (fresh.length === 0) return;
    this.#writer.record((leaf) => {
      // The log that the leaf goes into: its own sources are named without their epoch.
      const log_epoch = this.#store.epochs().at(-1)!.log_epoch;
      const source = place.log_epoch === log_epoch ? `shard/${place.shard}` : epochSource(place);
      for (let at = 0; at < fresh.length; at += RECORDS_PER_LEAF) {
        const part = fresh.slice(at, at + RECORDS_PER_LEAF);
        const records = part.map((sseq) => ({ source, sseq }));
        this.#rows.addRanges(place, part, { log_epoch, sseq: leaf("erasure", { ground, records }, Date.now()) });
      }
      this.#rows.count(place, seq, fresh.length);
    });
  }

  leavesOf(place: ShardPlace, sseqs: readonly number[]): Awaited<ReturnType<AuthorityRpc["erasureLeaves"]>> {
    const leaves = new Map<string, { log_epoch: number; sseq: number; records: number[] }>();
    for (const sseq of sseqs) {
      const leaf = this.#rows.leafOf(place, sseq);
      if (leaf === null) continue;
      const name = `${leaf.log_epoch}/${leaf.sseq}`;
      const found = leaves.get(name);
      if (found === undefined) leaves.set(name, { ...leaf, records: [sseq] });
      else found.records.push(sseq);
    }
    return [...leaves.values()].map((found) => ({
      ...found,
      leaf: this.#store.leaves(found.log_epoch, found.sseq, 1)[0]!,
    }));
  }

  // ── retention ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Once a day, what is older than the region keeps payloads. */
  async retain(now_ms: number): Promise<void> {
    const days = this.#region.retention_days;
    if (days === null || this.#closed !== null) return;
    const last = Number(this.#store.meta("retained_t_ms") ?? "0");
    if (now_ms - last < DAY_MS) return;
    const target = { kind: "older_than", t_ms: now_ms - days * DAY_MS } as const;
    const prepared = (await this.#targets.prepare(target))?.parts ?? [];
    // Only what the entries before did not cover: a day without decisions is no entry. A shard that its epoch was ended
    // without is asked again tomorrow, for everything that has become too old by then.
    const parts = prepared.flatMap(({ selector, ...place }): readonly ShardPart[] => {
      const reached = this.#rows.retainedUntil(place);
      if (selector.until <= reached) return [];
      return [{ ...place, selector: { kind: "old", from: reached + 1, until: selector.until } }];
    });
    if (parts.length > 0) {
      const id = this.#newId();
      const order = { target, ground: "retention", reason: `older than ${days} days`, idempotency_key: null } as const;
      this.#enter({ ...rowOf({ ...order, actor: "retention" }), id, t_ms: now_ms }, { parts, unasked: [] });
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
const content = (parts: readonly ShardPart[]): string =>
  JSON.stringify(
    parts.map(({ log_epoch, shard, selector }) =>
      selector.kind === "range" || selector.kind === "old"
        ? [log_epoch, shard, selector.kind, selector.from, selector.until]
        : [log_epoch, shard, selector.kind, selector.kind === "tag" ? selector.tag : selector.run],
    ),
  );

/** A journal of before erasures reached past epochs says the epoch in the entry's id only. `null`: another region's. */
function partsOf({ id, shards }: JournalEntry, region: string): readonly ShardPart[] | null {
  const match = /^([a-z][a-z0-9-]*)\.([1-9][0-9]{0,8})\.e\./.exec(id);
  if (match?.[1] !== region) return null;
  return shards.map(({ log_epoch = Number(match[2]), shard, selector }) => ({ log_epoch, shard, selector }));
}
