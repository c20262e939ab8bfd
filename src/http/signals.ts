import { base64url, fromUtf8, utf8 } from "../base/bytes.ts";
import type { SignalSource } from "../objects/signals.ts";
import type { SetErrorCode } from "../ssf/problem.ts";
import { verifySet, type SetProblem, type VerifiedSet } from "../ssf/set.ts";
import type { Handler } from "./access.ts";
import { readBounded } from "./body.ts";
import type { Room } from "./deps.ts";
import { refuse, unavailable, type Problem } from "./reply.ts";
import { twice, withDeadline } from "../objects/deadline.ts";

/**
 * Push delivery of Security Event Tokens (RFC 8935): verified here, taken by the authority, and answered with 202 only
 * when what it changes is durable. Whoever pushes need not say who they are; the SET does.
 */
const MAX_SET_BYTES = 16_384;
const READ_MS = 2_000;
const ACCEPT_MS = 10_000;

const SILENT = unavailable("the trust authority does not answer; push the SET again", "authority_unavailable");
const UNKNOWN: Problem = { status: 404, code: "not_found", detail: "no such stream is registered in this region" };

export const pushSignal: Handler = async (room, arrival, request, params) => {
  const text = await readSet(request);
  if (typeof text !== "string") return text;
  const id = params["stream"] ?? "";
  // Again where the registration changed between reading it and taking the SET.
  for (let tries = 0; tries < 2; tries++) {
    const source = await twice(READ_MS, () => room.authority().signalSource(id)).catch(() => undefined);
    if (source === undefined) return refuse(SILENT, "problem");
    if (source === null) return refuse(UNKNOWN, "problem");
    const answer = await push(room, source, id, request.headers.get("authorization"), text, arrival.started_ms);
    if (answer !== null) return answer;
  }
  return refuse(SILENT, "problem");
};

/** `null`: the registration has changed. */
async function push(
  room: Room,
  source: SignalSource,
  id: string,
  authorization: string | null,
  text: string,
  now_ms: number,
): Promise<Response | null> {
  const secret = source.authorization_digest;
  // Digests are compared, so the time it takes tells nothing of the secret.
  if (secret !== null && base64url(room.sha256(utf8(authorization ?? ""))) !== secret) {
    return refusal("authentication_failed", "the Authorization header is not the one of this stream");
  }
  const set = await verifySet(text, source.stream, now_ms);
  if (!set.ok) return refused(room, id, set.error, secret !== null);
  return take(room, id, source.version, set.value);
}

async function take(room: Room, id: string, version: string, set: VerifiedSet): Promise<Response | null> {
  const { jti, iat_ms, payload, signal } = set;
  const message = {
    v: 1,
    stream: id,
    version,
    jti,
    iat_ms,
    payload: base64url(room.sha256(utf8(payload))),
    signal,
  } as const;
  // Not asked twice in a row: whether the first took effect is unknown, and the transmitter pushes again.
  const answer = await withDeadline(room.authority().acceptSignal(message), ACCEPT_MS).catch(() => null);
  if (answer === null) return refuse(SILENT, "problem");
  if (answer.ok) return new Response(null, { status: 202, headers: { "Cache-Control": "no-store" } });
  if (answer.code === "refused") return refusal(answer.err, answer.description);
  if (answer.code === "stale") return null;
  return refuse(answer.code === "unknown_stream" ? UNKNOWN : SILENT, "problem");
}

/** What certainly came from the transmitter degrades the source; what anybody can send changes nothing. */
async function refused(room: Room, id: string, problem: SetProblem, authenticated: boolean): Promise<Response> {
  const { err, description, signed } = problem;
  if (signed || authenticated) {
    const noted = await twice(READ_MS, () =>
      room
        .authority()
        .refusedSignal({ v: 1, stream: id, err, description })
        .then(() => true),
    ).catch(() => false);
    if (!noted) return refuse(SILENT, "problem");
  }
  return refusal(err, description);
}

/** The compact text of the SET, or the answer to a request that brings none. */
async function readSet(request: Request): Promise<string | Response> {
  if (!/^application\/secevent\+jwt\s*(;.*)?$/i.test(request.headers.get("content-type") ?? "")) {
    return refusal("invalid_request", "Content-Type: application/secevent+jwt is required");
  }
  const coding = request.headers.get("content-encoding");
  if (coding !== null && coding !== "identity")
    return refusal("invalid_request", "Content-Encoding: only identity is accepted");
  const bytes = await readBounded(request, MAX_SET_BYTES);
  if (!bytes.ok) return refuse(bytes.error, "problem");
  return fromUtf8(bytes.value) ?? refusal("invalid_request", "the body is not UTF-8");
}

/** RFC 8935 section 2.3. */
const refusal = (err: SetErrorCode, description: string): Response =>
  new Response(JSON.stringify({ err, description }), {
    status: 400,
    headers: { "Content-Type": "application/json", "Content-Language": "en", "Cache-Control": "no-store" },
  });
