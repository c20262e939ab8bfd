import type { z } from "zod";
import { mintRunId, parseRunId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Caller } from "../credentials/pep.ts";
import type { ChangeRunMessage, RunAnswer, RunDescription } from "../objects/runs.ts";
import type { ShardRpc } from "../objects/shard.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import { REASONS, type ReasonCode } from "../vocabulary/reasons.ts";
import type { Delegation } from "../vocabulary/run.ts";
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
import { mintBeside, readDelegation, readPlanPart } from "./runs-body.ts";
import { amendRunBody, closeRunBody, delegateBody, openRunBody, outcomeBody } from "./schemas/runs.ts";
import { readBody } from "./schema-input.ts";

/** Runs of this region. The Worker mints the id; from then on the run's home shard is the only writer of its state. */
export const runHandlers = {
  openRun: async (room, arrival, request) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, openRunBody);
    if (!body.ok) return refuse(body.error, "problem");
    const { principal, members, budgets, parent_run, parent_step } = body.value;
    const plan = readPlanPart(body.value.plan);
    if (!plan.ok) return refuse(plan.error, "problem");
    const above = parent_run && parent_step ? { run: parent_run, step: parent_step } : null;
    if (above !== null) {
      const at = await roomOfRun(room, above.run);
      if (!at.ok) return refuse(at.error, "problem");
      if (at.value !== room) return refuse(denied("run_closed"), "problem");
    }
    // A run within a run is kept where that one is.
    const run =
      above === null
        ? mintRunId(room.region.name, room.region.log_epoch, room.random(16))
        : mintBeside(room, above.run);
    const delegations: Delegation[] = [];
    for (const [at, entry] of body.value.delegations.entries()) {
      const id = mintBeside(room, run);
      const delegation = readDelegation(entry, principal, `delegations[${at}].`, arrival.started_ms, id);
      if (!delegation.ok) return refuse(delegation.error, "problem");
      delegations.push(delegation.value);
    }
    const labels = [...new Set(body.value.labels)].sort();
    const declared = { principal, members, plan: plan.value, budgets, labels, delegations, above };
    const answer = await askRun(room, arrival, run, callerStateOf(request, who.value), (stub, facts) =>
      stub.openRun({ v: 1, run, ...declared, facts, traceparent: traceOf(request) }),
    );
    if (!answer.ok) return refuse(answer.problem, "problem");
    const given = delegations.length === 0 ? {} : { delegations: delegations.map(({ id }) => id) };
    return json({ ...answer.run, ...given }, 201, { ...answer.headers, Location: `/runs/v1/runs/${run}` });
  },

  amendRun: change(amendRunBody, ({ plan, state_version }) => {
    const read = readPlanPart(plan);
    return read.ok ? ok({ change: { kind: "amend", plan: read.value! }, state_version: state_version ?? null }) : read;
  }),

  delegate: change(
    delegateBody,
    ({ state_version, ...body }, { room, run, now_ms }) => {
      const delegation = readDelegation(body, null, "", now_ms, mintBeside(room, run));
      if (!delegation.ok) return delegation;
      return ok({ change: { kind: "delegate", delegation: delegation.value }, state_version: state_version ?? null });
    },
    201,
  ),

  reportOutcome: change(outcomeBody, ({ outcome }, { params }) =>
    ok({ change: { kind: "outcome", step: params["id"] ?? "", outcome }, state_version: null }),
  ),

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
    const answer = await askRun(room, arrival, run, callerStateOf(request, who.value), (stub, facts) =>
      stub.closeRun({ v: 1, run, facts, traceparent: traceOf(request) }),
    );
    return answer.ok ? json(answer.run, 200, answer.headers) : refuse(answer.problem, "problem");
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

type Place = {
  readonly room: Room;
  readonly run: string;
  readonly now_ms: number;
  readonly params: Readonly<Record<string, string>>;
};

/** A handler of something that changes in a run: its body read, its shard asked once more with fresh facts if need be. */
function change<S extends z.ZodType>(
  schema: S,
  read: (body: z.output<S>, place: Place) => Result<Pick<ChangeRunMessage, "change" | "state_version">, Problem>,
  status = 200,
): Handler {
  return async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, schema);
    if (!body.ok) return refuse(body.error, "problem");
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    if (at.value !== room) return refuse(denied("run_closed"), "problem");
    const asked = read(body.value, { room, run, now_ms: arrival.started_ms, params });
    if (!asked.ok) return refuse(asked.error, "problem");
    const answer = await askRun(room, arrival, run, callerStateOf(request, who.value), (stub, facts) =>
      stub.changeRun({ v: 1, run, ...asked.value, facts, traceparent: traceOf(request) }),
    );
    if (!answer.ok) return refuse(answer.problem, "problem");
    const made = asked.value.change.kind === "delegate" ? { delegation: asked.value.change.delegation } : {};
    return json({ ...answer.run, ...made }, status, answer.headers);
  };
}

export const callerStateOf = (request: Request, caller: Caller): CallerState => ({
  authorization: request.headers.get("authorization"),
  caller,
  renewal: null,
});

export const traceOf = (request: Request): string | null => readTraceparent(request.headers.get("traceparent"));

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

const UNKNOWN_STEP = { status: 404, code: "step_unknown" } as const;

type RunReply =
  | {
      readonly ok: true;
      readonly run: RunDescription;
      readonly pass?: Extract<RunAnswer, { readonly ok: true }>["pass"];
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly ok: false; readonly problem: Problem };

/** Once more with fresh facts after `stale_facts`. */
export async function askRun(
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
    const headers = evidenceOf(answer);
    if (answer.ok) return { ok: true, run: answer.run, pass: answer.pass, headers };
    if (answer.code === "not_found") {
      const { detail } = answer;
      return { ok: false, problem: detail === undefined ? UNKNOWN_RUN : { ...UNKNOWN_STEP, detail } };
    }
    if (answer.code === "conflict")
      return { ok: false, problem: { status: 409, code: "conflict", detail: answer.detail ?? "" } };
    if (answer.code === "denied") {
      const problem = denied(answer.reason ?? "internal", answer.detail);
      return { ok: false, problem: { ...problem, headers: { ...problem.headers, ...headers } } };
    }
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return { ok: false, problem };
  }
  return { ok: false, problem: reasonProblem("internal") };
}

/** The record of what was decided, also where that was a denial. */
function evidenceOf({ decision_id, receipt }: { decision_id?: string | null; receipt?: string | null }) {
  return {
    ...(decision_id ? { "Interlock-Decision-Id": decision_id } : {}),
    ...(receipt ? { "Interlock-Receipt": receipt } : {}),
  };
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

export function denied(reason: ReasonCode, detail?: string): Problem {
  if (UNAVAILABLE.has(reason)) return reasonProblem(reason);
  const status = STATUS[reason] ?? 403;
  const why = detail === undefined ? REASONS[reason].text : `${REASONS[reason].text} (${detail})`;
  return { status, code: reason, detail: `${why} ${REASONS[reason].todo}` };
}

const STATUS: Readonly<Partial<Record<ReasonCode, 400>>> = { input_invalid: 400 };

export const reasonProblem = (reason: ReasonCode): Problem =>
  unavailable(`${REASONS[reason].text} ${REASONS[reason].todo}`, reason);
