import { parseDecisionId, parseRunId } from "../base/ids.ts";
import { bearer } from "../credentials/pep.ts";
import { claimsAdminIssuer } from "../credentials/admin.ts";
import type { Handler } from "./access.ts";
import { requireAdmin } from "./admin-guard.ts";
import { callShard } from "./ask-shard.ts";
import type { Arrival, Room } from "./deps.ts";
import { DEFAULT_DEADLINE_MS } from "./interlock-options.ts";
import { requireRegisteredPep } from "./pep-guard.ts";
import { json, refuse, type Problem } from "./reply.ts";
import { reasonProblem, UNKNOWN_RUN } from "./runs.ts";
import { readRunQuery } from "./schemas/runs.ts";
import { readQuery } from "./schema-input.ts";

const DEFAULT_RECORDS = 100;

/** Records, for those who may read them: what they hold is personal data, so it never leaves the region by itself. */
export const lineageHandlers = {
  readDecision: async (room, arrival, request, params) => {
    const refused = await auditor(room, arrival, request);
    if (refused !== null) return refuse(refused, "problem");
    const id = params["id"] ?? "";
    const parts = parseDecisionId(id);
    const { name, log_epoch, shards } = room.region;
    if (parts === null || parts.region !== name || parts.log_epoch !== log_epoch || parts.shard >= shards) {
      return refuse(UNKNOWN_DECISION, "problem");
    }
    const called = await callShard(room, arrival, parts.shard, DEFAULT_DEADLINE_MS, (stub) => stub.readDecision(id));
    if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
    return called.value.ok ? json(called.value.value) : refuse(UNKNOWN_DECISION, "problem");
  },

  readRun: async (room, arrival, request, params) => {
    const refused = await auditor(room, arrival, request);
    if (refused !== null) return refuse(refused, "problem");
    const query = readQuery(request, readRunQuery);
    if (!query.ok) return refuse(query.error, "problem");
    const run = params["run"] ?? "";
    if (parseRunId(run)?.region !== room.region.name) return refuse(UNKNOWN_RUN, "problem");
    const { limit = DEFAULT_RECORDS, before = null } = query.value;
    const called = await callShard(room, arrival, room.homeOf(run), DEFAULT_DEADLINE_MS, (stub) =>
      stub.readRun(run, limit, before),
    );
    if (!called.ok) return refuse(reasonProblem(called.reason), "problem");
    return called.value.ok ? json(called.value.value) : refuse(UNKNOWN_RUN, "problem");
  },
} as const satisfies Readonly<Record<string, Handler>>;

const UNKNOWN_DECISION: Problem = {
  status: 404,
  code: "not_found",
  detail:
    "this region has no such decision; an id is <region>.<log epoch>.s<shard>.<number>, with /<index> for an item of a batch",
};

/** A PEP with `lineage.read` or an administrator with `lineage:read`; `null` lets the reader through. */
export async function auditor(room: Room, arrival: Arrival, request: Request): Promise<Problem | null> {
  const authorization = request.headers.get("authorization");
  const token = authorization === null ? null : bearer(authorization);
  // What an unverified token says of itself only chooses who verifies it.
  const who =
    token !== null && claimsAdminIssuer(token, room.region.pdp)
      ? await requireAdmin(room, request, "lineage:read", arrival.started_ms)
      : await requireRegisteredPep(room, request, "lineage.read", arrival.started_ms);
  return who.ok ? null : who.error;
}
