import { jcs } from "../../src/base/jcs.ts";
import { homesAct, nothingRevoked, trustHolds } from "../../src/decision/checks.ts";
import { callerKeys } from "../../src/decision/basis.ts";
import { regionChecks } from "../../src/decision/decide.ts";
import type { FailedCheck, Facts, TrustMatch } from "../../src/vocabulary/types.ts";
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
  /** Text of what was verified about who asks. */
  protected readonly asker: string;
  protected readonly traceparent: string | null;
  readonly #resolve: (answer: RunAnswer) => void;
  protected run: RunRow | null = null;
  protected appended: Appended | null = null;
  #refused: RunAnswer | null = null;

  constructor(turn: Turn, asker: string, traceparent: string | null, resolve: (answer: RunAnswer) => void) {
    this.turn = turn;
    this.asker = asker;
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

  protected refuse(code: "not_found" | "denied", reason: ReasonCode | null): void {
    this.#refused = { ok: false, code, reason };
  }

  protected record(kind: "run.open" | "run.close", run: RunRow): void {
    const { turn, asker } = this;
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
        parents: [],
        input: JSON.stringify({ kind, members: run.members, principal: run.principal, run: run.id, v: 1 }),
        facts: asker,
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

/** Opening needs a region that acts, and a caller and members that nothing stands against; the refusal is the reason. */
export class OpenRunCall extends RunCall {
  readonly #message: OpenRunMessage;
  readonly #facts: ParsedFacts;

  constructor(turn: Turn, message: OpenRunMessage, facts: ParsedFacts, resolve: (answer: RunAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  #admitted(keys: readonly string[]): boolean {
    const { turn } = this;
    const { facts } = this.#facts;
    const { trust, condition, policy, region, t_ms } = turn;
    const all = [...keys, ...callerKeys(facts, region)];
    const problem = regionChecks({ trust, condition, policy, region, at_least: null, t_ms }, all);
    const failed =
      problem ??
      (t_ms >= facts.pep.exp_ms ? ({ reason: "identity_expired" } as const) : againstIt(trust.match(all, t_ms)));
    if (failed !== null) this.refuse("denied", failed.reason);
    return failed === null;
  }

  execute(): void {
    const { turn } = this;
    const { principal, members, run } = this.#message;
    const everyone = [principal, ...members];
    if (!this.#admitted(everyone.map(({ type, id }) => subjectKey(type, id)))) return;
    const names = [...new Set(everyone.map(({ type, id }) => entityForm(type, id)))].sort();
    this.record("run.open", turn.writer.openedRun(run, turn.t_ms, entityForm(principal.type, principal.id), names));
  }
}

const againstIt = (matches: readonly TrustMatch[]): FailedCheck | null =>
  homesAct(matches) ?? nothingRevoked(matches) ?? trustHolds(matches, false);

/** Closing takes away, so it asks for little: a source that is sound, and a caller that is not revoked. */
export class CloseRunCall extends RunCall {
  readonly #id: string;
  /** `null`: an administrator stops the run; the Worker has authenticated that one. */
  readonly #facts: ParsedFacts | null;

  constructor(
    turn: Turn,
    id: string,
    asker: ParsedFacts | { readonly administrator: string },
    traceparent: string | null,
    resolve: (answer: RunAnswer) => void,
  ) {
    const facts = "facts" in asker ? asker : null;
    super(turn, facts?.text ?? jcs({ ...asker, v: 1 }), traceparent, resolve);
    this.#id = id;
    this.#facts = facts;
  }

  execute(): void {
    const run = this.turn.writer.run(this.#id, false);
    if (run === null || run.kind !== "opened") return this.refuse("not_found", null);
    // Closing is deny-ward; on a source that was put back it would still write under a number that the log has seen.
    const { halted } = this.turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    // A frozen region lets it pass; but whose credential is revoked changes nothing here.
    if (this.#facts !== null && this.#shutOut(this.#facts.facts)) return this.refuse("denied", "revoked");
    // Closing twice is closing once.
    this.run = run;
    if (run.status === "closed") return;
    run.status = "closed";
    this.record("run.close", run);
  }

  #shutOut(facts: Facts): boolean {
    const { trust, region, t_ms } = this.turn;
    return trust.match(callerKeys(facts, region), t_ms).length > 0;
  }
}
