import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bundle } from "../../src/policy/bundle.ts";
import { devPublish, devSign } from "../../tools/policy/dev-release.ts";
import { devPolicy, type DevPolicy } from "../../tools/region/policy-roots.ts";
import bundleJson from "../../policies/bundle.json" with { type: "json" };
import { clientOf } from "../support/federation.ts";
import { until } from "../support/log.ts";
import { enforcerOf, Heard, newPep, ticketFor } from "../support/permits.ts";
import { bundleBytes } from "../support/policy-documents.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/** Another policy comes into force while a hold is on: it says at once whether the step may go on. */
const PACKS = bundleJson as unknown as Bundle;
const LENIENT = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });
/** Another one, that allows the same. */
const LENIENT_TOO = bundleBytes(PACKS, { "*": ["authzen-certification", "authzen-todo", "sovereign"] });
const STRICT = bundleBytes(PACKS, { "*": ["sovereign"] });

let region: TestRegion;
let dev: DevPolicy;
let door: string;
beforeAll(async () => {
  region = await startRegion({ packs: ["sovereign", "authzen-certification"], env: { INTERLOCK_LOG: "off" } });
  dev = await devPolicy(region.base);
  door = await newPep(region, "door");
});
afterAll(() => region.remove());

async function enact(bundle: Uint8Array): Promise<void> {
  await devSign(dev, { bundle }, Date.now());
  const [view] = await devPublish(dev, [clientOf(region)]);
  expect(view?.problem).toBeNull();
}

/** A hold that nobody renews, while `bundle` comes into force: what its listener hears first. */
async function during(
  bundle: Uint8Array,
): Promise<{ readonly first: string | undefined; readonly before_end: boolean }> {
  await enact(LENIENT);
  const enforcer = enforcerOf(region, door);
  const { hold, valid_until_ms } = await until(async () => {
    const { permit } = await ticketFor(region, ["ann", "r1"]);
    const redeemed = await enforcer.redeem(permit);
    return redeemed.hold !== undefined && redeemed;
  }, "a hold");
  const heard = new Heard();
  const stop = enforcer.onHalt({ hold: hold ?? "" }, heard.listener);
  await heard.first("listening");
  await enact(bundle);
  const halt = await heard.first("halt");
  stop();
  return { first: halt.reason, before_end: halt.at < valid_until_ms };
}

test("a policy that denies the step ends its hold before anybody renews it", async () => {
  // A busy machine may need longer for the policy than the hold lasts.
  for (let tries = 0; ; tries++) {
    const { first, before_end } = await during(STRICT);
    if (first === "hold_ended" && tries < 10) continue;
    expect([first, before_end]).toEqual(["policy_denied", true]);
    return;
  }
});

test("a policy that allows it as well lets it go on to its end, and no longer", async () => {
  expect(await during(LENIENT_TOO)).toEqual({ first: "hold_ended", before_end: false });
});
