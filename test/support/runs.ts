import type { TestRegion } from "./region.ts";
import { post } from "./http.ts";

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
  /** Takes a step: `place` is `context.interlock` without the run. */
  step(question: Question, place?: object): Promise<Answer>;
  /** The run as `GET /runs/v1/runs/{run}` has it. */
  view(): Promise<Record<string, unknown>>;
  /** The delegation's id. */
  delegate(body: object): Promise<string>;
};

/** Opens a run; fails where the region does not. */
export async function openRun(region: TestRegion, body: object): Promise<OpenedRun> {
  const opened = await post(`${region.url}/runs/v1/runs`, region.pep, body);
  const text = await opened.text();
  if (opened.status !== 201) throw new Error(`${region.name}: ${opened.status} ${text}`);
  const id = (JSON.parse(text) as { run: string }).run;
  const at = `${region.url}/runs/v1/runs/${id}`;
  return {
    id,
    step: (question, place = {}) => decide(region, question, { ...place, run: id }),
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

/** One decision, inside of a run or outside. */
export async function decide(region: TestRegion, question: Question, interlock: object = {}): Promise<Answer> {
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
