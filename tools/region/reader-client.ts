import { messageOf, Problem } from "../problem.ts";

/** `GET` of what an auditor may read, from one region. A credential never follows a redirect. */
export async function readAs(url: string, token: string | null, path: string): Promise<Response> {
  const target = `${url.replace(/\/+$/, "")}${path}`;
  let answer: Response;
  try {
    answer = await fetch(target, {
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(30_000),
      redirect: "error",
    });
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
    throw new Problem(
      `${target} cannot be reached (${inner})`,
      "Is the region running? Name it with --region or --region-url.",
    );
  }
  if (answer.ok) return answer;
  throw new Problem(
    `GET ${target} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`,
    TODO[answer.status] ?? "Look at the region's log and /health.",
  );
}

const TODO: Readonly<Record<number, string>> = {
  400: "Correct what the message names.",
  401: "Give a credential that may read: `interlock region auditor-token`, then --token or INTERLOCK_ADMIN_TOKEN.",
  403: "Use a credential with the scope lineage:read (auditor, admin) or lineage.read (PEP).",
  404: "The region does not have it: look at the id.",
  503: "Try again; a region that is overloaded or halted says so on /health.",
};
