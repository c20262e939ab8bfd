import type { z } from "zod";
import { base64url, utf8 } from "../base/bytes.ts";
import { parseRunId } from "../base/ids.ts";
import { cut } from "../base/cut.ts";
import { jcs } from "../base/jcs.ts";
import type { JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Caller } from "../credentials/pep.ts";
import type { ApprovalRpc, TaskAnswer, TaskProblem, TaskRead, TaskView } from "../objects/approvals.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import { ACCESS_REQUESTS, readBinding, timeText } from "../runs/binding.ts";
import { entityForm } from "../trust/keys.ts";
import type { PepScope } from "../vocabulary/types.ts";
import type { Handler } from "./access.ts";
import { renewFacts } from "./ask-shard.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText } from "./canonical-request.ts";
import { readCredentials } from "./credentials-option.ts";
import type { Arrival, Room } from "./deps.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { invalidText } from "./json-text.ts";
import { requirePep, requireRegisteredPep } from "./pep-guard.ts";
import { unread } from "./reading.ts";
import { bad, json, refuse, type Problem } from "./reply.ts";
import { denied, reasonProblem } from "./runs.ts";
import { mintBeside } from "./runs-body.ts";
import { answerRequestBody, cancelRequestBody, listRequestsQuery, submitRequestBody } from "./schemas/approvals.ts";
import { readBody, readQuery } from "./schema-input.ts";
import { NO_STEP } from "./step-options.ts";
import { withFacts } from "./workload.ts";

/**
 * Requests for approvals (AuthZEN's access-request draft; docs/approvals.md). Nothing here gives access: an approval is
 * looked at when the step is asked for again.
 */
