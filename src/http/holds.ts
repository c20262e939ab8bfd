import { parseRunId } from "../base/ids.ts";
import type { Handler } from "./access.ts";
import { callShard } from "./call-shard.ts";
import type { Room } from "./deps.ts";
import { evidenceHeaders } from "./evidence-headers.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requirePep, requireRegisteredPep } from "./pep-guard.ts";
import { askTicket, locally, ticket, traceOf, UNKNOWN_HOLD, unknownHold } from "./permits.ts";
import { json, refuse } from "./reply.ts";
import { reasonProblem } from "./runs.ts";
import { holdOutcomeBody, renewBody } from "./schemas/permits.ts";
import { readBody } from "./schema-input.ts";

/** What a redeemed permit has become: renewed, told an outcome, looked at; by whoever goes by its audience. */
export const holdHandlers = {
  renewHold: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "text");
    if (request.headers.get("content-type") !== null) {
      const body = await readBody(request, room.max_body_bytes, renewBody);
      if (!body.ok) return refuse(body.error, "text");
    }
    const hold = params["id"] ?? "";
    const unknown = unknownHold(room, hold);
    if (unknown !== null) return refuse(unknown, "text");
    if (isPast(room, hold)) return locally(room, "hold_ended");
    return ticket(room, arrival, request, who.value, hold, (stub, { facts, audiences }, deadline_ms) =>
      stub.renewHold({ v: 1, hold, audiences, facts, deadline_ms, traceparent: traceOf(request) }),
    );
  },

  reportHold: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "text");
    const body = await readBody(request, room.max_body_bytes, holdOutcomeBody);
    if (!body.ok) return refuse(body.error, "text");
    const hold = params["id"] ?? "";
    const unknown = unknownHold(room, hold);
    if (unknown !== null) return refuse(unknown, "text");
    if (isPast(room, hold)) return refuse(ENDED_EPOCH, "text");
    const { outcome } = body.value;
    const reply = await askTicket(room, arrival, request, who.value, hold, (stub, { facts, audiences }, deadline_ms) =>
      stub.reportHold({ v: 1, hold, audiences, facts, deadline_ms, outcome, traceparent: traceOf(request) }),
    );
    if (reply.kind === "refuse") return refuse(reply.problem, "text");
    const denied = reply.kind === "deny" ? reply.reason : reply.answer.items[0]?.reason;
    if (denied !== undefined && denied !== null)
      return refuse(
        denied === "revoked"
          ? { status: 403, code: "revoked", detail: "the credential was revoked" }
          : reasonProblem(denied),
        "text",
      );
    if (reply.kind === "deny") return refuse(reasonProblem("internal"), "text");
    return json(reply.answer.hold, 200, evidenceHeaders([reply.answer], 0));
  },

  readHold: async (room, arrival, request, params) => {
    const who = await requireRegisteredPep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "text");
    const hold = params["id"] ?? "";
    const unknown = unknownHold(room, hold);
    if (unknown !== null) return refuse(unknown, "text");
    if (isPast(room, hold)) return refuse(ENDED_EPOCH, "text");
    const { pep, audiences } = who.value;
    const called = await callShard(room, arrival, room.homeOf(hold), DEFAULT_DEADLINE_MS, (stub) =>
      stub.readHold({ v: 1, hold, pep, audiences }),
    );
    if (!called.ok) return refuse(reasonProblem(called.reason), "text");
    if (!called.value.ok) return refuse(UNKNOWN_HOLD, "text");
    return json(called.value.value);
  },
} as const satisfies Readonly<Record<string, Handler>>;

const ENDED_EPOCH = {
  status: 410,
  code: "log_epoch_ended",
  detail: "the log epoch of this hold has ended, and the hold with it",
} as const;

const isPast = (room: Room, id: string): boolean => (parseRunId(id)?.log_epoch ?? 0) < room.region.log_epoch;
