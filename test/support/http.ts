import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestRegion } from "./region.ts";

export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

/** `POST` of JSON; a text body goes as it is. `token` null: no credential. */
export const post = (
  url: string,
  token: string | null,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token === null ? {} : bearer(token)), ...headers },
    body: typeof body === "string" || body instanceof Uint8Array ? (body as BodyInit) : JSON.stringify(body),
  });

export type Evaluated = { readonly decision: boolean; readonly reason: string | null; readonly id: string | null };

/**
 * What a region says for a moment where its machine is busy with something else: a lease has run out, or an allow came
 * too late. It denies, and says nothing of the question.
 */
export const PASSING: ReadonlySet<string> = new Set(["sync_stale", "trust_lease_expired", "withheld", "deadline"]);
const PATIENCE_MS = 10_000;

/** Asks again while the answer is one of `PASSING`; the last answer where it stays so. */
export async function patiently<T>(call: () => Promise<T>, reasonOf: (answer: T) => string | null): Promise<T> {
  for (const end = performance.now() + PATIENCE_MS; ; await sleep(100)) {
    const answer = await call();
    if (!PASSING.has(reasonOf(answer) ?? "") || performance.now() > end) return answer;
  }
}

/**
 * One AuthZEN evaluation, asked again where the region was only busy. A question with an idempotency key is asked once:
 * its deny is kept.
 */
export function evaluate(region: TestRegion, question: object, token = region.pep): Promise<Evaluated> {
  const once = (): Promise<Evaluated> => evaluateNow(region, question, token);
  return JSON.stringify(question).includes('"idempotency_key"') ? once() : patiently(once, ({ reason }) => reason);
}

/** Asks once. Throws where the answer is not a decision. */
export async function evaluateNow(region: TestRegion, question: object, token = region.pep): Promise<Evaluated> {
  const answer = await post(`${region.url}/access/v1/evaluation`, token, question);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text}`);
  const body = JSON.parse(text) as { decision: boolean; context?: { reason?: string } };
  return {
    decision: body.decision,
    reason: body.context?.reason ?? null,
    id: answer.headers.get("interlock-decision-id"),
  };
}

/** A question that `authzen-certification` allows. */
export const READ = {
  subject: { type: "user", id: "alice" },
  action: { name: "read" },
  resource: { type: "record", id: "record-1" },
} as const;

/** The claims of a credential, unverified. */
export const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()) as Record<string, unknown>;

export type RawAnswer = { readonly status: number; readonly headers: string; readonly body: string };

/**
 * Writes `bytes` to a fresh connection as they are. Gives the first answer, or `null` where the region closed the
 * connection without one, or said nothing for `patience_ms`.
 */
export function raw(port: number, bytes: string | Uint8Array, patience_ms = 1_500): Promise<RawAnswer | null> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    const done = (): void => {
      socket.destroy();
      resolve(readAnswer(text));
    };
    socket.setTimeout(patience_ms, done);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const answer = readAnswer(text);
      if (answer !== null && isWhole(answer)) done();
    });
    socket.on("error", done);
    socket.on("close", done);
    socket.write(bytes);
  });
}

function readAnswer(text: string): RawAnswer | null {
  const match = /^HTTP\/1\.1 (\d{3})[^\r]*\r\n([\s\S]*?)\r\n\r\n([\s\S]*)$/.exec(text);
  return match === null ? null : { status: Number(match[1]), headers: match[2]!, body: match[3]! };
}

function isWhole({ headers, body }: RawAnswer): boolean {
  const length = /content-length: (\d+)/i.exec(headers)?.[1];
  return length === undefined ? body.endsWith("0\r\n\r\n") : body.length >= Number(length);
}

const agent = new Agent({ keepAlive: false });

/** Sends `chunks` with `Transfer-Encoding: chunked`, which `fetch` does not do for a body that it has as a whole. */
export function chunked(
  url: string,
  headers: Record<string, string>,
  chunks: readonly (string | Uint8Array)[],
): Promise<{ readonly status: number; readonly text: string; readonly requestId: string | null }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, { method: "POST", headers, agent }, (answer) => {
      let text = "";
      answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
      answer.on("end", () =>
        resolve({
          status: answer.statusCode!,
          text,
          requestId: (answer.headers["x-request-id"] as string | undefined) ?? null,
        }),
      );
      answer.on("error", reject);
    });
    sent.on("error", reject);
    for (const chunk of chunks) sent.write(chunk);
    sent.end();
  });
}
