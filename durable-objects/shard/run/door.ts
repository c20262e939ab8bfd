import type { ChangeRunMessage, OpenRunMessage, RunAnswer } from "../../../src/objects/shard.ts";
import type { ParsedFacts } from "../decide-call.ts";
import type { Call } from "../group-commit.ts";
import type { Turn } from "../turn.ts";
import { ChangeRunCall } from "./change-call.ts";
import { CloseRunCall } from "./close-call.ts";
import { OpenRunCall } from "./open-call.ts";

export type DoorPorts = {
  /** Refreshes the lease where that is due. */
  readonly ready: () => Promise<void>;
  /** `null`: verified under key material that is not current. */
  readonly accepted: (facts: string) => ParsedFacts | null;
  readonly unknown: () => RunAnswer;
  readonly submit: (call: Call) => void;
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
