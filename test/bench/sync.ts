import { asking, clientOf, startFederation, subjectOf } from "../support/federation.ts";
import { post } from "../support/http.ts";
import type { TestRegion } from "../support/region.ts";

/**
 * `npm run bench:sync [-- COUNT]`: from a revocation's acceptance in us until it is effective in all three regions, as
 * us itself has it confirmed, while each region answers decisions without a pause; all on this one machine.
 */
const COUNT = Number(process.argv[2] ?? "100");
const CALLERS = 4;

const fed = await startFederation();
const stopping = new AbortController();
let decisions = 0;

async function load(region: TestRegion): Promise<void> {
  const question = asking("anybody", "anything");
  while (!stopping.signal.aborted) {
    await (await post(`${region.url}/access/v1/evaluation`, region.pep, question)).text();
    decisions++;
  }
}

async function effectiveEverywhere(id: string): Promise<void> {
  const answer = await fetch(`${fed.us.url}/admin/v1/revocations/${id}?wait=all`, {
    headers: { authorization: `Bearer ${fed.us.admin}` },
  });
  const { status } = JSON.parse(await answer.text()) as { status: Record<string, string> };
  if (Object.values(status).some((one) => one !== "confirmed")) throw new Error(JSON.stringify(status));
}

const at = (sorted: readonly number[], share: number): string =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!.toFixed(0);

try {
  const callers = fed.all.flatMap((region) => Array.from({ length: CALLERS }, () => load(region)));
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const began = performance.now();
  const took: number[] = [];
  for (let n = 0; n < COUNT; n++) {
    const { id } = await clientOf(fed.us).revoke({
      key: subjectOf(`us-bench-${n}`),
      from: "issue",
      reason: "benchmark",
      wait: "accepted",
    });
    const accepted = performance.now();
    await effectiveEverywhere(id);
    took.push(performance.now() - accepted);
  }
  const seconds = (performance.now() - began) / 1_000;
  stopping.abort();
  await Promise.all(callers);
  took.sort((a, b) => a - b);
  process.stdout.write(
    `${COUNT} revocations, accepted → confirmed effective in all three regions: ` +
      `median ${at(took, 0.5)} ms, p99 ${at(took, 0.99)} ms, longest ${at(took, 1)} ms; ` +
      `beside ${(decisions / seconds).toFixed(0)} decisions/s in all\n`,
  );
} finally {
  stopping.abort();
  await fed.close();
}
