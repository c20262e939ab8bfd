import { expect, test } from "vitest";
import { ok } from "../../../src/base/result.ts";
import type { Room } from "../../../src/http/deps.ts";
import { roomIn } from "../../../src/http/epochs.ts";
import type { EpochView } from "../../../src/objects/epochs.ts";
import { adminClaims, call, jsonOf, newRegion, sign } from "./region.ts";

const ROOT = "A".repeat(43);
const UNKNOWN = { status: 404, code: "not_found", detail: "none" } as const;

test("an epoch that is dropped is gone at once, and its objects are not addressed", async () => {
  const past: EpochView = { log_epoch: 1, shards: 2, began_ms: 0, sealing: "s", next: "n", dropped: null, left: [] };
  let epochs = [past];
  const addressed: number[] = [];
  const room = {
    region: { log_epoch: 2, shards: 2 },
    authority: () => ({ epochs: async () => epochs }),
    epoch: ({ log_epoch }: EpochView) => {
      addressed.push(log_epoch);
      return { region: { log_epoch } };
    },
  } as unknown as Room;
  expect(await roomIn(room, 1, UNKNOWN)).toMatchObject(ok({ region: { log_epoch: 1 } }));
  epochs = [{ ...past, dropped: { t_ms: 0, size: 7, root: ROOT, done: false } }];
  expect(await roomIn(room, 1, UNKNOWN)).toEqual({
    ok: false,
    error: { status: 410, code: "epoch_dropped", detail: expect.stringContaining(`7 leaves, root ${ROOT}`) },
  });
  expect(addressed).toEqual([1]);
  expect(await roomIn(room, 3, UNKNOWN)).toEqual({ ok: false, error: UNKNOWN });
});

test("who drops an epoch needs the scope, and says what the archive holds", async () => {
  const region = await newRegion();
  const token = await sign(region.adminSigner, adminClaims({ scope: "epoch:drop" }));
  const drop = async (epoch: string, body: unknown, as = token) => {
    const answer = await call(region, `/admin/v1/epochs/${epoch}/drop`, { body, token: as });
    return [answer.status, (await jsonOf<{ code: string }>(answer)).code];
  };
  const good = { size: 7, root: ROOT, reason: "kept elsewhere" };
  expect(await drop("1", good)).toEqual([409, "conflict"]);
  expect(await drop("2", good)).toEqual([404, "not_found"]);
  expect(await drop("1", good, region.admin)).toEqual([403, expect.any(String)]);
  for (const epoch of ["0", "01", "x", "-1"])
    expect([epoch, await drop(epoch, good)]).toEqual([epoch, [400, "input_invalid"]]);
  for (const wrong of [
    { size: 0 },
    { size: "7" },
    { root: "AA" },
    { root: `${ROOT}=` },
    { reason: "" },
    { force: true },
  ])
    expect([wrong, await drop("1", { ...good, ...wrong })]).toEqual([wrong, [400, "input_invalid"]]);
  expect(await drop("1", { size: 7, root: ROOT })).toEqual([400, "input_invalid"]);
});
