import fc from "fast-check";
import { expect, test } from "vitest";
import { scenarios } from "./cedar-generators.ts";
import { ownVerdict, referenceVerdict } from "./cedar-oracle.ts";

const RUNS = Number(process.env.INTERLOCK_FUZZ_RUNS ?? 6_000);
const SEED = Number(process.env.INTERLOCK_FUZZ_SEED ?? 20_261_123);

/** Every decision, reason, error and refusal equals the reference implementation's (cedar-wasm). */
test(`agrees with cedar-wasm on ${RUNS} random scenarios, seed ${SEED}`, { timeout: 3_600_000 }, () => {
  fc.assert(
    fc.property(scenarios, (scenario) => {
      expect(ownVerdict(scenario)).toEqual(referenceVerdict(scenario));
    }),
    { seed: SEED, numRuns: RUNS },
  );
});
