/**
 * `interlock/client`: asks a region and fails closed. Whatever is not a clear allow is `{ decision: false }`, with a
 * `reason`; nothing throws. A network error or a 503 is retried under one idempotency key, so that the retry gets
 * the stored decision instead of a second one.
 *
 * @example
 * const ask = createClient({ url: "http://127.0.0.1:8787", credential: process.env.PEP_CREDENTIAL! });
 * const { decision, reason } = await ask({ subject: { type: "agent", id: "a-1" }, action: { name: "pay" }, resource: { type: "invoice", id: "7" } });
 */
export type Entity = {
  readonly type: string;
  readonly id: string;
  readonly properties?: Readonly<Record<string, unknown>>;
};
export type Question = {
  readonly subject: Entity;
  readonly action: { readonly name: string; readonly properties?: Readonly<Record<string, unknown>> };
  readonly resource: Entity;
  readonly context?: { readonly interlock?: Readonly<Record<string, unknown>>; readonly [name: string]: unknown };
};
export type Answer = {
  readonly decision: boolean;
  readonly reason: string | null;
  readonly id: string | null;
  readonly receipt: string | null;
  readonly validUntil_ms: number;
};
export type ClientOptions = {
  readonly url: string;
  readonly credential: string;
  readonly attempts?: number;
  readonly timeout_ms?: number;
  readonly fetch?: typeof fetch;
};

const closed = (reason: string): Answer => ({ decision: false, reason, id: null, receipt: null, validUntil_ms: 0 });

export function createClient({
  url,
  credential,
  attempts = 3,
  timeout_ms = 6_000,
  fetch: send = fetch,
}: ClientOptions): (question: Question) => Promise<Answer> {
  return async (question) => {
    const interlock = { idempotency_key: crypto.randomUUID(), ...question.context?.interlock };
    const body = JSON.stringify({ ...question, context: { ...question.context, interlock } });
    const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
    let last = closed("unreachable");
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * Math.random()));
      try {
        const response = await send(new URL("/access/v1/evaluation", url), {
          method: "POST",
          headers,
          body,
          redirect: "error",
          signal: AbortSignal.timeout(timeout_ms),
        });
        if (response.status === 200) return read(await response.json(), response.headers);
        last = closed(`http_${response.status}: ${(await response.text()).slice(0, 200)}`);
        if (response.status !== 503) return last;
      } catch {
        last = closed("unreachable");
      }
    }
    return last;
  };
}

function read(body: unknown, headers: Headers): Answer {
  const { decision, context } = (body ?? {}) as { decision?: unknown; context?: { reason?: unknown } };
  const reason = typeof context?.reason === "string" ? context.reason : null;
  return {
    decision: decision === true,
    reason,
    id: headers.get("interlock-decision-id"),
    receipt: headers.get("interlock-receipt"),
    validUntil_ms: Number(headers.get("interlock-valid-until") ?? 0),
  };
}
