import { mintRunId, parseRunId } from "../base/ids.ts";
import { err, type Result } from "../base/result.ts";
import type { RunAnswer, ShardRpc } from "../objects/shard.ts";
import { REASONS, type ReasonCode } from "../vocabulary/reasons.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import type { Handler } from "./access.ts";
import { renewFacts } from "./ask-shard.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import type { Arrival, Room } from "./deps.ts";
import { roomIn } from "./epochs.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requirePep, requireRegisteredPep } from "./pep-guard.ts";
import { unread } from "./reading.ts";
import { json, refuse, unavailable, type Problem } from "./reply.ts";
import { closeRunBody, openRunBody } from "./schemas/runs.ts";
import { readBody } from "./schema-input.ts";

/** Runs of this region. The Worker mints the id; from then on the run's home shard is the only writer of its state. */
export const runHandlers = {
  openRun: async (room, arrival, request) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, openRunBody);
    if (!body.ok) return refuse(body.error, "problem");
    const run = mintRunId(room.region.name, room.region.log_epoch, room.random(16));
    const traceparent = readTraceparent(request.headers.get("traceparent"));
    const state = { authorization: request.headers.get("authorization"), caller: who.value, renewal: null };
    const answer = await ask(room, arrival, run, state, (stub, facts) =>
      stub.openRun({ v: 1, run, ...body.value, facts, traceparent }),
    );
    if (!answer.ok) return refuse(answer.problem, "problem");
    return json(answer.body, 201, { ...answer.headers, Location: `/runs/v1/runs/${run}` });
  },

  closeRun: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    if (request.headers.get("content-type") !== null) {
      const body = await readBody(request, room.max_body_bytes, closeRunBody);
      if (!body.ok) return refuse(body.error, "problem");
    }
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    if (at.value !== room) return refuse(denied("run_closed"), "problem");
    const traceparent = readTraceparent(request.headers.get("traceparent"));
    const state = { authorization: request.headers.get("authorization"), caller: who.value, renewal: null };
    const answer = await ask(room, arrival, run, state, (stub, facts) =>
      stub.closeRun({ v: 1, run, facts, traceparent }),
    );
    return answer.ok ? json(answer.body, 200, answer.headers) : refuse(answer.problem, "problem");
  },

  describeRun: async (room, arrival, request, params) => {
    const who = await requireRegisteredPep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    const called = await callShard(at.value, arrival, at.value.homeOf(run), DEFAULT_DEADLINE_MS, (stub) =>
      stub.describeRun(run),
    );
    if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
    if (!called.value.ok) return refuse(unread(called.value.code, UNKNOWN_RUN), "problem");
    // With its log epoch every run of it ended, whatever its row says.
    return json(at.value === room ? called.value.value : { ...called.value.value, status: "closed" });
  },
} as const satisfies Readonly<Record<string, Handler>>;

/** The region in the log epoch that the run began in, where its shard is. */
export async function roomOfRun(room: Room, run: string): Promise<Result<Room, Problem>> {
  const parts = parseRunId(run);
  return parts?.region === room.region.name ? roomIn(room, parts.log_epoch, UNKNOWN_RUN) : err(UNKNOWN_RUN);
}

export const UNKNOWN_RUN: Problem = {
  status: 404,
  code: "run_unknown",
  detail: "this region has no such run; a run id begins with its home region, ask there",
};

type RunReply =
  | { readonly ok: true; readonly body: unknown; readonly headers: Readonly<Record<string, string>> }
  | { readonly ok: false; readonly problem: Problem };

/** Once more with fresh facts after `stale_facts`. */
async function ask(
  room: Room,
  arrival: Arrival,
  run: string,
  state: CallerState,
  call: (stub: ShardRpc, facts: string) => Promise<RunAnswer>,
): Promise<RunReply> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const { caller } = state;
    const called = await callShard(room, arrival, room.homeOf(run), DEFAULT_DEADLINE_MS, (stub) =>
      call(stub, caller.facts),
    );
    if (!called.ok) return { ok: false, problem: reasonProblem(called.reason) };
    const answer = called.value;
    if (answer.ok) {
      const headers: Record<string, string> = {};
      if (answer.decision_id !== null) headers["Interlock-Decision-Id"] = answer.decision_id;
      if (answer.receipt !== null) headers["Interlock-Receipt"] = answer.receipt;
      return { ok: true, body: answer.run, headers };
    }
    if (answer.code === "not_found") return { ok: false, problem: UNKNOWN_RUN };
    if (answer.code === "denied") return { ok: false, problem: denied(answer.reason ?? "internal") };
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return { ok: false, problem };
  }
  return { ok: false, problem: reasonProblem("internal") };
}

/** About this region as it is now, not about who asks for what: it may be otherwise in a moment. */
const UNAVAILABLE: ReadonlySet<ReasonCode> = new Set([
  "overloaded",
  "deadline",
  "internal",
  "region_joining",
  "region_frozen",
  "lineage_halted",
  "lineage_unavailable",
  "trust_lease_expired",
  "policy_stale",
  "policy_drift",
  "sync_stale",
  "sync_unsupported",
  "sync_equivocation",
  "clock_anomaly",
]);

const denied = (reason: ReasonCode): Problem =>
  UNAVAILABLE.has(reason)
    ? reasonProblem(reason)
    : { status: 403, code: reason, detail: `${REASONS[reason].text} ${REASONS[reason].todo}` };

export const reasonProblem = (reason: ReasonCode): Problem =>
  unavailable(`${REASONS[reason].text} ${REASONS[reason].todo}`, reason);
