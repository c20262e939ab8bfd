import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponseObject,
} from "zod-openapi";
import type { z } from "zod";
import { ACCESS_REQUESTS } from "../runs/binding.ts";
import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { ROUTES, type Operation, type Route } from "./routes.ts";
import {
  eraseBody,
  erasureAnswer,
  erasuresAnswer,
  dropEpochBody,
  freezeBody,
  listReadsQuery,
  journalBody,
  listRevocationsQuery,
  membershipBody,
  membershipsAnswer,
  membershipsQuery,
  readsAnswer,
  reasonBody,
  sealEpochBody,
  registerPepBody,
  restoreBody,
  revocationAnswer,
  revocationsAnswer,
  revokeBody,
  stopRunAnswer,
  stopRunBody,
  unfreezeBody,
} from "./schemas/admin.ts";
import {
  answerRequestBody,
  listRequestsQuery as listAccessRequestsQuery,
  submitRequestBody,
  taskAnswer,
  tasksAnswer,
} from "./schemas/approvals.ts";
import { keysAnswer, nextKeyBody, rotateShardKeysBody, switchKeyBody } from "./schemas/keys.ts";
import { replayAnswer, startReplayBody } from "./schemas/replay.ts";
import { driftAnswer } from "./schemas/drift.ts";
import { peerProofAnswer, clockResetAnswer, peersAnswer } from "./schemas/peers.ts";
import {
  acceptedRequestAnswer,
  acceptRequestBody,
  listRequestsQuery,
  requestAnswer,
  requestsAnswer,
} from "./schemas/requests.ts";
import { streamBody } from "../ssf/stream.ts";
import { sourceAnswer, sourceBody, sourcesAnswer } from "./schemas/identity.ts";
import { setRefused, streamAnswer, streamsAnswer } from "./schemas/signals.ts";
import * as authzen from "./schemas/authzen.ts";
import { findDecisionsAnswer, findDecisionsQuery, proofQuery } from "./schemas/find.ts";
import { haltsQuery, holdAnswer, holdOutcomeBody, redeemBody, renewBody } from "./schemas/permits.ts";
import { policyAnswer, putPolicyBody } from "./schemas/policy.ts";
import {
  amendRunBody,
  delegateBody,
  openPassBody,
  openRunBody,
  outcomeBody,
  readRunQuery,
  stepReceiptsBody,
} from "./schemas/runs.ts";

/** The schemas in use, by route. */
const BODIES: Readonly<Partial<Record<Operation, z.ZodType>>> = {
  evaluate: authzen.evaluationBody,
  evaluateMany: authzen.evaluationsBody,
  searchSubjects: authzen.searchSubjectBody,
  searchResources: authzen.searchResourceBody,
  searchActions: authzen.searchActionBody,
  submitAccessRequest: submitRequestBody,
  approveAccessRequest: answerRequestBody,
  refuseAccessRequest: answerRequestBody,
  openRun: openRunBody,
  amendRun: amendRunBody,
  delegate: delegateBody,
  reportOutcome: outcomeBody,
  redeem: redeemBody,
  renewHold: renewBody,
  reportHold: holdOutcomeBody,
  openPass: openPassBody,
  noteStepReceipts: stepReceiptsBody,
  putMembership: membershipBody,
  registerPep: registerPepBody,
  revoke: revokeBody,
  restore: restoreBody,
  stopRun: stopRunBody,
  erase: eraseBody,
  reenterErasures: journalBody,
  sealEpoch: sealEpochBody,
  nextEpoch: reasonBody,
  dropEpoch: dropEpochBody,
  acceptRequest: acceptRequestBody,
  refuseRequest: reasonBody,
  freeze: freezeBody,
  unfreeze: unfreezeBody,
  acknowledgeDrift: reasonBody,
  startReplay: startReplayBody,
  resetClock: reasonBody,
  nextKey: nextKeyBody,
  switchKey: switchKeyBody,
  rotateShardKeys: rotateShardKeysBody,
  registerStream: streamBody,
  putSource: sourceBody,
  putPolicy: putPolicyBody,
};

const ANSWERS: Readonly<Partial<Record<Operation, z.ZodType>>> = {
  evaluate: authzen.evaluationAnswer,
  evaluateMany: authzen.evaluationsAnswer,
  searchSubjects: authzen.searchAnswer,
  searchResources: authzen.searchAnswer,
  searchActions: authzen.searchAnswer,
  redeem: authzen.evaluationAnswer,
  renewHold: authzen.evaluationAnswer,
  reportHold: holdAnswer,
  readHold: holdAnswer,
  submitAccessRequest: taskAnswer,
  readAccessRequest: taskAnswer,
  approveAccessRequest: taskAnswer,
  refuseAccessRequest: taskAnswer,
  cancelAccessRequest: taskAnswer,
  listAccessRequests: tasksAnswer,
  readPolicy: policyAnswer,
  putPolicy: policyAnswer,
  revoke: revocationAnswer,
  readRevocation: revocationAnswer,
  restore: revocationAnswer,
  stopRun: stopRunAnswer,
  listRevocations: revocationsAnswer,
  listRequests: requestsAnswer,
  acceptRequest: acceptedRequestAnswer,
  refuseRequest: requestAnswer,
  registerStream: streamAnswer,
  readStream: streamAnswer,
  removeStream: streamAnswer,
  listStreams: streamsAnswer,
  putSource: sourceAnswer,
  readSource: sourceAnswer,
  removeSource: sourceAnswer,
  listSources: sourcesAnswer,
  peers: peersAnswer,
  peerProof: peerProofAnswer,
  drift: driftAnswer,
  acknowledgeDrift: driftAnswer,
  startReplay: replayAnswer,
  readReplay: replayAnswer,
  resetClock: clockResetAnswer,
  ownKeys: keysAnswer,
  nextKey: keysAnswer,
  switchKey: keysAnswer,
  rotateShardKeys: keysAnswer,
  listReads: readsAnswer,
  memberships: membershipsAnswer,
  findDecisions: findDecisionsAnswer,
  erase: erasureAnswer,
  readErasure: erasureAnswer,
  listErasures: erasuresAnswer,
  reenterErasures: erasuresAnswer,
};

