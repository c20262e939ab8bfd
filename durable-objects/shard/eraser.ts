import { parseDecisionId } from "../../src/base/ids.ts";
import { isObject, parseJson } from "../../src/base/json.ts";
import type {
  EraseAnswer,
  EraseMessage,
  ErasureTarget,
  PrepareErasureAnswer,
  ShardSelector,
} from "../../src/objects/erasure.ts";
import type { ErasableRecord, EraserState, ErasureRows } from "./erasure-rows.ts";
import type { ShardStore } from "./store.ts";
import type { SourceIdentity } from "./writer.ts";

/** Records looked at in one slice: some ten milliseconds, between which decisions go on. */
const SLICE = 256;
const ANSWERS = 1_000;
const INDEX = 500;
/** Payloads younger than this many records beside one that is reclaimed may be moved by it (`ErasureRows`). */
const BETWEEN = 64;
/**
 * 9 MB in ten commits: twice what SQLite lets its write-ahead log grow to before it begins again at its start. Where
 * tables were written anew, that commit was as long as what it copied, and waste follows it (`EraserState.copied`).
 */
const WASTE_SLICES = 10;
const WASTE_BYTES = 910_000;

/**
 * Erases payloads as the authority's journal says: in slices, each one transaction with the rows that say what was
 * erased. Those are handed to the authority until it has acknowledged them, which it does when the leaf is stored.
 */
export class Eraser {
  readonly #rows: ErasureRows;
  readonly #store: ShardStore;
  readonly #id: SourceIdentity;

  constructor(rows: ErasureRows, store: ShardStore, id: SourceIdentity) {
    this.#rows = rows;
    this.#store = store;
    this.#id = id;
  }

  get position(): number {
    return this.#rows.position;
  }

  /** What the target means here, as of the newest record. Nothing that names a person is kept of it. */
  prepare(target: ErasureTarget): PrepareErasureAnswer {
    const until = this.#store.head().sseq;
    if (target.kind === "decision") return this.#prepareDecision(target.id);
    if (target.kind === "subject")
      return { ok: true, selector: { kind: "tag", tag: this.#id.tags.of(target.key), until } };
    if (target.kind === "run")
      return this.#store.run(target.run) === null
        ? { ok: false, code: "not_found" }
        : { ok: true, selector: { kind: "run", run: target.run, until } };
    const last = this.#rows.lastBefore(target.t_ms);
    return { ok: true, selector: last === 0 ? null : { kind: "old", from: 1, until: last } };
  }

  #prepareDecision(id: string): PrepareErasureAnswer {
    const parts = parseDecisionId(id);
    const { region, log_epoch, shard } = this.#id;
    if (parts === null || parts.region !== region || parts.log_epoch !== log_epoch || parts.shard !== shard)
      return { ok: false, code: "not_found" };
    const from = parts.sseq;
    const named = this.#decisionIdAt(from);
    if (named === id) return { ok: true, selector: { kind: "range", from, until: from } };
    if (named !== `${id}/0`) return { ok: false, code: "not_found" };
    let until = from;
    while (this.#decisionIdAt(until + 1) === `${id}/${until + 1 - from}`) until++;
    return { ok: true, selector: { kind: "range", from, until } };
  }

  #decisionIdAt(sseq: number): unknown {
    const leaf = this.#store.record(sseq)?.leaf;
    const record = leaf === undefined ? null : parseJson(new TextDecoder().decode(leaf.subarray(1)));
    return record?.ok === true && isObject(record.value) ? record.value["decision_id"] : null;
  }

  /** One synchronous turn; the caller waits for `sync` before it answers. */
  slice({ seq, selector, acked }: EraseMessage): EraseAnswer {
    const rows = this.#rows;
    if (rows.position >= seq) return { ok: true, slice: null, done: true };
    const waiting = rows.unacknowledged(seq, acked);
    if (waiting !== null) return { ok: true, slice: waiting, done: false };
    return this.#store.transaction(() => {
      const { state, slices } = rows.work(seq) ?? { state: this.#begin(selector), slices: 0 };
      if (state.phase === "done") {
        rows.finish(seq);
        return { ok: true, slice: null, done: true };
      }
      const sseqs = this.#step(state, selector);
      if (sseqs.length > 0) {
        state.touched = true;
        rows.addSlice(seq, slices + 1, sseqs);
      }
      rows.putWork(seq, state, slices + (sseqs.length > 0 ? 1 : 0));
      return { ok: true, slice: sseqs.length > 0 ? { number: slices + 1, sseqs } : null, done: false };
    });
  }

