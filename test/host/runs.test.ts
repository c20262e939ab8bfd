import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { evaluate, post, READ, type Evaluated } from "../support/http.ts";
import { seeded, seedOf } from "../support/random.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/** Opened runs over HTTP, on four shards: exact under real concurrency, and across `kill -9`. */
const CALLERS = 50;

let region: TestRegion;
beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    shards: 4,
    env: { INTERLOCK_LOG: "off" },
  });
});
afterAll(() => region.remove());

const RUNS = "/runs/v1/runs";
const steps = (max: number, more: object = {}) => [{ id: "steps", actions: ["*"], max, ...more }];

async function send<T>(path: string, body: object, status: number): Promise<T> {
  const answer = await post(`${region.url}${path}`, region.pep, body);
  const text = await answer.text();
  expect([answer.status, text.slice(0, answer.status === status ? 0 : 300)]).toEqual([status, ""]);
  return JSON.parse(text) as T;
}

const open = async (declared: object): Promise<string> =>
  (await send<{ run: string }>(RUNS, { principal: READ.subject, ...declared }, 201)).run;

const step = (run: string, interlock: object = {}): Promise<Evaluated> =>
  evaluate(region, { ...READ, context: { interlock: { run, ...interlock } } });

/** `times` questions by `CALLERS` callers at once; those that were answered. */
async function storm(times: number, ask: (n: number) => Promise<Evaluated>): Promise<Evaluated[]> {
  const told: Evaluated[] = [];
  let n = 0;
  const caller = async (): Promise<void> => {
    while (n < times) {
      const answer = await ask(n++).catch(() => null);
      if (answer === null) return;
      told.push(answer);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return told;
}

type View = { readonly budgets: readonly { readonly spent: string }[] };
const spentOf = async (run: string): Promise<number> => {
  const answer = await fetch(`${region.url}${RUNS}/${run}`, { headers: { authorization: `Bearer ${region.pep}` } });
  return Number((JSON.parse(await answer.text()) as View).budgets[0]!.spent);
};

test("500 steps at once on a budget of 100 give exactly 100 allows, in each of eight runs on four shards", async () => {
  const runs = await Promise.all(Array.from({ length: 8 }, () => open({ budgets: steps(100) })));
  const told = await storm(8 * 500, (n) => step(runs[n % 8]!).then((answer) => ({ ...answer, id: runs[n % 8]! })));
  for (const run of runs) {
    const own = told.filter(({ id }) => id === run);
    expect(own).toHaveLength(500);
    expect(own.filter(({ decision }) => decision)).toHaveLength(100);
    expect(new Set(own.map(({ reason }) => reason))).toEqual(new Set([null, "budget_exceeded"]));
    expect(await spentOf(run)).toBe(100);
  }
});

test("a window is exact under 50 at once", async () => {
  const run = await open({ budgets: steps(20, { window_ms: 600_000 }) });
  const told = await storm(200, () => step(run));
  expect(told.filter(({ decision }) => decision)).toHaveLength(20);
  expect(new Set(told.map(({ reason }) => reason))).toEqual(new Set([null, "rate_exceeded"]));
});

test("kill -9 in the middle of a run takes no step back and gives none away", async () => {
  const random = seeded(seedOf());
  const nodes = [
    { id: "a", action: "read", repeat: 1_000 },
    { id: "b", action: "read", after: ["a"], repeat: 1_000 },
  ];
  const [run, ordered] = await Promise.all([open({ budgets: steps(400) }), open({ plan: { nodes } })]);
  const first = await step(ordered, { step: "a" });
  expect(first.decision).toBe(true);
  let allowed = 0;
  for (let round = 0; round < 2; round++) {
    const before = await spentOf(run);
    const storming = storm(1_000, () => step(run));
    await sleep(random.int(20, 120));
    await region.kill("SIGKILL");
    const told = await storming;
    await region.restart();
    const acknowledged = told.filter(({ decision }) => decision).length;
    allowed += acknowledged;
    const spent = await spentOf(run);
    // What was on its way may be in storage without anybody having heard of it; never the other way round.
    expect(spent).toBeGreaterThanOrEqual(before + acknowledged);
    expect(spent).toBeLessThanOrEqual(before + acknowledged + CALLERS);
  }
  const spent = await spentOf(run);
  const rest = await storm(500, () => step(run));
  expect(rest.filter(({ decision }) => decision)).toHaveLength(400 - spent);
  expect(allowed).toBeLessThanOrEqual(400);
  expect(await spentOf(run)).toBe(400);
  expect(await step(ordered, { step: "b", parents: [first.id] })).toMatchObject({ decision: true });
});
