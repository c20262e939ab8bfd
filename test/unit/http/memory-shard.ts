import { MemoryApprovals } from "./memory-approvals.ts";
import type { EraseAnswer, PrepareErasureAnswer } from "../../../src/objects/erasure.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { AnchoringStatus } from "../../../src/objects/anchoring.ts";
import type { CanonicalRequest, Facts } from "../../../src/vocabulary/types.ts";
import type {
  ClaimAnswer,
  ClaimMessage,
  ApplyTrustAnswer,
  SearchAnswer,
  SearchMessage,
  ShardRpc,
  ShardStatus,
} from "../../../src/objects/shard.ts";
import type {
  ChangeRunMessage,
  OpenRunMessage,
  RunAnswer,
  RunDescription,
  RunView,
  StepReceiptAnswer,
} from "../../../src/objects/runs.ts";
import type { DecideAnswer, DecideMessage, DecideRefusal, ItemAnswer } from "../../../src/objects/decide.ts";
import type {
  FindRecordsAnswer,
  FindRecordsMessage,
  LineageAnswer,
  RecordDescription,
  RunLineage,
} from "../../../src/objects/records.ts";
import type { ReplayOrder, ShardReplay } from "../../../src/objects/replay.ts";
import { encodeConsistency } from "../../../src/trust/consistency.ts";
import type { MemoryAuthority } from "./memory-authority.ts";

const CONTINUITY = {
  trust: "fresh",
  orchestration: "consistent",
  policy: "current",
  cryptographic: "signed",
  synchronization: "not_built",
  replay: "not_built",
} as const;

type Kept = { readonly input: string; readonly answer: DecideAnswer };

/**
 * A LineageShard in memory. Its law: alice may read. Everybody else is denied, `write` with a reason of the policy's
 * own. It keeps records, runs and idempotency keys as the contract has them, and refuses facts of other material.
 */
export class MemoryShard implements ShardRpc {
  readonly calls: DecideMessage[] = [];
  readonly claims: ClaimMessage[] = [];
  readonly #claimed = new Map<string, string>();
  readonly searches: SearchMessage[] = [];
  readonly finds: FindRecordsMessage[] = [];
  readonly records: RecordDescription[] = [];
  revision = 1;
  anchoring: AnchoringStatus = {
    witnessed: true,
    unlogged_ms: 0,
    unanchored_ms: 0,
    merge_by_broken: 0,
    anchored_late: 0,
    logged: { counts: [], sum_ms: 0 },
    anchored: { counts: [], sum_ms: 0 },
  };
  denies: ShardStatus["denies"] = null;
  get replay(): ShardStatus["replay"] {
    const t_ms = this.#clock.now_ms - 100;
    return { state: "verified", replayed: 3, unreplayable: 0, last: { sseq: 3, t_ms }, diverged: null };
  }
  /** Whether newer results say worse. */
  superseded = false;
  readonly #number: number;
  readonly #authority: MemoryAuthority;
  readonly #clock: { readonly now_ms: number };
  readonly runs = new Map<string, RunDescription>();
  readonly #kept = new Map<string, Kept>();

  constructor(number: number, authority: MemoryAuthority, clock: { readonly now_ms: number }) {
    this.#number = number;
    this.#authority = authority;
    this.#clock = clock;
  }

  async decide(message: DecideMessage): Promise<DecideAnswer | DecideRefusal> {
    const facts = this.#facts(message.facts);
    if (facts === null) return { ok: false, code: "stale_facts" };
    this.calls.push(message);
    const input = JSON.stringify(message.items);
    const key = message.idempotency_key === null ? null : `${facts.pep.id} ${message.idempotency_key}`;
    const kept = key === null ? undefined : this.#kept.get(key);
    if (kept !== undefined) return kept.input === input ? kept.answer : { ok: false, code: "idempotency_conflict" };
    const answer = this.#answer(message);
    if (key !== null) this.#kept.set(key, { input, answer });
    return answer;
  }

