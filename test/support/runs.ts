import type { TestRegion } from "./region.ts";
import { patiently, post } from "./http.ts";

/** Runs and their steps as a PEP sees them over HTTP. */

export type Entity = { readonly type: string; readonly id: string };

/** A question without its place in a run. */
export type Question = {
  readonly subject: Entity;
  readonly action: { readonly name: string; readonly properties?: object };
  readonly resource: Entity & { readonly properties?: object };
  readonly context?: object;
};

export type Answer = {
  /** `allow`, or the reason of the deny. */
  readonly verdict: string;
  readonly policy_reason: string | null;
  readonly obligations: readonly { readonly id: string; readonly type: string }[];
  /** Decision id, by which later steps name it as their parent. */
  readonly id: string;
};

export type OpenedRun = {
  readonly id: string;
  /** Takes a step, as `decide` asks: `place` is `context.interlock` without the run. */
  step(question: Question, place?: object): Promise<Answer>;
  stepNow(question: Question, place?: object): Promise<Answer>;
  /** The run as `GET /runs/v1/runs/{run}` has it. */
  view(): Promise<Record<string, unknown>>;
  /** The delegation's id. */
  delegate(body: object): Promise<string>;
};

/** Opens a run; fails where the region does not. */
export async function openRun(region: TestRegion, body: object): Promise<OpenedRun> {
  const id = await openedRun(region, body);
  const at = `${region.url}/runs/v1/runs/${id}`;
  return {
    id,
    step: (question, place = {}) => decide(region, question, { ...place, run: id }),
    stepNow: (question, place = {}) => decideNow(region, question, { ...place, run: id }),
    async view() {
      const answer = await fetch(at, { headers: { authorization: `Bearer ${region.pep}` } });
      return JSON.parse(await answer.text()) as Record<string, unknown>;
    },
    async delegate(delegation) {
      const answer = await post(`${at}/delegations`, region.pep, delegation);
      const said = await answer.text();
      if (answer.status !== 201) throw new Error(`${region.name}: ${answer.status} ${said}`);
      return (JSON.parse(said) as { delegation: { id: string } }).delegation.id;
    },
  };
}

/** The id of a run that is opened, asked for again where the region is only busy. */
export async function openedRun(region: TestRegion, body: object, token = region.pep): Promise<string> {
  const { status, text } = await patiently(
    async () => {
      const answer = await post(`${region.url}/runs/v1/runs`, token, body);
      return { status: answer.status, text: await answer.text() };
    },
    ({ status: of, text: said }) => (of === 201 ? null : ((JSON.parse(said) as { code?: string }).code ?? null)),
  );
  if (status !== 201) throw new Error(`${region.name}: ${status} ${text}`);
  return (JSON.parse(text) as { run: string }).run;
}

/**
 * One decision, inside of a run or outside; asked again where the region was only busy. What brings credentials is asked
 * once: their proofs count once.
 */
export function decide(region: TestRegion, question: Question, interlock: object = {}): Promise<Answer> {
  const once = (): Promise<Answer> => decideNow(region, question, interlock);
  return "credentials" in interlock || "idempotency_key" in interlock
    ? once()
    : patiently(once, ({ verdict }) => verdict);
}

export async function decideNow(region: TestRegion, question: Question, interlock: object = {}): Promise<Answer> {
  const body = { ...question, context: { ...question.context, interlock } };
  const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, body);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${region.name}: ${answer.status} ${text}`);
  const { decision, context } = JSON.parse(text) as {
    decision: boolean;
    context?: { reason?: string; policy_reason?: string; obligations?: Answer["obligations"] };
  };
  return {
    verdict: decision ? "allow" : (context?.reason ?? ""),
    policy_reason: context?.policy_reason ?? null,
    obligations: context?.obligations ?? [],
    id: answer.headers.get("interlock-decision-id") ?? "",
  };
}
