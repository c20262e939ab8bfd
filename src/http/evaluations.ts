import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import type { BatchSemantic, DecideAnswer } from "../objects/decide.ts";
import { readTraceparent } from "../observe/traceparent.ts";
import { askShard } from "./ask-shard.ts";
import type { CallerState } from "./caller-state.ts";
import { deny, itemBody, itemError, receiptJson, release, type DecisionBody } from "./answer-body.ts";
import { readItems, type BatchItem } from "./batch-items.ts";
import { execute, type Executed, type Group, type Planned } from "./batch-plan.ts";
import { guestRunOf } from "./between.ts";
import type { Between } from "./between-option.ts";
import { isInvalid } from "./canonical-request.ts";
import type { Arrival, Room } from "./deps.ts";
import { evaluateOne, implicitRun, runElsewhere, carriedIn } from "./evaluation.ts";
import { evidenceHeaders } from "./evidence-headers.ts";
import { ONE_PERMIT, readOptions, type InterlockOptions } from "./interlock-options.ts";
import { invalidText } from "./json-text.ts";
import { ownerOf } from "./workload.ts";
import { bad, refuse, type Parts } from "./reply.ts";
import { countDecision, reportAnswer } from "./report.ts";

const MAX_EVALUATIONS = 1_000;

const SEMANTICS: readonly BatchSemantic[] = ["execute_all", "deny_on_first_deny", "permit_on_first_permit"];

/** Access Evaluations: without items it is a single evaluation, with them an array of decisions in their order. */
export async function evaluateMany(
  room: Room,
  arrival: Arrival,
  request: Request,
  state: CallerState,
  body: JsonObject,
): Promise<Response | Parts> {
  const semantic = readSemantic(body["options"]);
  if (semantic === null) {
    return refuse(bad(`options.evaluations_semantic: one of ${SEMANTICS.join(", ")} is required`), "text");
  }
  const items = body["evaluations"];
  if (items === undefined || items === null) return evaluateOne(room, arrival, request, state, body);
  if (!Array.isArray(items)) return refuse(bad("evaluations: an array is required"), "text");
  if (items.length === 0) return evaluateOne(room, arrival, request, state, body);
  if (items.length > MAX_EVALUATIONS) {
    return refuse(bad(`evaluations: at most ${MAX_EVALUATIONS} items are accepted; split the batch`), "text");
  }
  const context = body["context"];
  const options = readOptions(isObject(context) ? context["interlock"] : undefined, "call");
  if (isInvalid(options)) return refuse(bad(invalidText(options)), "text");
  if (options.permit !== null) return refuse(bad(`context.interlock.permit: ${ONE_PERMIT}`), "text");
  room.metrics.batch.observe(items.length);

  const read = readItems(body, items as readonly JsonValue[], options, room.max_body_bytes);
  if (!read.ok) return refuse(read.error, "text");
  const texts = read.value.map((item) => (item.kind === "request" ? item.text : ""));
  const { idempotency_key, dry_run } = options;
  if (idempotency_key !== null)
    state.owner = ownerOf(room, state.caller.pep, idempotency_key, { texts: [semantic, ...texts], dry_run });
  const guests = await guestRuns(room, read.value);
  const { plan, implicit } = planItems(room, state, read.value, { semantic, key: options.idempotency_key, guests });
  const traceparent = readTraceparent(request.headers.get("traceparent"));
  const heard: DecideAnswer[] = [];
  const executed = await execute(plan, semantic, async (group) => {
    const asked = await askShard(
      room,
      arrival,
      state,
      group.shard,
      message(group, semantic, implicit, traceparent, options),
      options.deadline_ms,
    );
    if (asked.kind === "answered") heard.push(asked.answer);
    return asked;
  });
  const now_ms = room.now();
  const released = new Map(heard.map((answer) => [answer, release(answer, now_ms, options.dry_run)]));
  for (const answer of released.values()) reportAnswer(room, arrival, state.caller.pep, request, answer);
  if (!executed.ok) return refuse(executed.problem, "text");
  for (const done of executed.done) {
    if (done.kind !== "answered") countDecision(room, false, done.kind === "deny" ? done.reason : "input_invalid");
  }
  return reply(executed, released, options, room.region.pdp);
}

function readSemantic(options: JsonValue | undefined): BatchSemantic | null {
  if (options === undefined || options === null) return "execute_all";
  if (!isObject(options)) return null;
  const semantic = options["evaluations_semantic"];
  if (semantic === undefined || semantic === null) return "execute_all";
  return SEMANTICS.find((known) => known === semantic) ?? null;
}

