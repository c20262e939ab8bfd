import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReplayView } from "../../src/objects/replay.ts";
import { elsewhere, HERE } from "../support/elsewhere.ts";
import { evaluate, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { shardFiles } from "../support/stored.ts";
import { unfreeze } from "../support/unfreeze.ts";

/** A record that was changed on disk, in a region that stops where one comes out otherwise. */
let region: TestRegion;

beforeAll(async () => {
  region = await startRegion({
    packs: ["sovereign", "authzen-certification"],
    shards: 1,
    env: { INTERLOCK_LOG: "off", INTERLOCK_ON_DIVERGENCE: "freeze" },
  });
});
afterAll(() => region.remove());

async function replayed(): Promise<{ readonly code: unknown; readonly view: ReplayView }> {
  const there = ["--there", "--since", "0", "--json", "--region", region.name, "--data", region.base];
  const { code, stdout } = await elsewhere(HERE, ["replay", ...there]);
  return { code, view: JSON.parse(stdout) as ReplayView };
}

const says = (wanted: string): Promise<unknown> =>
  until(async () => {
    const { decision, reason } = await evaluate(region, READ);
    return (decision ? "allow" : reason) === wanted;
  }, wanted);

test("is found when all are decided again, freezes the region, and does not freeze it again", async () => {
  for (let n = 0; n < 30; n++) await evaluate(region, READ);
  expect(await replayed()).toMatchObject({ code: 0, view: { verdict: "identical", of: 30 } });
  await region.stop();
  const [file] = shardFiles(region.dataDir);
  const db = new DatabaseSync(file!);
  const { sealed } = db.prepare("SELECT sealed FROM record WHERE sseq = 7").get() as { sealed: Uint8Array };
  sealed[sealed.length - 40]! ^= 4;
  db.prepare("UPDATE record SET sealed = ? WHERE sseq = 7").run(sealed);
  db.close();
  await region.restart();
  await says("allow");
  const { code, view } = await replayed();
  expect(code).toBe(1);
  expect(view).toMatchObject({ state: "done", verdict: "different", counts: { "unreplayable unreadable": 1 } });
  await says("region_frozen");
  const { continuity, mode } = await (
    await fetch(`${region.url}/health`)
  ).json<{ mode: string; continuity: { replay: { state: string } } }>();
  expect([mode, continuity.replay.state]).toEqual(["frozen", "diverged"]);
  await region.restart();
  await says("region_frozen");
  await unfreeze(region, "looked at");
  await says("allow");
  expect(await replayed()).toMatchObject({ code: 1, view: { verdict: "different" } });
  await says("allow");
});
