/**
 * `interlock/client`: asks a region and fails closed. What is not a clear allow is `{ decision: false }` with a
 * `reason`; nothing throws. A network error or a 503 is retried under one idempotency key, so that a retry finds the
 * decision that was made instead of making a second one.
 *
 * @example
 * const ask = createClient({ url: "http://127.0.0.1:8787", credential });
 * const subject = { type: "agent", id: "a-1" };
 * const { decision } = await ask({ subject, action: { name: "pay" }, resource: { type: "invoice", id: "7" } });
 */
export { createRuns } from "./runs.ts";

type Properties = Readonly<Record<string, unknown>>;
export type Entity = { type: string; id: string; properties?: Properties };
export type Action = { name: string; properties?: Properties };
export type Question = { subject: Entity; action: Action; resource: Entity; context?: Properties };
export type Obligation = { type: string; id: string; properties: Properties };
/** `id` names the record of the decision; an allow may be cached until `valid_until_ms`, and binds to `obligations`. */
export type Answer = {
  decision: boolean;
  reason?: string;
  id?: string;
  receipt?: string;
  /** Of a step under a pass: what the run's home counts it by. */
  step_receipt?: string;
  valid_until_ms: number;
  obligations: readonly Obligation[];
};
type Limits = { attempts?: number; timeout_ms?: number; fetch?: typeof fetch };
/** `obligations`: the types that the caller honours. An allow with any other is a deny, with reason `obligations`. */
export type Options = Limits & { url: string; credential: string; obligations?: readonly string[] };

const deny = (reason: string): Answer => ({ decision: false, reason, valid_until_ms: 0, obligations: [] });

export function createClient({ url, credential, obligations = [], ...limits }: Options) {
  const { attempts = 3, timeout_ms = 6_000, fetch: send = fetch } = limits;
  const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
  const once = (body: string): Promise<Response | null> => {
    const init = { method: "POST", headers, body, redirect: "error", signal: AbortSignal.timeout(timeout_ms) } as const;
    return send(`${url.replace(/\/$/, "")}/access/v1/evaluation`, init).catch(() => null);
  };
  return async (question: Question): Promise<Answer> => {
    let last = deny("unreachable");
    try {
      const own = question.context?.["interlock"] as Properties | undefined;
      const interlock = { idempotency_key: crypto.randomUUID(), ...own };
      const body = JSON.stringify({ ...question, context: { ...question.context, interlock } });
      for (let attempt = 0; attempt < attempts; attempt++) {
        if (attempt > 0) await new Promise((go) => setTimeout(go, 50 * 2 ** attempt * (0.5 + Math.random())));
        const response = await once(body);
        if (response?.status === 200) return read(await response.json(), response.headers, obligations);
        if (response !== null) last = deny(`http_${response.status}: ${(await response.text()).slice(0, 200)}`);
        if (response !== null && response.status !== 503) return last;
      }
      return last;
    } catch {
      return deny("unreadable");
    }
  };
}

type Body = { decision?: unknown; context?: { reason?: string; obligations?: readonly Obligation[] } };

function read(body: unknown, headers: Headers, honoured: readonly string[]): Answer {
  const { decision, context } = body as Body;
  const said = headers.get("interlock-step-receipt");
  const evidence = {
    id: headers.get("interlock-decision-id") ?? "",
    receipt: headers.get("interlock-receipt") ?? "",
    ...(said === null ? {} : { step_receipt: said }),
  };
  if (decision !== true) return { ...deny(context?.reason ?? "denied"), ...evidence };
  // Without a record nothing was allowed: a dry run only says what would be.
  if (evidence.id === "") return { ...deny("no_record"), ...evidence };
  const { obligations = [] } = context ?? {};
  if (!obligations.every(({ type }) => honoured.includes(type)))
    return { ...deny("obligations"), ...evidence, obligations };
  const valid_until_ms = Number(headers.get("interlock-valid-until") ?? 0);
  return { decision: true, ...evidence, valid_until_ms, obligations };
}
