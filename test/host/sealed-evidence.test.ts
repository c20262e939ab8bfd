import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import { encodeEvidence, type Evidence } from "../../src/lineage/evidence.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../src/lineage/verify-evidence.ts";
import { interlock } from "../support/command.ts";
import { bearer, evaluate, post, READ } from "../support/http.ts";
import { until, verifyEd25519 } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";

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
  const run = await openedRun(eu, { principal: READ.subject, members: [READ.subject] });
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

test("a batch, and a question under a key, that nobody exported before: the log of the next epoch says how long they were", async () => {
  const evaluations = [READ, READ, READ].map(({ subject, action, resource }) => ({ subject, action, resource }));
  const batch = await post(`${eu.url}/access/v1/evaluations`, eu.pep, { evaluations });
  expect(batch.status).toBe(200);
  const keyed = { ...READ, context: { interlock: { idempotency_key: "once" } } };
  const asked = await post(`${eu.url}/access/v1/evaluation`, eu.pep, keyed);
  expect(asked.status).toBe(200);
  await command("epoch", "seal", "--reason", "monthly");
  await command("epoch", "next", "--reason", "monthly");
  await eu.restart();
  await until(async () => (await evaluate(eu, READ)).decision, "an allow in epoch 2");
  const policyText = async (epochs: readonly number[]): Promise<string> => {
    const texts = await Promise.all(epochs.map(async (n) => (await fetch(`${eu.url}/logs/${n}/policy`)).text()));
    const logs = texts.map((text) => text.split("\n").find((line) => line.startsWith("log "))!);
    return [...logs, ...texts[0]!.split("\n").filter((line) => line !== "" && !line.startsWith("log ")), ""].join("\n");
  };
  const policyOf = async (epochs: readonly number[]) => {
    const policy = parsePolicy(await policyText(epochs), sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    return policy.value;
  };
  const id = (answer: Response): string => /^eu\.1\.s\d+\.\d+/.exec(answer.headers.get("interlock-decision-id")!)![0];
  for (const [answer, records] of [
    [batch, 3],
    [asked, 1],
  ] as const) {
    const read = await fetch(`${eu.url}/lineage/v1/decisions/${id(answer)}`, { headers: bearer(eu.admin) });
    const { payload } = JSON.parse(await read.text()) as { payload: { run: string } };
    const exported = await fetch(`${eu.url}/lineage/v1/runs/${payload.run}/evidence`, { headers: bearer(eu.admin) });
    const text = await exported.text();
    const verdict = async (epochs: readonly number[]) =>
      verifyEvidence(text, await policyOf(epochs), { sha: sha256, verify: verifyEd25519 });
    expect(await verdict([1, 2])).toMatchObject({
      status: "verified",
      gaps: { complete: true, head_seq: records, head_log_epoch: 2 },
      info: { records, log_epoch: 1 },
    });
    // Who trusts the run's own log only has a run that nobody counts.
    const alone = await verdict([1]);
    expect(alone.problems.map(({ code }) => code)).toEqual(["head_untrusted"]);
    expect(alone).toMatchObject({ integrity: { ok: true }, anchored: { records }, gaps: { complete: false } });
  }
});
