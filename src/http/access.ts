import type { PepScope } from "../vocabulary/types.ts";
import { ok, type Result } from "../base/result.ts";
import type { Caller } from "../credentials/pep.ts";
import type { JsonObject } from "../base/json.ts";
import type { CallerState } from "./caller-state.ts";
import { readJsonObject } from "./body.ts";
import type { Arrival, Room } from "./deps.ts";
import { evaluateOne } from "./evaluation.ts";
import { evaluateMany } from "./evaluations.ts";
import { requirePep } from "./pep-guard.ts";
import { requireCaller, type Asking } from "./self-guard.ts";
import { refuse, type Parts, type Problem } from "./reply.ts";
import { search } from "./search.ts";

/** A handler of one route. `params` are the decoded `{name}` parts of its path. */
export type Handler = (
  room: Room,
  arrival: Arrival,
  request: Request,
  params: Readonly<Record<string, string>>,
) => Promise<Response | Parts> | Response;

type Answer = (
  room: Room,
  arrival: Arrival,
  request: Request,
  state: CallerState,
  body: JsonObject,
) => Promise<Response | Parts>;

async function asPep(
  who: Result<Caller, Problem> | Promise<Result<Caller, Problem>>,
): Promise<Result<Asking, Problem>> {
  const answer = await who;
  return answer.ok ? ok({ caller: answer.value, self: null }) : answer;
}

/** The way into every AuthZEN route: who asks, may they, is it a JSON object; then the answer. */
const door =
  (scope: PepScope, answer: Answer): Handler =>
  async (room, arrival, request) => {
    const who =
      scope === "evaluate"
        ? requireCaller(room, request, arrival.started_ms)
        : asPep(requirePep(room, request, scope, arrival.started_ms));
    const asking = who instanceof Promise ? await who : who;
    if (!asking.ok) return refuse(asking.error, "text");
    const body = await readJsonObject(request, room.max_body_bytes);
    if (!body.ok) return refuse(body.error, "text");
    const state: CallerState = {
      authorization: request.headers.get("authorization"),
      caller: asking.value.caller,
      self: asking.value.self,
      renewal: null,
    };
    return answer(room, arrival, request, state, body.value);
  };

export const accessHandlers = {
  evaluate: door("evaluate", evaluateOne),
  evaluateMany: door("evaluate", evaluateMany),
  searchSubjects: door("search", (room, arrival, _request, state, body) =>
    search(room, arrival, "subject", state, body),
  ),
  searchResources: door("search", (room, arrival, _request, state, body) =>
    search(room, arrival, "resource", state, body),
  ),
  searchActions: door("search", (room, arrival, _request, state, body) => search(room, arrival, "action", state, body)),
} as const satisfies Readonly<Record<string, Handler>>;
