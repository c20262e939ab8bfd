/**
 * `interlock/client`: asks a region and fails closed. What is not a clear allow is `{ decision: false }` with a
 * `reason`; nothing throws. A network error or a 503 is retried under one idempotency key, so that a retry finds the
 * decision that was made instead of making a second one.
 *
 * @example
 * const ask = createClient({ url: "http://127.0.0.1:8787", credential });
 * const { decision } = await ask({ subject: { type: "agent", id: "a-1" }, action: { name: "pay" }, resource: { type: "invoice", id: "7" } });
 */
type Properties = Readonly<Record<string, unknown>>;
export type Entity = { readonly type: string; readonly id: string; readonly properties?: Properties };
export type Action = { readonly name: string; readonly properties?: Properties };
export type Context = Properties & { readonly interlock?: Properties };
export type Question = {
  readonly subject: Entity;
  readonly action: Action;
  readonly resource: Entity;
  readonly context?: Context;
};
/** `id` names the lineage record; `valid_until_ms` is how long an allow may be cached, 0 for a deny. */
export type Answer = {
  readonly decision: boolean;
  readonly reason: string | null;
  readonly id: string | null;
  readonly receipt: string | null;
  readonly valid_until_ms: number;
};
export type ClientOptions = {
  readonly url: string;
  readonly credential: string;
  readonly attempts?: number;
  readonly timeout_ms?: number;
  readonly fetch?: typeof fetch;
};

const closed = (reason: string): Answer => ({ decision: false, reason, id: null, receipt: null, valid_until_ms: 0 });

export function createClient(options: ClientOptions): (question: Question) => Promise<Answer> {
  const { url, credential, attempts = 3, timeout_ms = 6_000, fetch: send = fetch } = options;
  const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
  return async (question) => {
    let last = closed("unreachable");
    try {
      const interlock = { idempotency_key: crypto.randomUUID(), ...question.context?.interlock };
      const body = JSON.stringify({ ...question, context: { ...question.context, interlock } });
      for (let attempt = 0; attempt < attempts; attempt++) {
        if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 50 * 2 ** attempt * (0.5 + Math.random())));
        const signal = AbortSignal.timeout(timeout_ms);
        const response = await send(`${url.replace(/\/$/, "")}/access/v1/evaluation`, {
          method: "POST",
          headers,
          body,
          signal,
          redirect: "error",
        }).catch(() => null);
        if (response === null) continue;
        if (response.status === 200) return read(await response.json(), response.headers);
        last = closed(`http_${response.status}: ${(await response.text()).slice(0, 200)}`);
        if (response.status !== 503) return last;
      }
    } catch {
      return closed("unreadable");
    }
    return last;
  };
}

function read(body: unknown, headers: Headers): Answer {
  const { decision, context } = body as { decision?: unknown; context?: { reason?: unknown } };
  if (decision !== true)
    return {
      ...closed(typeof context?.reason === "string" ? context.reason : "denied"),
      id: headers.get("interlock-decision-id"),
      receipt: headers.get("interlock-receipt"),
    };
  return {
    decision,
    reason: null,
    id: headers.get("interlock-decision-id"),
    receipt: headers.get("interlock-receipt"),
    valid_until_ms: Number(headers.get("interlock-valid-until") ?? 0),
  };
}
