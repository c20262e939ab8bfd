import { base64url } from "../../src/base/bytes.ts";
import { decisionId, parseDecisionId } from "../../src/base/ids.ts";
import { jcs } from "../../src/base/jcs.ts";
import { isObject, parseJson, WRAPPED_JSON_LIMITS, type JsonObject, type JsonValue } from "../../src/base/json.ts";
import { openPayload, saltTexts, type OpenedPayload } from "../../src/lineage/seal.ts";
import type { LineageAnswer, RecordDescription, RunExport, RunLineage } from "../../src/objects/records.ts";
import type { RunView } from "../../src/objects/runs.ts";
import { describeRun } from "./run/describe.ts";
import type { RecordRow, RunRow, ShardStore } from "./store.ts";
import type { SourceIdentity } from "./writer.ts";

/** A page of an export. */
const EXPORT_RECORDS = 500;
/** Of leaves and payloads in one answer: it has to fit one message, and the object's memory. */
const MAX_BYTES = 8 * 1_048_576;

/** JCS texts. */
export type AskedTexts = { readonly input: string; readonly facts: string; readonly run_state: string };

/** What the authorized read of this source: records by id and by run, with their payloads opened. Decides nothing. */
export class LineageReader {
  readonly #store: ShardStore;
  readonly #id: SourceIdentity;
  readonly #erased: () => Promise<boolean>;
  readonly #view: (run: RunRow) => RunView;

  /** `view`: of what is in storage. `erased`: whether all that the journal says is erased is erased here, also where this storage was put back. */
  constructor(store: ShardStore, id: SourceIdentity, erased: () => Promise<boolean>, view: (run: RunRow) => RunView) {
    this.#store = store;
    this.#id = id;
    this.#erased = erased;
    this.#view = view;
  }

