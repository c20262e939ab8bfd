import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DriftEntry, DriftView } from "../../src/objects/drift.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { ownLeavesOf, shardFiles, tamper } from "../support/stored.ts";
import { authorityFile, putBack, rowsIn } from "../support/tampered.ts";

/**
 * Trust entries that somebody changes in the files of a real region, past the system: while it is stopped, while it
 * runs, and after a kill. Found by the region itself and by the others (docs/drift.md); no revocation that is taken out
 * leads to an allow that lasts.
 */
let all: readonly TestRegion[];
let eu: TestRegion;
let us: TestRegion;
const ALARM = { INTERLOCK_LOG: "off" };
const DENY = { ...ALARM, INTERLOCK_ON_DRIFT: "deny" };
/** `bob` is revoked by eu, and stays so. */
const AS_BOB = { ...READ, subject: { type: "user", id: "bob" } };
const patience_ms = 60_000;

const admin = ({ url, admin: token }: TestRegion): AdminClient => new AdminClient(url, token);
const drift = (region: TestRegion): Promise<DriftView> => admin(region).drift();
const brief = ({ peer, kind, pack, theirs }: DriftEntry): string => `${peer} ${kind} ${pack}: ${theirs}`;
const found = async (region: TestRegion): Promise<readonly string[]> =>
  (await drift(region)).differences.map(brief).sort();

/** What the region says of `READ`: `allow`, or the reason. */
async function said(region: TestRegion, question: object = READ): Promise<string> {
  const { decision, reason } = await evaluate(region, question);
  return decision ? "allow" : reason!;
}
const says = (region: TestRegion, wanted: string): Promise<unknown> =>
  until(async () => (await said(region)) === wanted, `${region.name} says ${wanted}`, patience_ms);

/** Everybody is busy meanwhile; nobody looks while nobody asks. What bob got is in `bob`. */
async function becomes(wanted: ReadonlyMap<TestRegion, readonly string[]>, bob: Set<string> = new Set()) {
  await until(
    async () => {
      for (const region of all) {
        await evaluate(region, READ);
        bob.add(`${region.name} ${await said(region, AS_BOB)}`);
      }
      for (const [region, list] of wanted)
        if (JSON.stringify(await found(region)) !== JSON.stringify(list.toSorted())) return false;
      return true;
    },
    [...wanted].map(([{ name }, list]) => `${name} finds ${list.join(", ") || "nothing"}`).join("; "),
    patience_ms,
  );
}
const nothing = () => becomes(new Map(all.map((region) => [region, []])));

async function whileStopped(region: TestRegion, change: () => void, env = ALARM): Promise<void> {
  await region.stop();
  change();
  await region.restart({ env });
}

beforeAll(async () => {
  all = await startRegions(["eu", "us", "ap"], { packs: ["sovereign", "authzen-certification"], env: ALARM });
  [eu, us] = all as [TestRegion, TestRegion, TestRegion];
  for (const key of ["subject:user/bob", "subject:user/carol"])
    await admin(eu).revoke({ key, from: "issue", reason: "test", wait: "all" });
  await until(
    async () => {
      for (const region of all) await evaluate(region, READ);
      return (await Promise.all(all.map(drift))).every(
        ({ states, peers }) =>
          states.length === 3 && peers.every((peer) => peer.states?.length === 3 && peer.statement !== null),
      );
    },
    "everybody has heard from everybody",
    patience_ms,
  );
}, 180_000);
afterAll(() => Promise.all(all.map((region) => region.remove())));

/** What anybody sees who looks at the region's health and metrics, which say what was a second ago. */
async function writesDown(region: TestRegion, mine: string): Promise<void> {
  const wanted = mine.startsWith("as many") ? `${mine}, but other ones` : `${mine} than there should be`;
  await until(
    async () => {
      const health = await fetch(`${region.url}/health`);
      const { continuity, incidents } = await health.json<{
        continuity: { policy: { state: string; detail: string } };
        incidents: readonly { what: string; source: string; detail: string }[];
      }>();
      return (
        health.status === 200 &&
        continuity.policy.state === "drift" &&
        continuity.policy.detail.includes(`us: trust entries of eu, ${wanted}`) &&
        incidents.some(({ what }) => what === "state_drift")
      );
    },
    `${region.name}'s health says ${wanted}`,
    patience_ms,
  );
  const metrics = await (await fetch(`${region.url}/metrics`)).text();
  expect(metrics).toContain(`interlock_policy_drift{region="${region.name}"} 1`);
  expect(metrics).toMatch(/interlock_policy_difference_age_seconds\{[^}]*peer="us",kind="state",pack="eu"\}/);
}