export const approvalHandlers = {
  submitAccessRequest: async (room, arrival, request) => {
    const who = await requirePep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, submitRequestBody);
    if (!body.ok) return refuse(body.error, "problem");
    const asked = askedText(body.value);
    if (!asked.ok) return refuse(asked.error, "problem");
    const key = request.headers.get("idempotency-key");
    if (key !== null && !/^[!-~]{1,128}$/.test(key))
      return refuse(bad("Idempotency-Key: 1 to 128 visible ASCII characters are required"), "problem");
    const { denial, requested_access, interlock } = body.value;
    const run = readBinding(denial.binding_token)?.run ?? "";
    const parts = parseRunId(run);
    if (parts?.region !== room.region.name || parts.log_epoch !== room.region.log_epoch)
      return refuse(
        taskProblem("invalid_denial_binding", "denial.binding_token is not one of this region's"),
        "problem",
      );
    const requester = interlock?.requester ?? null;
    const until = requested_access?.requested_until ?? null;
    const noted = body.value.context?.["business_justification"];
    const answer = await ask(room, arrival, room.homeOf(run), stateOf(request, who.value), (stub, facts) =>
      stub.submitRequest({
        v: 1,
        task: mintBeside(room, run),
        binding_token: denial.binding_token,
        denial_expires_ms: Date.parse(denial.expires_at),
        asked: asked.value,
        requester: requester === null ? null : entityForm(requester.type, requester.id),
        justification: requested_access?.justification ?? (typeof noted === "string" ? cut(noted, 2_000) : null),
        until_ms: until === null ? null : Date.parse(until),
        idempotency_key: key,
        body: base64url(room.sha256(utf8(jcs(body.value)))),
        facts,
        traceparent: traceOf(request),
      }),
    );
    if (!answer.ok) return refuse(answer.error, "problem");
    const { task, headers } = answer.value;
    return json(taskBody(room, task), 202, { ...headers, Location: statusEndpoint(room, task.id) });
  },

  readAccessRequest: async (room, arrival, request, params) => {
    const who = await requireEither(room, request, arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const read = await readTask(room, arrival, params["id"] ?? "");
    if (!read.ok) return refuse(read.error, "problem");
    const task = read.value;
    const approves = who.value.scopes.includes("approve");
    // Whoever may not see a request does not hear that there is one.
    if (!approves && task.pep !== who.value.pep) return refuse(UNKNOWN, "problem");
    if (room.now() >= task.expires_ms)
      return refuse(taskProblem("task_expired", "nobody answered the request in time"), "problem");
    const body = taskBody(room, task);
    return json(approves ? { ...body, task: { ...body.task, ...forApprovers(task) } } : body);
  },

  listAccessRequests: async (room, arrival, request) => {
    const who = await requireRegisteredPep(room, request, "approve", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const query = readQuery(request, listRequestsQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const limit = query.value.limit ?? 100;
    const shards = Array.from({ length: room.region.shards }, (_, shard) => shard);
    const told = await Promise.all(
      shards.map((shard) =>
        callShard(room, arrival, shard, DEFAULT_DEADLINE_MS, (stub) => stub.pendingRequests("", limit + 1)),
      ),
    );
    const found: TaskRead[] = [];
    // A shard that does not answer is a 503, never a list with a hole in it.
    for (const called of told) {
      if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
      if (called.value === "erasing") return refuse(unread("erasing", UNKNOWN), "problem");
      found.push(...called.value);
    }
    found.sort((a, b) => a.submitted_ms - b.submitted_ms || (a.id < b.id ? -1 : 1));
    const tasks = found.slice(0, limit).map((task) => ({ ...taskBody(room, task).task, ...forApprovers(task) }));
    return json({ tasks, more: found.length > limit });
  },

  approveAccessRequest: answerHandler("grant"),
  refuseAccessRequest: answerHandler("refuse"),

  cancelAccessRequest: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    if (request.headers.get("content-type") !== null) {
      const body = await readBody(request, room.max_body_bytes, cancelRequestBody);
      if (!body.ok) return refuse(body.error, "problem");
    }
    const task = params["id"] ?? "";
    if (!isHere(room, task)) return refuse(UNKNOWN, "problem");
    const answer = await ask(room, arrival, room.homeOf(task), stateOf(request, who.value), (stub, facts) =>
      stub.cancelRequest({ v: 1, task, facts, traceparent: traceOf(request) }),
    );
    if (!answer.ok) return refuse(answer.error, "problem");
    return json(taskBody(room, answer.value.task), 200, answer.value.headers);
  },
} as const satisfies Readonly<Record<string, Handler>>;

/** An approver's word: whether it counts is decided, and recorded, by the shard. */
function answerHandler(answer: "grant" | "refuse"): Handler {
  return async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "approve", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, answerRequestBody);
    if (!body.ok) return refuse(body.error, "problem");
    const { approver, justification, credentials } = body.value;
    const presented = (credentials ?? null) === null ? null : readCredentials(credentials as JsonObject);
    if (presented !== null && "what" in presented) return refuse(bad(`credentials: ${presented.what}`), "problem");
    const task = params["id"] ?? "";
    if (!isHere(room, task)) return refuse(UNKNOWN, "problem");
    const state = stateOf(request, who.value);
    const said = await ask(room, arrival, room.homeOf(task), state, async (stub, facts) => {
      let own = facts;
      if (presented !== null) {
        const item = { request: "", run: task, credentials: presented };
        const verified = await withFacts(room, arrival, state, [item], DEFAULT_DEADLINE_MS);
        if (!verified.ok) return { ok: false, code: "denied", reason: verified.error };
        own = verified.value[0]!.facts ?? facts;
      }
      return stub.answerRequest({
        v: 1,
        task,
        answer,
        approval: mintBeside(room, task),
        approver,
        justification: justification ?? null,
        facts: own,
        traceparent: traceOf(request),
      });
    });
    if (!said.ok) return refuse(said.error, "problem");
    return json(taskBody(room, said.value.task), 200, said.value.headers);
  };
}

/** Canonical text of what was evaluated, read as an evaluation reads it. */
function askedText({
  subject,
  action,
  resource,
  context,
}: z.output<typeof submitRequestBody>): Result<string, Problem> {
  const text = requestText(
    {
      subject: entityPart(subject as JsonObject, "subject"),
      action: actionPart(action as JsonObject),
      resource: entityPart(resource as JsonObject, "resource"),
      context: contextPart((context ?? undefined) as JsonObject | undefined),
    },
    NO_STEP,
  );
  return isInvalid(text) ? err(bad(invalidText(text))) : ok(text);
}

type Told = { readonly task: TaskView; readonly headers: Readonly<Record<string, string>> };

