import { base64url } from "../../../src/base/bytes.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { CancelRequestMessage, TaskAnswer } from "../../../src/objects/approvals.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Turn } from "../turn.ts";
import { TaskCall } from "./task-call.ts";

/** The PEP that asked asks no more. Told, so it decides nothing; it takes away, so it needs no region that acts. */
export class CancelCall extends TaskCall {
  readonly #message: CancelRequestMessage;
  readonly #facts: ParsedFacts;

  constructor(turn: Turn, message: CancelRequestMessage, facts: ParsedFacts, resolve: (answer: TaskAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  execute(): void {
    const { turn } = this;
    const { runs } = turn.writer;
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    if (this.shutOut(this.#facts.facts)) return this.refuse("denied", "revoked");
    if (runs.tasks.get(this.#message.task)?.pep !== this.#facts.facts.pep.id)
      return this.refuseTask("unknown_task", "this PEP has made no such request");
    const row = this.pending(this.#message.task);
    if (row === null) return;
    this.task = { ...row, status: "cancelled" };
    runs.putTask(this.task);
    const kind = "approval.cancel";
    this.record({
      kind,
      run: turn.writer.run(row.run, false)!,
      input: jcs({ kind, run: row.run, task: row.id, v: 1 }),
      subjects: [],
      verdict: null,
      parents: [base64url(runs.leaf(row.sseq))],
    });
  }
}
