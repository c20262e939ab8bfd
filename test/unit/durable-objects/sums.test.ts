import { beforeEach, expect, test } from "vitest";
import { RUN_STEP } from "../../../durable-objects/shard/run/schema.ts";
import { Sums } from "../../../durable-objects/shard/run/sums.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { seeded, seedOf } from "../../support/random.ts";

let storage: FakeStorage;
let sql: SqlStorage;
beforeEach(() => {
  storage = new FakeStorage();
  ({ sql } = storage.attach());
  sql.exec(RUN_STEP);
});

type Added = { readonly t_ms: number; readonly sseq: number; readonly units: bigint };

test("any window is the sum of what is in it, whatever was taken back, in the same turn and after", () => {
  const seed = seedOf();
  const random = seeded(seed);
  const sums = new Sums(sql);
  let added: Added[] = [];
  let [t_ms, sseq] = [1_000, 0];
  const agrees = (): void => {
    for (const since of [null, t_ms - 5, t_ms, t_ms + 1, 1_000 + random.int(0, t_ms - 1_000)]) {
      const counted = added.filter((one) => since === null || one.t_ms >= since);
      const units = counted.reduce((sum, one) => sum + one.units, 0n);
      expect(sums.of("k", since), `seed ${seed}`).toMatchObject({ count: counted.length, units });
    }
  };
  for (let turn = 0; turn < 200; turn++) {
    t_ms += random.int(0, 2);
    // What is owed comes first in a turn.
    const stored = added;
    for (const one of stored)
      if (random.chance(0.2)) {
        sums.takeBack("k", one.t_ms, one.sseq, one.units);
        added = added.filter((other) => other !== one);
      }
    for (let n = random.int(0, 3); n > 0; n--) {
      const one = { t_ms, sseq: ++sseq, units: BigInt(random.int(0, 999)) };
      sums.add("k", one.t_ms, one.sseq, one.units);
      added.push(one);
      agrees();
      if (random.chance(0.2)) {
        sums.takeBack("k", one.t_ms, one.sseq, one.units);
        added.pop();
        agrees();
      }
    }
    agrees();
    sums.write();
    sums.clear();
    agrees();
  }
});

test("taking back all of a turn costs a few statements each, not a pass over what followed for each", () => {
  const sums = new Sums(sql);
  for (let sseq = 1; sseq <= 1_000; sseq++) sums.add("k", 1_000, sseq, 1n);
  sums.write();
  sums.clear();
  for (let sseq = 1; sseq <= 500; sseq++) sums.takeBack("k", 1_000, sseq, 1n);
  const before = storage.calls;
  sums.write();
  sums.clear();
  expect(storage.calls - before).toBeLessThan(3_000);
  expect(sums.of("k", null)).toMatchObject({ count: 500, units: 500n });
});