type GuestRuns = ReadonlyMap<Between, string | null>;

/** Where the steps under passes are recorded, by what was carried; each is verified once. */
async function guestRuns(room: Room, items: readonly BatchItem[]): Promise<GuestRuns> {
  const runs = new Map<Between, string | null>();
  for (const item of items)
    if (item.kind === "request" && item.between !== null && !runs.has(item.between))
      runs.set(item.between, await guestRunOf(room, item.between));
  return runs;
}

/**
 * The items without a run share one implicit run, and with it one shard. A short circuit may need several calls, one
 * after the other; a run that is new to its shard can be new only once, so each call has an implicit run of its own.
 */
function planItems(
  room: Room,
  state: CallerState,
  items: readonly BatchItem[],
  { semantic, key, guests }: { semantic: BatchSemantic; key: string | null; guests: GuestRuns },
): { readonly plan: readonly Planned[]; readonly implicit: ReadonlySet<string> } {
  const implicit = new Set<string>();
  let current: { readonly run: string; readonly shard: number } | null = null;
  const planItem = (item: BatchItem): Planned => {
    if (item.kind === "invalid") return { kind: "error", message: item.message };
    const named = item.run ?? (item.between === null ? null : (guests.get(item.between) ?? null));
    if (named === null) {
      if (current === null) {
        // Callers' keys hold no space, so none can collide.
        const run = implicitRun(
          room,
          state.caller.pep,
          key === null || implicit.size === 0 ? key : `${key} ${implicit.size}`,
        );
        implicit.add(run);
        current = { run, shard: room.homeOf(run) };
      }
      return {
        kind: "ask",
        shard: current.shard,
        item: { request: item.text, run: current.run, ...carriedIn(item) },
      };
    }
    const elsewhere = runElsewhere(room, named);
    if (elsewhere !== null) return { kind: "deny", reason: elsewhere };
    return {
      kind: "ask",
      shard: room.homeOf(named),
      item: { request: item.text, run: named, ...carriedIn(item) },
    };
  };
  const plan = items.map((item) => {
    const planned = planItem(item);
    // Here a short circuit ends its call: what follows goes into another one (`batch-plan`).
    if (semantic !== "execute_all" && (planned.kind !== "ask" || planned.shard !== current?.shard)) current = null;
    return planned;
  });
  return { plan, implicit };
}

function message(
  group: Group,
  semantic: BatchSemantic,
  implicit: ReadonlySet<string>,
  traceparent: string | null,
  options: InterlockOptions,
): Parameters<typeof askShard>[4] {
  const key = options.idempotency_key;
  return {
    v: 1,
    items: group.items,
    semantic,
    implicit_run: group.items.find(({ run }) => implicit.has(run))?.run ?? null,
    traceparent,
    // A later call of the same request needs a key of its own. Callers' keys hold no space, so none can collide.
    idempotency_key: key === null || group.call === 0 ? key : `${key} ${group.call}`,
    dry_run: options.dry_run,
    explain: options.explain,
    ...(options.counterfactual ? { counterfactual: true as const } : {}),
    at_least: options.at_least,
    inline_evidence: options.inline_evidence,
  };
}

function reply(
  executed: Extract<Executed, { ok: true }>,
  released: ReadonlyMap<DecideAnswer, DecideAnswer>,
  { explain, dry_run, inline_evidence }: InterlockOptions,
  pdp: string,
): Parts {
  const answers = executed.answers.map((answer) => released.get(answer)!);
  let validUntil_ms = 0;
  const evaluations = executed.done.map((one): DecisionBody => {
    if (one.kind === "error") return itemError(one.message);
    if (one.kind === "deny") return deny(one.reason, explain);
    const answer = released.get(one.answer)!;
    const item = answer.items[one.index]!;
    if (item.decision && !dry_run && (validUntil_ms === 0 || item.valid_until_ms < validUntil_ms))
      validUntil_ms = item.valid_until_ms;
    const id = inline_evidence && answer.decision_id !== null ? `${answer.decision_id}/${one.index}` : null;
    return itemBody(item, { explain, dry_run, id, pdp });
  });
  const headers = evidenceHeaders(answers, validUntil_ms);
  if (!inline_evidence) return { body: JSON.stringify({ evaluations }), headers };
  const receipts = answers.flatMap(({ decision_id, receipt }) =>
    receipt === null ? [] : { decision_id, receipt: receiptJson(receipt) },
  );
  return { body: JSON.stringify({ evaluations, context: { receipts } }), headers };
}
