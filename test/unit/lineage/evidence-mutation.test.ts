import { describe, expect, test } from "vitest";
import { encodeEvidence } from "../../../src/lineage/evidence.ts";
import type { EvidenceReport } from "../../../src/lineage/evidence-report.ts";
import { verifyEvidence } from "../../../src/lineage/verify-evidence.ts";
import { seeded, seedOf } from "../../support/random.ts";
import { bundleOf, deps, POLICY, randomLog } from "./evidence-build.ts";
import { MUTATIONS, touched, type Mutation, type World } from "./evidence-mutations.ts";

/**
 * Random runs, tampered with in every way we know: each is caught, and named by the right code (LINEAGE section 2.7).
 * `INTERLOCK_MUTATIONS` asks for more of them, `INTERLOCK_SEED` repeats a run.
 */
const MUTATIONS_WANTED = Number(process.env["INTERLOCK_MUTATIONS"] ?? 10_000);
const PER_WORLD = 150;
const seed = seedOf();

async function worldOf(n: number): Promise<World> {
  const log = randomLog(n);
  const foreignLog = randomLog(n + 1_000_003);
  const payload = { named: true };
  return {
    log,
    bundle: await bundleOf(log, 1, payload),
    other: await bundleOf(log, 2, payload),
    foreign: await bundleOf(foreignLog, 1, payload),
    random: seeded(n),
  };
}

/** What is wrong with how the report takes the mutation; `null` where it is right. */
function missed({ codes, names }: Mutation, report: EvidenceReport, at: number): string | null {
  if (report.status === "verified") return "not caught";
  const found = report.problems.map(({ code, where, field }) => `${code} at ${where} ${field}`).join(", ");
  const hits = report.problems.filter(({ code }) => codes.length === 0 || codes.includes(code));
  if (hits.length === 0) return `found only: ${found}`;
  if (names === true && !hits.some(({ where }) => where === `records[${at}]`))
    return `records[${at}] not named: ${found}`;
  return null;
}

describe("tampering", () => {
  test(
    `${MUTATIONS_WANTED} mutations are caught by name (seed ${seed})`,
    async () => {
      const done = new Map<string, number>();
      let total = 0;
      for (let n = seed; total < MUTATIONS_WANTED; n++) {
        const world = await worldOf(n);
        expect((await verifyEvidence(encodeEvidence(world.bundle), POLICY, deps)).problems).toEqual([]);
        for (let i = 0; i < PER_WORLD; i++) {
          const mutation = MUTATIONS[(n + i) % MUTATIONS.length]!;
          const mutated = await mutation.mutate(world);
          if (mutated === null) continue;
          const text = typeof mutated === "string" ? mutated : encodeEvidence(mutated);
          const problem = missed(mutation, await verifyEvidence(text, POLICY, deps), touched.at);
          if (problem !== null) throw new Error(`world ${n}, ${mutation.name}: ${problem}`);
          done.set(mutation.name, (done.get(mutation.name) ?? 0) + 1);
          total++;
        }
      }
      // Each was tried, and often.
      expect(MUTATIONS.filter(({ name }) => (done.get(name) ?? 0) < total / MUTATIONS.length / 20)).toEqual([]);
    },
    Math.max(60_000, MUTATIONS_WANTED * 10),
  );
});
