import { isObject, type JsonObject } from "../../../src/base/json.ts";
import type {
  AnswerRequestMessage,
  CancelRequestMessage,
  SubmitRequestMessage,
  TaskAnswer,
  TaskRead,
} from "../../../src/objects/approvals.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call } from "../group-commit.ts";
import type { LineageReader } from "../reader.ts";
import type { DoorPorts } from "../run/door.ts";
import type { Turn } from "../turn.ts";
import { AnswerCall, type AskedFor } from "./answer-call.ts";
import { CancelCall } from "./cancel-call.ts";
import { SubmitCall } from "./submit-call.ts";
import { viewOf } from "./task-call.ts";
import { Tasks, type TaskRow } from "./tasks.ts";

/**
 * Requests for approvals: what happens to them is a call in a turn of the shard, and what they ask for lies in the sealed
 * payload of their record.
 */
export class ApprovalDesk {
  readonly #turn: Turn;
  readonly #tasks: Tasks;
  readonly #lineage: LineageReader;
  readonly #ports: DoorPorts;

  constructor(turn: Turn, sql: SqlStorage, lineage: LineageReader, ports: DoorPorts) {
    this.#turn = turn;
    this.#tasks = new Tasks(sql);
    this.#lineage = lineage;
    this.#ports = ports;
  }

  submit(message: SubmitRequestMessage): Promise<TaskAnswer> {
    return this.#call(message.facts, (facts, resolve) => new SubmitCall(this.#turn, message, facts, resolve));
  }

  async answer(message: AnswerRequestMessage): Promise<TaskAnswer> {
    const asked = await this.#askedFor(message.task);
    const detail = "this region has no such request, or what it asked for was erased";
    if (asked === null) return { ok: false, code: "refused", problem: "unknown_task", detail };
    return this.#call(message.facts, (facts, resolve) => new AnswerCall(this.#turn, message, facts, asked, resolve));
  }

  cancel(message: CancelRequestMessage): Promise<TaskAnswer> {
    return this.#call(message.facts, (facts, resolve) => new CancelCall(this.#turn, message, facts, resolve));
  }

  async #call(
    text: string,
    make: (facts: ParsedFacts, resolve: (answer: TaskAnswer) => void) => Call,
  ): Promise<TaskAnswer> {
    await this.#ports.ready();
    const facts = this.#ports.accepted(text);
    if (facts !== null) return new Promise((resolve) => this.#ports.submit(make(facts, resolve)));
    const unknown = this.#ports.unknown();
    return !unknown.ok && unknown.code === "denied"
      ? { ok: false, code: "denied", reason: unknown.reason ?? "internal" }
      : { ok: false, code: "stale_facts" };
  }

  async read(id: string): Promise<TaskRead | "not_found" | "erasing"> {
    const row = this.#tasks.get(id);
    if (row === null) return "not_found";
    const asked = await this.#askedOf(row);
    return asked === "erasing" ? asked : { ...viewOf(row), asked };
  }

  async pending(after: string, limit: number): Promise<readonly TaskRead[] | "erasing"> {
    const found: TaskRead[] = [];
    for (const row of this.#tasks.pending(after, limit, this.#turn.now())) {
      const asked = await this.#askedOf(row);
      if (asked === "erasing") return asked;
      found.push({ ...viewOf(row), asked });
    }
    return found;
  }

  /** What an answer is about; `null`: there is no such request, or what it asked for was erased. */
  async #askedFor(id: string): Promise<AskedFor | null> {
    const read = await this.read(id);
    if (typeof read === "string" || read.asked === null) return null;
    const { request, requester, until_ms } = read.asked as unknown as AskedFor;
    return { request, requester, until_ms };
  }

  async #askedOf({ sseq }: TaskRow): Promise<JsonObject | null | "erasing"> {
    const input = await this.#lineage.inputOf(sseq);
    if (!input.ok) return "erasing";
    return isObject(input.value) ? input.value : null;
  }
}
