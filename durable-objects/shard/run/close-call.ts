import { jcs } from "../../../src/base/jcs.ts";
import type { RunAnswer } from "../../../src/objects/runs.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Turn } from "../turn.ts";
import { RunCall } from "./run-call.ts";

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
    if (this.#facts !== null && this.shutOut(this.#facts.facts)) return this.refuse("denied", "revoked");
    // Closing twice is closing once.
    this.run = run;
    if (run.status === "closed") return;
    run.status = "closed";
    this.record({
      kind: "run.close",
      run,
      input: JSON.stringify({
        kind: "run.close",
        members: run.members,
        principal: run.principal,
        run: run.id,
        v: 1,
      }),
      subjects: run.members.map((member) => `subject:${member}`),
      verdict: null,
    });
  }
}
