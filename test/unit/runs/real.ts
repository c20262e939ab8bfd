import { DatabaseSync, type StatementSync } from "node:sqlite";
import { RunBook } from "../../../durable-objects/shard/run/book.ts";
import { RUN_GUEST, RUN_STEP } from "../../../durable-objects/shard/run/schema.ts";
import { keepStep, stateForStep, type OpenedStep } from "../../../durable-objects/shard/run/steps.ts";
import type { RunRow } from "../../../durable-objects/shard/store.ts";
import { SubjectTags } from "../../../durable-objects/shard/subject-tags.ts";
import type { Turn } from "../../../durable-objects/shard/turn.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import type { LoadedPolicy } from "../../../src/policy/evaluate.ts";
import { delegationProblem } from "../../../src/runs/delegation.ts";
import { amendPlan, planDigest, planText, readPlan } from "../../../src/runs/plan.ts";
import type { TrustEntry } from "../../../src/trust/events.ts";
import type { Budget, Delegation, Plan, StepOutcome } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, Outcome, RunState, TrustView } from "../../../src/vocabulary/types.ts";
import { OpenedRun } from "../../../durable-objects/shard/run/opened-run.ts";

const FAR_MS = 4_000_000_000_000;
const FACTS: Facts = {
  v: 1,
  material: "m",
  keys: [],
  thumbprints: [],
  pep: { id: "gateway", credential: "c", issuer: "https://x.example", scopes: ["evaluate"], exp_ms: FAR_MS },
};
const nameOf = (key: string): string => `n.${key}`;

/** A `SqlStorage` that keeps its statements: the fuzz test asks the same few a million times. */
function sqlOver(db: DatabaseSync): SqlStorage {
  const statements = new Map<string, StatementSync>();
  const exec = (query: string, ...values: (string | number | null | ArrayBuffer)[]) => {
    let statement = statements.get(query);
    if (statement === undefined) statements.set(query, (statement = db.prepare(query)));
    const rows = statement.all(
      ...values.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value)),
    );
    return {
      toArray: () => rows,
      one: () => rows[0]!,
    };
  };
  return { exec } as unknown as SqlStorage;
}

type Said = { readonly outcome: Outcome; readonly state: RunState };

/** The run state of a shard as it is, with its rows in SQLite and its decisions by the kernel. */
export class Real {
  readonly #db = new DatabaseSync(":memory:");
  readonly #book: RunBook;
  readonly #policy: LoadedPolicy;
  readonly #rows = new Map<string, RunRow>();
  readonly #entries = new Map<string, TrustEntry>();
  readonly #trust: TrustView;
  #stored = new Map<string, { seq: number; status: RunRow["status"] }>();
  #records: [sseq: number, leaf: Uint8Array][] = [];
  #sseq = 0;
  #storedSseq = 0;
  t_ms = 1_768_478_400_000;

