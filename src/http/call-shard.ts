import type { ShardRpc } from "../objects/shard.ts";
import { faultText, logLine } from "../observe/decision-log.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Arrival, Room } from "./deps.ts";

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
    const value = await new Promise<T | typeof LATE>((resolve, reject) => {
      timer = setTimeout(resolve, Math.max(deadline_ms, 0), LATE);
      call(room.shard(shard)).then(resolve, reject);
    });
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
