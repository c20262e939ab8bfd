/** What every call of the client shares: retried over network errors and 503, never an exception, closed by default. */
export type Properties = Readonly<Record<string, unknown>>;
export type Obligation = { type: string; id: string; properties: Properties };
/** `id` names the record of the decision; an allow may be cached until `valid_until_ms`, and binds to `obligations`. */
export type Answer = {
  decision: boolean;
  reason?: string;
  id?: string;
  receipt?: string;
  /** Of a step under a pass: what the run's home counts it by. */
  step_receipt?: string;
  /** Of an allow that asked for one. */
  permit?: string;
  valid_until_ms: number;
  obligations: readonly Obligation[];
};
export type Limits = { attempts?: number; timeout_ms?: number; fetch?: typeof fetch };
/** `obligations`: the types that the caller honours. An allow with any other is a deny, with reason `obligations`. */
export type Options = Limits & { url: string; credential: string; obligations?: readonly string[] };
/** `status` and `headers` of the last response; 0 and `null` where there was none. */
export type Sent = { answer: Answer; status: number; headers: Headers | null };

const deny = (reason: string): Answer => ({ decision: false, reason, valid_until_ms: 0, obligations: [] });
export const unreadable = (): Sent => ({ answer: deny("unreadable"), status: 0, headers: null });

export function createSender({ url, credential, obligations = [], ...limits }: Options) {
  const { attempts = 3, timeout_ms = 6_000, fetch: send = fetch } = limits;
  const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
  const once = (path: string, body: string): Promise<Response | null> => {
    const init = { method: "POST", headers, body, redirect: "error", signal: AbortSignal.timeout(timeout_ms) } as const;
    return send(url.replace(/\/$/, "") + path, init).catch(() => null);
  };
  return async (path: string, body: string): Promise<Sent> => {
    let last: Sent = { answer: deny("unreachable"), status: 0, headers: null };
    try {
      for (let attempt = 0; attempt < attempts; attempt++) {
        if (attempt > 0) await new Promise((go) => setTimeout(go, 50 * 2 ** attempt * (0.5 + Math.random())));
        const response = await once(path, body);
        if (response === null) continue;
        const { status, headers: given } = response;
        if (status === 200) return { answer: read(await response.json(), given, obligations), status, headers: given };
        const answer = deny(`http_${status}: ${(await response.text()).slice(0, 200)}`);
        last = { answer, status, headers: given };
        if (status !== 503) return last;
      }
      return last;
    } catch {
      return unreadable();
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
  const permit = headers.get("interlock-permit");
  return { decision: true, ...evidence, ...(permit === null ? {} : { permit }), valid_until_ms, obligations };
}
