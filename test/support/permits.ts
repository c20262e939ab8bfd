import { createEnforcer, type HoldEvent } from "../../src/client/index.ts";
import type { PermitClaims } from "../../src/credentials/permit.ts";
import type { PepScope } from "../../src/vocabulary/types.ts";
import { asking, clientOf } from "./federation.ts";
import { claimsOf, patiently, post } from "./http.ts";
import { until } from "./log.ts";
import type { TestRegion } from "./region.ts";
import { openedRun } from "./runs.ts";

/** Permits and holds as an orchestrator and its enforcers see them over HTTP. */

export async function newPep(
  region: TestRegion,
  id: string,
  audiences: readonly string[] = [],
  scopes: readonly PepScope[] = ["evaluate"],
): Promise<string> {
  return (await clientOf(region).registerPep({ id, scopes, audiences, ttl_s: 600 })).credential;
}

export const enforcerOf = (region: TestRegion, credential: string, audiences: readonly string[] = []) =>
  createEnforcer({ url: region.url, credential, audiences, pdp: region.pdp });

export async function openFor(region: TestRegion, subject: string): Promise<string> {
  const principal = asking(subject, "").subject;
  const body = { principal: { type: principal.type, id: principal.id } };
  return openedRun(region, body);
}

export type Ticket = { readonly permit: string; readonly claims: PermitClaims; readonly run: string };

/** An allowed step with its permit; asked for until it is allowed, since regions may just be meeting. */
export async function ticketFor(
  region: TestRegion,
  [subject, resource]: readonly [string, string],
  permit: object = { audience: "door" },
  run?: string,
): Promise<Ticket> {
  const of = run ?? (await openFor(region, subject));
  let said = "";
  let text: string | null = null;
  await until(async () => {
    const question = asking(subject, resource);
    const body = { ...question, context: { ...question.context, interlock: { run: of, permit } } };
    const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, body);
    said = `${answer.status} ${await answer.text()}`;
    text = answer.headers.get("interlock-permit");
    return text !== null;
  }, "a permit").catch(() => {
    throw new Error(`no permit: ${said}`);
  });
  return { permit: text!, claims: claimsOf(text!) as unknown as PermitClaims, run: of };
}

type Redeemed = {
  readonly status: number;
  readonly text: string;
  readonly reason: string | null;
  readonly headers: Headers;
};

/** Tried again where the region was only busy; but one that was withheld has used the permit up, and a key keeps its deny. */
export const redeemAt = (region: TestRegion, credential: string | null, body: unknown): Promise<Redeemed> =>
  patiently(
    () => redeemNow(region, credential, body),
    ({ reason }) => (reason === "withheld" || JSON.stringify(body).includes("idempotency_key") ? null : reason),
  );

async function redeemNow(region: TestRegion, credential: string | null, body: unknown): Promise<Redeemed> {
  const answer = await post(`${region.url}/access/v1/permits/redeem`, credential, body);
  const text = await answer.text();
  const read = answer.status === 200 ? (JSON.parse(text) as { decision: boolean; context?: { reason: string } }) : null;
  const reason = read === null || read.decision ? null : (read.context?.reason ?? "");
  return { status: answer.status, text, reason, headers: answer.headers };
}

/** What a listener hears, with the time at which it heard. */
export class Heard {
  readonly events: (HoldEvent & { readonly heard_ms: number })[] = [];

  readonly listener = (event: HoldEvent): void => {
    this.events.push({ ...event, heard_ms: Date.now() });
  };

  async first(event: HoldEvent["event"]): Promise<HoldEvent & { readonly heard_ms: number }> {
    await until(async () => this.events.some((one) => one.event === event), `a ${event}`);
    return this.events.find((one) => one.event === event)!;
  }
}

/** Renews on and on until it is stopped or refused; then says why. */
export function keep(enforcer: ReturnType<typeof enforcerOf>, hold: string, every_ms = 300) {
  const stopping = new AbortController();
  let last_valid_ms = 0;
  const done = (async () => {
    while (!stopping.signal.aborted) {
      const answer = await enforcer.renew(hold);
      if (!answer.decision) return answer.reason ?? "";
      last_valid_ms = answer.valid_until_ms;
      await new Promise((go) => setTimeout(go, every_ms));
    }
    return null;
  })();
  return {
    done,
    lastValid: () => last_valid_ms,
    stop: () => {
      stopping.abort();
      return done;
    },
  };
}
