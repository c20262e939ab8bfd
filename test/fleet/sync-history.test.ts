import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { borderProblems } from "../support/border.ts";
import { becomes, DELTA_MS, secretsOf, startFederation, type Federation } from "../support/federation.ts";
import { checkHistory, type Read } from "../support/history.ts";
import { seeded, seedOf } from "../support/random.ts";
import { administer, decide, Lately, subjectsOf, type History } from "../support/traffic.ts";

/**
 * G3 and G4 over a recorded history: revocations and restorations in three regions while all three decide, and two of
 * them are cut off from each other for a while. `INTERLOCK_HISTORY=full`: 500 revocations during 20,000 decisions;
 * `INTERLOCK_SEED` to repeat.
 */
const FULL = process.env["INTERLOCK_HISTORY"] === "full";
const REVOCATIONS = FULL ? 500 : 90;
const DECISIONS = FULL ? 20_000 : 3_000;
const ADMINS = 2;
const CALLERS = 3;
const SUBJECTS = FULL ? 24 : 8;

let fed: Federation;
beforeAll(async () => {
  fed = await startFederation();
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
}, 120_000);
afterAll(() => fed.close());

test("revocations during decisions are linearizable per key in each region, and within Δ across", async () => {
  const random = seeded(seedOf());
  const history: History = { writes: [], reads: [] };
  const lately = new Lately();
  const owned = fed.all.flatMap((region) =>
    Array.from({ length: ADMINS }, (_, n) => ({
      region,
      subjects: subjectsOf(region.name, SUBJECTS).map((subject) => `${subject}-${n}`),
    })),
  );
  const subjects = owned.flatMap((one) => one.subjects);
  let written = false;
  const admins = Promise.all(
    owned.map(({ region, subjects }) =>
      administer(
        region,
        Math.ceil(REVOCATIONS / owned.length),
        subjects,
        lately,
        seeded(random.int(0, 2 ** 31)),
        history,
      ),
    ),
  ).finally(() => (written = true));
  const stopped = (): boolean => written && history.reads.length >= DECISIONS;
  const callers = fed.all.flatMap((region) =>
    Array.from({ length: CALLERS }, () =>
      decide(region, subjects, lately, seeded(random.int(0, 2 ** 31)), history, stopped),
    ),
  );
  const cut = async (): Promise<void> => {
    await sleep(2_000);
    fed.links.part("eu", "us");
    await sleep(3_000);
    fed.links.heal();
  };
  await Promise.all([admins, ...callers, cut()]);

  const seen = (saw: Read["saw"]): number => history.reads.filter((read) => read.saw === saw).length;
  const restored = history.writes.filter(({ value }) => value === "restored").length;
  const summary = `seed ${random.seed}: ${history.writes.length - restored} revocations, ${restored} restorations, ${history.reads.length} decisions (${seen("allow")} allows, ${seen("revoked")} revoked)`;
  console.log(summary);
  expect(restored).toBeGreaterThan(0);
  // Of each kind enough that the order between them says something, in every region.
  for (const { name } of fed.all) {
    for (const saw of ["allow", "revoked"] as const) {
      const some = history.reads.filter((read) => read.region === name && read.saw === saw);
      expect(some.length).toBeGreaterThan(DECISIONS / 100);
    }
  }
  const violations = checkHistory(history.writes, history.reads, { delta_ms: DELTA_MS });
  expect({ summary, violations }).toEqual({ summary, violations: [] });

  // And with the writes of the history it would have been seen: an allow put where a revocation was in force.
  const stands = history.writes.find(
    (write) =>
      write.value === "revoked" &&
      !history.writes.some((later) => later.key === write.key && later.sent_ms > write.sent_ms),
  )!;
  const planted: Read = {
    key: stands.key,
    region: "ap",
    saw: "allow",
    sent_ms: stands.accepted_ms + DELTA_MS + 1,
    answered_ms: stands.accepted_ms + DELTA_MS + 5,
  };
  const found = checkHistory(history.writes, [...history.reads, planted], { delta_ms: DELTA_MS });
  expect(found.map(({ read }) => read)).toEqual([planted]);
}, 300_000);

test("nothing that left a region meanwhile names anybody, and all of it is listed in docs/sync.md", () => {
  expect(fed.links.crossings.length).toBeGreaterThan(100);
  expect(borderProblems(fed.links.crossings, secretsOf(fed))).toEqual([]);
});
