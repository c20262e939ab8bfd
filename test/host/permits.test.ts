import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { base64url } from "../../src/base/bytes.ts";
import { newPep, openFor, redeemAt, ticketFor, type Ticket } from "../support/permits.ts";
import { seeded, seedOf } from "../support/random.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { storedRecords, type StoredRecord } from "../support/stored.ts";

/**
 * A permit is redeemed once, whatever happens: `kill -9` of workerd while two callers redeem the same permits. Nobody
 * ever hears of a second hold; what was heard is on disk; a lost answer is found again by its key.
 */
const ROUNDS = Number(process.env["INTERLOCK_KILL_ROUNDS"] ?? 3);
const PERMITS = 24;
const seed = seedOf();

let region: TestRegion;
let door: string;
beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    shards: 2,
    env: { INTERLOCK_LOG: "off" },
  });
  door = await newPep(region, "door");
});
afterAll(() => region.remove());

type Tried = { readonly key: string; readonly hold: string | null; readonly reason: string | null };

/** `null`: no answer came. */
async function tryRedeem({ permit }: Ticket, key: string): Promise<Tried | null> {
  try {
    const { status, text, reason, headers } = await redeemAt(region, door, { permit, idempotency_key: key });
    if (status === 503) return null;
    if (status !== 200) throw new Error(`${status} ${text}`);
    return { key, hold: headers.get("interlock-hold"), reason };
  } catch (thrown) {
    if (thrown instanceof TypeError) return null;
    throw thrown;
  }
}

test(`a permit is redeemed once, killed ${ROUNDS} times (INTERLOCK_SEED=${seed})`, async () => {
  const random = seeded(seed);
  const told: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const run = await openFor(region, "ann");
    const tickets = await Promise.all(
      Array.from({ length: PERMITS }, () =>
        ticketFor(region, ["ann", "r1"], { audience: "door", ttl_ms: 600_000 }, run),
      ),
    );
    const kill_after_ms = random.int(20, 250);
    const killing = sleep(kill_after_ms).then(() => region.kill("SIGKILL"));
    const first = await Promise.all(
      tickets.map(async (ticket, at) => Promise.all([tryRedeem(ticket, `a-${at}`), tryRedeem(ticket, `b-${at}`)])),
    );
    await killing;
    const disk = [...storedRecords(region.dataDir).values()].flat();
    await region.restart();
    const second = await Promise.all(
      tickets.map(async (ticket, at) => {
        const again = [await settled(ticket, `a-${at}`), await settled(ticket, `b-${at}`)];
        return again;
      }),
    );
    const heard = tickets.map(({ claims }, at) => ({
      step: claims.step,
      before: first[at]!.flatMap((one) => one?.hold ?? []),
      // Of what a busy machine said in between nobody learns anything.
      answers: [...first[at]!, ...second[at]!].flatMap((one) => (one === null || isPassing(one) ? [] : one)),
    }));
    expect(heard.flatMap(({ answers }) => unfair(answers))).toEqual([]);
    const acknowledged = heard.filter(({ before }) => before.length > 0);
    expect(acknowledged.filter(({ step }) => redemptionsOf(disk, step) !== 1)).toEqual([]);
    const before = acknowledged.length;
    told.push(`${kill_after_ms} ms: ${before} of ${PERMITS} redeemed before`);
  }
  await region.stop();
  // Of every step at most one allowed redemption was ever recorded.
  const all = [...storedRecords(region.dataDir).values()].flat();
  const steps = all.flatMap(({ record }) =>
    record.kind === "permit.redeem" && record.decision === "allow" ? record.parents : [],
  );
  expect(new Set(steps).size).toBe(steps.length);
  expect(steps.length).toBeGreaterThan(0);
  console.info(`kill -9 while redeeming, seed ${seed}:\n  ${told.join("\n  ")}`);
});

/** Nobody hears of a second hold, and only the one who won hears of the first. */
function unfair(answers: readonly Tried[]): readonly string[] {
  const holds = new Set(answers.flatMap(({ hold }) => hold ?? []));
  const winner = answers.find(({ hold }) => hold !== null)?.key;
  const others = answers.filter(({ key }) => winner !== undefined && key !== winner);
  const fair = holds.size <= 1 && others.every(({ hold, reason }) => hold === null && reason === "permit_reused");
  return fair ? [] : [JSON.stringify(answers)];
}

function redemptionsOf(disk: readonly StoredRecord[], step: string): number {
  const leaf = disk.find(({ record }) => record.decision_id === step)?.leaf_hash;
  if (leaf === undefined) return 0;
  return disk.filter(
    ({ record }) =>
      record.kind === "permit.redeem" && record.decision === "allow" && record.parents[0] === base64url(leaf),
  ).length;
}

const isPassing = ({ reason }: Tried): boolean =>
  ["trust_lease_expired", "lineage_halted", "lineage_unavailable", "deadline", "overloaded", "withheld"].includes(
    reason ?? "",
  );

/** Until the region answers with something that stays: it has just started. */
async function settled(ticket: Ticket, key: string): Promise<Tried> {
  for (let tries = 0; ; tries++) {
    const tried = await tryRedeem(ticket, key);
    if (tried !== null && !isPassing(tried)) return tried;
    if (tries === 100) throw new Error(`the region does not settle: ${tried?.reason}`);
    await sleep(100);
  }
}