  async readDecision(id: string): Promise<LineageAnswer<RecordDescription>> {
    if (!(await this.#erased())) return { ok: false, code: "erasing" };
    const parts = parseDecisionId(id);
    const here =
      parts !== null &&
      parts.region === this.#id.region &&
      parts.log_epoch === this.#id.log_epoch &&
      parts.shard === this.#id.shard;
    const row = here ? this.#store.record(parts.sseq) : null;
    // `id/index` must name the record by the id that the record itself carries; `id` and `id/0` name the same one.
    const described = row === null ? null : await this.describeRecord(row);
    const plain = (name: string): string => (name.endsWith("/0") ? name.slice(0, -2) : name);
    if (described === null || plain(described.decision_id) !== plain(id)) return { ok: false, code: "not_found" };
    return { ok: true, value: described };
  }

  async describeRun(run: string): Promise<LineageAnswer<RunView>> {
    // Its row names people, and an erasure takes those names.
    if (!(await this.#erased())) return { ok: false, code: "erasing" };
    const row = this.#store.run(run);
    return row === null ? { ok: false, code: "not_found" } : { ok: true, value: this.#view(row) };
  }

  async readRun(run: string, limit: number, before_sseq: number | null): Promise<LineageAnswer<RunLineage>> {
    if (!(await this.#erased())) return { ok: false, code: "erasing" };
    const row = this.#store.run(run);
    if (row === null) return { ok: false, code: "not_found" };
    const records: RecordDescription[] = [];
    let at: number | null = row.last_sseq;
    let next: number | null = null;
    // Backwards through the chain; `before_sseq` is where the previous page ended.
    if (before_sseq !== null) {
      const before = this.#store.record(before_sseq);
      at = before?.run === run ? before.prev_sseq : null;
    }
    for (let bytes = 0; at !== null && records.length < limit && bytes < MAX_BYTES;) {
      const record: (RecordRow & { run: string }) | null = this.#store.record(at);
      if (record === null) break;
      bytes += record.leaf.length + (record.sealed?.length ?? 0);
      records.push(await this.describeRecord(record));
      next = record.prev_sseq === null ? null : at;
      at = record.prev_sseq;
    }
    return {
      ok: true,
      value: { run: describeRun(row), records: records.toReversed(), next_before_sseq: at === null ? null : next },
    };
  }

  async exportRun(run: string, before_sseq: number | null): Promise<LineageAnswer<RunExport>> {
    if (!(await this.#erased())) return { ok: false, code: "erasing" };
    const row = this.#store.run(run);
    if (row === null) return { ok: false, code: "not_found" };
    const before = before_sseq === null ? null : this.#store.record(before_sseq);
    if (before_sseq !== null && before?.run !== run) return { ok: false, code: "not_found" };
    const rows: RecordRow[] = [];
    let bytes = 0;
    let at = before === null ? row.last_sseq : before.prev_sseq;
    // One page holds the shard's turn for some milliseconds only, and fits one message.
    while (at !== null && rows.length < EXPORT_RECORDS && bytes < MAX_BYTES) {
      const record: RecordRow | null = this.#store.record(at);
      if (record === null) break;
      rows.push(record);
      bytes += record.leaf.length + (record.sealed?.length ?? 0);
      at = record.prev_sseq;
    }
    const records = await Promise.all(
      rows.map(async (record) => ({ sseq: record.sseq, leaf: record.leaf, payload: await this.open(record) })),
    );
    const last = rows.at(-1);
    return {
      ok: true,
      value: {
        run: { id: row.id, salt: row.salt, seq: row.seq, head: row.head! },
        records,
        next_before_sseq: at === null || last === undefined ? null : last.sseq,
      },
    };
  }

  /** What a record was asked, where its payload is still there. */
  async inputOf(sseq: number): Promise<LineageAnswer<JsonValue | null>> {
    if (!(await this.#erased())) return { ok: false, code: "erasing" };
    const row = this.#store.record(sseq);
    return { ok: true, value: row === null ? null : ((await this.describeRecord(row)).payload?.["input"] ?? null) };
  }

  /** What the record sealed; it decides nothing and tells nobody. */
  async open(row: RecordRow): Promise<OpenedPayload | "erased" | "unreadable"> {
    if (row.sealed === null) return "erased";
    const { region, log_epoch, shard, aead } = this.#id;
    const { number, bytes } = this.#id.region_key;
    const place = { region, log_epoch, source: `shard/${shard}`, sseq: row.sseq };
    const opened = await openPayload(aead, (named) => (named === number ? bytes : null), place, row.sealed);
    return opened.ok ? opened.value : "unreadable";
  }

  /** What a step's record commits to, for it to be decided again. */
  async asked(sseq: number): Promise<AskedTexts | "erased" | "erasing"> {
    if (!(await this.#erased())) return "erasing";
    const row = this.#store.record(sseq);
    const opened = row === null ? "erased" : await this.open(row);
    if (typeof opened === "string") return "erased";
    const payload = JSON.parse(opened.text) as Readonly<Record<string, JsonValue>>;
    const text = (part: string): string => jcs(payload[part] ?? null);
    return { input: text("input"), facts: text("facts"), run_state: text("run_state") };
  }

  async describeRecord(row: RecordRow): Promise<RecordDescription> {
    const record = parseJson(new TextDecoder().decode(row.leaf.subarray(1)));
    const body: JsonObject = record.ok && isObject(record.value) ? record.value : {};
    const opened = await this.open(row);
    // It holds a request that the door took whole, and more.
    const payload = typeof opened === "string" ? null : parseJson(opened.text, WRAPPED_JSON_LIMITS);
    return {
      decision_id:
        typeof body["decision_id"] === "string"
          ? body["decision_id"]
          : decisionId(this.#id.region, this.#id.log_epoch, this.#id.shard, row.sseq),
      leaf: base64url(row.leaf),
      leaf_hash: base64url(row.leaf_hash),
      record: body,
      payload: payload?.ok === true && isObject(payload.value) ? payload.value : null,
      payload_status: typeof opened === "string" ? opened : "opened",
      salts: typeof opened === "string" ? null : saltTexts(opened.salts),
    };
  }
}
