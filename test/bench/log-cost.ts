import { benchRegion, measure, median, QUESTION } from "./http.ts";

export type LogCost = { readonly c: number; readonly without_rps: number; readonly with_rps: number };

/**
 * What integration into the region's log costs the decision path: two regions, one with a log that costs nothing,
 * measured in turns in one run.
 */
export async function benchLogCost(seconds: number, rounds: number): Promise<readonly LogCost[]> {
  const [free, real] = [await benchRegion(undefined, "free"), await benchRegion()];
  const costs: LogCost[] = [];
  for (const c of [16, 64]) {
    const taken = { free: [] as number[], real: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      // Who goes first changes, so that a machine that slows down slows both.
      for (const name of round % 2 === 0 ? (["free", "real"] as const) : (["real", "free"] as const)) {
        const region = name === "free" ? free : real;
        if (round === 0) await measure(region, "/access/v1/evaluation", QUESTION, c, 1);
        taken[name].push((await measure(region, "/access/v1/evaluation", QUESTION, c, seconds)).rps);
      }
    }
    costs.push({ c, without_rps: median(taken.free), with_rps: median(taken.real) });
  }
  await Promise.all([free.remove(), real.remove()]);
  return costs;
}
