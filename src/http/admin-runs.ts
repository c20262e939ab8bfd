import { parseRunId } from "../base/ids.ts";
import { err, ok } from "../base/result.ts";
import { runKey } from "../trust/keys.ts";
import { body, done, door, type Call } from "./admin.ts";
import { roomOfRun } from "./runs.ts";
import { bad } from "./reply.ts";
import { stopRunBody } from "./schemas/admin.ts";
import { withDeadline } from "../objects/deadline.ts";

const CLOSE_MS = 2_000;

type Closed = "closed" | "ended" | "unknown" | "elsewhere" | "unconfirmed";

/**
 * Stops a run: its key is revoked from the beginning, which denies what rests on it wherever the entry counts, and its
 * home shard closes it. The revocation stands whatever becomes of the closing.
 */
export const stopRun = door("stopRun", async (call) => {
  const input = await body(call, stopRunBody);
  if (!input.ok) return input;
  const run = call.params["run"] ?? "";
  const parts = parseRunId(run);
  if (parts === null) return err(bad("the run is not named <region>.<log epoch>.<id>"));
  const { reason, wait, idempotency_key } = input.value;
  const message = {
    key: runKey(run),
    from: "beginning",
    reason,
    wait,
    actor: call.admin.id,
    ...(idempotency_key === undefined ? {} : { idempotency_key }),
  } as const;
  const asked = await call.ask((stub) => stub.revoke(message));
  if (!asked.ok || !asked.value.ok) return done(asked, 201);
  const status = parts.region === call.room.region.name ? await close(call, run) : "elsewhere";
  return ok({ status: 201, body: { ...asked.value.value, run: { id: run, home: parts.region, status } } });
});

async function close({ room, admin }: Call, run: string): Promise<Closed> {
  const at = await roomOfRun(room, run);
  if (!at.ok) return "unknown";
  if (at.value !== room) return "ended";
  try {
    const answer = await withDeadline(room.shard(room.homeOf(run)).stopRun(run, admin.id), CLOSE_MS);
    if (answer.ok) return "closed";
    return answer.code === "not_found" ? "unknown" : "unconfirmed";
  } catch {
    return "unconfirmed";
  }
}
