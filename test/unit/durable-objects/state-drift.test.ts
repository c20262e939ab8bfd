import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** What regions and shards make of trust entries that were changed behind the system's back. */

const secrets = [newSecret("f1")];
let federation: TestFederation;
let eu: TestAuthority;
let us: TestAuthority;
let ap: TestAuthority;

const all = (): readonly TestAuthority[] => [...federation.regions.values()];
const view = (region: TestAuthority) => region.authority.drift.view();
const found = (region: TestAuthority): readonly string[] =>
  view(region).differences.map(({ peer, kind, pack, theirs }) => `${peer} ${kind} ${pack}: ${theirs}`);

const everybodyAsks = async (times = 1): Promise<void> => {
  for (let i = 0; i < times; i++) {
    for (const region of all()) if (region.running) await region.fresh();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
async function eventually(what: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !what(); i++) await everybodyAsks();
  expect(what()).toBe(true);
}
const counts = (region: TestAuthority): Record<string, number> =>
  Object.fromEntries(view(region).states.map(({ origin, count }) => [origin, count]));
/** Everybody has heard from everybody what it holds, at the same positions. */
const told = (): boolean =>
  all().every((region) => {
    const { states, peers } = view(region);
    return (
      states.length === 3 &&
      peers.every((peer) => JSON.stringify(sorted(peer.states)) === JSON.stringify(sorted(states)))
    );
  });
const sorted = <T extends { origin: string }>(states: readonly T[] | null): readonly T[] =>
  (states ?? []).toSorted((a, b) => (a.origin < b.origin ? -1 : 1));

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  federation = await TestFederation.start(["eu", "us", "ap"], secrets, 8);
  [eu, us, ap] = [federation.of("eu"), federation.of("us"), federation.of("ap")];
  for (let i = 0; i < 4; i++) await eu.revoke(`subject:user/${i}`);
  await us.revoke("subject:user/1");
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

test("regions that applied the same events hold the same entries, also over snapshots, restarts and lifted entries", async () => {
  const id = await eu.revoke("subject:user/lifted");
  await eventually(told);
  expect(counts(ap)).toEqual({ ap: 0, eu: 5, us: 1 });
  await eu.restore(id);
  federation.cut.add("ap");
  // A snapshot is due every eight events: who was away gets one.
  for (let i = 10; i < 30; i++) await eu.revoke(`subject:user/${i}`);
  await us.restart(secrets);
  await everybodyAsks();
  federation.cut.delete("ap");
  await eventually(() => told() && counts(ap)["eu"] === 25);
  for (const region of all()) expect(found(region)).toEqual([]);
});

test("events that come one after the other, with the regions at different positions", async () => {
  for (let i = 0; i < 30; i++) {
    await all()[i % 3]!.revoke(`subject:user/many-${i}`);
    if (i % 4 === 0) await everybodyAsks();
  }
  await eventually(told);
  for (const region of all()) expect(found(region)).toEqual([]);
});

const ROW = "(SELECT key FROM entry WHERE origin = 'eu' ORDER BY key LIMIT 1)";
test.each([
  ["deleted", `DELETE FROM entry WHERE origin = 'eu' AND key = ${ROW}`, "1 entry fewer", "1 entry more"],
  [
    "altered",
    `UPDATE entry SET state = 'restored' WHERE origin = 'eu' AND key = ${ROW}`,
    "as many entries",
    "as many entries",
  ],
  [
    "added",
    `INSERT INTO entry(key, origin, generation, state, "from", revoked_seq, seq) VALUES ('f1.x', 'eu', 1, 'revoked', 'issue', 1, 1)`,
    "1 entry more",
    "1 entry fewer",
  ],
])("a row of a stopped region that is %s: it finds it itself, and so do the others", async (_, sql, mine, back) => {
  await eventually(told);
  us.kill();
  us.storage.revive();
  us.storage.attach().sql.exec(sql);
  await us.start(secrets);
  await eventually(() => found(us).length === 3 && found(eu).length === 1 && found(ap).length === 1);
  expect([...found(us)].sort()).toEqual([`ap state eu: ${back}`, `eu state eu: ${back}`, `us state eu: ${mine}`]);
  expect(found(ap)).toEqual([`us state eu: ${mine}`]);
  expect(eu.incidents).toMatchObject([
    { what: "state_drift", detail: expect.stringContaining("us: trust entries of eu") },
  ]);
  expect(eu.incidents[0]!.evidence).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  expect(us.incidents.map(({ what }) => what)).toContain("state_drift");
  // It stays the same difference while everybody goes on.
  const { id } = view(ap).differences[0]!;
  await eu.revoke("subject:user/later");
  await everybodyAsks(3);
  expect(view(ap).differences.map((one) => one.id)).toEqual([id]);
});

test("by configuration it denies, until it is acknowledged or over", async () => {
  eu.vars = { INTERLOCK_ON_DRIFT: "deny" };
  await eu.restart(secrets);
  await eventually(told);
  us.kill();
  us.storage.revive();
  const { sql } = us.storage.attach();
  const [row] = sql.exec("SELECT * FROM entry WHERE origin = 'eu' LIMIT 1").toArray();
  sql.exec("DELETE FROM entry WHERE origin = 'eu' AND key = ?", row!["key"]!);
  await us.start(secrets);
  await eventually(() => eu.told?.drift?.denies === true);
  expect(eu.told?.drift?.detail).toBe("us: trust entries of eu, 1 entry fewer than there should be");
  const [difference] = view(eu).differences;
  eu.authority.drift.acknowledge({ id: difference!.id, reason: "us is being rebuilt", actor: "anna" });
  await eu.fresh();
  expect(eu.told?.drift).toBe(null);
  // A region that starts with the same rows ends nothing before it has read them.
  await us.restart(secrets);
  for (let i = 0; i < 5; i++) {
    await everybodyAsks();
    expect(view(eu).differences).toMatchObject([{ id: difference!.id, acknowledged: { by: "anna" } }]);
  }
  // Put back as it was.
  us.kill();
  us.storage.revive();
  const again = us.storage.attach().sql;
  again.exec(
    `INSERT INTO entry(${Object.keys(row!)
      .map((name) => `"${name}"`)
      .join()}) VALUES (${Object.keys(row!)
      .map(() => "?")
      .join()})`,
    ...Object.values(row!),
  );
  await us.start(secrets);
  await eventually(() => all().every((region) => found(region).length === 0));
});

test("a shard that lost a row denies by itself, and its authority says so", async () => {
  await eventually(told);
  await eventually(() => us.watch.report(0) !== null);
  us.kill();
  us.shardStorage.revive();
  us.shardStorage
    .attach()
    .sql.exec("DELETE FROM trust_entry WHERE origin = 'eu' AND key IN (SELECT key FROM trust_entry LIMIT 1)");
  await us.start(secrets);
  await eventually(() => us.watch.condition !== null && found(us).length > 0);
  expect(us.watch.condition).toMatchObject({ denies: true, detail: expect.stringContaining("1 entry fewer") });
  expect(found(us)).toEqual(["shard/0 state : 1 entry fewer"]);
  expect(found(eu)).toEqual([]);
});

test("a shard that begins anew from changed rows denies by default, until that is acknowledged", async () => {
  await eventually(told);
  const [{ key }] = us.rows("SELECT key FROM entry WHERE origin = 'eu' LIMIT 1") as [{ key: string }];
  us.kill();
  us.storage.revive();
  us.storage.attach().sql.exec("DELETE FROM entry WHERE origin = 'eu' AND key = ?", key);
  us.shardStorage.revive();
  for (const table of ["trust_entry", "state_sum", "meta"]) us.shardStorage.attach().sql.exec(`DELETE FROM ${table}`);
  await us.start(secrets);
  await eventually(() => us.told?.drift?.denies === true);
  // It has applied all that it was given, and finds nothing of itself.
  expect(us.watch.condition).toBe(null);
  expect(found(us)).toContain("shard/0 state : 1 entry fewer");
  expect(eu.told?.drift?.denies ?? false).toBe(false);
  const { id } = view(us).differences.find(({ peer }) => peer === "shard/0")!;
  us.authority.drift.acknowledge({ id, reason: "the entry is of no use any more", actor: "anna" });
  await us.fresh();
  expect(us.told?.drift?.denies).toBe(false);
});

test("a region of a version that says nothing is not asked for more than it can, and nothing is found", async () => {
  us.mute = true;
  // Nor does it ask.
  for (let i = 0; i < 5; i++) await Promise.all([eu.fresh(), ap.fresh()]);
  expect(view(eu).peers.find(({ region }) => region === "us")!.states).toBe(null);
  expect(found(eu)).toEqual([]);
  expect(await eu.fresh()).toEqual(["ap", "us"]);
});
