import { Hono } from "hono";
import { PepAuthenticator } from "../credentials/pep.ts";
import { faultText, logLine } from "../observe/decision-log.ts";
import { createMetrics } from "../observe/region-metrics.ts";
import { accessHandlers, type Handler } from "./access.ts";
import type { adminHandlers } from "./admin.ts";
import type { keyHandlers } from "./admin-keys.ts";
import type { identityHandlers } from "./admin-identity.ts";
import type { policyHandlers } from "./admin-policy.ts";
import type { peerHandlers } from "./admin-peers.ts";
import type { requestHandlers } from "./admin-requests.ts";
import type { streamHandlers } from "./admin-signals.ts";
import type { holdHandlers } from "./holds.ts";
import type { approvalHandlers } from "./approvals.ts";
import type { logHandlers } from "./log.ts";
import type { passHandlers } from "./passes.ts";
import type { runHandlers } from "./runs.ts";
import { ACCESS_REQUESTS } from "../runs/binding.ts";
import { allowedMethods, honoPath } from "./allowed-methods.ts";
import type { Arrival, Deps, Room } from "./deps.ts";
import { discoveryHandlers } from "./discovery.ts";
import { health } from "./health.ts";
import { metricsPage } from "./metrics-page.ts";
import { refuse, type Parts, type Problem, type ProblemStyle } from "./reply.ts";
import { readRequestId } from "./request-id.ts";
import { ROUTES, type Operation, type Route } from "./routes.ts";
import { twice } from "../objects/deadline.ts";

const MATERIAL_MS = 2_000;

/**
 * Routers that need schemas are loaded with their first request: building zod's objects would cost more of a cold
 * start than everything on the evaluation path together.
 */
const later =
  (load: () => Promise<Handler>): Handler =>
  async (room, arrival, request, params) =>
    (await load())(room, arrival, request, params);

const runs = (operation: keyof typeof runHandlers) =>
  later(async () => (await import("./runs.ts")).runHandlers[operation]);
const holds = (operation: keyof typeof holdHandlers) =>
  later(async () => (await import("./holds.ts")).holdHandlers[operation]);
const approvals = (operation: keyof typeof approvalHandlers) =>
  later(async () => (await import("./approvals.ts")).approvalHandlers[operation]);
const passes = (operation: keyof typeof passHandlers) =>
  later(async () => (await import("./passes.ts")).passHandlers[operation]);
const lineage = (operation: "readDecision" | "readRun") =>
  later(async () => (await import("./lineage.ts")).lineageHandlers[operation]);
const log = (operation: keyof typeof logHandlers) =>
  later(async () => (await import("./log.ts")).logHandlers[operation]);
const sync = (operation: "syncPull" | "syncPush" | "syncRequest" | "syncPolicy" | "syncState") =>
  later(async () => (await import("./sync.ts")).syncHandlers[operation]);
const admin = (operation: keyof typeof adminHandlers) =>
  later(async () => (await import("./admin.ts")).adminHandlers[operation]);

const keyRoom = (operation: keyof typeof keyHandlers) =>
  later(async () => (await import("./admin-keys.ts")).keyHandlers[operation]);
const watching = (operation: keyof typeof peerHandlers) =>
  later(async () => (await import("./admin-peers.ts")).peerHandlers[operation]);

const requests = (operation: keyof typeof requestHandlers) =>
  later(async () => (await import("./admin-requests.ts")).requestHandlers[operation]);

const streams = (operation: keyof typeof streamHandlers) =>
  later(async () => (await import("./admin-signals.ts")).streamHandlers[operation]);

const policy = (operation: keyof typeof policyHandlers) =>
  later(async () => (await import("./admin-policy.ts")).policyHandlers[operation]);
const sources = (operation: keyof typeof identityHandlers) =>
  later(async () => (await import("./admin-identity.ts")).identityHandlers[operation]);

/** An id may hold a slash, so the router takes `{id}/proof` for an id as well: told apart here. */
const decisionOrProof: Handler = (room, arrival, request, params) => {
  const id = params["id"] ?? "";
  return id.endsWith("/proof")
    ? log("proof")(room, arrival, request, { id: id.slice(0, -"/proof".length) })
    : lineage("readDecision")(room, arrival, request, params);
};

