import { setTimeout as sleep } from "node:timers/promises";
import type { RevocationView } from "../../src/objects/revocations.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { claimsOf, patiently, post } from "./http.ts";
import { Links } from "./links.ts";
import { startRegions, type RegionOptions, type TestRegion } from "./region.ts";

/** Three real regions whose every word to one another goes through `links`. */
export type Federation = {
  readonly links: Links;
  readonly eu: TestRegion;
  readonly us: TestRegion;
  readonly ap: TestRegion;
  readonly all: readonly TestRegion[];
  close(): Promise<void>;
};

/** Δ of a local fleet's membership. */
export const DELTA_MS = 2_000;
/** How long one answer of a peer counts, from the moment its poll left (`src/sync/timing`). */
export const LEASE_MS = 1_500;

export async function startFederation(options: Omit<RegionOptions, "name" | "egress"> = {}): Promise<Federation> {
  const names = ["eu", "us", "ap"];
  const links = await Links.open(names);
  const all = await startRegions(names, {
    packs: ["sovereign", "authzen-certification"],
    env: { INTERLOCK_LOG: "off" },
    ...options,
    egress: links.egress,
  });
  for (const { name, url } of all) links.name(name, url);
  const [eu, us, ap] = all as readonly [TestRegion, TestRegion, TestRegion];
  return {
    links,
    eu,
    us,
    ap,
    all,
    async close() {
      await Promise.all(all.map((region) => region.remove()));
      await links.close();
    },
  };
}

/** In every name, attribute and reason of these tests, so that it would be seen where it does not belong (G8). */
export const MARK = "citizen-4c19f2e7";
/** Names and words of these tests that no other region may hear, the PEPs' among them. */
export const secretsOf = (fed: Federation): readonly string[] => [
  MARK,
  "4c19f2e7",
  "local-admin",
  "user/",
  "record",
  "archived",
  ...fed.all.map((region) => claimsOf(region.pep)["sub"] as string),
];
const named = (id: string): string => `${id}.${MARK}`;

/**
 * A question that every region allows, whatever the names. Ids that begin with a region's name and a hyphen are at home
 * there; all others in every region.
 */
export const asking = (subject: string, resource: string) => ({
  subject: { type: "user", id: named(subject), properties: { role: "admin", note: MARK } },
  action: { name: "write" },
  resource: { type: "record", id: named(resource), properties: { status: "archived" } },
  context: { note: MARK },
});

export const subjectOf = (id: string): string => `subject:user/${named(id)}`;

/** One decision as its caller saw it: Unix milliseconds of the one machine's clock. */
export type Asked = {
  readonly sent_ms: number;
  readonly answered_ms: number;
  readonly decision: boolean;
  readonly reason: string | null;
  /** Of an allow. */
  readonly valid_until_ms: number | null;
  readonly consistency: string | null;
};

/** `null`: the region did not answer. */
export async function ask(region: TestRegion, question: object): Promise<Asked | null> {
  const sent_ms = Date.now();
  let answer: Response;
  let text: string;
  try {
    answer = await post(`${region.url}/access/v1/evaluation`, region.pep, question);
    text = await answer.text();
  } catch {
    return null;
  }
  if (answer.status !== 200) throw new Error(`${region.name}: ${answer.status} ${text}`);
  const { decision, context } = JSON.parse(text) as { decision: boolean; context?: { reason?: string } };
  const until = answer.headers.get("interlock-valid-until");
  return {
    sent_ms,
    answered_ms: Date.now(),
    decision,
    reason: context?.reason ?? null,
    valid_until_ms: until === null ? null : Number(until),
    consistency: answer.headers.get("interlock-consistency"),
  };
}

/** `allow`, or the reason of the deny. */
const verdict = (asked: Asked | null): string =>
  asked === null ? "no answer" : asked.decision ? "allow" : asked.reason!;

export const askFor = async (region: TestRegion, subject: string, resource: string): Promise<string> =>
  verdict(await ask(region, asking(subject, resource)));

/** The same of a region that may only be busy, and is asked again then: for what must be so now, however fresh it is. */
export const settledFor = (region: TestRegion, subject: string, resource: string): Promise<string> =>
  patiently(
    () => askFor(region, subject, resource),
    (said) => said,
  );

/** Asks until the verdict is `wanted`; fails with the last one. For what must come sooner or later. */
export async function becomes(
  region: TestRegion,
  [subject, resource]: readonly [string, string],
  wanted: string,
  patience_ms = 30_000,
): Promise<void> {
  const end = Date.now() + patience_ms;
  for (;;) {
    const now = await askFor(region, subject, resource);
    if (now === wanted) return;
    if (Date.now() > end) throw new Error(`${region.name} says ${now}, not ${wanted}, of ${subject} on ${resource}`);
    await sleep(50);
  }
}

/** Asks one question without end, two callers at once, until it is stopped. */
export class Watch {
  readonly answers: Asked[] = [];
  readonly #done: Promise<unknown>;
  #stopped = false;

  constructor(region: TestRegion, subject: string, resource: string, pause_ms = 15) {
    const question = asking(subject, resource);
    const caller = async (): Promise<void> => {
      while (!this.#stopped) {
        const asked = await ask(region, question);
        if (asked !== null) this.answers.push(asked);
        await sleep(pause_ms);
      }
    };
    this.#done = Promise.all([caller(), caller()]);
  }

  async stop(): Promise<readonly Asked[]> {
    this.#stopped = true;
    await this.#done;
    return this.answers.sort((a, b) => a.sent_ms - b.sent_ms);
  }
}

export type Revoked = { readonly view: RevocationView; readonly sent_ms: number; readonly answered_ms: number };

export async function revoke(
  region: TestRegion,
  key: string,
  wait: "accepted" | "local" | "all" | "barrier",
): Promise<Revoked> {
  const sent_ms = Date.now();
  const view = await clientOf(region).revoke({ key, from: "issue", reason: MARK, wait });
  return { view, sent_ms, answered_ms: Date.now() };
}

export const clientOf = (region: TestRegion): AdminClient => new AdminClient(region.url, region.admin);

/** Allows that were asked for later than `by_ms`: none may be there. */
export const allowsAfter = (answers: readonly Asked[], by_ms: number): readonly Asked[] =>
  answers.filter(({ decision, sent_ms }) => decision && sent_ms > by_ms);

/** Allows asked for when a deny of `reason` had already been answered: a flicker. */
export function flickers(answers: readonly Asked[], reason: string): readonly Asked[] {
  const denied = answers.filter((one) => one.reason === reason).map(({ answered_ms }) => answered_ms);
  return allowsAfter(answers, Math.min(...denied, Number.POSITIVE_INFINITY));
}

/** Denies for want of freshness that were answered while an earlier allow said that it still held. */
export function tooEarly(answers: readonly Asked[]): readonly Asked[] {
  return answers.filter(
    ({ reason, answered_ms }) =>
      reason === "sync_stale" &&
      answers.some(
        ({ valid_until_ms, answered_ms: then_ms }) => then_ms < answered_ms && valid_until_ms! > answered_ms,
      ),
  );
}
