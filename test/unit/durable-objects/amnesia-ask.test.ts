import { afterEach, expect, test, vi } from "vitest";
import { readRegion, type RegionVars } from "../../../src/region/config.ts";
import { newSecret, TestFederation } from "../../support/authorities.ts";

let federation: TestFederation | null = null;
afterEach(() => {
  federation?.stop();
  vi.restoreAllMocks();
});

test.each(["none", "One", "2"])("INTERLOCK_AMNESIA_ASK %s is no setting", (setting) => {
  const vars = { INTERLOCK_REGION: "eu", INTERLOCK_PDP: "https://eu.pdp.example" } as RegionVars;
  expect(readRegion(vars)).toMatchObject({ ok: true, value: { amnesia_ask: "one" } });
  expect(readRegion({ ...vars, INTERLOCK_AMNESIA_ASK: "all" })).toMatchObject({ value: { amnesia_ask: "all" } });
  expect(readRegion({ ...vars, INTERLOCK_AMNESIA_ASK: setting })).toEqual({
    ok: false,
    error: "INTERLOCK_AMNESIA_ASK: one or all is required",
  });
});

/** What eu has heard after a start that only us could answer. */
async function startedBeside(ask: "one" | "all"): Promise<string> {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const secrets = [newSecret("s1")];
  federation = await TestFederation.start(["eu", "us", "ap"], secrets);
  const eu = federation.of("eu");
  eu.vars = { INTERLOCK_AMNESIA_ASK: ask };
  federation.cut.add("ap");
  await eu.restart(secrets);
  await eu.fresh();
  return eu.authority.sync.state.check.phase;
}

test("one peer is enough where nothing else is configured", async () => {
  expect(await startedBeside("one")).toBe("passed");
});

test("all: nothing is numbered, allowed or given back before every peer has answered", async () => {
  expect(await startedBeside("all")).toBe("asking");
  const eu = federation!.of("eu");
  expect(eu.trust.leaseUntil).toBe(0);
  const id = await eu.revoke("subject:user/alice");
  expect(id).toContain(".waiting.");
  expect(eu.denies("subject:user/alice")).toEqual(["eu"]);
  federation!.cut.clear();
  await vi.waitFor(async () => {
    await eu.fresh();
    expect(eu.authority.sync.state.check.phase).toBe("passed");
  }, 5_000);
  expect(await eu.fresh()).toEqual(["ap", "us"]);
  expect(eu.authority.sync.state.own.mark.seq).toBeGreaterThan(0);
});
