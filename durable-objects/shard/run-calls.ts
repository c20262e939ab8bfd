import { callerKeys, regionChecks } from "../../src/decision/decide.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import { base64url } from "../../src/base/bytes.ts";
import { decisionId } from "../../src/base/ids.ts";
import { entityForm, subjectKey } from "../../src/trust/keys.ts";
import { receiptText } from "../../src/lineage/receipt.ts";
import type { OpenRunMessage, RunAnswer, RunDescription } from "../../src/objects/shard.ts";
import type { ParsedFacts } from "./decide-call.ts";
import type { Call, Flush } from "./group-commit.ts";
import { describeRunState } from "./run-state.ts";
import type { RunRow } from "./store.ts";
import type { Turn } from "./turn.ts";
import type { Appended } from "./writer.ts";

export const describeRun = (run: RunRow): RunDescription => ({
  run: run.id,
  kind: run.kind,
  status: run.status,
  principal: run.principal,
  members: run.members,
  version: run.seq,
  opened_at_ms: run.opened_t_ms,
});

/** Opening and closing a run are records of its chain, like its steps. */
abstract class RunCall implements Call {
  protected readonly turn: Turn;
  protected readonly facts: ParsedFacts;
  protected readonly traceparent: string | null;
  readonly #resolve: (answer: RunAnswer) => void;
  protected run: RunRow | null = null;
  protected appended: Appended | null = null;
  #refused: RunAnswer | null = null;

  constructor(turn: Turn, facts: ParsedFacts, traceparent: string | null, resolve: (answer: RunAnswer) => void) {
    this.turn = turn;
    this.facts = facts;
    this.traceparent = traceparent;
    this.#resolve = resolve;
  }

  abstract execute(): void;

  get records(): number {
    return this.appended === null ? 0 : 1;
  }

  get weight(): number {
    return 1;
  }

  get leafHashes(): readonly Uint8Array[] {
    return this.appended === null ? [] : [this.appended.leaf_hash];
  }

  /** Whether the region acts and nothing that this rests on is revoked; the refusal is noted otherwise. */
  protected admitted(keys: readonly string[]): boolean {
    const { turn } = this;
    const problem = regionChecks(
      {
        trust: turn.trust,
        condition: turn.condition,
        policy: turn.policy,
        region: turn.region,
        at_least: null,
        t_ms: turn.t_ms,
      },
      [...keys, ...callerKeys(this.facts.facts, turn.region)],
    );
    if (problem !== null) this.refuse("denied", problem.reason);
    else if (turn.t_ms >= this.facts.facts.pep.exp_ms) this.refuse("denied", "identity_expired");
    else if (this.revoked(keys)) this.refuse("denied", "revoked");
    return this.#refused === null;
  }

  /** Whether an entry in force names one of `keys`, or the caller. */
  protected revoked(keys: readonly string[]): boolean {
    return (
      this.turn.trust.match([...keys, ...callerKeys(this.facts.facts, this.turn.region)], this.turn.t_ms).length > 0
    );
  }

  protected refuse(code: "not_found" | "denied", reason: ReasonCode | null): void {
    this.#refused = { ok: false, code, reason };
  }

  protected record(kind: "run.open" | "run.close", run: RunRow): void {
    const { turn, facts } = this;
    const state = describeRunState({
      id: run.id,
      kind: run.kind,
      status: run.status,
      members: run.members,
      version: run.seq,
    });
    this.run = run;
    this.appended = turn.writer.append(
      {
        kind,
        run,
        subjects: run.members.map((member) => `subject:${member}`),
        core: state.text,
        decision: null,
        reason: null,
        refers: null,
        input: JSON.stringify({ kind, members: run.members, principal: run.principal, run: run.id, v: 1 }),
        facts: facts.text,
        run_state: state.text,
        sealed: "",
        policy: turn.policy.digest,
        trust: { digest: turn.trustDigest([]), revision: turn.trust.revision },
        traceparent: this.traceparent,
      },
      turn.t_ms,
      turn.writer.sseq + 1,
      true,
    );
  }

  release(flush: Flush | null, index: number): void {
    if (this.#refused !== null || this.run === null)
      return this.#resolve(this.#refused ?? { ok: false, code: "denied", reason: "internal" });
    const { turn, appended } = this;
    this.#resolve({
      ok: true,
      run: describeRun(this.run),
      decision_id: appended === null ? null : decisionId(turn.region, turn.log_epoch, turn.shard, appended.sseq),
      receipt:
        appended === null || flush === null
          ? null
          : receiptText(flush.jws, {
              call: index,
              items: 1,
              leaf: base64url(appended.leaf_hash),
              path: flush.path(index),
            }),
    });
  }

  fail(): void {
    this.#resolve({ ok: false, code: "denied", reason: "lineage_unavailable" });
  }
}

export class OpenRunCall extends RunCall {
  readonly #message: OpenRunMessage;

  constructor(turn: Turn, message: OpenRunMessage, facts: ParsedFacts, resolve: (answer: RunAnswer) => void) {
    super(turn, facts, message.traceparent, resolve);
    this.#message = message;
  }

  execute(): void {
    const { turn } = this;
    const { principal, members, run } = this.#message;
    const everyone = [principal, ...members];
    if (!this.admitted(everyone.map(({ type, id }) => subjectKey(type, id)))) return;
    const names = [...new Set(everyone.map(({ type, id }) => entityForm(type, id)))].sort();
    this.record("run.open", turn.writer.openedRun(run, turn.t_ms, entityForm(principal.type, principal.id), names));
  }
}

export class CloseRunCall extends RunCall {
  readonly #id: string;

  constructor(
    turn: Turn,
    id: string,
    facts: ParsedFacts,
    traceparent: string | null,
    resolve: (answer: RunAnswer) => void,
  ) {
    super(turn, facts, traceparent, resolve);
    this.#id = id;
  }

  execute(): void {
    const run = this.turn.writer.run(this.#id, false);
    if (run === null || run.kind !== "opened") return this.refuse("not_found", null);
    // Closing is deny-ward; on a source that was put back it would still write under a number that the log has seen.
    const { halted } = this.turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    // A frozen region lets it pass; but whose credential is revoked changes nothing here.
    if (this.revoked([])) return this.refuse("denied", "revoked");
    // Closing twice is closing once.
    this.run = run;
    if (run.status === "closed") return;
    run.status = "closed";
    this.record("run.close", run);
  }
}