const KEY = "(SELECT min(key) FROM entry WHERE origin = 'eu')";

describe("rows of the authority of a stopped region", () => {
  test.each([
    ["deleted", `DELETE FROM entry WHERE origin = 'eu' AND key = ${KEY}`, "1 entry fewer", "1 entry more"],
    [
      "altered",
      `UPDATE entry SET state = 'restored' WHERE origin = 'eu' AND key = ${KEY}`,
      "as many entries",
      "as many entries",
    ],
    [
      "added",
      `INSERT INTO entry(key, origin, generation, state, "from", revoked_seq, seq) SELECT key || 'x', origin, generation, state, "from", revoked_seq, seq FROM entry WHERE origin = 'eu' LIMIT 1`,
      "1 entry more",
      "1 entry fewer",
    ],
  ])("%s: it says so itself, its peers say so, and both write it down", async (_, sql, mine, back) => {
    const file = authorityFile(us);
    await us.stop();
    const before = rowsIn(file, "SELECT * FROM entry");
    tamper(file, sql);
    await us.restart({ env: ALARM });
    const bob = new Set<string>();
    const [, , ap] = all;
    await becomes(
      new Map([
        [us, [`us state eu: ${mine}`, `eu state eu: ${back}`, `ap state eu: ${back}`]],
        [eu, [`us state eu: ${mine}`]],
        [ap!, [`us state eu: ${mine}`]],
      ]),
      bob,
    );
    // The shard has its own copy.
    expect([...bob].filter((one) => one.endsWith("allow"))).toEqual([]);
    expect(await said(us)).toBe("allow");
    for (const region of [us, eu]) await writesDown(region, mine);
    await us.stop();
    tamper(file, "DELETE FROM entry");
    for (const row of before) putBack(file, "entry", row);
    await us.restart({ env: ALARM });
    await nothing();
  });

  test("the leaf of each incident is in the log of who found it", async () => {
    await Promise.all([us.stop(), eu.stop()]);
    for (const region of [us, eu]) {
      const incidents = ownLeavesOf(region.dataDir).filter(({ kind }) => kind === "incident");
      expect(JSON.stringify(incidents)).toContain("state_drift");
    }
    await Promise.all([us.restart({ env: ALARM }), eu.restart({ env: ALARM })]);
    await nothing();
  });
});

/** Of a region's only shard. */
const shardFile = (region: TestRegion): string => shardFiles(region.dataDir)[0]!;
const NO_ALLOWS = (bob: ReadonlySet<string>): void =>
  expect([...bob].filter((one) => one.endsWith("allow"))).toEqual([]);

