import { base64url } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { RunAnswer } from "../../../src/objects/runs.ts";
import type { StepReceiptFacts } from "../../../src/vocabulary/run.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Turn } from "../turn.ts";
import { standingOf } from "./noted.ts";
import { AWAITED, DENIED, GOOD } from "./rows.ts";
import { RunCall } from "./run-call.ts";
import { OpenedRun } from "./opened-run.ts";

/**
 * Notes what another region says of a step of this run: once, however often it is told. It decides nothing; what is
 * told may be told where the region is frozen, or the run closed.
 */
export class ReceiptCall extends RunCall {
  readonly #run: string;
  readonly #facts: ParsedFacts;
  readonly #receipt: StepReceiptFacts;

  constructor(
    turn: Turn,
    run: string,
    receipt: StepReceiptFacts,
    facts: ParsedFacts,
    traceparent: string | null,
    resolve: (answer: RunAnswer) => void,
  ) {
    super(turn, facts.text, traceparent, resolve);
    this.#run = run;
    this.#facts = facts;
    this.#receipt = receipt;
  }

  execute(): void {
    const { turn } = this;
    const receipt = this.#receipt;
    const run = turn.writer.run(this.#run, false);
    if (run === null || run.kind !== "opened") return this.refuse("not_found", null);
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    if (this.shutOut(this.#facts.facts)) return this.refuse("denied", "revoked");
    // What a key signed that is revoked now may have been signed since.
    if (turn.revoked(receipt.keys, true)) return this.refuse("denied", "revoked", receipt.keys.join(", "));
    const { runs } = turn.writer;
    const standing = standingOf(runs, run.id, receipt);
    if (standing.kind === "refused") {
      if (standing.contradicts) turn.contradicted(receipt, standing.why);
      return this.refuse("conflict", null, standing.why);
    }
    this.run = run;
    if (standing.kind === "known") return;
    const { guest } = standing;
    const row = runs.step(guest.sseq)!;
    const { pass, region, decision, decision_id, leaf, t_ms, digest } = receipt;
    const appended = this.record({
      kind: "run.receipt",
      run,
      input: jcs({ decision, decision_id, digest, kind: "run.receipt", leaf, pass, region, run: run.id, t_ms, v: 1 }),
      subjects: [],
      verdict: null,
      parents: [base64url(runs.leaf(guest.sseq))],
    });
    const said = { decision, decision_id, leaf, t_ms };
    if (decision === "deny") {
      const standingNow = row.standing === AWAITED ? DENIED : row.standing;
      runs.settleGuest({ ...guest, state: "denied", said }, { ...row, standing: standingNow }, [], null, []);
      return;
    }
    const opened = new OpenedRun(runs, run);
    const homes = [...new Set([...row.homes, ...receipt.homes])].filter((home) => home !== turn.region).sort();
    runs.settleGuest(
      { ...guest, state: "allowed", said },
      { ...row, standing: GOOD, homes, t_ms: turn.t_ms },
      opened.guestSums(opened.node(row.node ?? "")?.action ?? ""),
      { t_ms: turn.t_ms, sseq: appended.sseq },
      [...receipt.dependencies, ...receipt.keys],
    );
    runs.addLabels(run.id, receipt.labels);
  }
}
