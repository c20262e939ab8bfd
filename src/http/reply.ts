/**
 * Answers, and the one map from a problem to the wire. The AuthZEN routes say what is wrong as plain text (AuthZEN
 * 1.0, section 1.4 of our notes); every other route with RFC 9457 problem details whose `code` is stable. Neither
 * ever carries a stack or the text of an exception.
 */
export type Problem = {
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 410 | 413 | 422 | 500 | 503;
  readonly code: string;
  /** A URI, where a specification names the problem. */
  readonly type?: string;
  /** What is wrong and where, and what to do about it. */
  readonly detail: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type ProblemStyle = "text" | "problem";

/** An answer with status 200 that is not made yet: what every answer says is added first, since a header set later is dear. */
export type Parts = { readonly body: string; readonly headers: Record<string, string> };

const TITLES: Readonly<Record<Problem["status"], string>> = {
  400: "Bad request",
  401: "Authentication required",
  403: "Not permitted",
  404: "Not found",
  405: "Method not allowed",
  409: "Conflict",
  410: "Gone",
  413: "Request too large",
  422: "Refused",
  500: "Internal error",
  503: "Unavailable",
};

const NO_STORE = { "Cache-Control": "no-store" } as const;
const JSON_NO_STORE = { "Content-Type": "application/json", ...NO_STORE } as const;

export function refuse(problem: Problem, style: ProblemStyle): Response {
  const { status, code, detail, type = "about:blank" } = problem;
  if (style === "text") {
    const headers = { ...NO_STORE, "Content-Type": "text/plain; charset=utf-8", ...problem.headers };
    return new Response(detail, { status, headers });
  }
  const body = { type, title: TITLES[status], status, code, detail };
  const headers = { ...NO_STORE, "Content-Type": "application/problem+json", ...problem.headers };
  return new Response(JSON.stringify(body), { status, headers });
}

export function json(value: unknown, status = 200, headers?: Readonly<Record<string, string>>): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: headers === undefined ? JSON_NO_STORE : { ...JSON_NO_STORE, ...headers },
  });
}

export const bad = (detail: string, code = "input_invalid"): Problem => ({ status: 400, code, detail });

export const unavailable = (detail: string, code = "unavailable"): Problem => ({
  status: 503,
  code,
  detail,
  headers: { "Retry-After": "1" },
});
