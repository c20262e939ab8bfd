import { base64url } from "../../../src/base/bytes.ts";
import { digestOf } from "../../../src/base/digest.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { admitChange } from "../../../src/decision/admit.ts";
import { callerKeys } from "../../../src/decision/basis.ts";
import { coreText } from "../../../src/decision/decide.ts";
import { Watch } from "../../../src/decision/seen.ts";
import { receiptText } from "../../../src/lineage/receipt.ts";
import type { RecordKind } from "../../../src/lineage/record.ts";
import type { RunAnswer } from "../../../src/objects/runs.ts";
import type { FailedCheck, ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { DecisionCore, Facts, TrustMatch } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call, Flush } from "../group-commit.ts";
import type { Live } from "../live.ts";
import { describeRunState } from "../run-state.ts";
import type { RunRow } from "../store.ts";
import type { Owed, Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import { describeRun } from "./describe.ts";

/** What the checks found: an allow where nothing failed. */
export type Verdict = { readonly failed: readonly FailedCheck[]; readonly matches: readonly TrustMatch[] };

export type RunRecord = {
  readonly kind: RecordKind;
  readonly run: RunRow;
  /** JCS text of what was asked. */
  readonly input: string;
  /** Canonical keys of those whom it is about. */
  readonly subjects: readonly string[];
  /** `null`: it says what is so, and decides nothing. */
  readonly verdict: Verdict | null;
  readonly parents?: readonly string[];
  /** What the kernel decided, where it was asked; else the core is put together from the verdict. */
  readonly decided?: { readonly core: DecisionCore; readonly run_state: string; readonly seen: string };
};

/** What changes a run is a record of its chain, like its steps. */
export abstract class RunCall implements Call {
  protected readonly turn: Turn;
  /** Text of what was verified about who asks. */
  readonly #asker: string;
  readonly #traceparent: string | null;
  readonly #resolve: (answer: RunAnswer) => void;
  protected run: RunRow | null = null;
  #appended: Appended | null = null;
  #admitted: { readonly watch: Watch; readonly keys: readonly string[]; readonly failed: number } | null = null;
  #owed: Omit<Owed, "settle"> | null = null;
  #refused: Extract<RunAnswer, { readonly ok: false }> | null = null;

  constructor(turn: Turn, asker: string, traceparent: string | null, resolve: (answer: RunAnswer) => void) {
    this.turn = turn;
    this.#asker = asker;
    this.#traceparent = traceparent;
    this.#resolve = resolve;
  }

  abstract execute(): void;

  get records(): number {
    return this.#appended === null ? 0 : 1;
  }

  get weight(): number {
    return 1;
  }

  get leafHashes(): readonly Uint8Array[] {
    return this.#appended === null ? [] : [this.#appended.leaf_hash];
  }

  protected refuse(code: "not_found" | "denied" | "conflict", reason: ReasonCode | null, detail?: string): void {
    this.#refused = { ok: false, code, reason, ...(detail === undefined ? {} : { detail }) };
  }

  /** What every change needs: a region that acts, and nothing that stands against the caller and `keys`. */
  protected admit({ facts }: ParsedFacts, keys: readonly string[]): Verdict {
    const { trust, condition, policy, region, t_ms } = this.turn;
    const watch = new Watch(trust);
    const admission = admitChange({ trust: watch.trust, condition, policy, region, t_ms }, facts, keys);
    this.#admitted = { watch, keys, failed: admission.failed.length };
    return admission;
  }

  protected shutOut(facts: Facts): boolean {
    const { trust, region, t_ms } = this.turn;
    return trust.match(callerKeys(facts, region), t_ms).length > 0;
  }

  /** What an allow that is withdrawn before it leaves is withdrawn by; `null`: there is no allow. */
  protected owed(): Omit<Owed, "settle"> | null {
    return this.#owed;
  }

  /** The caller hears that nothing was allowed after all, once that is on record (`stored`). */
  protected withhold(stored: boolean): void {
    this.#resolve({ ok: false, code: "denied", reason: stored ? "withheld" : "lineage_unavailable" });
  }

  /** Appends it; where something failed the caller hears of that, and of the record. */
  protected record({ kind, run, input, subjects, verdict, parents = [], decided }: RunRecord): Appended {
    const { turn } = this;
    const state = describeRunState({
      id: run.id,
      kind: run.kind,
      status: run.status,
      members: run.members,
      version: run.seq,
    });
    const failed = verdict?.failed[0] ?? null;
    const decision = verdict === null ? null : failed === null ? "allow" : "deny";
    const trust = decided?.core.trust ?? turn.trustDigest(verdict?.matches ?? []);
    const core: DecisionCore | null =
      verdict === null || decision === null
        ? null
        : (decided?.core ?? {
            decision,
            facts: digestOf(this.#asker, nodeSha256),
            failed: verdict.failed,
            input: digestOf(input, nodeSha256),
            obligations: [],
            policy: turn.policy.digest,
            reason: failed?.reason ?? null,
            region: turn.region,
            run: state.digest,
            t_ms: turn.t_ms,
            trust,
            v: 1,
          });
    this.run = run;
    this.#appended = turn.writer.append(
      {
        kind,
        run,
        subjects,
        core: core === null ? state.text : coreText(core),
        decision,
        reason: failed?.reason ?? null,
        refers: null,
        parents,
        input,
        facts: this.#asker,
        run_state: decided?.run_state ?? state.text,
        seen: decided === undefined ? (verdict === null ? null : this.#seenText(verdict)) : decided.seen,
        sealed: "",
        policy: turn.policy.digest,
        trust: { digest: trust, revision: turn.trust.revision },
        traceparent: this.#traceparent,
      },
      turn.t_ms,
      turn.writer.sseq + 1,
      true,
    );
    if (failed !== null) this.refuse("denied", failed.reason, failed.detail);
    else if (core !== null)
      this.#owed = {
        run: { ...run },
        refers: this.#appended,
        subjects,
        input,
        facts: this.#asker,
        run_state: state.text,
        core,
        traceparent: this.#traceparent,
        idempotency: null,
        index: 0,
      };
    return this.#appended;
  }

  /** What else the caller is given. */
  protected given(): Pick<Extract<RunAnswer, { readonly ok: true }>, "pass"> {
    return {};
  }

  /** What failed beside the admission rests on the run's rows, which only this shard has: a replay takes it as found. */
  #seenText({ failed }: Verdict): string | null {
    if (this.#admitted === null) return null;
    const { watch, keys, failed: admission } = this.#admitted;
    return watch.text(this.turn.seenText, { keys, found: failed.slice(admission), purpose: "run" });
  }

  release(flush: Flush | null, index: number, _live: Live): void {
    const { turn } = this;
    const appended = this.#appended;
    const evidence = {
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
    };
    if (this.#refused !== null) {
      const { decision_id, receipt } = evidence;
      return this.#resolve(decision_id === null ? this.#refused : { ...this.#refused, decision_id, receipt });
    }
    if (this.run === null) return this.#resolve({ ok: false, code: "denied", reason: "internal" });
    this.#resolve({ ok: true, run: describeRun(this.run), ...evidence, ...this.given() });
  }

  fail(): void {
    this.#resolve({ ok: false, code: "denied", reason: "lineage_unavailable" });
  }
}
