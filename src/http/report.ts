import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { DecideAnswer } from "../objects/decide.ts";
import { logLine } from "../observe/decision-log.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import type { Arrival, Room } from "./deps.ts";

export function countDecision(room: Room, allowed: boolean, reason: ReasonCode | null): void {
  room.metrics.decisions.add(allowed ? "allow\nnone" : `deny\n${reason ?? "internal"}`);
}

/** Counts what a shard answered and writes its one log line. */
export function reportAnswer(room: Room, arrival: Arrival, pep: string, request: Request, answer: DecideAnswer): void {
  let allowed = 0;
  for (const item of answer.items) {
    if (item.decision) allowed++;
    countDecision(room, item.decision, item.reason);
  }
  room.metrics.flush.observe(answer.flush_size);
  if (room.log === null) return;
  const items = answer.items.length;
  logLine(room.log, {
    event: "decision",
    region: room.region.name,
    decision_id: answer.decision_id,
    outcome: allowed === items ? "allow" : allowed === 0 ? "deny" : "mixed",
    reason: answer.items.find((item) => !item.decision)?.reason ?? null,
    items,
    allowed,
    pep,
    request_id: arrival.request_id,
    traceparent: readTraceparent(request.headers.get("traceparent")),
    duration_ms: room.now() - arrival.started_ms,
    t_ms: answer.t_ms,
  });
}
