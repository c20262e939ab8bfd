import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { parseTlogProof } from "../../src/lineage/tlog-proof.ts";
import { trustCheckpoint } from "../../src/lineage/trusted-checkpoint.ts";
import { freePort } from "../../tools/workerd/port.ts";
import { interlock } from "../support/command.ts";
import { patiently, post, READ } from "../support/http.ts";
import { noteOf, policiesOf, proofOf, until, verifyEd25519 } from "../support/log.ts";
import { startOutsideWitness, type OutsideWitness } from "../support/outside-witness.ts";
import { startRegion, startRegions, type TestRegion } from "../support/region.ts";

/** A witness under another administration, by configuration: what it adds, and what its loss means. */
const CEILING_MS = 30_000;
const configured = ({ vkey, url }: OutsideWitness): string =>
  JSON.stringify({ witnesses: [{ name: "auditor", vkey, url }] });

const logKeyOf = async (region: TestRegion): Promise<string> => {
  const policy = await (await fetch(`${region.url}/log/policy`)).text();
  return /^log (\S+)/m.exec(policy)![1]!;
};

async function decide(region: TestRegion) {
  const { answer, said } = await patiently(
    async () => {
      const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, READ);
      return { answer, said: await answer.json<{ decision: boolean; context?: { reason?: string } }>() };
    },
    ({ said: { context } }) => context?.reason ?? null,
  );
  expect(said).toMatchObject({ decision: true });
  const header = (name: string): string => answer.headers.get(`interlock-${name}`)!;
  const { payload } = JSON.parse(header("receipt")) as { payload: string };
  const receipt = JSON.parse(new TextDecoder().decode(fromBase64url(payload)!)) as { unanchored?: true };
  return { id: header("decision-id"), unanchored: receipt.unanchored ?? false, continuity: header("continuity") };
}

/** Decides until the region says that nobody has cosigned for longer than it promises. */
const unanchored = (region: TestRegion) =>
  until(async () => {
    const decided = await decide(region);
    return decided.unanchored && decided;
  }, "an unanchored receipt");

async function cosignersOf(region: TestRegion, id: string): Promise<readonly string[]> {
  const proof = parseTlogProof((await proofOf(region, id, CEILING_MS))!);
  if (!proof.ok) throw new Error(proof.error.message);
  const { served } = await policiesOf(region);
  const trusted = await trustCheckpoint(proof.value.checkpoint, served, verifyEd25519);
  if (!trusted.ok) throw new Error(trusted.error.message);
  return trusted.value.cosigners.map(({ witness }) => witness).sort();
}

describe("a region without peers", () => {
  let witness: OutsideWitness;
  let region: TestRegion;
  beforeAll(async () => {
    witness = await startOutsideWitness();
    region = await startRegion({
      packs: ["sovereign", "authzen-certification"],
      env: { INTERLOCK_LOG: "off", INTERLOCK_WITNESSES: configured(witness) },
    });
    await until(() => noteOf(region).catch(() => null), "a checkpoint");
  });
  afterAll(async () => {
    await region.remove();
    await witness.stop();
  });

  test("is unanchored while its witness does not know it, and says so", async () => {
    const { continuity } = await unanchored(region);
    expect(continuity).toContain("cryptographic=unanchored");
    expect(await (await fetch(`${region.url}/health`)).json()).toMatchObject({
      continuity: {
        cryptographic: { state: "unanchored" },
        witnessing: { state: "anchoring", detail: expect.stringContaining("witness.example/w1: status 404") },
      },
    });
  });

  test("is anchored by it, by the letter of tlog-witness and tlog-policy", async () => {
    witness.trust([await logKeyOf(region)]);
    const { id } = await decide(region);
    expect(await cosignersOf(region, id)).toEqual(["outside:auditor"]);
    const policy = await (await fetch(`${region.url}/log/policy`)).text();
    expect(policy.split("\n").slice(1)).toEqual([
      `witness outside:auditor ${witness.vkey} ${witness.url}`,
      "group outside all outside:auditor",
      "quorum outside",
      "",
    ]);
    await until(async () => ((await decide(region)).unanchored ? null : true), "an anchored receipt");
    expect(witness.faults).toEqual([]);
    expect(witness.cosigned).toEqual([...witness.cosigned].sort((a, b) => a - b));
  });

  test("goes on without it, and catches up when it is back", async () => {
    await witness.stop();
    const { id } = await decide(region);
    await unanchored(region);
    await witness.start();
    expect(await cosignersOf(region, id)).toEqual(["outside:auditor"]);
  });
});

describe("beside peers", () => {
  let witness: OutsideWitness;
  let regions: readonly TestRegion[];
  beforeAll(async () => {
    witness = await startOutsideWitness();
    regions = await startRegions(["eu", "us"], {
      packs: ["sovereign", "authzen-certification"],
      env: { INTERLOCK_LOG: "off", INTERLOCK_WITNESSES: configured(witness) },
    });
    witness.trust(await Promise.all(regions.map(logKeyOf)));
  });
  afterAll(async () => {
    await Promise.all(regions.map((region) => region.remove()));
    await witness.stop();
  });

  test("both must cosign: a peer alone anchors nothing", async () => {
    const [eu] = regions as [TestRegion, TestRegion];
    expect(await cosignersOf(eu, (await decide(eu)).id)).toEqual(["outside:auditor", "us"]);
    await witness.stop();
    const { id } = await decide(eu);
    expect(await proofOf(eu, id, 1_500)).toBeNull();
    await witness.start();
    expect(await cosignersOf(eu, id)).toEqual(["outside:auditor", "us"]);
    expect(witness.faults).toEqual([]);
  });
});

test("a file that is not as it should be is named before anything starts", async () => {
  const folder = mkdtempSync(join(tmpdir(), "interlock-witnesses-"));
  const file = join(folder, "w.json");
  writeFileSync(file, JSON.stringify({ witnesses: [{ name: "a", vkey: "x", url: "https://a.example" }] }));
  const serve = ["serve", "--region", "eu", "--port", String(await freePort()), "--data", folder, "--witnesses"];
  for (const [path, said] of [
    [file, "INTERLOCK_WITNESSES: a: "],
    [join(folder, "none.json"), "There is no file"],
  ] as const) {
    const running = interlock(...serve, path);
    expect([await running.ended, running.stderr()]).toEqual([2, expect.stringContaining(said)]);
  }
  rmSync(folder, { recursive: true });
});