const HANDLERS: Readonly<Record<Operation, Handler>> = {
  ...accessHandlers,
  ...discoveryHandlers,
  memberships: later(async () => (await import("./memberships.ts")).memberships),
  health,
  metrics: metricsPage,
  openapi: later(async () => (await import("./openapi.ts")).openapi),
  submitAccessRequest: approvals("submitAccessRequest"),
  listAccessRequests: approvals("listAccessRequests"),
  readAccessRequest: approvals("readAccessRequest"),
  approveAccessRequest: approvals("approveAccessRequest"),
  refuseAccessRequest: approvals("refuseAccessRequest"),
  cancelAccessRequest: approvals("cancelAccessRequest"),
  openRun: runs("openRun"),
  describeRun: runs("describeRun"),
  amendRun: runs("amendRun"),
  delegate: runs("delegate"),
  reportOutcome: runs("reportOutcome"),
  closeRun: runs("closeRun"),
  redeem: later(async () => (await import("./permits.ts")).redeem),
  renewHold: holds("renewHold"),
  reportHold: holds("reportHold"),
  readHold: holds("readHold"),
  halts: later(async () => (await import("./halts.ts")).halts),
  openPass: passes("openPass"),
  noteStepReceipts: passes("noteStepReceipts"),
  stepReceipt: passes("stepReceipt"),
  readDecision: decisionOrProof,
  readRun: lineage("readRun"),
  findDecisions: later(async () => (await import("./find.ts")).findDecisions),
  evidence: later(async () => (await import("./evidence.ts")).evidence),
  coverage: later(async () => (await import("./coverage.ts")).coverage),
  checkpoint: log("checkpoint"),
  tlogPolicy: log("tlogPolicy"),
  tile: log("tile"),
  epochCheckpoint: log("epochCheckpoint"),
  epochPolicy: log("epochPolicy"),
  epochTile: log("epochTile"),
  epochStatus: admin("epochStatus"),
  sealEpoch: admin("sealEpoch"),
  nextEpoch: admin("nextEpoch"),
  dropEpoch: admin("dropEpoch"),
  addCheckpoint: log("addCheckpoint"),
  witnessed: log("witnessed"),
  syncPull: sync("syncPull"),
  syncPush: sync("syncPush"),
  syncRequest: sync("syncRequest"),
  syncPolicy: sync("syncPolicy"),
  syncState: sync("syncState"),
  proof: log("proof"),
  status: admin("status"),
  enrolment: admin("enrolment"),
  putMembership: admin("putMembership"),
  registerPep: admin("registerPep"),
  listPeps: admin("listPeps"),
  revoke: admin("revoke"),
  listRevocations: admin("listRevocations"),
  readRevocation: admin("readRevocation"),
  restore: admin("restore"),
  listRequests: requests("listRequests"),
  acceptRequest: requests("acceptRequest"),
  refuseRequest: requests("refuseRequest"),
  stopRun: later(async () => (await import("./admin-runs.ts")).stopRun),
  peers: watching("peers"),
  peerProof: watching("peerProof"),
  drift: watching("drift"),
  acknowledgeDrift: watching("acknowledgeDrift"),
  startReplay: later(async () => (await import("./admin-replay.ts")).replayHandlers.startReplay),
  readReplay: later(async () => (await import("./admin-replay.ts")).replayHandlers.readReplay),
  resetClock: watching("resetClock"),
  listReads: later(async () => (await import("./reads.ts")).listReads),
  erase: admin("erase"),
  listErasures: admin("listErasures"),
  readErasure: admin("readErasure"),
  reenterErasures: admin("reenterErasures"),
  pushSignal: later(async () => (await import("./signals.ts")).pushSignal),
  registerStream: streams("registerStream"),
  listStreams: streams("listStreams"),
  readStream: streams("readStream"),
  removeStream: streams("removeStream"),
  ownKeys: keyRoom("ownKeys"),
  nextKey: keyRoom("nextKey"),
  switchKey: keyRoom("switchKey"),
  challenge: later(async () => (await import("./nonces.ts")).nonceHandlers.challenge),
  epochNonce: later(async () => (await import("./nonces.ts")).nonceHandlers.epochNonce),
  putSource: sources("putSource"),
  listSources: sources("listSources"),
  readSource: sources("readSource"),
  removeSource: sources("removeSource"),
  rotateShardKeys: keyRoom("rotateShardKeys"),
  readPolicy: policy("readPolicy"),
  putPolicy: policy("putPolicy"),
  freeze: admin("freeze"),
  unfreeze: admin("unfreeze"),
};

