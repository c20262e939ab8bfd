import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import { encodeEvidence, type Evidence } from "../../src/lineage/evidence.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import { interlock } from "../support/command.ts";
import { bearer, evaluate, post, READ } from "../support/http.ts";
import { until, verifyEd25519 } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";

/** Issue 3: what a run was is complete after its log was sealed, too. */
let eu: TestRegion;

beforeEach(async () => {
  const env = { INTERLOCK_LOG: "off" };
  [eu] = (await startRegions(["eu"], { packs: ["sovereign", "authzen-certification"], env })) as [TestRegion];
});
afterEach(() => eu.remove());

async function command(...args: readonly string[]): Promise<void> {
  const run = interlock(...args, "--region", "eu", "--data", eu.base);
  if ((await run.ended) !== 0) throw new Error(run.stderr());
}

const step = (run: string) => evaluate(eu, { ...READ, context: { interlock: { run } } });

async function runOf(steps: number, close: boolean): Promise<string> {
  const opened = await post(`${eu.url}/runs/v1/runs`, eu.pep, { principal: READ.subject, members: [READ.subject] });
  const { run } = JSON.parse(await opened.text()) as { run: string };
  for (let at = 0; at < steps; at++) expect((await step(run)).decision).toBe(true);
  if (close && (await post(`${eu.url}/runs/v1/runs/${run}/close`, eu.pep, {})).status !== 200) throw new Error("close");
  return run;
}

test("runs that were open or closed when their log was sealed are exported with their heads, and a cut shows", async () => {
  const runs = [await runOf(3, false), await runOf(2, true), await runOf(0, false)];
  await command("epoch", "seal", "--reason", "monthly");
  await command("epoch", "next", "--reason", "monthly");
  await eu.restart();
  await until(async () => (await evaluate(eu, READ)).decision, "an allow in epoch 2");
  const policy = parsePolicy(await (await fetch(`${eu.url}/logs/1/policy`)).text(), sha256);
  if (!policy.ok) throw new Error(policy.error.message);
  const verdict = (bundle: string) => verifyEvidence(bundle, policy.value, { sha: sha256, verify: verifyEd25519 });

  for (const [at, run] of runs.entries()) {
    const answer = await fetch(`${eu.url}/lineage/v1/runs/${run}/evidence`, { headers: bearer(eu.admin) });
    const text = await answer.text();
    const records = [4, 4, 1][at]!;
    expect(await verdict(text)).toMatchObject({
      status: "verified",
      gaps: { complete: true, head_seq: records },
      info: { run, records, log_epoch: 1 },
      problems: [],
    });
    // Whoever cuts the end, and counts anew, meets the head; whoever takes that away has nothing that says how long it was.
    const bundle = JSON.parse(text) as Evidence;
    if (records === 1) continue;
    const coverage = { ...bundle.coverage, records: records - 1, last_seq: records - 1, opened: records - 1 };
    const cut: Evidence = { ...bundle, coverage, records: bundle.records.slice(0, -1) };
    const found = await verdict(encodeEvidence(cut));
    expect(found).toMatchObject({
      status: "failed",
      gaps: { complete: false, missing: [{ first: records, last: records }] },
    });
    expect(found.problems.map(({ code }) => code)).toContain("seq_missing");
    const headless = await verdict(encodeEvidence({ ...cut, head: null }));
    expect(headless.problems.map(({ code }) => code)).toContain("head_missing");
  }
});