const QUERIES: Readonly<Partial<Record<Operation, z.ZodObject>>> = {
  listRevocations: listRevocationsQuery,
  listAccessRequests: listAccessRequestsQuery,
  listRequests: listRequestsQuery,
  listReads: listReadsQuery,
  memberships: membershipsQuery,
  listErasures: listRevocationsQuery,
  readRun: readRunQuery,
  halts: haltsQuery,
  findDecisions: findDecisionsQuery,
  proof: proofQuery,
};

const MEANING: Readonly<Record<number, string>> = {
  101: "Upgraded to a WebSocket: one event a message, as JSON",
  200: "Answered; a deny is an answer",
  201: "Created",
  202: "Taken, and durable",
  400: "The request is not well-formed",
  401: "No valid credential",
  403: "The credential's scope does not cover this, or the region denied it",
  404: "Not known in this region",
  409: "Conflict",
  410: "It was here, in a log epoch that was archived and dropped",
  413: "The body is too large",
  422: "Well-formed, and refused for the reason that the code names",
  503: "This region cannot answer now",
};

/** Made at the first request for it and kept as text. */
let made: { readonly room: Room; readonly text: string } | null = null;

export const openapi: Handler = (room) => {
  if (made?.room !== room) made = { room, text: JSON.stringify(document(room)) };
  return new Response(made.text, {
    headers: { "Content-Type": "application/json", "Cache-Control": "public, max-age=300" },
  });
};

function document(room: Room): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const route of ROUTES) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  return createDocument({
    openapi: "3.1.1",
    info: {
      title: `Interlock, region ${room.region.name}`,
      version: room.version,
      description:
        "A policy decision point for autonomous workloads (AuthZEN 1.0). A deny is always 200; every answer names its record in Interlock-* headers.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: room.region.pdp }],
    paths,
    components: {
      securitySchemes: {
        PEP: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "Credential of a registered PEP of this region",
        },
        admin: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "Credential of an administrator or auditor of this region",
        },
      },
    },
  });
}

function operation(route: Route): ZodOpenApiOperationObject {
  const id = route.operation as Operation;
  const body = BODIES[id];
  const query = QUERIES[id];
  const names = [...route.path.matchAll(/\{([a-z]+)\}/g)].map((match) => match[1]!);
  const parameters = names.map((name) => ({
    name,
    in: "path" as const,
    required: true,
    schema: { type: "string" as const },
  }));
  return {
    operationId: id,
    summary: route.summary,
    tags: [route.audience],
    security: security(route),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(query === undefined ? {} : { requestParams: { query } }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    ...(id === "pushSignal"
      ? {
          requestBody: {
            required: true,
            content: { "application/secevent+jwt": { schema: { type: "string" as const } } },
          },
        }
      : {}),
    responses: Object.fromEntries(route.statuses.map((status) => [String(status), response(route, status)])),
  };
}

function security({ audience, scope, operation }: Route): Record<string, string[]>[] {
  if (operation === "halts") return [{ PEP: ["evaluate"] }, { PEP: ["runs"] }];
  const scopes = scope === null ? [] : [scope];
  switch (audience) {
    case "anyone":
    // Regions sign what they say; there is no credential beside it.
    case "region":
      return [];
    case "auditor":
      return [{ PEP: ["lineage.read"] }, { admin: ["lineage:read"] }];
    default:
      return [{ [audience]: scopes }];
  }
}

function response(route: Route, status: number): ZodOpenApiResponseObject {
  const description = MEANING[status] ?? "Answer";
  if (route.operation === "pushSignal" && status === 202) return { description };
  if (route.operation === "pushSignal" && status === 400) {
    return { description, content: { "application/json": { schema: setRefused } } };
  }
  if (status >= 400) {
    return route.path.startsWith("/access/") && !route.path.startsWith(ACCESS_REQUESTS)
      ? { description, content: { "text/plain": { schema: { type: "string" } } } }
      : { description, content: { "application/problem+json": { schema: authzen.problem } } };
  }
  if (status === 101) return { description };
  if (route.operation === "halts")
    return { description, content: { "text/event-stream": { schema: { type: "string" } } } };
  if (route.operation === "metrics") return { description, content: { "text/plain": { schema: { type: "string" } } } };
  const schema = ANSWERS[route.operation as Operation] ?? ({ type: "object" } as const);
  return { description, content: { "application/json": { schema } } };
}
