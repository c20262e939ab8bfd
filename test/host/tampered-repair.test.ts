import { cpSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DriftView } from "../../src/objects/drift.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { shardFiles, tamper } from "../support/stored.ts";
import { authorityFile } from "../support/tampered.ts";
import { unfreeze } from "../support/unfreeze.ts";

/** docs/operations/drift-alarm.md, step 6, as it is written there: with the commands, on regions whose rows were changed. */
let all: readonly TestRegion[];
let eu: TestRegion;
let us: TestRegion;
const ENV = { INTERLOCK_LOG: "off" };
const patience_ms = 60_000;
const AS = (id: string) => ({ ...READ, subject: { type: "user", id } });
const admin = ({ url, admin: token }: TestRegion): AdminClient => new AdminClient(url, token);

async function run(expected: number, ...args: readonly string[]): Promise<string> {
  const command = interlock(...args);
  const code = await command.ended;
  if (code !== expected)
    throw new Error(`${args.join(" ")} ended with ${code}: ${command.stdout()}${command.stderr()}`);
  return command.stdout() + command.stderr();
}
const at = (region: TestRegion): readonly string[] => ["--region", region.name, "--data", region.base];

async function said(region: TestRegion, question: object = READ): Promise<string> {
  const { decision, reason } = await evaluate(region, question);
  return decision ? "allow" : reason!;
}
const says = (region: TestRegion, wanted: string, question: object = READ): Promise<unknown> =>
  until(async () => (await said(region, question)) === wanted, `${region.name} says ${wanted}`, patience_ms);

const differences = async (region: TestRegion): Promise<DriftView["differences"]> =>
  (await admin(region).drift()).differences;
/** While everybody is asked. */
const become = (which: (all: readonly DriftView["differences"][]) => boolean, what: string): Promise<unknown> =>
  until(
    async () => {
      for (const region of all) await evaluate(region, READ);
      return which(await Promise.all(all.map(differences)));
    },
    what,
    patience_ms,
  );
const nothing = () => become((each) => each.every((found) => found.length === 0), "nobody finds anything");

async function revoke(region: TestRegion, id: string): Promise<void> {
  await admin(region).revoke({ key: `subject:user/${id}`, from: "issue", reason: "test", wait: "all" });
}

beforeAll(async () => {
  all = await startRegions(["eu", "us"], { packs: ["sovereign", "authzen-certification"], env: ENV });
  [eu, us] = all as [TestRegion, TestRegion];
  await revoke(eu, "bob");
  await nothing();
  await until(async () => (await admin(us).drift()).states.length === 2, "us says what it holds", patience_ms);
}, 180_000);
afterAll(() => Promise.all(all.map((region) => region.remove())));

test("a shard: the next log epoch's shards take all entries anew", async () => {
  await us.stop();
  tamper(shardFiles(us.dataDir)[0]!, "DELETE FROM trust_entry");
  await us.restart();
  await says(us, "policy_drift");
  await become(([, found]) => found!.some(({ peer }) => peer === "shard/0"), "us finds its shard");
  expect(await run(1, "drift", ...at(us))).toMatch(/shard\/0 state .* 1 entry fewer/);
  await run(0, "epoch", "seal", ...at(us), "--reason", "shard 0 was changed");
  await run(0, "epoch", "next", ...at(us), "--reason", "shard 0 was changed");
  await us.restart();
  await eu.restart();
  await says(us, "allow");
  expect(await said(us, AS("bob"))).toBe("revoked");
  await nothing();
  expect(await run(0, "drift", ...at(us))).toContain("nothing to look after");
});

test("an authority, put back from before the change: what came after is there again", async () => {
  const folder = dirname(authorityFile(us));
  const backup = `${us.base}/backup`;
  await us.stop();
  cpSync(folder, backup, { recursive: true });
  await us.restart();
  await says(us, "allow");
  // After the backup: of a peer, and its own.
  await revoke(eu, "carol");
  await revoke(us, "dave");
  await us.stop();
  tamper(authorityFile(us), "DELETE FROM entry WHERE origin = 'eu'");
  await us.restart();
  await become(([found]) => found!.some(({ peer }) => peer === "us"), "eu finds us");
  expect(await run(1, "drift", ...at(eu))).toMatch(/us state eu: .* 2 entries fewer/);
  await run(0, "freeze", ...at(us), "--reason", "its storage is put back");
  await us.stop();
  rmSync(folder, { recursive: true });
  cpSync(backup, folder, { recursive: true });
  await us.restart();
  // The log knows more of the authority than it does now: nothing is granted in this epoch any more.
  const problems = async (): Promise<readonly string[]> =>
    (await (await fetch(`${us.url}/health`)).json<{ problems: readonly string[] }>()).problems;
  await until(
    async () => (await problems()).some((one) => one.includes("it was rewound")),
    "us is rewound",
    patience_ms,
  );
  await run(0, "epoch", "seal", ...at(us), "--reason", "the authority was put back");
  await run(0, "epoch", "next", ...at(us), "--reason", "the authority was put back");
  await us.restart();
  await eu.restart();
  await says(us, "region_frozen");
  await unfreeze(us, "looked at");
  await says(us, "allow");
  for (const id of ["bob", "carol", "dave"]) expect(await said(us, AS(id))).toBe("revoked");
  await nothing();
  expect(await run(0, "drift", ...at(us))).toContain("nothing to look after");
});
