import { mintRunId, parseRunId } from "../base/ids.ts";
import { concat, utf8 } from "../base/bytes.ts";
import type { JsonObject } from "../base/json.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText } from "./canonical-request.ts";
import { invalidText } from "./json-text.ts";
import { isObject } from "../base/json.ts";
import { readOptions, type Carried } from "./interlock-options.ts";
import { askShard } from "./ask-shard.ts";
import type { CallerState } from "./caller-state.ts";
import { deny, receiptJson, release, singleBody, type DecisionBody } from "./answer-body.ts";
import { evidenceHeaders, stepReceiptHeader } from "./evidence-headers.ts";
import { countDecision, reportAnswer } from "./report.ts";
import { bad, json, refuse, type Parts } from "./reply.ts";
import { ownerOf, type AskedItem } from "./workload.ts";
import { guestRunOf } from "./between.ts";
import type { Arrival, Room } from "./deps.ts";

/** Access Evaluation: one request, one decision. Denies are 200; only what is not a request at all is 4xx. */
export async function evaluateOne(
  room: Room,
  arrival: Arrival,
  request: Request,
  state: CallerState,
  body: JsonObject,
): Promise<Response | Parts> {
  const context = body["context"];
  const options = readOptions(isObject(context) ? context["interlock"] : undefined, "call");
  if (isInvalid(options)) return refuse(bad(invalidText(options)), "text");
  const text = requestText(
    {
      subject: entityPart(body["subject"], "subject"),
      action: actionPart(body["action"]),
      resource: entityPart(body["resource"], "resource"),
      context: contextPart(context),
    },
    options,
  );
  if (isInvalid(text)) return refuse(bad(invalidText(text)), "text");
  const { explain } = options;
  const elsewhere = options.run === null ? null : runElsewhere(room, options.run);
  if (elsewhere !== null) return locally(room, elsewhere, explain);

  const { idempotency_key: key, dry_run } = options;
  if (key !== null) state.owner = ownerOf(room, state.caller.pep, key, { texts: [text], dry_run });
  const named = options.run ?? (options.between === null ? null : await guestRunOf(room, options.between));
  const implicit = named === null ? implicitRun(room, state.caller.pep, options.idempotency_key) : null;
  const run = named ?? implicit!;
  const asked = await askShard(
    room,
    arrival,
    state,
    room.homeOf(run),
    {
      v: 1,
      items: [{ request: text, run, ...carriedIn(options) }],
      semantic: "execute_all",
      implicit_run: implicit,
      traceparent: readTraceparent(request.headers.get("traceparent")),
      idempotency_key: options.idempotency_key,
      dry_run: options.dry_run,
      explain: options.explain,
      ...(options.counterfactual ? { counterfactual: true as const } : {}),
      at_least: options.at_least,
      inline_evidence: options.inline_evidence,
      ...(options.permit === null ? {} : { permit: options.permit }),
    },
    options.deadline_ms,
  );
  if (asked.kind === "refuse") return refuse(asked.problem, "text");
  if (asked.kind === "deny") return locally(room, asked.reason, explain);

  const answer = release(asked.answer, room.now(), dry_run);
  const item = answer.items[0];
  if (item === undefined) return locally(room, "internal", explain);
  reportAnswer(room, arrival, state.caller.pep, request, answer);
  const id = options.inline_evidence && answer.decision_id !== null ? `${answer.decision_id}/0` : null;
  const shown = singleBody(item, { explain, dry_run, id, pdp: room.region.pdp });
  const headers = evidenceHeaders([answer], item.decision && !dry_run ? item.valid_until_ms : 0);
  if (item.decision && answer.permit !== undefined) headers["Interlock-Permit"] = answer.permit;
  Object.assign(headers, stepReceiptHeader(item.step_receipt));
  return { body: bodyText(shown, id === null ? null : answer.receipt), headers };
}

/** An item that nothing came along with is as small as it was. */
export const carriedIn = ({ credentials, between }: Carried): Pick<AskedItem, "credentials" | "between"> => ({
  ...(credentials === null ? {} : { credentials }),
  ...(between === null ? {} : { between }),
});

const ALLOW_TEXT = '{"decision":true}';

function bodyText(body: DecisionBody, receipt: string | null): string {
  if (receipt !== null) return JSON.stringify({ ...body, context: { ...body.context, receipt: receiptJson(receipt) } });
  return body.decision && body.context === undefined ? ALLOW_TEXT : JSON.stringify(body);
}

/** A deny that no shard answered: nothing is recorded, and nothing was allowed. */
function locally(room: Room, reason: ReasonCode, explain: boolean): Response {
  countDecision(room, false, reason);
  return json(deny(reason, explain));
}

/** Why no shard of this log epoch can know a run; `null` where one may. Runs end with the epoch they began in. */
export function runElsewhere(room: Room, run: string): "run_unknown" | "run_closed" | null {
  const { name, log_epoch } = room.region;
  const parts = parseRunId(run);
  if (parts?.region !== name || parts.log_epoch > log_epoch) return "run_unknown";
  return parts.log_epoch < log_epoch ? "run_closed" : null;
}

const IMPLICIT = utf8("interlock-implicit-run\0");

/**
 * The run of the items that name none. With an idempotency key it is derived from PEP and key, so that a retry finds
 * the shard that holds the stored answer.
 */
export function implicitRun(room: Room, pep: string, key: string | null): string {
  const { name, log_epoch } = room.region;
  const bits = key === null ? room.random(16) : room.sha256(concat(IMPLICIT, utf8(`${pep}\0${key}`)));
  return mintRunId(name, log_epoch, bits);
}
