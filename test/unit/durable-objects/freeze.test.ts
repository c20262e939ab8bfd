import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { FreezeView } from "../../../src/objects/freeze.ts";
import { credentialKey, issuerKey, keyKey } from "../../../src/trust/keys.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";

/** A freeze as other regions see it: an event of the frozen region, applied like a revocation. */
let federation: TestFederation;
let eu: TestAuthority;
let us: TestAuthority;
const secrets = [newSecret("s1")];

beforeEach(async () => {
  for (const method of ["error", "warn"] as const) vi.spyOn(console, method).mockImplementation(() => undefined);
  federation = await TestFederation.start(["eu", "us", "ap"], secrets);
  await federation.sign(undefined, { domains: { "*/eu-": "eu", "*/us-": "us", "*/ap-": "ap" } });
  eu = federation.of("eu");
  us = federation.of("us");
  for (const region of federation.regions.values()) await region.fresh();
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
});

const value = (result: Awaited<ReturnType<TestAuthority["authority"]["freeze"]["freeze"]>>): FreezeView => {
  if (!result.ok) throw new Error(result.message);
  return result.value;
};
const freeze = async (region: TestAuthority, wait: "local" | "all" | "barrier" = "local"): Promise<FreezeView> =>
  value(await region.authority.freeze.freeze("incident", "ana", wait));
async function unfreeze(region: TestAuthority): Promise<FreezeView> {
  const ask = (actor: string) =>
    region.authority.freeze.unfreeze({ reason: "over", actor, key: actor, another_key: false, rests_on: [] });
  await ask("bob");
  return value(await ask("cem"));
}
const states = (region: TestAuthority, key: string): readonly string[] =>
  region.trust.match([key], Date.now()).map(({ origin, state }) => `${origin} ${state}`);
/** As soon as the event has come. */
const become = (region: TestAuthority, key: string, wanted: readonly string[]): Promise<void> =>
  vi.waitFor(async () => {
    await region.fresh();
    expect(states(region, key)).toEqual(wanted);
  }, 5_000);
const everywhere = (): Promise<unknown> => Promise.all([...federation.regions.values()].map((one) => one.fresh()));

test("what is at home in the frozen region is denied elsewhere; what is at home there or everywhere goes on", async () => {
  const { mode } = await freeze(eu);
  expect(mode).toBe("frozen");
  await become(us, "subject:user/eu-1", ["eu frozen"]);
  for (const key of ["subject:user/eu-1", "resource:record/eu-1", "pep:eu/payments", "region:eu"])
    expect(states(us, key)).toEqual(["eu frozen"]);
  for (const key of ["subject:user/us-1", "subject:user/ap-1", "subject:user/alice", "region:us"])
    expect(states(us, key)).toEqual([]);
  await unfreeze(eu);
  await become(us, "subject:user/eu-1", []);
});

test("its status is by region, and an end of leases counts where a region is cut off", async () => {
  const both = { us: "confirmed", ap: "confirmed" };
  const going = freeze(eu, "all");
  await vi.waitFor(async () => {
    await everywhere();
    expect(eu.authority.status().freeze?.status).toMatchObject(both);
  }, 5_000);
  expect((await going).status).toMatchObject(both);
  await unfreeze(eu);
  expect(eu.authority.status().freeze).toBeNull();
  await everywhere();
  federation.cut.add("us");
  federation.cut.add("eu");
  const again = await freeze(eu, "barrier");
  expect(again.status).toMatchObject({ us: "lease_expired", ap: "lease_expired" });
  // us was never told: its lease on eu is over.
  expect(await us.fresh()).not.toContain("eu");
});

test("no other region's word freezes or lifts it, and no revocation does", async () => {
  for (const key of ["region:eu/frozen", "region:us/frozen"]) {
    const made = await eu.authority.revocations.revoke({ key, from: "issue", reason: "r", actor: "t", wait: "local" });
    expect(made).toMatchObject({ ok: false, code: "invalid" });
  }
  await freeze(eu);
  const { id } = eu.authority.status().freeze!;
  expect(await eu.authority.revocations.restore(id, "by the back door", "t")).toMatchObject({ ok: false });
  expect(eu.authority.revocations.list(0, 10).revocations).toEqual([]);
  // A revocation of the region itself stays when the freeze is over.
  await eu.revoke("region:eu");
  await unfreeze(eu);
  await become(us, "region:eu", ["eu revoked"]);
  expect(states(us, "subject:user/eu-1")).toEqual([]);
});

test.each([
  ["credential", credentialKey("admin:eu", "jti-1")],
  ["issuer", issuerKey("admin:eu")],
  ["key", keyKey("A".repeat(43))],
])("who asked with what was revoked since (%s) has not asked: it takes another two", async (_, stolen) => {
  await freeze(eu);
  const ask = (actor: string, rests_on: readonly string[]) =>
    eu.authority.freeze.unfreeze({ reason: "over", actor, key: actor, another_key: true, rests_on });
  expect(await ask("ana", [stolen])).toMatchObject({ ok: true, value: { unfreeze: { asked_by: "ana" } } });
  const why = { from: "issue", reason: "stolen", actor: "ben", wait: "local" } as const;
  expect(await eu.authority.revocations.revoke({ key: stolen, ...why })).toMatchObject({ ok: true });
  expect(eu.authority.freeze.request()).toBeNull();
  const second = await ask("ben", [keyKey("B".repeat(43))]);
  expect(second).toMatchObject({ ok: true, value: { mode: "frozen", unfreeze: { asked_by: "ben" } } });
  expect(await ask("cleo", [])).toMatchObject({ ok: true, value: { mode: "active" } });
});

test("a freeze outlives restarts, and comes back from a peer to a storage that was put back", async () => {
  await freeze(eu);
  await become(us, "subject:user/eu-1", ["eu frozen"]);
  await us.restart(secrets);
  await us.fresh();
  expect(states(us, "subject:user/eu-1")).toEqual(["eu frozen"]);
  await eu.restart(secrets);
  expect(eu.authority.status()).toMatchObject({ mode: "frozen" });
  eu.storage.attach().sql.exec("DELETE FROM event");
  eu.storage.attach().sql.exec("DELETE FROM entry");
  eu.storage.attach().sql.exec("DELETE FROM meta WHERE key IN ('frozen')");
  await eu.restart(secrets);
  expect(eu.authority.status().mode).toBe("active");
  await vi.waitFor(async () => {
    await eu.fresh();
    expect(eu.authority.status()).toMatchObject({ mode: "frozen", freeze: { status: { eu: "confirmed" } } });
  }, 5_000);
});
