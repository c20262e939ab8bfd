import { setTimeout as sleep } from "node:timers/promises";
import { MAX_EVIDENCE_BYTES } from "../../src/lineage/evidence.ts";
import { readEvidence } from "../../src/lineage/read-evidence.ts";
import { messageOf, Problem } from "../problem.ts";

/** `interlock evidence export`: asks a region for the bundle of a run, `GET /lineage/v1/runs/{run}/evidence`. */

export type ExportOptions = {
  readonly url: string;
  readonly token: string;
  readonly run: string;
  /** How long to go on asking while the run's head is not under a cosigned checkpoint yet. */
  readonly wait_ms: number;
};

export type Exported = {
  readonly bytes: Uint8Array;
  readonly records: number;
  /** The bundle has a head: it says how long the run was. */
  readonly complete: boolean;
};

/** The bundle as the region sent it. Its form is checked, its contents are not: that is what `interlock verify` is for. */
export async function exportEvidence({ url, token, run, wait_ms }: ExportOptions): Promise<Exported> {
  const target = `${url.replace(/\/+$/, "")}/lineage/v1/runs/${encodeURIComponent(run)}/evidence`;
  const until = performance.now() + wait_ms;
  for (;;) {
    const answer = await ask(target, token);
    if (answer.status === 200) return await accept(answer, target);
    const retry_ms = 1000 * Number(answer.headers.get("retry-after") ?? Number.NaN);
    const again = (answer.status === 303 || answer.status === 503) && performance.now() + retry_ms <= until;
    if (!again) throw refusal(target, answer.status, await answer.text());
    await answer.body?.cancel();
    await sleep(Math.max(100, retry_ms));
  }
}

async function ask(target: string, token: string): Promise<Response> {
  try {
    return await fetch(target, {
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      signal: AbortSignal.timeout(120_000),
      // "Not ready" is a 303 to the same place with Retry-After; a credential never follows a redirect anywhere.
      redirect: "manual",
    });
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
    throw new Problem(
      `${target} cannot be reached (${inner})`,
      "Is the region running? Name it with --region or --region-url.",
    );
  }
}

async function accept(answer: Response, target: string): Promise<Exported> {
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const read = readEvidence(bytes, MAX_EVIDENCE_BYTES);
  if (!read.ok) {
    const what = `${target} answered something that is no evidence bundle`;
    throw new Problem(`${what} (${read.error.field} ${read.error.message})`, "Is this address an Interlock region?");
  }
  return { bytes, records: read.value.records.length, complete: read.value.head !== null };
}

const TODO: Readonly<Record<number, string>> = {
  303: "The run's head is not cosigned yet: look at the witnesses in /health, or give more time with --wait.",
  401: "Give a credential that may read lineage: --token, INTERLOCK_ADMIN_TOKEN, or --region with its data directory.",
  403: "Use a credential with the scope lineage:read (admin) or lineage.read (PEP).",
  404: "The region has no such run; a run id is <region>.<log epoch>.<22 characters>.",
  503: "Try again, or give more time with --wait.",
};

function refusal(target: string, status: number, text: string): Problem {
  return new Problem(
    `GET ${target} answered ${status}: ${text.slice(0, 300)}`,
    TODO[status] ?? "Look at the region's log and /health.",
  );
}
