import { err, type Result } from "../base/result.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Caller } from "../credentials/pep.ts";
import type { DecideAnswer, DecideMessage } from "../objects/decide.ts";
import type { Arrival, Room } from "./deps.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import { pepProblem } from "./pep-guard.ts";
import { authenticateSelf } from "./self-guard.ts";
import { withFacts, type AskedItem } from "./workload.ts";
import type { Problem } from "./reply.ts";

/** `deny`: nothing is known but that this is no allow. `refuse`: the request as a whole is answered with a problem. */
export type Asked =
  | { readonly kind: "answered"; readonly answer: DecideAnswer }
  | { readonly kind: "deny"; readonly reason: ReasonCode }
  | { readonly kind: "refuse"; readonly problem: Problem };

/** Asks a shard to decide: once more with fresh facts after `stale_facts`, never again after anything else. */
export async function askShard(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  shard: number,
  message: Omit<DecideMessage, "facts" | "deadline_ms" | "items"> & { readonly items: readonly AskedItem[] },
  deadline_ms: number,
): Promise<Asked> {
  for (let attempt = 0; ; attempt++) {
    const { caller } = state;
    const items = await withFacts(room, arrival, state, message.items, deadline_ms);
    if (!items.ok) return { kind: "deny", reason: items.error };
    const left = deadline_ms - (room.now() - arrival.started_ms);
    if (left <= 0) return { kind: "deny", reason: "deadline" };
    const called = await callShard(room, arrival, shard, left, (stub) =>
      stub.decide({ ...message, items: items.value, facts: caller.facts, deadline_ms: left }),
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
  state.renewal ??= again(room, state, stale)
    .then((who) => {
      if (!who.ok) return who.error;
      state.caller = who.value;
      return null;
    })
    // The next `stale_facts` of this request is about the facts that came of this one.
    .finally(() => (state.renewal = null));
  return state.renewal;
}

async function again(
  room: Room,
  { self = null, authorization }: CallerState,
  stale: Caller,
): Promise<Result<Caller, Problem>> {
  if (self !== null) {
    await room.peps.newerThan(stale.material, room.now());
    return authenticateSelf(room, self, room.now());
  }
  const who = await room.peps.again(authorization, stale, room.now());
  return who.ok ? who : err(pepProblem(who.error, room.region.pdp));
}
