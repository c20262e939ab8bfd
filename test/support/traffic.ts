import { setTimeout as sleep } from "node:timers/promises";
import { asking, clientOf, subjectOf } from "./federation.ts";
import type { Read, Write } from "./history.ts";
import { post } from "./http.ts";
import type { Random } from "./random.ts";
import type { TestRegion } from "./region.ts";

/** What was asked and written, by whom and when; `checkHistory` reads it. */
export type History = { readonly writes: Write[]; readonly reads: Read[] };

/** Subjects that one region writes about: its own, and such as are at home everywhere. */
export const subjectsOf = (region: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => (n % 2 === 0 ? `${region}-s${n}` : `x${region}-s${n}`));

/** Subjects that somebody wrote about lately: asked for more often, since that is where a fault would show. */
export class Lately {
  readonly #list: string[] = [];
  note(subject: string): void {
    this.#list.push(subject);
    if (this.#list.length > 6) this.#list.shift();
  }
  pick(random: Random, all: readonly string[]): string {
    return this.#list.length > 0 && random.chance(0.6) ? random.pick(this.#list) : random.pick(all);
  }
}

const BATCH = 12;

/** Decisions of one caller, singles and batches mixed, until `stopped`. */
export async function decide(
  region: TestRegion,
  subjects: readonly string[],
  lately: Lately,
  random: Random,
  history: History,
  stopped: () => boolean,
): Promise<void> {
  // At home where it is asked, so that a decision rests on its subject's home and on nothing else.
  const resource = `${region.name}-r`;
  while (!stopped()) {
    const batch = random.chance(0.5);
    const asked = Array.from({ length: batch ? BATCH : 1 }, () => lately.pick(random, subjects));
    const items = asked.map((subject) => asking(subject, resource));
    const sent_ms = Date.now();
    const answer = await post(
      `${region.url}/access/v1/evaluation${batch ? "s" : ""}`,
      region.pep,
      batch ? { evaluations: items } : items[0],
    );
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${region.name}: ${answer.status} ${text}`);
    const answered_ms = Date.now();
    const body = JSON.parse(text) as Decision & { evaluations?: readonly Decision[] };
    for (const [i, { decision, context }] of (body.evaluations ?? [body]).entries()) {
      const saw = decision ? "allow" : context?.reason === "revoked" ? "revoked" : "unknown";
      history.reads.push({ key: subjectOf(asked[i]!), region: region.name, saw, sent_ms, answered_ms });
    }
  }
}

type Decision = { readonly decision: boolean; readonly context?: { readonly reason?: string } };

/** Revocations of one administrator, one after the other, and restorations of some of them. */
export async function administer(
  region: TestRegion,
  count: number,
  subjects: readonly string[],
  lately: Lately,
  random: Random,
  history: History,
): Promise<void> {
  const client = clientOf(region);
  const standing = new Map<string, string>();
  for (let done = 0; done < count;) {
    const subject = random.pick(subjects);
    const key = subjectOf(subject);
    const id = standing.get(subject);
    lately.note(subject);
    const sent_ms = Date.now();
    if (id !== undefined) {
      await client.restore(id, "a test");
      const now = Date.now();
      history.writes.push({
        key,
        origin: region.name,
        value: "restored",
        sent_ms,
        accepted_ms: now,
        effective: { [region.name]: now },
      });
      standing.delete(subject);
    } else {
      const wait = random.pick(["accepted", "local", "local", "barrier"] as const);
      const view = await client.revoke({ key, from: "issue", reason: "a test", wait });
      const now = Date.now();
      // What is effective by leases is in force as well: nobody there allows on less.
      const reached = Object.entries(view.status).filter(([, status]) => status !== "unconfirmed");
      history.writes.push({
        key,
        origin: region.name,
        value: "revoked",
        sent_ms,
        accepted_ms: now,
        effective: Object.fromEntries(reached.map(([name]) => [name, now])),
      });
      standing.set(subject, view.id);
      done++;
    }
    await sleep(random.int(0, 40));
  }
}
