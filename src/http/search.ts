import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import type { SearchAnswer, SearchKind, SearchMessage } from "../objects/shard.ts";
import { renewFacts } from "./ask-shard.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import { ANY_ACTION, actionPart, contextPart, entityPart, isInvalid, requestText } from "./canonical-request.ts";
import type { Arrival, Room } from "./deps.ts";
import { readOptions } from "./interlock-options.ts";
import { NO_STEP } from "./step-options.ts";
import { invalidText, type Invalid } from "./json-text.ts";
import { bad, json, refuse, unavailable, type Problem } from "./reply.ts";

const MAX_PAGE = 1_000;
const MAX_TOKEN_CHARS = 4_096;

/**
 * The three AuthZEN searches. Where no shard answers, it is a 503. A region that denies everything answers: it finds
 * nothing, and `context.reason` says that this is no word of policy.
 */
export async function search(
  room: Room,
  arrival: Arrival,
  kind: SearchKind,
  state: CallerState,
  body: JsonObject,
): Promise<Response> {
  const context = body["context"];
  const options = readOptions(isObject(context) ? context["interlock"] : undefined, "search");
  if (isInvalid(options)) return refuse(bad(invalidText(options)), "text");
  const page = readPage(body["page"]);
  if (isInvalid(page)) return refuse(bad(invalidText(page)), "text");
  const text = requestText(
    {
      subject: entityPart(body["subject"], "subject", kind === "subject"),
      action: kind === "action" ? ANY_ACTION : actionPart(body["action"]),
      resource: entityPart(body["resource"], "resource", kind === "resource"),
      context: contextPart(context),
    },
    NO_STEP,
  );
  if (isInvalid(text)) return refuse(bad(invalidText(text)), "text");

  // Any shard can search. The same search goes to the same one, so that a page token comes back to its maker.
  const shard = room.homeOf(text);
  for (let attempt = 0; attempt < 2; attempt++) {
    const { caller } = state;
    const { token, limit } = page;
    const message: SearchMessage = { v: 1, kind, request: text, facts: caller.facts, page: { token, limit } };
    const left = options.deadline_ms - (room.now() - arrival.started_ms);
    const called = await callShard(room, arrival, shard, left, (stub) => stub.search(message));
    if (!called.ok) return refuse(searchUnavailable(called.reason), "text");
    const answer = called.value;
    if (answer.ok) return found(answer, page.asked);
    if (answer.code === "bad_page_token") {
      return refuse(bad("page.token: is not one that this search gave; start again without it"), "text");
    }
    if (answer.code !== "stale_facts") break;
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return refuse(problem, "text");
  }
  return refuse(searchUnavailable("internal"), "text");
}

const searchUnavailable = (reason: string): Problem =>
  unavailable(`the search could not be answered (${reason}); retry`, reason);

function found(answer: Extract<SearchAnswer, { ok: true }>, asked: boolean): Response {
  // Exactly {type, id} or {name}: an extra member is another result to a caller that compares.
  const results = answer.results.map((one) => ("name" in one ? { name: one.name } : { type: one.type, id: one.id }));
  const { next_token, total, reason } = answer;
  const paged = next_token !== null || asked;
  return json({
    // First in the text, so that a streaming reader knows early (AuthZEN 1.0).
    ...(paged ? { page: { next_token: next_token ?? "", count: results.length, total } } : {}),
    ...(reason === null ? {} : { context: { reason } }),
    results,
  });
}

type Page = SearchMessage["page"] & { readonly asked: boolean };

function readPage(value: JsonValue | undefined): Page | Invalid {
  if (value === undefined || value === null) return { token: null, limit: null, asked: false };
  if (!isObject(value)) return { where: "page", what: "an object is required" };
  const token = value["token"] ?? null;
  if (token !== null && (typeof token !== "string" || token.length > MAX_TOKEN_CHARS)) {
    return { where: "page.token", what: "the text of a next_token is required" };
  }
  const limit = value["limit"] ?? null;
  if (limit !== null && (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1)) {
    return { where: "page.limit", what: "a whole number from 1 is required" };
  }
  return { token: token === "" ? null : token, limit: limit === null ? null : Math.min(limit, MAX_PAGE), asked: true };
}
