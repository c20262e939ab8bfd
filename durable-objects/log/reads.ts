import { base64url } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { joinRanges, readBody, readerCommitment } from "../../src/lineage/read-record.ts";
import { COMMITMENT_SALT_BYTES } from "../../src/lineage/record.ts";
import type { ReadMessage, ReadView, UntoldRead } from "../../src/objects/log.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import type { LogStore, NewRead, ReadRow } from "./store.ts";

/** A reader who takes bundle after bundle is told in one leaf for so long. */
const WINDOW_MS = 60_000;
/** Leaves appended in one turn. */
const MAX_TURN = 64;

/** What the log gives its reads. */
export type ReadsPort = {
  readonly halted: () => boolean;
  /** Appends `read` leaves in one transaction with what `also` changes; `first_sseq` is that of the first one. */
  readonly append: (bodies: readonly JsonObject[], also: (first_sseq: number) => void) => void;
  /** Has `wake` called at that time, Unix milliseconds, also after a restart. */
  readonly wakeAt: (t_ms: number) => void;
};

type Waiting = { readonly message: ReadMessage; readonly done: () => void; readonly failed: (cause: unknown) => void };

/**
 * Who read what (docs/operations/audit.md). A read is a row and a leaf in one transaction, durable before the answer
 * to the reader leaves; reads that arrive together share a transaction, so that a flood of them costs the log little.
 * While the log is halted a read is a row only: an investigation must be possible, and the leaf follows in the log of
 * the next epoch (`carry-reads.ts`).
 */
export class Reads {
  readonly #store: LogStore;
  readonly #port: ReadsPort;
  #queue: Waiting[] = [];
  #running = false;

  constructor(store: LogStore, port: ReadsPort) {
    this.#store = store;
    this.#port = port;
  }

  /** What was left open when the object went away: leaves that a halted log could not take, windows that have ended. */
  start(): void {
    this.wake();
  }

  /** Resolves when the read is on disk. */
  record(message: ReadMessage): Promise<void> {
    return new Promise((done, failed) => {
      this.#queue.push({ message, done, failed });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_TURN);
      try {
        this.#write(
          batch.map(({ message }) => message),
          Date.now(),
        );
        await this.#store.sync();
        for (const { done } of batch) done();
      } catch (cause) {
        for (const { failed } of batch) failed(cause);
      }
    }
    this.#running = false;
  }

