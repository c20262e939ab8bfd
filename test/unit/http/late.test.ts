import { expect, test } from "vitest";
import type { ProofAnswer, RegionLogRpc } from "../../../src/objects/log.ts";
import { allowed, call, newRegion } from "./region.ts";

/** `GET /lineage/v1/decisions/{id}/proof?late=1`: the log's own word that a record came after its `merge_by`. */
async function regionWith(late: ProofAnswer) {
  const asked: (readonly [string, string, number])[] = [];
  const log: Partial<RegionLogRpc> = {
    prove: async (source, sseq) => {
      asked.push(["prove", source, sseq]);
      return { ok: true, proof: "of the record", index: 1, anchored: true };
    },
    proveLate: async (source, sseq) => {
      asked.push(["proveLate", source, sseq]);
      return late;
    },
  };
  const region = await newRegion({
    shards: 1,
    deps: (deps) => ({ ...deps, regionLog: () => log as RegionLogRpc }),
  });
  const answer = await call(region, "/access/v1/evaluation", { body: allowed });
  const id = answer.headers.get("interlock-decision-id")!;
  return { asked, read: (query: string) => call(region, `/lineage/v1/decisions/${id}/proof${query}`) };
}

test("gives the proof of the leaf, and without it that of the record", async () => {
  const { asked, read } = await regionWith({ ok: true, proof: "of the leaf", index: 7, anchored: true });
  expect(await (await read("?late=1")).text()).toBe("of the leaf");
  expect(await (await read("")).text()).toBe("of the record");
  expect(asked).toEqual([
    ["proveLate", "shard/0", 1],
    ["prove", "shard/0", 1],
  ]);
});

test("is 404 where the log says no such thing, and 303 to the same place until a checkpoint covers it", async () => {
  const none = await regionWith({ ok: false, code: "none" });
  expect((await none.read("?late=1")).status).toBe(404);
  const soon = await regionWith({ ok: false, code: "not_ready", retry_after_s: 1 });
  const answer = await soon.read("?late=1");
  expect([answer.status, answer.headers.get("location")]).toEqual([303, expect.stringMatching(/\/proof\?late=1$/)]);
});

test.each(["?late=0", "?late=", "?late=1&late=1", "?early=1"])("%s is refused", async (query) => {
  const { asked, read } = await regionWith({ ok: false, code: "none" });
  expect((await read(query)).status).toBe(400);
  expect(asked).toEqual([]);
});
