import type { RedeemMessage, TicketAnswer } from "../../../src/objects/permits.ts";
import type { Facts } from "../../../src/vocabulary/types.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import { AgainCall, type StepCall } from "./again.ts";
import type { HoldBasis } from "./book.ts";
import type { HoldRow } from "./rows.ts";
import { mintHere } from "./ticket.ts";

/** More active holds than this in one shard: looking at all of them when an event comes would take too long. */
const MAX_HOLDS = 10_000;

/** A permit is redeemed: by exactly one, and it becomes a hold. */
export class RedeemCall extends AgainCall {
  readonly kind = "permit.redeem";
  readonly #message: RedeemMessage;

  constructor(turn: Turn, message: RedeemMessage, call: StepCall, resolve: (answer: TicketAnswer) => void) {
    super(turn, call, resolve);
    this.#message = message;
  }

  protected found(): readonly FailedCheck[] | HoldRow {
    const { turn } = this;
    const { permit: told, idempotency_key } = this.#message;
    const row = turn.writer.permits.permit(told.id);
    if (row === null || row.aud !== told.aud || row.run !== told.run || row.exp_ms !== told.exp_ms)
      return [{ reason: "permit_invalid", detail: "no such permit was issued" }];
    if (row.used !== null) {
      const hold = turn.writer.permits.hold(row.used.hold);
      const same = idempotency_key !== null && row.used.key === idempotency_key && row.used.by === this.#pep;
      return same && hold !== null ? hold : [{ reason: "permit_reused" }];
    }
    if (turn.t_ms >= row.exp_ms) return [{ reason: "permit_expired" }];
    return turn.writer.permits.live.size < MAX_HOLDS ? [] : [{ reason: "overloaded" }];
  }

  get #pep(): string {
    return this.call.facts.facts.pep.id;
  }

  protected allowed(appended: Appended, valid_until_ms: number, basis: HoldBasis): HoldRow {
    const { turn } = this;
    const { permits } = turn.writer;
    const row = permits.permit(this.#message.permit.id)!;
    const hold: HoldRow = {
      id: mintHere(turn),
      permit: row.id,
      run: row.run,
      step: row.step,
      redeemed: appended.sseq,
      aud: row.aud,
      asker: (JSON.parse(this.call.asked.facts) as Facts).pep.id,
      since_ms: turn.t_ms,
      valid_until_ms,
      state: "active",
      reason: null,
      outcome: null,
      ended_ms: null,
      event: null,
    };
    permits.putPermit({ ...row, used: { hold: hold.id, by: this.#pep, key: this.#message.idempotency_key } });
    permits.putHold(hold, basis);
    return hold;
  }

  /** It can be tried again: what stands against it may pass before the permit does. */
  protected refused(): void {}

  protected released(hold: HoldRow): void {
    this.turn.halts.expect(hold);
  }
}
