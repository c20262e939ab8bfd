import type { HoldView } from "../../../src/objects/permits.ts";
import type { RunBook } from "../run/book.ts";
import type { HoldRow } from "./rows.ts";

/** A hold whose time has passed is over, also where nobody has written that down yet. */
export function viewHold(runs: Pick<RunBook, "step">, row: HoldRow, now_ms: number): HoldView {
  const over = row.state === "active" && now_ms >= row.valid_until_ms;
  return {
    hold: row.id,
    permit: row.permit,
    run: row.run,
    step: runs.step(row.step)?.id ?? "",
    audience: row.aud,
    state: over ? "ended" : row.state,
    since_ms: row.since_ms,
    valid_until_ms: row.valid_until_ms,
    ended_ms: over ? row.valid_until_ms : row.ended_ms,
    reason: over ? "hold_ended" : row.reason,
    outcome: row.outcome,
  };
}
