import { base64url } from "../../src/base/bytes.ts";
import { digestOf } from "../../src/base/digest.ts";
import { decisionId } from "../../src/base/ids.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import { treeHash } from "../../src/lineage/merkle.ts";
import {
  commitment,
  committedState,
  encodeRecord,
  leafHash,
  RUN_SALT_BYTES,
  saltedRunHash,
  type RecordKind,
} from "../../src/lineage/record.ts";
import { SEAL_RANDOM_BYTES, saltsOf, sealPayload, type Aead, type RegionKey } from "../../src/lineage/seal.ts";
import { nodeSha256 } from "../platform.ts";
import type { PermitBook } from "./permits/book.ts";
import type { RunBook } from "./run/book.ts";
import type { SubjectTags } from "./subject-tags.ts";
import type { FlushRow, RecordRow, RunRow, ShardStore, StoredAnswer } from "./store.ts";

/** What one record says and seals; the writer adds place, order and time. */
export type RecordDraft = {
  readonly kind: RecordKind;
  readonly run: RunRow;
  /** Canonical keys of those whom the payload is about: it is found, and erased, by them. */
  readonly subjects: readonly string[];
  /** Canonical text of the core. */
  readonly core: string;
  readonly decision: "allow" | "deny" | null;
  readonly reason: string | null;
  readonly refers: Uint8Array | null;
  /** Leaf hashes, base64url, of the steps whose results it uses. */
  readonly parents: readonly string[];
  /** JCS texts that the record commits to. */
  readonly input: string;
  readonly facts: string;
  readonly run_state: string;
  /** Text of what else the decision saw (`decision/seen`); `null`: it is no decision, and nothing is replayed. */
  readonly seen: string | null;
  /** JSON text of what else is kept with it, without the surrounding braces. */
  readonly sealed: string;
  readonly policy: string;
  readonly trust: { readonly digest: string; readonly revision: number };
  readonly traceparent: string | null;
};

export type SourceIdentity = {
  readonly region: string;
  readonly log_epoch: number;
  readonly shard: number;
  readonly region_key: RegionKey;
  readonly aead: Aead;
  readonly tags: SubjectTags;
};

type Draft = {
  readonly row: Omit<RecordRow, "sealed">;
  readonly run: string;
  readonly t_ms: number;
  readonly payload: string;
  readonly random: Uint8Array;
};

export type Appended = { readonly sseq: number; readonly leaf: Uint8Array; readonly leaf_hash: Uint8Array };

/**
 * The source's one writer: gapless `sseq`, a chain per run. Lives for the object's life; a turn that fails must be
 * followed by `reload`, since memory is then ahead of storage.
 */
export class SourceWriter {
  readonly #store: ShardStore;
  readonly #id: SourceIdentity;
  /** What opened runs keep; stored and rolled back with the records. */
  readonly runs: RunBook;
  readonly permits: PermitBook;
  readonly #random = new RandomPool();
  #sseq = 0;
  #lastT = 0;
  // What the current turn has made and `write` will store.
  #drafts: Draft[] = [];
  #runs = new Map<string, RunRow>();
  #answers = new Map<string, StoredAnswer>();
  #flush: FlushRow | null = null;
  /** Records by the tag of a data subject. */
  #subjects = new Map<string, number[]>();

  constructor(store: ShardStore, id: SourceIdentity, runs: RunBook, permits: PermitBook) {
    this.#store = store;
    this.#id = id;
    this.runs = runs;
    this.permits = permits;
    this.reload();
  }

  get sseq(): number {
    return this.#sseq;
  }
  /** Time of the newest record, Unix milliseconds: the persisted high-water mark of the clock. */
  get lastT(): number {
    return this.#lastT;
  }

  reload(): void {
    this.runs.marks.abandon();
    const head = this.#store.head();
    this.#sseq = head.sseq;
    this.#lastT = head.t_ms;
    this.#clear();
    this.runs.clear();
    this.permits.clear();
  }

  /** The run as this turn sees it, or `null`. `fresh`: the id was minted for this call, so storage cannot know it. */
  run(id: string, fresh: boolean): RunRow | null {
    const seen = this.#runs.get(id);
    if (seen !== undefined) return seen;
    return fresh ? null : this.#store.run(id);
  }

  /** The run of a question that names none. `keep`: the caller may come back to it (an idempotency key). */
  implicitRun(id: string, t_ms: number, keep: boolean): RunRow {
    return this.#newRun({ id, kind: "implicit", principal: null, members: [], opened_t_ms: t_ms, keep });
  }

  openedRun(id: string, t_ms: number, principal: string, members: readonly string[]): RunRow {
    return this.#newRun({ id, kind: "opened", principal, members, opened_t_ms: t_ms, keep: true });
  }

