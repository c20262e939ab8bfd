import { mintRunId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { DelegationInput } from "../runs/delegation.ts";
import { read } from "../runs/input.ts";
import { planOf, type PlanInput } from "../runs/plan.ts";
import type { Delegation, Plan } from "../vocabulary/run.ts";
import type { z } from "zod";
import type { Room } from "./deps.ts";
import { bad, type Problem } from "./reply.ts";
import type { DelegationBody } from "./schemas/runs.ts";

/** What the bodies of `/runs/v1` mean, beyond their form. */

export function readPlanPart(value: z.output<typeof PlanInput> | null | undefined): Result<Plan | null, Problem> {
  if (value === null || value === undefined) return ok(null);
  const plan = planOf(value);
  return plan.ok ? plan : err(bad(`plan: ${plan.error}`));
}

type Entity = { readonly type: string; readonly id: string };

/** The delegation that a caller enters; `principal`: who delegates where the body does not say. */
export function readDelegation(
  { delegator, delegate, scopes, limits, not_before_ms, expires_ms, depth, parent }: DelegationBody,
  principal: Entity | null,
  where: string,
  now_ms: number,
  id: string,
): Result<Delegation, Problem> {
  const from = delegator ?? principal;
  if (from === null) return err(bad(`${where}delegator: is required`));
  const input = read(DelegationInput, {
    delegator: from,
    delegate,
    scopes,
    limits: limits ?? [],
    not_before_ms: not_before_ms ?? now_ms,
    expires_ms,
    depth: depth ?? 0,
    parent: parent ?? null,
  });
  if (input.ok) return ok({ ...input.value, id, source: "run" });
  // Of a member, or of the whole.
  const whole = where !== "" && !/^[a-z_.0-9]+: /.test(input.error);
  return err(bad(whole ? `${where.slice(0, -1)}: ${input.error}` : `${where}${input.error}`));
}

/** As many ids as shards in the mean: what belongs to a run is kept in its shard, and found by its own id. */
export function mintBeside(room: Room, run: string): string {
  const shard = room.homeOf(run);
  for (;;) {
    const id = mintRunId(room.region.name, room.region.log_epoch, room.random(16));
    if (room.homeOf(id) === shard) return id;
  }
}