  #write(messages: readonly ReadMessage[], now: number): void {
    const fresh: NewRead[] = [];
    const grown = new Map<number, ReadRow>();
    for (const message of messages) {
      const same = ({ until_ms, reader, credential }: NewRead): boolean =>
        until_ms !== null && until_ms > now && reader === message.reader && credential === message.credential;
      const begun = message.what === "entries" ? fresh.findIndex(same) : -1;
      const known = message.what === "entries" && begun < 0 ? this.#window(message, grown) : null;
      if (begun >= 0) fresh[begun] = joined(fresh[begun]!, message);
      else if (known !== null && same(known)) grown.set(known.id, joined(known, message));
      else fresh.push(newRead(message, now));
    }
    const store = (first_sseq: number | null): void => {
      for (const row of grown.values()) this.#store.putRead(row);
      fresh.forEach((row, at) => {
        const told = first_sseq === null ? {} : { sseq: first_sseq + at, told: row.count };
        this.#store.addRead({ ...row, ...told, open: first_sseq === null || row.until_ms !== null ? 1 : 0 });
      });
    };
    if (fresh.length > 0 && !this.#port.halted())
      this.#port.append(
        fresh.map((row) => bodyOf(row)),
        store,
      );
    else this.#store.transaction(() => store(null));
    this.#settle(now);
    if (fresh.some(({ until_ms }) => until_ms !== null)) this.#wakeLater();
  }

  #window({ reader, credential }: ReadMessage, grown: ReadonlyMap<number, ReadRow>): ReadRow | null {
    const row = this.#store.openWindow(reader, credential);
    return row === null ? null : (grown.get(row.id) ?? row);
  }

  /** Gives every open row the leaf that it lacks. Nothing while the log is halted: the rows stay open. */
  #settle(now: number): void {
    if (this.#port.halted()) return;
    for (;;) {
      const due = this.#store.openReads(MAX_TURN, now);
      if (due.length === 0) return;
      const untold = due.filter(({ sseq, count, told }) => sseq === null || count > told);
      if (untold.length > 0) {
        this.#port.append(
          untold.map((row) => bodyOf(row)),
          (first) => untold.forEach((row, at) => this.#told(row, first + at, now)),
        );
      }
      for (const row of due) if (!untold.includes(row)) this.#store.putRead({ ...row, open: 0 });
    }
  }

  #told(row: ReadRow, sseq: number, now: number): void {
    // A window stays open until it ends; everything else is told once.
    const open = row.until_ms !== null && row.until_ms > now ? 1 : 0;
    this.#store.putRead({ ...row, sseq: row.sseq ?? sseq, told: row.count, open });
  }

  /** The object's alarm: windows that are over get their last leaf, also where nobody reads any more. */
  wake(): void {
    this.#settle(Date.now());
    this.#wakeLater();
  }

  #wakeLater(): void {
    const end = this.#store.firstWindowEnd();
    if (end !== null && !this.#port.halted()) this.#port.wakeAt(Math.max(end, Date.now() + 1_000));
  }

  list(before: number | null, limit: number): { readonly reads: readonly ReadView[]; readonly next: number | null } {
    const rows = this.#store.reads(before ?? Number.MAX_SAFE_INTEGER, limit);
    const reads = rows.map((row) => ({
      id: row.id,
      t_ms: row.t_ms,
      what: row.what,
      reader: row.reader,
      credential: row.credential,
      query: row.query,
      count: row.count,
      ranges: row.ranges,
      salt: base64url(row.salt),
      until_ms: row.until_ms,
      sseq: row.sseq,
      leaf_epoch: row.leaf_epoch,
    }));
    return { reads, next: rows.length < limit ? null : rows.at(-1)!.id };
  }

  /** Of a log that has ended, for the running one to tell; `log_epoch`: this log's. */
  untold(log_epoch: number, limit: number): readonly UntoldRead[] {
    return this.#store
      .untoldReads(Math.min(limit, MAX_TURN))
      .map((row) => ({ id: row.id, body: bodyOf(row, log_epoch) }));
  }

  told(log_epoch: number, told: readonly { readonly id: number; readonly sseq: number }[]): void {
    this.#store.transaction(() => told.forEach(({ id, sseq }) => this.#store.readTold(id, log_epoch, sseq)));
  }

  /**
   * Leaves about reads of a log that has ended, each once: which of them this log has stands beside the leaf, in one
   * transaction, so a crash before the other log hears of it changes nothing. Gives the leaf of each.
   */
  async carry(log_epoch: number, reads: readonly UntoldRead[]): Promise<readonly { id: number; sseq: number }[]> {
    const fresh = reads.filter(({ id }) => this.#store.carriedRead(log_epoch, id) === null);
    if (fresh.length > 0)
      this.#port.append(
        fresh.map(({ body }) => body),
        (first) => fresh.forEach(({ id }, at) => this.#store.addCarriedRead(log_epoch, id, first + at)),
      );
    await this.#store.sync();
    return reads.map(({ id }) => ({ id, sseq: this.#store.carriedRead(log_epoch, id)! }));
  }
}

const newRead = ({ what, reader, credential, query, count, ranges }: ReadMessage, now: number): NewRead => ({
  t_ms: now,
  what,
  reader,
  credential,
  query,
  count,
  ranges,
  salt: randomBytes(COMMITMENT_SALT_BYTES),
  until_ms: what === "entries" ? now + WINDOW_MS : null,
  sseq: null,
  told: 0,
  open: 1,
});

const joined = <Row extends NewRead>(row: Row, message: ReadMessage): Row => ({
  ...row,
  count: row.count + message.count,
  ranges: joinRanges(row.ranges, message.ranges),
});

const bodyOf = (row: NewRead, log_epoch?: number): JsonObject =>
  readBody({
    ...(log_epoch === undefined ? {} : { log_epoch }),
    what: row.what,
    commit: readerCommitment(row.salt, row, nodeSha256),
    count: row.count,
    ranges: row.ranges,
    read_t: row.t_ms,
    until: row.until_ms,
    continues: row.sseq,
  });
