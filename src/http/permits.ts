import { fromBase64url, fromUtf8 } from "../base/bytes.ts";
import { parseRunId } from "../base/ids.ts";
import { isObject, parseJson } from "../base/json.ts";
import type { Caller } from "../credentials/pep.ts";
import { verifyPermit } from "../credentials/permit.ts";
import type { TicketAnswer } from "../objects/permits.ts";
import type { ShardRpc } from "../objects/shard.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import type { Handler } from "./access.ts";
import { deny, release, singleBody } from "./answer-body.ts";
import { renewFacts } from "./ask-shard.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import type { Arrival, Room } from "./deps.ts";
import { evidenceHeaders } from "./evidence-headers.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requirePep } from "./pep-guard.ts";
import { countDecision, reportAnswer } from "./report.ts";
import { json, refuse, unavailable, type Problem } from "./reply.ts";
import { redeemBody } from "./schemas/permits.ts";
import { readBody } from "./schema-input.ts";
import { shardKeys } from "./shard-keys.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";

/** A permit becomes an allow, and a hold: at the shard that issued it, by exactly one. */
export const redeem: Handler = async (room, arrival, request) => {
  const who = await requirePep(room, request, "evaluate", arrival.started_ms);
  if (!who.ok) return refuse(who.error, "text");
  const body = await readBody(request, room.max_body_bytes, redeemBody);
  if (!body.ok) return refuse(body.error, "text");
  const { permit: text, idempotency_key = null } = body.value;
  const keys = await shardKeys(room, kidOf(text));
  if (keys === null)
    return refuse(unavailable("the region's keys cannot be read; retry", "authority_unavailable"), "text");
  const { pdp, name, log_epoch } = room.region;
  const verified = await verifyPermit(text, { issuer: pdp, keys, audiences: who.value.audiences }, room.now());
  // Nothing is known of a permit that does not verify, and so there is nothing to record.
  if (!verified.ok) return locally(room, verified.error.code);
  const { jti, run, step, aud, input, exp_ms } = verified.value;
  const home = parseRunId(jti);
  if (home?.region !== name || home.log_epoch > log_epoch) return locally(room, "permit_invalid");
  // With its log epoch the run ended.
  if (home.log_epoch < log_epoch) return locally(room, "run_closed");
  const permit = { id: jti, run, step, aud, input, exp_ms };
  return ticket(room, arrival, request, who.value, jti, (stub, { facts }, deadline_ms) =>
    stub.redeem({ v: 1, permit, facts, idempotency_key, deadline_ms, traceparent: traceOf(request) }),
  );
};

export const traceOf = (request: Request): string | null => readTraceparent(request.headers.get("traceparent"));

/** The `kid` that an unverified permit names: for a look at the keys, and nothing else. */
function kidOf(text: string): string | null {
  const header = fromBase64url(text.slice(0, Math.max(0, text.indexOf("."))));
  const read = header === null ? null : fromUtf8(header);
  const parsed = read === null ? null : parseJson(read);
  const kid = parsed?.ok === true && isObject(parsed.value) ? parsed.value["kid"] : null;
  return typeof kid === "string" ? kid : null;
}

/** A deny that no shard answered. */
export function locally(room: Room, reason: ReasonCode): Response {
  countDecision(room, false, reason);
  return json(deny(reason));
}

export const UNKNOWN_HOLD: Problem = {
  status: 404,
  code: "hold_unknown",
  detail: "no such hold of an audience that this credential goes by",
};

export type TicketReply =
  | { readonly kind: "answered"; readonly answer: Extract<TicketAnswer, { readonly ok: true }> }
  | { readonly kind: "deny"; readonly reason: ReasonCode }
  | { readonly kind: "refuse"; readonly problem: Problem };

/** Asks the shard of a permit or a hold, once more with fresh facts after `stale_facts`. */
export async function askTicket(
  room: Room,
  arrival: Arrival,
  request: Request,
  who: Caller,
  id: string,
  call: (stub: ShardRpc, caller: Caller, deadline_ms: number) => Promise<TicketAnswer>,
): Promise<TicketReply> {
  const state: CallerState = { authorization: request.headers.get("authorization"), caller: who, renewal: null };
  for (let attempt = 0; ; attempt++) {
    const { caller } = state;
    const left = DEFAULT_DEADLINE_MS - (room.now() - arrival.started_ms);
    if (left <= 0) return { kind: "deny", reason: "deadline" };
    const called = await callShard(room, arrival, room.homeOf(id), left, (stub) => call(stub, caller, left));
    if (!called.ok) return { kind: "deny", reason: called.reason };
    const answer = called.value;
    if (answer.ok) return { kind: "answered", answer };
    if (answer.code === "not_found") return { kind: "refuse", problem: UNKNOWN_HOLD };
    if (answer.code === "conflict")
      return { kind: "refuse", problem: { status: 409, code: "conflict", detail: answer.detail ?? "" } };
    if (answer.code !== "stale_facts" || attempt > 0) return { kind: "deny", reason: "internal" };
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return { kind: "refuse", problem };
  }
}

/** The decision as AuthZEN shows it, with the hold in headers. */
export async function ticket(...asked: Parameters<typeof askTicket>): Promise<Response> {
  const [room, arrival, request, { pep }] = asked;
  const reply = await askTicket(...asked);
  if (reply.kind === "refuse") return refuse(reply.problem, "text");
  if (reply.kind === "deny") return locally(room, reply.reason);
  const answer = release(reply.answer, room.now(), false);
  const item = answer.items[0];
  if (item === undefined) return locally(room, "internal");
  reportAnswer(room, arrival, pep, request, answer);
  const { hold } = reply.answer;
  const headers = evidenceHeaders([answer], item.decision ? item.valid_until_ms : 0);
  if (item.decision && hold !== null) headers["Interlock-Hold"] = hold.hold;
  return new Response(
    JSON.stringify(singleBody(item, { explain: false, dry_run: false, id: null, pdp: room.region.pdp })),
    { headers },
  );
}

/** Whether a hold or permit may be known in this region's log epoch. */
export const unknownHold = (room: Room, id: string): Problem | null => {
  const parts = parseRunId(id);
  const { name, log_epoch } = room.region;
  return parts?.region === name && parts.log_epoch <= log_epoch ? null : UNKNOWN_HOLD;
};