  #newRun(run: Pick<RunRow, "id" | "kind" | "principal" | "members" | "opened_t_ms" | "keep">): RunRow {
    return {
      ...run,
      salt: this.#random.take(RUN_SALT_BYTES),
      status: "open",
      last_sseq: 0,
      seq: 0,
      head: null,
    };
  }

  /**
   * Appends one record to the source and to its run's chain. `first` is the `sseq` of the call's first record and
   * `alone` says whether the call has only this one: together they name the record.
   */
  append(draft: RecordDraft, t_ms: number, first: number, alone: boolean): Appended {
    const { region, log_epoch, shard } = this.#id;
    const sseq = ++this.#sseq;
    // Time never goes back in a source: after a reset of the clock records keep the newest time until it has passed.
    const t = Math.max(t_ms, this.#lastT);
    this.#lastT = t;
    const run = draft.run;
    const random = this.#random.take(SEAL_RANDOM_BYTES);
    const salts = saltsOf(random);
    const source = `shard/${shard}`;
    const id = decisionId(region, log_epoch, shard, first);
    const leaf = encodeRecord({
      commit: {
        facts: commitment("facts", salts.facts, draft.facts, nodeSha256),
        input: commitment("input", salts.input, draft.input, nodeSha256),
        run: commitment("run", salts.run, committedState(draft.run_state, draft.seen), nodeSha256),
      },
      core: digestOf(draft.core, nodeSha256),
      decision: draft.decision,
      decision_id: alone ? id : `${id}/${sseq - first}`,
      engine: ENGINE,
      kind: draft.kind,
      log_epoch,
      parents: draft.parents,
      policy: draft.policy,
      prev: run.head === null ? null : base64url(run.head),
      reason: draft.reason,
      refers: draft.refers === null ? null : base64url(draft.refers),
      region,
      run: saltedRunHash(run.salt, run.id, nodeSha256),
      seq: run.seq + 1,
      source,
      sseq,
      t,
      traceparent: draft.traceparent,
      trust: draft.trust,
      v: 1,
    });
    const leaf_hash = leafHash(leaf, nodeSha256);
    const payload = `{"core":${draft.core},"facts":${draft.facts},"input":${draft.input},"run":${JSON.stringify(run.id)},"run_salt":"${base64url(run.salt)}","run_state":${draft.run_state}${draft.seen === null ? "" : `,"seen":${draft.seen}`}${draft.sealed === "" ? "" : ","}${draft.sealed}}`;
    const prev_sseq = run.last_sseq === 0 ? null : run.last_sseq;
    this.#drafts.push({ row: { sseq, leaf, leaf_hash, prev_sseq }, run: run.id, t_ms: t, payload, random });
    const { tags } = this.#id;
    const [subject] = draft.subjects;
    const named =
      draft.subjects.length === 1 ? [tags.of(subject!)] : new Set(draft.subjects.map((one) => tags.of(one)));
    for (const tag of named) {
      const sseqs = this.#subjects.get(tag);
      if (sseqs === undefined) this.#subjects.set(tag, [sseq]);
      else sseqs.push(sseq);
    }
    run.head = leaf_hash;
    run.seq += 1;
    run.last_sseq = sseq;
    this.#runs.set(run.id, run);
    return { sseq, leaf, leaf_hash };
  }

  /** Notes the turn's flush; `write` stores it with the records. */
  flush(flush: FlushRow): void {
    this.#flush = flush;
  }

  storedAnswer(key: string): StoredAnswer | null {
    return this.#answers.get(key) ?? this.#store.storedAnswer(key);
  }

  putAnswer(key: string, answer: StoredAnswer): void {
    this.#answers.set(key, answer);
  }

  /**
   * Seals what the turn appended and stores all of it in one transaction. Memory is ahead of storage from the turn to
   * the end of this; nothing else appends meanwhile (`group-commit`), and whoever reads storage sees the turn whole or
   * not at all.
   *
   * A plain question is an implicit run of one step; nothing can follow it and its record says all there is, so its
   * row is saved (5 % of a decision) unless it asked to be kept.
   */
  async write(): Promise<void> {
    const { region, log_epoch, shard, region_key, aead } = this.#id;
    const source = `shard/${shard}`;
    const drafts = this.#drafts;
    const sealed = await Promise.all(
      drafts.map(({ row, payload, random }) =>
        sealPayload(aead, region_key, { region, log_epoch, source, sseq: row.sseq }, payload, random),
      ),
    );
    this.#store.transaction(() => {
      drafts.forEach(({ row, run, t_ms }, at) => this.#store.addRecord({ ...row, sealed: sealed[at]! }, run, t_ms));
      for (const [tag, sseqs] of this.#subjects) this.#store.addSubject(tag, drafts[0]!.row.sseq, sseqs);
      for (const run of this.#runs.values()) if (run.keep || run.seq > 1) this.#store.putRun(run);
      for (const [key, answer] of this.#answers) this.#store.putAnswer(key, answer);
      if (this.#flush !== null) this.#store.addFlush(this.#flush);
      this.runs.write();
      this.permits.write();
    });
    this.#clear();
    this.runs.written();
    this.permits.written();
  }

  #clear(): void {
    this.#drafts = [];
    this.#runs = new Map();
    this.#answers = new Map();
    this.#subjects = new Map();
    this.#flush = null;
  }
}

/** Root over a call's leaf hashes: what its receipt promises. */
export const callRoot = (leafHashes: readonly Uint8Array[]): Uint8Array =>
  leafHashes.length === 1 ? leafHashes[0]! : treeHash(leafHashes, nodeSha256);

/** Random bytes drawn 16 KiB at a time; each byte is handed out once, and a buffer is never drawn into again. */
class RandomPool {
  #pool = new Uint8Array(0);
  #at = 0;

  take(length: number): Uint8Array {
    if (this.#at + length > this.#pool.length) {
      this.#pool = crypto.getRandomValues(new Uint8Array(16_384));
      this.#at = 0;
    }
    this.#at += length;
    return this.#pool.subarray(this.#at - length, this.#at);
  }
}
