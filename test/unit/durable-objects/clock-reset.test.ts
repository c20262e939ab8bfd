import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { mintRunId } from "../../../src/base/ids.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { DecideAnswer, DecideMessage } from "../../../src/objects/decide.ts";
import type { Budget } from "../../../src/vocabulary/run.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bindings, FACTS, question, REGION } from "../../support/lone-shard.ts";

const HOUR = 3_600_000;
/** Set apart from the real one, which goes on: the tests step it. */
let ahead_ms = 0;
let storage: FakeStorage;
let env: Env;
let shard: Shard;
const start = async (): Promise<void> => {
  shard = new Shard(storage.attach(), env, REGION, 0);
  await shard.start();
};
beforeEach(async () => {
  ahead_ms = 0;
  const real = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => real() + ahead_ms);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  env = bindings();
  storage = new FakeStorage();
  await start();
});
afterEach(() => vi.restoreAllMocks());

async function decide(changes: Partial<DecideMessage> = {}): Promise<DecideAnswer> {
  const answer = await shard.decide(question(changes));
  if (!answer.ok) throw new Error(answer.code);
  return answer;
}

const verdict = async (): Promise<string> => {
  const { decision, reason } = (await decide()).items[0]!;
  return decision ? "allow" : reason!;
};
/** What went before the leap has to reach the log first. */
const goesOn = (): Promise<void> =>
  vi.waitFor(async () => {
    expect(await verdict()).toBe("allow");
  });
/** Its own clock stands behind the records, and the deadline of any question behind that. */
const ANOMALY = /^(clock_anomaly|deadline)$/;
const times = (): readonly number[] =>
  storage
    .attach()
    .sql.exec<{ t_ms: number }>("SELECT t_ms FROM record ORDER BY sseq")
    .toArray()
    .map(({ t_ms }) => t_ms);

test("a shard that recorded while the clock was ahead goes on when an administrator says that it is right", async () => {
  expect(await verdict()).toBe("allow");
  ahead_ms = HOUR;
  await goesOn();
  ahead_ms = 0;
  expect(await verdict()).toMatch(ANOMALY);
  const ahead = await shard.resetClock();
  expect(ahead).toBeGreaterThan(HOUR - 60_000);
  const answer = await decide();
  expect(answer.items[0]).toMatchObject({ decision: true });
  // Decided by the clock, not by the time of the leap.
  expect(answer.t_ms).toBeLessThan(Date.now() + 1_000);
  // Time does not go back in the record.
  expect(times()).toEqual(times().toSorted((a, b) => a - b));
  expect(times().at(-1)! - Date.now()).toBeGreaterThan(HOUR - 60_000);
});

test("it holds over a restart, and only for that leap: the next one is an anomaly again", async () => {
  ahead_ms = HOUR;
  await verdict();
  ahead_ms = 0;
  await shard.resetClock();
  await start();
  await goesOn();
  // Behind what the administrator vouched for.
  ahead_ms = -HOUR;
  expect(await verdict()).toMatch(ANOMALY);
  ahead_ms = 2 * HOUR;
  await goesOn();
  ahead_ms = 0;
  expect(await verdict()).toMatch(ANOMALY);
});

test("where no record is ahead there is nothing to reset", async () => {
  await verdict();
  expect(await shard.resetClock()).toBe(0);
  ahead_ms = -HOUR;
  expect(await verdict()).toMatch(ANOMALY);
});

test("a log that does not answer still denies after its time, also where records are dated ahead", async () => {
  ahead_ms = HOUR;
  await verdict();
  ahead_ms = 0;
  await shard.resetClock();
  (env.REGION_LOG as unknown as { get: () => object }).get = () => ({ integrate: () => new Promise(() => undefined) });
  expect(await verdict()).toBe("allow");
  ahead_ms = 60_000;
  expect(await verdict()).toBe("lineage_unavailable");
});

test("what was spent while the clock was ahead stays spent, of the run and of a window", async () => {
  await goesOn();
  const principal = { type: "user", id: "alice" };
  const resource = { type: "record", id: "record-1" };
  const budget = { id: "all", actions: ["*"], sum: null, unit: null, per: "run", window_ms: null, max: "3" } as const;
  const open = async (budgets: readonly Budget[]): Promise<() => Promise<string | null>> => {
    const run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
    const none = { members: [], plan: null, labels: [], delegations: [], above: null };
    const said = { v: 1, run, principal, ...none, budgets, facts: FACTS, traceparent: null } as const;
    expect(await shard.runs.open(said)).toMatchObject({ ok: true });
    const request = jcs({ v: 1, subject: principal, action: { name: "read" }, resource, run });
    return async () => (await decide({ items: [{ request, run }], implicit_run: null })).items[0]!.reason;
  };
  const counted = await open([budget]);
  const rated = await open([{ ...budget, window_ms: 60_000 }]);
  ahead_ms = HOUR;
  await goesOn();
  expect([await counted(), await counted(), await rated(), await rated(), await rated()]).toEqual(Array(5).fill(null));
  ahead_ms = 0;
  await shard.resetClock();
  await goesOn();
  expect([await counted(), await counted(), await rated()]).toEqual([null, "budget_exceeded", "rate_exceeded"]);
  ahead_ms = 61_000;
  await goesOn();
  expect([await rated(), await rated(), await rated(), await rated()]).toEqual([null, null, null, "rate_exceeded"]);
  ahead_ms = HOUR + 61_000;
  await goesOn();
  expect([await counted(), await rated()]).toEqual(["budget_exceeded", null]);
});
