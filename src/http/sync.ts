import { fromUtf8 } from "../base/bytes.ts";
import type { SyncAnswer } from "../objects/peers.ts";
import type { Handler } from "./access.ts";
import { readBounded } from "./body.ts";
import { bad, refuse, unavailable } from "./reply.ts";
import { withDeadline } from "../objects/deadline.ts";

/** A thousand events and what stands around them (`authority/sync-messages`). */
const MAX_BYTES = 4_194_304;
const SYNC_MS = 3_000;
const CONTENT_TYPE = "application/jose";

/**
 * What peer regions send. The message itself says who signed it and for whom, and the authority verifies that; here
 * is only what any stranger could get wrong.
 */
const door =
  (ask: (room: Parameters<Handler>[0], text: string) => Promise<SyncAnswer>): Handler =>
  async (room, _arrival, request) => {
    if (request.headers.get("content-type") !== CONTENT_TYPE)
      return refuse(bad(`Content-Type: ${CONTENT_TYPE} is required`, "content_type"), "problem");
    const body = await readBounded(request, MAX_BYTES);
    if (!body.ok) return refuse(body.error, "problem");
    const text = fromUtf8(body.value);
    if (text === null) return refuse(bad("the body is not well-formed UTF-8"), "problem");
    let answer: SyncAnswer;
    try {
      answer = await withDeadline(ask(room, text), SYNC_MS);
    } catch {
      return refuse(unavailable("the trust authority does not answer", "authority_unavailable"), "problem");
    }
    if (answer.status === 400) return refuse(bad(answer.body), "problem");
    if (answer.status === 403)
      return refuse(
        { status: 403, code: answer.body, detail: "the membership in force here does not allow it" },
        "problem",
      );
    return new Response(answer.status === 200 ? answer.body : null, {
      status: answer.status,
      headers: { "Cache-Control": "no-store", ...(answer.status === 200 ? { "Content-Type": CONTENT_TYPE } : {}) },
    });
  };

export const syncHandlers = {
  syncPull: door((room, text) => room.authority().syncPull(text)),
  syncPush: door((room, text) => room.authority().syncPush(text)),
  syncPolicy: door((room, text) => room.authority().syncPolicy(text)),
  syncState: door((room, text) => room.authority().syncState(text)),
  syncRequest: door((room, text) => room.authority().syncRequest(text)),
} as const satisfies Readonly<Record<string, Handler>>;
