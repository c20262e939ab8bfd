/** `id` names the record of what was decided, a denial too. */
export type Reply<T> = { ok: true; value: T; id?: string } | { ok: false; code: string; detail: string; id?: string };
export type CallOptions = { url: string; credential: string; timeout_ms?: number; fetch?: typeof fetch };

/** Calls below `path` of a region, JSON both ways. Nothing throws, and nothing is asked twice. */
export function createCaller(path: string, { url, credential, timeout_ms = 6_000, fetch: send = fetch }: CallOptions) {
  const base = url.replace(/\/$/, "") + path;
  return async function call<T>(
    method: "GET" | "POST",
    at: string,
    body?: object,
    more: Record<string, string> = {},
  ): Promise<Reply<T>> {
    const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json", ...more };
    const signal = AbortSignal.timeout(timeout_ms);
    const sent = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const response = await send(base + at, { ...sent, headers, redirect: "error", signal }).catch(() => null);
    if (response === null) return { ok: false, code: "unreachable", detail: url };
    const named = response.headers.get("interlock-decision-id");
    const id = named === null ? {} : { id: named };
    try {
      const answer = JSON.parse(await response.text()) as T & { code?: string; detail?: string };
      if (response.ok) return { ok: true, value: answer, ...id };
      return { ok: false, code: answer.code ?? `http_${response.status}`, detail: answer.detail ?? "", ...id };
    } catch {
      return { ok: false, code: "unreadable", detail: `status ${response.status}`, ...id };
    }
  };
}