  #answer(message: DecideMessage): DecideAnswer {
    const first = this.records.length + 1;
    const decision_id = `eu.1.s${this.#number}.${first}`;
    const items: ItemAnswer[] = [];
    for (const { request, run } of message.items) {
      const asked = JSON.parse(request) as CanonicalRequest;
      if (jcs(asked) !== request) throw new Error("not canonical");
      const item = this.#decide(asked, run, message);
      items.push(item);
      this.records.push({
        decision_id: `${decision_id}/${items.length - 1}`,
        leaf: "AQ",
        leaf_hash: "sha256:x",
        record: { run, decision: item.decision },
        payload: null,
        payload_status: "erased",
        salts: null,
      });
      const stop =
        message.semantic === "deny_on_first_deny"
          ? !item.decision
          : message.semantic === "permit_on_first_permit" && item.decision;
      if (stop) break;
    }
    const dry = message.dry_run;
    return {
      ok: true,
      decision_id: dry ? null : decision_id,
      receipt: dry ? null : JSON.stringify({ payload: "cGF5bG9hZA", protected: "e30", signature: `s${this.#number}` }),
      items,
      consistency: encodeConsistency({ region: "eu", revision: this.revision, events: {} }),
      continuity: CONTINUITY,
      t_ms: this.#clock.now_ms,
      flush_size: items.length,
    };
  }

  #decide(asked: CanonicalRequest, run: string, message: DecideMessage): ItemAnswer {
    const base = {
      obligations: [],
      valid_until_ms: 0,
      ...(message.inline_evidence ? { evidence: { leaf: "AQ", path: ["AA"] } } : {}),
    };
    const explained = message.explain ? { failed: [], determining: [{ policy: "test/p0", reason: null }] } : {};
    const known = this.runs.get(run);
    if (asked.run !== undefined && known === undefined) {
      return { ...base, ...explained, decision: false, reason: "run_unknown", policy_reason: null };
    }
    if (asked.subject.id === "alice" && asked.action.name === "read") {
      return {
        ...base,
        ...explained,
        decision: true,
        reason: null,
        policy_reason: null,
        valid_until_ms: this.#clock.now_ms + 1_000,
      };
    }
    const policy_reason = asked.action.name === "write" ? "records are read-only" : null;
    return { ...base, ...explained, decision: false, reason: "policy_denied", policy_reason };
  }

  readonly approvals = new MemoryApprovals();
  submitRequest = this.approvals.submitRequest;
  answerRequest = this.approvals.answerRequest;
  cancelRequest = this.approvals.cancelRequest;
  readRequest = this.approvals.readRequest;
  pendingRequests = this.approvals.pendingRequests;

  async claim(message: ClaimMessage): Promise<ClaimAnswer> {
    this.claims.push(message);
    const reused = message.uses.map(({ jkt, jti }) => {
      const owner = this.#claimed.get(`${jkt} ${jti}`);
      this.#claimed.set(`${jkt} ${jti}`, owner ?? message.owner);
      return owner !== undefined && owner !== message.owner;
    });
    return { ok: true, reused, superseded: this.superseded };
  }

  async search(message: SearchMessage): Promise<SearchAnswer> {
    if (this.#facts(message.facts) === null) return { ok: false, code: "stale_facts" };
    this.searches.push(message);
    const asked = JSON.parse(message.request) as CanonicalRequest;
    if (jcs(asked) !== message.request) throw new Error("not canonical");
    const all =
      message.kind === "action"
        ? asked.subject.id === "alice"
          ? [{ name: "read" }, { name: "list" }]
          : []
        : message.kind === "subject" && asked.subject.type !== "user"
          ? []
          : [
              { type: "user", id: "alice", properties: {} },
              { type: "user", id: "zoe" },
            ];
    const from = message.page.token === null ? 0 : Number(message.page.token);
    if (!Number.isInteger(from)) return { ok: false, code: "bad_page_token" };
    const limit = message.page.limit ?? all.length;
    const rest = from + limit < all.length ? String(from + limit) : "";
    const next_token = message.page.limit === null && message.page.token === null ? null : rest;
    return {
      ok: true,
      results: all.slice(from, from + limit),
      next_token,
      total: all.length,
      reason: null,
      continuity: CONTINUITY,
    };
  }

  async openRun(message: OpenRunMessage): Promise<RunAnswer> {
    if (this.#facts(message.facts) === null) return { ok: false, code: "stale_facts", reason: null };
    if (message.principal.id === "mallory") return { ok: false, code: "denied", reason: "revoked" };
    const run: RunDescription = {
      run: message.run,
      kind: "opened",
      status: "open",
      principal: `${message.principal.type}/${message.principal.id}`,
      members: message.members.map(({ type, id }) => `${type}/${id}`),
      version: 0,
      opened_at_ms: this.#clock.now_ms,
    };
    this.runs.set(message.run, run);
    return { ok: true, run, receipt: "{}", decision_id: `eu.1.s${this.#number}.1` };
  }
  async closeRun(message: { readonly run: string; readonly facts: string }): Promise<RunAnswer> {
    const run = this.runs.get(message.run);
    if (run === undefined) return { ok: false, code: "not_found", reason: null };
    const closed: RunDescription = { ...run, status: "closed" };
    this.runs.set(message.run, closed);
    return { ok: true, run: closed, receipt: null, decision_id: null };
  }
  async stopRun(run: string): Promise<RunAnswer> {
    return this.closeRun({ run, facts: "" });
  }
  async redeem(): Promise<never> {
    throw new Error("no permits in memory");
  }
  async renewHold(): Promise<never> {
    throw new Error("no permits in memory");
  }
  async reportHold(): Promise<never> {
    throw new Error("no permits in memory");
  }
  async readHold(): Promise<{ readonly ok: false; readonly code: "not_found" }> {
    return { ok: false, code: "not_found" };
  }
  async fetch(): Promise<Response> {
    return Response.json({ code: "run_unknown" }, { status: 404 });
  }
  /** Passes and step receipts are the shard's: tests that need them ask a real one. */
  async openPass(): Promise<RunAnswer> {
    return { ok: false, code: "not_found", reason: null };
  }
  async noteReceipts(): Promise<RunAnswer> {
    return { ok: false, code: "not_found", reason: null };
  }
  async stepReceipt(): Promise<StepReceiptAnswer> {
    return { ok: false, code: "not_found" };
  }
  async prepareErasure(): Promise<PrepareErasureAnswer> {
    return { ok: true, selector: null };
  }
  async erase(): Promise<EraseAnswer> {
    return { ok: true, slice: null, done: true };
  }
  async describeRun(run: string): Promise<LineageAnswer<RunView>> {
    const value = this.runs.get(run);
    if (value === undefined) return { ok: false, code: "not_found" };
    const nothing = { above: null, plan: null, plan_digest: null, nodes: [], budgets: [], labels: [], delegations: [] };
    return { ok: true, value: { ...value, ...nothing } };
  }
  /** What was asked last, and the answer as the run's state here says. */
  readonly changes: ChangeRunMessage[] = [];
  async changeRun(message: ChangeRunMessage): Promise<RunAnswer> {
    this.changes.push(message);
    if (this.#facts(message.facts) === null) return { ok: false, code: "stale_facts", reason: null };
    const run = this.runs.get(message.run);
    if (run === undefined) return { ok: false, code: "not_found", reason: null };
    const evidence = { decision_id: `eu.1.s${this.#number}.2`, receipt: "{}" };
    return run.status === "closed"
      ? { ok: false, code: "denied", reason: "run_closed", ...evidence }
      : { ok: true, run, ...evidence };
  }
  async readDecision(id: string): Promise<LineageAnswer<RecordDescription>> {
    const value = this.records.find(({ decision_id }) => decision_id === (id.includes("/") ? id : `${id}/0`));
    return value === undefined ? { ok: false, code: "not_found" } : { ok: true, value };
  }
  async readRun(run: string): Promise<LineageAnswer<RunLineage>> {
    const value = this.runs.get(run);
    if (value === undefined) return { ok: false, code: "not_found" };
    return { ok: true, value: { run: value, records: [], next_before_sseq: null } };
  }
  /** Of the filters only what the Worker's side of a search needs: position, limit and run. */
  async findRecords(message: FindRecordsMessage): Promise<FindRecordsAnswer> {
    this.finds.push(message);
    const below = message.before_sseq ?? Number.MAX_SAFE_INTEGER;
    const all = this.records
      .map((record, at) => ({ ...record, sseq: at + 1, t_ms: 1_000 + at, run: record.record["run"] as string }))
      .filter(({ sseq, run }) => sseq < below && (message.run === null || run === message.run))
      .toReversed();
    const found = all.slice(0, message.limit);
    const rest = all[message.limit];
    const next = rest === undefined ? null : { before_sseq: rest.sseq + 1, t_ms: rest.t_ms };
    return { ok: true, found, scanned: found.length, next };
  }
  async exportRun(): Promise<{ readonly ok: false; readonly code: "not_found" }> {
    return { ok: false, code: "not_found" };
  }
  async leaves(): Promise<readonly Uint8Array[]> {
    return [];
  }
  async endLeases(): Promise<void> {}
  async applyTrust(): Promise<ApplyTrustAnswer> {
    return { ok: true, revision: this.revision };
  }
  async nextKey(): Promise<never> {
    throw new Error("the Worker asks no shard for its key");
  }
  async useKey(): Promise<never> {
    throw new Error("the Worker asks no shard for its key");
  }
  async resetClock() {
    return { v: 1 as const, ahead_ms: 0 };
  }
  async halt(): Promise<void> {
    this.denies = "lineage_halted";
  }
  async seal(): Promise<{ readonly last: number }> {
    this.denies = "lineage_halted";
    return { last: this.records.length };
  }
  async drop(): Promise<void> {}
  async runHeads() {
    return [];
  }
  async replayAll({ id }: ReplayOrder): Promise<ShardReplay> {
    const all = this.records.length;
    const counts = { identical: all };
    const times = { began_ms: this.#clock.now_ms, ended_ms: this.#clock.now_ms };
    return { shard: this.#number, id, state: "done", looked: all, of: all, counts, first_different: null, ...times };
  }
  async status(): Promise<ShardStatus> {
    return {
      shard: this.#number,
      sseq: this.records.length,
      head: null,
      revision: this.revision,
      lease_remaining_ms: 1_200,
      last_flush_ms: this.#clock.now_ms - 100,
      flushes: 1,
      records: this.records.length,
      policy: "sha256:policy",
      trust_entries: 0,
      anchoring: this.anchoring,
      replay: this.replay,
      denies: this.denies,
      detail: null,
    };
  }

  #facts(text: string): Facts | null {
    const facts = JSON.parse(text) as Facts;
    if (jcs(facts) !== text) throw new Error("facts are not canonical");
    return facts.material === this.#authority.digest ? facts : null;
  }
}