/** The whole HTTP side of a region, with the world as parameters. */
export function createApp(deps: Deps): Hono {
  const room: Room = {
    ...deps,
    peps: new PepAuthenticator(deps.region, () => twice(MATERIAL_MS, () => deps.authority().material())),
    metrics: createMetrics(),
  };
  const app = new Hono();
  for (const route of ROUTES) {
    const handler = HANDLERS[route.operation];
    const hasParams = route.path.includes("{");
    app.on(route.method, honoPath(route.path), (c) =>
      serve(room, route, handler, c.req.raw, hasParams ? c.req.param() : NO_PARAMS),
    );
  }
  app.notFound((c) => finish(noRoute(c.req.method, c.req.path), readRequestId(c.req.raw)));
  app.onError((thrown, c) => {
    const request_id = readRequestId(c.req.raw);
    return finish(fault(room, "router", thrown, request_id, styleOf(c.req.path)), request_id);
  });
  return app;
}

const NO_PARAMS: Readonly<Record<string, string>> = {};

async function serve(
  room: Room,
  route: Route,
  handler: Handler,
  request: Request,
  params: Readonly<Record<string, string>>,
): Promise<Response> {
  const arrival: Arrival = { started_ms: room.now(), request_id: readRequestId(request) };
  let answer: Response | Parts;
  try {
    answer = await handler(room, arrival, request, params);
  } catch (thrown) {
    answer = fault(room, route.operation, thrown, arrival.request_id, styleOf(route.path));
  }
  const status = answer instanceof Response ? answer.status : 200;
  room.metrics.requests.add(`${route.operation}\n${status}`);
  room.metrics.duration.observe((room.now() - arrival.started_ms) / 1_000, route.operation);
  return answer instanceof Response ? finish(answer, arrival.request_id) : made(answer, arrival.request_id);
}

function made({ body, headers }: Parts, request_id: string | null): Response {
  headers["X-Content-Type-Options"] = "nosniff";
  if (request_id !== null) headers["X-Request-ID"] = request_id;
  return new Response(body, { headers });
}

function finish(response: Response, request_id: string | null): Response {
  response.headers.set("X-Content-Type-Options", "nosniff");
  if (request_id !== null) response.headers.set("X-Request-ID", request_id);
  return response;
}

/** An exception is a bug or a broken machine: the operator gets it in the log, the caller a code. */
function fault(room: Room, where: string, thrown: unknown, request_id: string | null, style: ProblemStyle): Response {
  logLine(room.log, {
    event: "fault",
    region: room.region.name,
    where,
    error: faultText(thrown),
    request_id,
    t_ms: room.now(),
  });
  return refuse({ status: 500, code: "internal", detail: "the region could not answer; nothing was allowed" }, style);
}

const NOT_FOUND: Problem = {
  status: 404,
  code: "not_found",
  detail: "there is no such route; /openapi.json lists them",
};

function noRoute(method: string, path: string): Response {
  const allow = allowedMethods(path);
  if (allow === null) return refuse(NOT_FOUND, styleOf(path));
  if (method === "OPTIONS") return new Response(null, { status: 204, headers: { Allow: allow } });
  const detail = `${method.slice(0, 16)} is not possible here; use ${allow}`;
  return refuse({ status: 405, code: "method_not_allowed", detail, headers: { Allow: allow } }, styleOf(path));
}

/** The access-request draft asks for problem details, as every route of ours does; AuthZEN's own say it in words. */
const styleOf = (path: string): ProblemStyle =>
  path.startsWith("/access/") && !path.startsWith(ACCESS_REQUESTS) ? "text" : "problem";
