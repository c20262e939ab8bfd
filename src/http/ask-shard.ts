import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Caller } from "../credentials/pep.ts";
import type { DecideAnswer, DecideMessage, ShardRpc } from "../objects/shard.ts";
import { faultText, logLine } from "../observe/decision-log.ts";
import type { Arrival, Room } from "./deps.ts";
import { pepProblem } from "./pep-guard.ts";
import type { Problem } from "./reply.ts";

/** `deny`: nothing is known but that this is no allow. `refuse`: the request as a whole is answered with a problem. */
export type Asked =
  | { readonly kind: "answered"; readonly answer: DecideAnswer }
  | { readonly kind: "deny"; readonly reason: ReasonCode }
  | { readonly kind: "refuse"; readonly problem: Problem };

/** What a call to a shard did not give: `value` is set, or `reason` says why not. */
export type Called<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: ReasonCode };

const LATE = Symbol("late");

/**
 * One RPC with a deadline that the Worker keeps as well: a shard that hangs must not hang the caller. Whatever goes
 * wrong is a reason; a stub that threw is dropped with this call, the next call makes its own.
 */
export async function callShard<T>(
  room: Room,
  arrival: Arrival,
  shard: number,
  deadline_ms: number,
  call: (stub: ShardRpc) => Promise<T>,
): Promise<Called<T>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const late = new Promise<typeof LATE>((resolve) => {
      timer = setTimeout(resolve, Math.max(deadline_ms, 0), LATE);
    });
    const value = await Promise.race([call(room.shard(shard)), late]);
    return value === LATE ? { ok: false, reason: "deadline" } : { ok: true, value };
  } catch (thrown) {
    const fault = {
      event: "fault",
      region: room.region.name,
      where: `shard/${shard}`,
      error: faultText(thrown),
    } as const;
    logLine(room.log, { ...fault, request_id: arrival.request_id, t_ms: room.now() });
    return { ok: false, reason: isOverload(thrown) ? "overloaded" : "lineage_unavailable" };
  } finally {
    clearTimeout(timer);
  }
}

/** Set by the runtime where an object's queue is full; retrying would make it worse. */
const isOverload = (thrown: unknown): boolean =>
  typeof thrown === "object" && thrown !== null && (thrown as { overloaded?: unknown }).overloaded === true;

export type CallerState = {
  readonly authorization: string | null;
  /** Replaced when a shard calls the facts stale; every later call of this request then uses the new ones. */
  caller: Caller;
  /** The renewal under way, shared by the parallel calls of one request. */
  renewal: Promise<Problem | null> | null;
};

/** Asks a shard to decide: once more with fresh facts after `stale_facts`, never again after anything else. */
export async function askShard(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  shard: number,
  message: Omit<DecideMessage, "facts" | "deadline_ms">,
  deadline_ms: number,
): Promise<Asked> {
  for (let attempt = 0; ; attempt++) {
    const { caller } = state;
    const left = deadline_ms - (room.now() - arrival.started_ms);
    if (left <= 0) return { kind: "deny", reason: "deadline" };
    const called = await callShard(room, arrival, shard, left, (stub) =>
      stub.decide({ ...message, facts: caller.facts, deadline_ms: left }),
    );
    if (!called.ok) return { kind: "deny", reason: called.reason };
    const answer = called.value;
    if (answer.ok) return { kind: "answered", answer };
    if (answer.code === "idempotency_conflict") return { kind: "refuse", problem: CONFLICT };
    if (answer.code !== "stale_facts" || attempt > 0) return { kind: "deny", reason: "internal" };
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return { kind: "refuse", problem };
  }
}

const CONFLICT: Problem = {
  status: 409,
  code: "idempotency_conflict",
  detail: "context.interlock.idempotency_key was used for another request; use a fresh key for a different request",
};

/** Fresh facts in `state`, or the problem that the caller no longer authenticates. */
export function renewFacts(room: Room, state: CallerState, stale: Caller): Promise<Problem | null> {
  if (state.caller !== stale) return Promise.resolve(null);
  state.renewal ??= room.peps
    .again(state.authorization, stale, room.now())
    .then((who) => {
      if (!who.ok) return pepProblem(who.error, room.region.pdp);
      state.caller = who.value;
      return null;
    })
    // The next `stale_facts` of this request is about the facts that came of this one.
    .finally(() => (state.renewal = null));
  return state.renewal;
}
