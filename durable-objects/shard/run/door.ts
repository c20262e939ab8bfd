import type {
  ChangeRunMessage,
  NoteReceiptsMessage,
  OpenPassMessage,
  OpenRunMessage,
  RunAnswer,
  StepReceiptAnswer,
} from "../../../src/objects/runs.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call } from "../group-commit.ts";
import type { Turn } from "../turn.ts";
import { ChangeRunCall } from "./change-call.ts";
import { CloseRunCall } from "./close-call.ts";
import { stepReceiptOf } from "./guest-state.ts";
import { OpenRunCall } from "./open-call.ts";
import { PassCall } from "./pass-call.ts";
import { ReceiptCall } from "./receipt-call.ts";

export type DoorPorts = {
  /** Refreshes the lease where that is due. */
  readonly ready: () => Promise<void>;
  /** `null`: verified under key material that is not current. */
  readonly accepted: (facts: string) => ParsedFacts | null;
  readonly unknown: () => RunAnswer;
  readonly submit: (call: Call) => void;
  /** What was decided before is released or withheld. */
  readonly settled: () => Promise<void>;
};

/** What is asked of a run beside its steps: each is a call in a turn of the shard. */
export class RunDoor {
  readonly #turn: Turn;
  readonly #ports: DoorPorts;

  constructor(turn: Turn, ports: DoorPorts) {
    this.#turn = turn;
    this.#ports = ports;
  }

  open(message: OpenRunMessage): Promise<RunAnswer> {
    return this.#asked(message.facts, (facts, resolve) => new OpenRunCall(this.#turn, message, facts, resolve));
  }

  change(message: ChangeRunMessage): Promise<RunAnswer> {
    return this.#asked(message.facts, (facts, resolve) => new ChangeRunCall(this.#turn, message, facts, resolve));
  }

  close({ run, facts, traceparent }: Pick<ChangeRunMessage, "run" | "facts" | "traceparent">): Promise<RunAnswer> {
    return this.#asked(facts, (asker, resolve) => new CloseRunCall(this.#turn, run, asker, traceparent, resolve));
  }

  /** An administrator stops a run: no lease and no caller is needed to take away. */
  stop(run: string, administrator: string): Promise<RunAnswer> {
    return this.#submit((resolve) => new CloseRunCall(this.#turn, run, { administrator }, null, resolve));
  }

  pass(message: OpenPassMessage): Promise<RunAnswer> {
    return this.#asked(message.facts, (facts, resolve) => new PassCall(this.#turn, message, facts, resolve));
  }

  async receipts({ run, facts, traceparent }: NoteReceiptsMessage): Promise<RunAnswer> {
    await this.#ports.ready();
    const accepted = this.#ports.accepted(facts);
    if (accepted === null) return this.#ports.unknown();
    const answers = await this.note(run, accepted, traceparent);
    return answers.find(({ ok }) => !ok) ?? answers[0] ?? { ok: false, code: "not_found", reason: null };
  }

  /** Submits a call for each step receipt of the facts; what is submitted later sees what they noted. */
  note(run: string, facts: ParsedFacts, traceparent: string | null): Promise<readonly RunAnswer[]> {
    const noted = (facts.facts.step_receipts ?? []).map(
      (receipt) =>
        new Promise<RunAnswer>((resolve) =>
          this.#ports.submit(new ReceiptCall(this.#turn, run, receipt, facts, traceparent, resolve)),
        ),
    );
    return Promise.all(noted);
  }

  /** What this region said of the newest step under a pass of another. */
  async said(pass: string): Promise<StepReceiptAnswer> {
    await this.#ports.ready();
    // An allow is on disk before it leaves, and may be withheld: until then nobody hears of it.
    await this.#ports.settled();
    const found = this.#turn.writer.runs.passes.stored(pass);
    if (found === null || this.#turn.withdrawn(found.sseq)) return { ok: false, code: "not_found" };
    const receipt = await stepReceiptOf(this.#turn, pass, found.sseq);
    const { decision, decision_id } = found.claims;
    return receipt === null ? { ok: false, code: "not_certified" } : { ok: true, receipt, decision, decision_id };
  }

  async #asked(
    facts: string,
    call: (facts: ParsedFacts, resolve: (answer: RunAnswer) => void) => Call,
  ): Promise<RunAnswer> {
    await this.#ports.ready();
    const accepted = this.#ports.accepted(facts);
    if (accepted === null) return this.#ports.unknown();
    return this.#submit((resolve) => call(accepted, resolve));
  }

  /** What changed in a run may end the holds in it: they are told before the change is answered. */
  async #submit(call: (resolve: (answer: RunAnswer) => void) => Call): Promise<RunAnswer> {
    const answer = await new Promise<RunAnswer>((resolve) => this.#ports.submit(call(resolve)));
    this.#turn.halts.look();
    return answer;
  }
}
