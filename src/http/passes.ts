import type { Facts } from "../vocabulary/types.ts";
import { parseRunId } from "../base/ids.ts";
import { jcs } from "../base/jcs.ts";
import type { Handler } from "./access.ts";
import { withBetween, verifyBetween } from "./between.ts";
import type { Between } from "./between-option.ts";
import { callShard } from "./call-shard.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requirePep, requireRegisteredPep } from "./pep-guard.ts";
import { bad, json, refuse, unavailable, type Problem } from "./reply.ts";
import { askRun, callerStateOf, denied, reasonProblem, roomOfRun, traceOf } from "./runs.ts";
import { mintBeside } from "./runs-body.ts";
import { openPassBody, stepReceiptsBody } from "./schemas/runs.ts";
import { readBody } from "./schema-input.ts";

/** Steps in other regions (docs/passes.md): home gives passes and takes step receipts, a guest region gives those. */
export const passHandlers = {
  openPass: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, openPassBody);
    if (!body.ok) return refuse(body.error, "problem");
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    if (at.value !== room) return refuse(denied("run_closed"), "problem");
    const parents = [...new Set(body.value.parents)].sort();
    const asked = { ...body.value, parents, run, pass: mintBeside(room, run), traceparent: traceOf(request) };
    const answer = await askRun(room, arrival, run, callerStateOf(request, who.value), (stub, facts) =>
      stub.openPass({ v: 1, ...asked, facts }),
    );
    if (!answer.ok) return refuse(answer.problem, "problem");
    const { pass } = answer;
    if (pass === undefined) return refuse(reasonProblem("internal"), "problem");
    const given = { id: pass.id, pass: pass.text, expires_at: pass.expires_ms };
    return json(given, 201, { ...answer.headers, "Cache-Control": "no-store" });
  },

  noteStepReceipts: async (room, arrival, request, params) => {
    const who = await requirePep(room, request, "runs", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const body = await readBody(request, room.max_body_bytes, stepReceiptsBody);
    if (!body.ok) return refuse(body.error, "problem");
    const run = params["run"] ?? "";
    const at = await roomOfRun(room, run);
    if (!at.ok) return refuse(at.error, "problem");
    if (at.value !== room) return refuse(denied("run_closed"), "problem");
    const between: Between = { pass: null, step_receipts: body.value.step_receipts };
    const wrong = (await verifyBetween(room, between))?.failed[0];
    if (wrong !== undefined) return refuse(bad(`step_receipts: ${wrong.detail ?? wrong.reason}`), "problem");
    const answer = await askRun(room, arrival, run, callerStateOf(request, who.value), async (stub, text) => {
      const facts = await withBetween(room, JSON.parse(text) as Facts, between);
      if (facts === null || facts.unverified !== undefined) return { ok: false, code: "stale_facts", reason: null };
      const traceparent = traceOf(request);
      return stub.noteReceipts({ v: 1, run, facts: jcs(facts), traceparent });
    });
    return answer.ok ? json(answer.run, 200, answer.headers) : refuse(answer.problem, "problem");
  },

  /** A pass does not say in which shard its step was recorded, and it is asked for seldom: every shard is asked. */
  stepReceipt: async (room, arrival, request, params) => {
    const who = await requireRegisteredPep(room, request, "evaluate", arrival.started_ms);
    if (!who.ok) return refuse(who.error, "problem");
    const pass = params["pass"] ?? "";
    const home = parseRunId(pass)?.region;
    if (home === undefined || home === room.region.name) return refuse(UNKNOWN_PASS, "problem");
    const asked = await Promise.all(
      Array.from({ length: room.region.shards }, (_, shard) =>
        callShard(room, arrival, shard, DEFAULT_DEADLINE_MS, (stub) => stub.stepReceipt(pass)),
      ),
    );
    for (const called of asked) {
      if (!called.ok || !called.value.ok) continue;
      const { receipt, decision, decision_id } = called.value;
      return json({ step_receipt: receipt, decision, decision_id }, 200, { "Cache-Control": "no-store" });
    }
    for (const called of asked) {
      if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
      if (!called.value.ok && called.value.code === "not_certified") return refuse(NOT_CERTIFIED, "problem");
    }
    return refuse(UNKNOWN_PASS, "problem");
  },
} as const satisfies Readonly<Record<string, Handler>>;

const UNKNOWN_PASS: Problem = {
  status: 404,
  code: "pass_unknown",
  detail: "nothing was decided here under such a pass; a pass id begins with the run's home region, not with this one",
};

const NOT_CERTIFIED = unavailable("the shard's key is not certified just now; retry", "trust_lease_expired");