  #begin(selector: ShardSelector): EraserState {
    const run = selector.kind === "run" ? this.#store.run(selector.run) : null;
    return {
      phase: "records",
      at: selector.kind === "range" || selector.kind === "old" ? selector.from : 0,
      flush: 0,
      runs: run === null ? [] : [{ run: run.id, at: run.last_sseq }],
      key: "",
      wasted: 0,
      touched: false,
    };
  }

  /** Moves `state` on; the records that lost their payload by it. */
  #step(state: EraserState, selector: ShardSelector): readonly number[] {
    const rows = this.#rows;
    switch (state.phase) {
      case "records": {
        const erased: number[] = [];
        if (!this.#records(state, selector, erased)) state.phase = "answers";
        return erased;
      }
      case "answers": {
        const key = rows.blankAnswers(state.key, ANSWERS);
        state.key = key ?? "";
        state.at = 0;
        if (key === null) state.phase = "index";
        return [];
      }
      case "index":
        if (selector.kind === "tag") {
          const stopped = rows.dropTag(selector.tag, state.at, selector.until, INDEX);
          state.at = stopped ?? 0;
          if (stopped !== null) return [];
        }
        if (selector.kind === "old") {
          const stopped = rows.dropOld({ tag: state.key, first_sseq: state.at }, selector.until, INDEX);
          state.key = stopped?.tag ?? "";
          state.at = stopped?.first_sseq ?? Math.max(1, selector.from - BETWEEN);
          if (stopped !== null) return [];
        }
        state.phase = selector.kind === "old" ? "reclaim" : "rewrite";
        return [];
      case "reclaim": {
        // An entry that came from a file may name numbers that this shard has not reached.
        const until = Math.min(selector.until, this.#store.head().sseq) - BETWEEN;
        if (state.at <= until) rows.reclaim(state.at, Math.min(until, state.at + SLICE - 1));
        state.at += SLICE;
        if (state.at > until) state.phase = "rewrite";
        return [];
      }
      case "rewrite":
        if (state.touched) {
          const copied = (["record", "run", "run_plan", "run_delegation", "run_approval"] as const).map((table) =>
            rows.rewrite(table),
          );
          state.copied = copied.reduce((sum, bytes) => sum + bytes, 0);
        }
        state.phase = state.touched ? "waste" : "done";
        return [];
      case "waste":
        // First as much in one commit as writing anew has put into one: the old pages and the new.
        if (state.wasted === 0 && (state.copied ?? 0) > 0) rows.waste(2 * state.copied!);
        if (state.wasted++ < WASTE_SLICES) rows.waste(WASTE_BYTES);
        else {
          rows.dropWaste();
          state.phase = "done";
        }
        return [];
      default:
        return [];
    }
  }

  /** Looks at `SLICE` records; whether there are more. */
  #records(state: EraserState, selector: ShardSelector, erased: number[]): boolean {
    const budget = { left: SLICE };
    const seen = new Set<string>();
    const look = (record: ErasableRecord | null): void => {
      budget.left--;
      if (record === null || !record.held || record.sseq > selector.until) return;
      this.#rows.blank(record.sseq);
      erased.push(record.sseq);
    };
    while (budget.left > 0) {
      const run = state.runs[0];
      if (run !== undefined) {
        while (budget.left > 0 && run.at !== null) {
          const record = this.#rows.record(run.at);
          look(record);
          run.at = record?.prev_sseq ?? null;
        }
        if (run.at !== null) return true;
        this.#redact(run.run, selector);
        state.runs.shift();
      } else if (selector.kind === "run") {
        return false;
      } else if (selector.kind !== "tag") {
        const records = this.#rows.records(state.at, selector.until, budget.left);
        for (const record of records) {
          look(record);
          // What is old ends at the end of a run, whose beginning an entry before may have taken.
          if (record.prev_sseq === null || selector.kind === "old") this.#redact(record.run, selector);
        }
        state.at = (records.at(-1)?.sseq ?? selector.until) + 1;
        if (state.at > selector.until) return false;
      } else {
        const [flush] = this.#rows.flushesOf(selector.tag, state.flush, selector.until, 1);
        if (flush === undefined) return false;
        const next = flush.sseqs.filter((sseq) => sseq >= state.at).slice(0, budget.left);
        for (const sseq of next) {
          const record = this.#rows.record(sseq);
          look(record);
          const opened = record === null || seen.has(record.run) ? null : this.#store.run(record.run);
          if (record === null || opened?.kind !== "opened") continue;
          // Every step of an opened run is sealed with its members; what it declared names others too.
          if (record.prev_sseq === null) state.runs.push({ run: opened.id, at: opened.last_sseq });
          else this.#redact(opened.id, selector);
          seen.add(opened.id);
        }
        state.at = (next.at(-1) ?? state.at) + 1;
        state.flush = state.at > flush.sseqs.at(-1)! ? flush.first_sseq + 1 : flush.first_sseq;
      }
    }
    return true;
  }

  /** Names in the run's own row. A run that is open and merely old keeps them: it goes on with them. */
  #redact(id: string, selector: ShardSelector): void {
    const run = this.#store.run(id);
    if (run === null || run.kind !== "opened") return;
    const whole = selector.kind === "tag" || selector.kind === "run";
    const goesOn = run.status === "open" && !this.#rows.over;
    if (!whole && (goesOn || run.last_sseq > selector.until)) return;
    const stays = (name: string): boolean =>
      selector.kind === "tag" && this.#id.tags.of(`subject:${name}`) !== selector.tag;
    this.#rows.redactDeclared(id, stays);
    const principal = run.principal !== null && stays(run.principal) ? run.principal : null;
    const members = run.members.filter(stays);
    if (principal !== run.principal || members.length < run.members.length)
      this.#rows.redactRun(id, principal, members);
  }
}
