import { bearer, patiently, post } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** Steps of one run in several regions, as a caller takes them (docs/passes.md). */

export type Given = { readonly status: number; readonly id: string; readonly pass: string; readonly code: string };

type Ref = { readonly type: string; readonly id: string };
export type PassAsked = {
  readonly step: string;
  readonly region: string;
  readonly subject: Ref;
  readonly action: string;
  readonly parents?: readonly string[];
  readonly ttl_ms?: number;
};

export const openPass = (region: TestRegion, run: string, asked: PassAsked): Promise<Given> =>
  patiently(
    () => openPassNow(region, run, asked),
    ({ code }) => code,
  );

/** An allow that was withheld has spent its pass: there is nothing to be asked again. */
const SPENT: ReadonlySet<string> = new Set(["withheld", "deadline"]);

export const take = (...asked: Parameters<typeof takeNow>): Promise<Stepped> =>
  patiently(
    () => takeNow(...asked),
    ({ reason }) => ("pass" in asked[2] && SPENT.has(reason ?? "") ? null : reason),
  );

export async function openPassNow(region: TestRegion, run: string, asked: PassAsked): Promise<Given> {
  const answer = await post(`${region.url}/runs/v1/runs/${run}/passes`, region.pep, asked);
  const body = JSON.parse(await answer.text()) as Partial<Given> & { detail?: string };
  const { id = "", pass = "", code = "" } = body;
  return { status: answer.status, id, pass, code };
}

export type Stepped = {
  readonly decision: boolean;
  readonly reason: string | null;
  readonly id: string;
  /** What the other region says of it to the run's home. */
  readonly receipt: string | null;
  readonly failed: readonly { readonly reason: string; readonly detail?: string }[];
};

export async function takeNow(
  region: TestRegion,
  question: { subject: Ref; action: object; resource: object; context?: object },
  interlock: object,
): Promise<Stepped> {
  const asked = { ...question, context: { ...question.context, interlock: { explain: true, ...interlock } } };
  const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, asked);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status} ${text}`);
  const body = JSON.parse(text) as { decision: boolean; context?: { reason?: string; failed?: Stepped["failed"] } };
  return {
    decision: body.decision,
    reason: body.context?.reason ?? null,
    id: answer.headers.get("interlock-decision-id") ?? "",
    receipt: answer.headers.get("interlock-step-receipt"),
    failed: body.context?.failed ?? [],
  };
}

export async function note(
  region: TestRegion,
  run: string,
  step_receipts: readonly string[],
): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await post(`${region.url}/runs/v1/runs/${run}/step-receipts`, region.pep, { step_receipts });
  return { status: answer.status, text: await answer.text() };
}

export async function fetchReceipt(
  region: TestRegion,
  pass: string,
): Promise<{ readonly status: number; readonly receipt: string; readonly decision: string }> {
  const answer = await fetch(`${region.url}/runs/v1/passes/${pass}/receipt`, { headers: bearer(region.pep) });
  const body = JSON.parse(await answer.text()) as { step_receipt?: string; decision?: string };
  return { status: answer.status, receipt: body.step_receipt ?? "", decision: body.decision ?? "" };
}

export const claimsOf = (statement: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(statement.split(".")[1]!, "base64url").toString()) as Record<string, unknown>;
