import type { TicketAnswer } from "../../../src/objects/permits.ts";
import type { FailedCheck, ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";
import { AgainCall, type StepCall } from "./again.ts";
import type { HoldBasis } from "./book.ts";
import type { HoldRow } from "./rows.ts";

/** A hold is renewed, or ends here. */
export class RenewCall extends AgainCall {
  readonly kind = "hold.renew";
  protected readonly id: string;
  #ends: ReasonCode | null = null;

  constructor(turn: Turn, id: string, call: StepCall, resolve: (answer: TicketAnswer) => void) {
    super(turn, call, resolve);
    this.id = id;
  }

  protected found(): readonly FailedCheck[] {
    const hold = this.turn.writer.permits.hold(this.id);
    if (hold === null) return [{ reason: "hold_ended" }];
    if (hold.state === "ended") return [{ reason: "hold_ended", detail: hold.reason ?? "its outcome was told" }];
    // Over is over, by a millisecond too.
    return this.turn.t_ms < hold.valid_until_ms ? [] : [{ reason: "hold_ended", detail: "it was not renewed in time" }];
  }

  protected allowed(_appended: Appended, valid_until_ms: number, basis: HoldBasis): HoldRow {
    const { permits } = this.turn.writer;
    const hold = { ...permits.hold(this.id)!, valid_until_ms };
    permits.putHold(hold, basis);
    return hold;
  }

  protected refused(reason: ReasonCode): void {
    const { permits } = this.turn.writer;
    const hold = permits.hold(this.id);
    if (hold === null || hold.state === "ended") return;
    this.#ends = reason;
    const ended_ms = this.turn.t_ms;
    permits.putHold({ ...hold, state: "ended", reason, ended_ms, event: permits.nextEvent() }, null);
  }

  override release(...released: Parameters<AgainCall["release"]>): void {
    const hold = this.#ends === null ? null : this.turn.writer.permits.hold(this.id);
    if (hold !== null && this.#ends !== null) this.turn.halts.tell(hold, this.#ends, null);
    super.release(...released);
  }

  protected released(hold: HoldRow): void {
    this.turn.halts.expect(hold);
    this.turn.halts.tellRenewed(hold);
  }
}

/** The region itself looks again, under another policy: the hold may end by it, and gets no longer. */
export class RecheckCall extends RenewCall {
  protected override allowed(_appended: Appended, _valid_until_ms: number, basis: HoldBasis): HoldRow {
    const { permits } = this.turn.writer;
    const hold = permits.hold(this.id)!;
    permits.putHold(hold, basis);
    return hold;
  }

  protected override released(): void {}
}
