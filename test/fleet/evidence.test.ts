import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sha256 } from "../../src/base/digest.ts";
import { parsePolicy, readEvidence, verifyEvidence } from "../../src/lineage/verifier.ts";
import { bearer, evaluate, post, READ } from "../support/http.ts";
import { verifyEd25519 } from "../support/log.ts";
import { startRegion, startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";

/** G7: a run taken away as one file, and what of it somebody verifies who has nothing but a policy of keys. */
let eu: TestRegion;
let us: TestRegion;
let run: string;

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
  })) as readonly [TestRegion, TestRegion];
  run = await openedRun(eu, { principal: READ.subject });
  for (let i = 0; i < 5; i++) await evaluate(eu, { ...READ, context: { interlock: { run } } });
});

afterAll(async () => {
  await Promise.all([eu, us].map((region) => region.remove()));
});

const evidenceUrl = (region: TestRegion): string => `${region.url}/lineage/v1/runs/${run}/evidence`;

describe("evidence of a run", () => {
  test("verifies offline, complete, anchored and opened, right after the last step", async () => {
    const answer = await fetch(evidenceUrl(eu), { headers: bearer(eu.admin) });
    expect(answer.status).toBe(200);
    const text = await answer.text();
    const policy = parsePolicy(await (await fetch(`${eu.url}/log/policy`)).text(), sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    const report = await verifyEvidence(text, policy.value, { sha: sha256, verify: verifyEd25519 }, { run });
    expect(report).toMatchObject({ status: "verified" });
    // One digit of one payload, and nothing else.
    const forged = text.replace(
      /(t_ms\\":[0-9]*)([0-9])/,
      (_, head: string, digit: string) => `${head}${9 - Number(digit)}`,
    );
    expect(forged).not.toBe(text);
    const caught = await verifyEvidence(forged, policy.value, { sha: sha256, verify: verifyEd25519 }, { run });
    expect(caught.status).not.toBe("verified");
  });

  test("goes to the region's own auditors only", async () => {
    expect((await fetch(evidenceUrl(eu))).status).toBe(401);
    expect((await fetch(evidenceUrl(eu), { headers: bearer(us.admin) })).status).toBe(401);
    expect((await fetch(evidenceUrl(us), { headers: bearer(us.admin) })).status).toBe(404);
  });
});

describe("a long run", () => {
  const RECORDS = 6_000;
  const BATCH = 500;
  let long: TestRegion;
  let id: string;

  beforeAll(async () => {
    // A heap in which neither all records nor the bundle's text would fit beside everything else.
    long = await startRegion({
      packs: ["sovereign", "authzen-certification"],
      env: { INTERLOCK_LOG: "off" },
      v8_flags: ["--max-old-space-size=48"],
    });
    id = await openedRun(long, { principal: READ.subject });
    const evaluations = Array.from({ length: BATCH }, (_, at) => ({
      ...READ,
      context: { note: `${at} ${"long ".repeat(300)}`, interlock: { run: id } },
    }));
    for (let sent = 0; sent < RECORDS; sent += BATCH) {
      const answer = await post(`${long.url}/access/v1/evaluations`, long.pep, { evaluations });
      const text = await answer.text();
      if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text}`);
    }
  });
  afterAll(() => long.remove());

  test("is streamed page by page, and verifies as a whole", async () => {
    const answer = await fetch(`${long.url}/lineage/v1/runs/${id}/evidence`, { headers: bearer(long.admin) });
    expect(answer.status).toBe(200);
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.body!) {
      // Taken meanwhile: not part of what was surveyed, and in nobody's way.
      if (chunks.length === 0) await evaluate(long, { ...READ, context: { interlock: { run: id } } });
      chunks.push(chunk);
    }
    const bytes = Buffer.concat(chunks);
    expect(bytes.length).toBeGreaterThan(20_000_000);
    const policy = parsePolicy(await (await fetch(`${long.url}/log/policy`)).text(), sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    const report = await verifyEvidence(bytes, policy.value, { sha: sha256, verify: verifyEd25519 }, { run: id });
    expect(report).toMatchObject({ status: "verified", problems: [] });
    const bundle = readEvidence(bytes);
    if (!bundle.ok) throw new Error(bundle.error.message);
    const { records, opened, unanchored } = bundle.value.coverage;
    // More where the machine is so slow that an allow was withheld: that is a record too.
    expect(records).toBeGreaterThan(RECORDS);
    expect([opened, unanchored]).toEqual([records, 0]);
    expect((await fetch(`${long.url}/health`)).status).toBe(200);
  });
});
