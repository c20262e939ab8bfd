import { parseRunId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Caller } from "../credentials/pep.ts";
import { LISTEN_HEADER, type HaltRequest } from "../objects/permits.ts";
import type { Handler } from "./access.ts";
import { renewFacts } from "./ask-shard.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import type { Room } from "./deps.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requirePep } from "./pep-guard.ts";
import { UNKNOWN_HOLD } from "./permits.ts";
import { bad, refuse, unavailable, type Problem } from "./reply.ts";
import { haltsQuery } from "./schemas/permits.ts";
import { readQuery } from "./schema-input.ts";

/** Halts as they happen: Server-Sent Events, or a WebSocket where the request asks to be upgraded. */
export const halts: Handler = async (room, arrival, request) => {
  const who = await listener(room, request, arrival.started_ms);
  if (!who.ok) return refuse(who.error, "text");
  const query = readQuery(request, haltsQuery);
  if (!query.ok) return refuse(query.error, "text");
  const { run = null, hold = null, last_event_id } = query.value;
  const id = run ?? hold;
  if (id === null || (run !== null && hold !== null))
    return refuse(bad("run or hold: exactly one is required"), "text");
  const parts = parseRunId(id);
  if (parts?.region !== room.region.name || parts.log_epoch !== room.region.log_epoch)
    return refuse(run === null ? UNKNOWN_HOLD : NO_RUN, "text");
  const seen = last_event_id ?? request.headers.get("last-event-id");
  const after = seen !== null && /^(0|[1-9][0-9]{0,14})$/.test(seen) ? Number(seen) : null;
  const upgrade = request.headers.get("upgrade")?.toLowerCase() === "websocket";
  const state: CallerState = { authorization: request.headers.get("authorization"), caller: who.value, renewal: null };
  for (let attempt = 0; attempt < 2; attempt++) {
    const { caller } = state;
    const asked: HaltRequest = { v: 1, facts: caller.facts, audiences: caller.audiences, run, hold, after };
    const called = await callShard(room, arrival, room.homeOf(id), DEFAULT_DEADLINE_MS, (stub) =>
      stub.fetch(
        new Request("https://shard/halts", {
          headers: {
            [LISTEN_HEADER]: encodeURIComponent(JSON.stringify(asked)),
            ...(upgrade ? { Upgrade: "websocket" } : {}),
          },
        }),
      ),
    );
    if (!called.ok) return refuse(unavailable("the shard does not answer; retry", called.reason), "text");
    const answer = called.value;
    if (answer.status === 101) return new Response(null, { status: 101, webSocket: answer.webSocket });
    // A new one: headers of what another object answered cannot be added to.
    if (answer.status === 200) return new Response(answer.body, { headers: answer.headers });
    const { code } = await answer.json<{ readonly code: string }>();
    if (code !== "stale_facts") return refuse(problemOf(answer.status, code), "text");
    const problem = await renewFacts(room, state, caller);
    if (problem !== null) return refuse(problem, "text");
  }
  return refuse(unavailable("the region cannot tell who asks; retry", "stale_facts"), "text");
};

/** Whoever enforces steps, or has a run of its own. */
async function listener(room: Room, request: Request, now_ms: number): Promise<Result<Caller, Problem>> {
  const who = await requirePep(room, request, "evaluate", now_ms);
  if (who.ok || who.error.code !== "insufficient_scope") return who;
  const runs = await requirePep(room, request, "runs", now_ms);
  return runs.ok ? ok(runs.value) : err(who.error);
}

const NO_RUN: Problem = { status: 404, code: "run_unknown", detail: "no such run is at home here and now" };

function problemOf(status: number, code: string): Problem {
  if (code === "run_unknown") return NO_RUN;
  if (code === "hold_unknown") return UNKNOWN_HOLD;
  if (status === 403) return { status: 403, code, detail: "the credential was revoked" };
  return unavailable(`nobody can listen here now: ${code}; retry`, code);
}