  constructor(policy: LoadedPolicy) {
    this.#policy = policy;
    this.#db.exec(
      `CREATE TABLE record(sseq INTEGER PRIMARY KEY, leaf_hash BLOB NOT NULL) STRICT; ${RUN_STEP} ${RUN_GUEST}`,
    );
    const identity = { region: "eu", log_epoch: 1, shard: 0, tags: new SubjectTags(new Uint8Array(32)) };
    this.#book = new RunBook(sqlOver(this.#db), identity, {
      namesOf: (key) => [nameOf(key)],
      homeOf: () => null,
      binds: () => true,
      known: () => true,
      entriesOf: (name) => [this.#entries.get(name)].filter((entry) => entry !== undefined),
      run: (id) => this.#rows.get(id) ?? null,
      transaction: (turn) => this.#transaction(turn),
    });
    this.#trust = {
      mode: "active",
      revision: 1,
      lease_until_ms: FAR_MS,
      origins: new Map(),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: (keys) =>
        keys.flatMap((key) => {
          const entry = this.#entries.get(nameOf(key));
          return entry?.state === "revoked" ? [{ key, origin: "eu", generation: 1, state: "revoked" }] : [];
        }),
    };
    this.#book.begin();
  }

  close(): void {
    this.#db.close();
  }

  #transaction(turn: () => void): void {
    this.#db.exec("BEGIN");
    turn();
    this.#db.exec("COMMIT");
  }

  open(id: string, principal: string, members: string[], plan: Plan | null, budgets: readonly Budget[]): void {
    const row = { id, salt: new Uint8Array(), kind: "opened", status: "open", principal, members } as const;
    this.#rows.set(id, { ...row, last_sseq: 0, seq: 0, head: null, opened_t_ms: this.t_ms, keep: true });
    this.#book.putPlan({ run: id, ...described(plan), budgets, labels: [], above: null });
  }

  #turn(): Turn {
    const writer = { runs: this.#book, run: (id: string) => this.#rows.get(id) ?? null };
    const part = { writer, policy: this.#policy, region: "eu", log_epoch: 1, shard: 0, t_ms: this.t_ms };
    return part as unknown as Turn;
  }

  /** What would be decided now. */
  ask(request: CanonicalRequest, purpose: NonNullable<DecideInput["purpose"]>): Said & { readonly step: OpenedStep } {
    const { state, step } = stateForStep(this.#turn(), this.#rows.get(request.run!)!, request, FACTS);
    const outcome = decide({
      request,
      input_digest: "sha256:i",
      facts: FACTS,
      facts_digest: "sha256:f",
      policy: this.#policy,
      trust: this.#trust,
      condition: {
        halted: null,
        clock_anomaly: false,
        active_policy: this.#policy.digest,
        unlogged_since_ms: null,
        unanchored_since_ms: null,
        witnessed: true,
      },
      run: state,
      run_digest: "sha256:r",
      region: "eu",
      at_least: null,
      t_ms: this.t_ms,
      purpose,
      trust_digest: () => "sha256:t",
    });
    return { outcome, state, step };
  }

  step(request: CanonicalRequest): Said & { readonly id: string; readonly sseq: number } {
    const { outcome, state, step } = this.ask(request, "step");
    const sseq = ++this.#sseq;
    const leaf_hash = new Uint8Array(32).fill(sseq % 251);
    this.#records.push([sseq, leaf_hash]);
    const row = this.#rows.get(request.run!)!;
    row.seq++;
    const appended = { sseq, leaf_hash, leaf: leaf_hash };
    keepStep(this.#turn(), step, request, outcome, appended, { first: sseq, alone: true });
    return { outcome, state, id: decisionId("eu", 1, 0, sseq), sseq };
  }

  withhold(sseq: number): void {
    this.#book.withhold(sseq);
  }

  report(sseq: number, outcome: StepOutcome): void {
    this.#book.report(this.#book.step(sseq)!, outcome);
  }

  /** Whether it was taken. */
  amend(run: string, value: unknown): boolean {
    const next = readPlan(value);
    if (!next.ok) return false;
    const row = this.#book.plan(run)!;
    const opened = new OpenedRun(this.#book, this.#rows.get(run)!);
    if (row.plan !== null) {
      const old = JSON.parse(row.plan) as Plan;
      const taken = old.nodes.filter(({ id }) => opened.steps(id).taken > 0).map(({ id }) => id);
      if (!amendPlan(old, next.value, new Set(taken)).ok) return false;
    }
    this.#book.putPlan({ ...row, ...described(next.value) });
    return true;
  }

  delegate(run: string, delegation: Delegation): boolean {
    const row = this.#rows.get(run)!;
    const opened = new OpenedRun(this.#book, row);
    const parent = delegation.parent === null ? undefined : (opened.delegation(delegation.parent) ?? undefined);
    if (delegationProblem(delegation, parent, row.principal!) !== null) return false;
    this.#book.addDelegation(run, delegation);
    return true;
  }

  closeRun(run: string): void {
    this.#rows.get(run)!.status = "closed";
  }

  /** Ends the turn and begins the next one. */
  commit(): void {
    this.#transaction(() => {
      for (const [sseq, leaf] of this.#records)
        this.#db.prepare("INSERT INTO record(sseq, leaf_hash) VALUES (?, ?)").run(sseq, leaf);
      this.#book.write();
    });
    this.#book.written();
    this.#records = [];
    this.#storedSseq = this.#sseq;
    this.#stored = new Map([...this.#rows].map(([id, { seq, status }]) => [id, { seq, status }]));
    this.#book.begin();
  }

  /** As if the turn had not been. */
  rollBack(): void {
    this.#book.clear();
    this.#records = [];
    this.#sseq = this.#storedSseq;
    for (const [id, stored] of this.#stored) Object.assign(this.#rows.get(id)!, stored);
    this.#book.begin();
  }

  /** Between two turns. */
  tell(key: string, state: "revoked" | "restored", from: "issue" | "beginning"): void {
    const entry: TrustEntry = { key: nameOf(key), origin: "eu", generation: 1, state, from, until_ms: null };
    this.#book.written();
    this.#transaction(() => {
      this.#entries.set(entry.key, entry);
      this.#book.marks.noteEntries([entry]);
    });
    this.#book.begin();
  }
}

const described = (plan: Plan | null): { plan: string | null; digest: string | null } =>
  plan === null ? { plan: null, digest: null } : { plan: planText(plan), digest: planDigest(plan, sha256) };