describe("a revocation that is taken out leads to no allow", () => {
  test("of the shard of a stopped region: it denies everything from its first answer on, whatever is configured", async () => {
    const file = shardFile(us);
    const before = rowsIn(file, "SELECT * FROM trust_entry");
    expect(before.length).toBe(2);
    await whileStopped(us, () => tamper(file, "DELETE FROM trust_entry"));
    const bob = new Set<string>();
    await becomes(new Map([[us, ["shard/0 state : 2 entries fewer"]]]), bob);
    NO_ALLOWS(bob);
    expect(await said(us)).toBe("policy_drift");
    // Nobody can acknowledge what a shard finds of itself.
    const { id } = (await drift(us)).differences[0]!;
    await admin(us).acknowledgeDrift(id, "let us see");
    for (let n = 0; n < 20; n++) expect(await said(us)).not.toBe("allow");
    await us.restart({ env: ALARM });
    await until(async () => (await said(us)) === "policy_drift", "denies again", patience_ms);
    await whileStopped(us, () => before.forEach((row) => putBack(file, "trust_entry", row)));
    await nothing();
    await says(us, "allow");
    expect(await said(us, AS_BOB)).toBe("revoked");
  });

  test("of authority and shard together, while the region was killed", async () => {
    const [authority, shard] = [authorityFile(us), shardFile(us)];
    await us.kill("SIGKILL");
    const before = [rowsIn(authority, "SELECT * FROM entry"), rowsIn(shard, "SELECT * FROM trust_entry")] as const;
    tamper(authority, "DELETE FROM entry");
    tamper(shard, "DELETE FROM trust_entry");
    await us.restart({ env: ALARM });
    const bob = new Set<string>();
    await becomes(
      new Map([
        [
          us,
          [
            "us state eu: 2 entries fewer",
            "eu state eu: 2 entries more",
            "ap state eu: 2 entries more",
            "shard/0 state : 2 entries fewer",
          ],
        ],
        [eu, ["us state eu: 2 entries fewer"]],
      ]),
      bob,
    );
    NO_ALLOWS(bob);
    expect(await said(us)).toBe("policy_drift");
    await whileStopped(us, () => {
      before[0].forEach((row) => putBack(authority, "entry", row));
      before[1].forEach((row) => putBack(shard, "trust_entry", row));
    });
    await nothing();
    await says(us, "allow");
  });

  test("while the region runs: its own shard and authority, and the others, find it", async () => {
    const [authority, shard] = [authorityFile(us), shardFile(us)];
    const before = [rowsIn(authority, "SELECT * FROM entry"), rowsIn(shard, "SELECT * FROM trust_entry")] as const;
    tamper(authority, `DELETE FROM entry WHERE key = ${KEY}`);
    tamper(shard, "DELETE FROM trust_entry");
    const bob = new Set<string>();
    await becomes(
      new Map([
        [
          us,
          [
            "us state eu: 1 entry fewer",
            "eu state eu: 1 entry more",
            "ap state eu: 1 entry more",
            "shard/0 state : 2 entries fewer",
          ],
        ],
        [eu, ["us state eu: 1 entry fewer"]],
      ]),
      bob,
    );
    expect(await said(us)).toBe("policy_drift");
    const line = "this shard's trust entries are not what was applied (eu: 2 entries fewer)";
    await until(async () => us.log.join("\n").includes(line), "a line that says so");
    before[0].forEach((row) => putBack(authority, "entry", row));
    before[1].forEach((row) => putBack(shard, "trust_entry", row));
    await nothing();
    await says(us, "allow");
    expect(await said(us, AS_BOB)).toBe("revoked");
  });
});

test("where it is to deny: both sides do, over restarts, until it is acknowledged or over", async () => {
  const file = authorityFile(us);
  await eu.restart({ env: DENY });
  await us.stop();
  const before = rowsIn(file, "SELECT * FROM entry");
  tamper(file, `DELETE FROM entry WHERE key = ${KEY}`);
  await us.restart({ env: DENY });
  await becomes(new Map([[eu, ["us state eu: 1 entry fewer"]]]));
  await says(eu, "policy_drift");
  await says(us, "policy_drift");
  await until(async () => (await fetch(`${eu.url}/health`)).status === 503, "eu is not healthy");
  // What others set is their own.
  await says(all[2]!, "allow");
  await us.stop();
  await eu.restart({ env: DENY });
  for (let n = 0; n < 20; n++) expect(await said(eu)).not.toBe("allow");
  await us.restart({ env: DENY });
  await says(eu, "policy_drift");
  const { id } = (await drift(eu)).differences.find(({ peer }) => peer === "us")!;
  await admin(eu).acknowledgeDrift(id, "us is being put back");
  await says(eu, "allow");
  await until(async () => (await fetch(`${eu.url}/health`)).status === 200, "eu is healthy");
  await eu.restart({ env: DENY });
  await says(eu, "allow");
  expect((await drift(eu)).differences).toMatchObject([{ id, acknowledged: { reason: "us is being put back" } }]);
  await says(us, "policy_drift");
  await whileStopped(us, () => before.forEach((row) => putBack(file, "entry", row)), DENY);
  await nothing();
  await says(us, "allow");
});