/** Once more with fresh facts after `stale_facts`. */
async function ask(
  room: Room,
  arrival: Arrival,
  shard: number,
  state: CallerState,
  call: (stub: ApprovalRpc, facts: string) => Promise<TaskAnswer>,
): Promise<Result<Told, Problem>> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const { caller } = state;
    const called = await callShard(room, arrival, shard, DEFAULT_DEADLINE_MS, (stub) => call(stub, caller.facts));
    if (!called.ok) return err(reasonProblem(called.reason));
    const answer = called.value;
    if (answer.ok) return ok({ task: answer.task, headers: evidenceOf(answer) });
    if (answer.code === "refused") return err(taskProblem(answer.problem, answer.detail));
    if (answer.code === "denied") {
      const problem = denied(answer.reason, answer.detail);
      return err({ ...problem, headers: { ...problem.headers, ...evidenceOf(answer) } });
    }
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return err(problem);
  }
  return err(reasonProblem("internal"));
}

async function readTask(room: Room, arrival: Arrival, id: string): Promise<Result<TaskRead, Problem>> {
  if (!isHere(room, id)) return err(UNKNOWN);
  const called = await callShard(room, arrival, room.homeOf(id), DEFAULT_DEADLINE_MS, (stub) => stub.readRequest(id));
  if (!called.ok) return err(reasonProblem(called.reason));
  if (called.value === "not_found") return err(UNKNOWN);
  return called.value === "erasing" ? err(unread("erasing", UNKNOWN)) : ok(called.value);
}

/** Requests end with the log epoch in which they were made: their runs do. */
function isHere(room: Room, id: string): boolean {
  const parts = parseRunId(id);
  return parts?.region === room.region.name && parts.log_epoch === room.region.log_epoch;
}

async function requireEither(room: Room, request: Request, now_ms: number): Promise<Result<Caller, Problem>> {
  const scopes: readonly PepScope[] = ["approve", "evaluate"];
  let last: Result<Caller, Problem> | null = null;
  for (const scope of scopes) {
    last = await requireRegisteredPep(room, request, scope, now_ms);
    if (last.ok || last.error.code !== "insufficient_scope") return last;
  }
  return last!;
}

const statusEndpoint = (room: Room, id: string): string => `${room.region.pdp}${ACCESS_REQUESTS}/${id}`;

/** The draft's task and, of one that is approved, its result. */
function taskBody(room: Room, { id, status, expires_ms, approval }: TaskView) {
  const endpoint = statusEndpoint(room, id);
  const task = {
    id,
    status,
    status_endpoint: endpoint,
    expires_at: timeText(expires_ms),
    ...(status === "pending" ? { links: { cancel: `${endpoint}/cancel` } } : {}),
  };
  if (approval === null) return { task };
  const { id: given, approved_ms, until_ms } = approval;
  const times = { approved_at: timeText(approved_ms), approved_until: timeText(until_ms) };
  return { task, result: { mode: "reevaluate", approval: { id: given, ...times } } };
}

const forApprovers = ({ run, pep, submitted_ms, asked }: TaskRead) => ({
  run,
  pep,
  submitted_at: timeText(submitted_ms),
  asked,
});

function evidenceOf({ decision_id, receipt }: { decision_id?: string | null; receipt?: string | null }) {
  return {
    ...(decision_id ? { "Interlock-Decision-Id": decision_id } : {}),
    ...(receipt ? { "Interlock-Receipt": receipt } : {}),
  };
}

const STATUS: Readonly<Record<TaskProblem, Problem["status"]>> = {
  not_requestable: 400,
  invalid_denial_binding: 400,
  expired_denial: 410,
  duplicate_request: 409,
  unknown_task: 404,
  task_expired: 410,
  invalid_task_state: 409,
  too_many_pending: 409,
};

/** The draft names its problems by URN; ours has none. */
const taskProblem = (code: TaskProblem, detail: string): Problem => ({
  status: STATUS[code],
  code,
  detail,
  ...(code === "too_many_pending" ? {} : { type: `urn:openid:authzen:access-request:error:${code}` }),
});

const UNKNOWN = taskProblem("unknown_task", "this region has no such request");

const stateOf = (request: Request, caller: Caller): CallerState => ({
  authorization: request.headers.get("authorization"),
  caller,
  renewal: null,
});

const traceOf = (request: Request): string | null => readTraceparent(request.headers.get("traceparent"));
