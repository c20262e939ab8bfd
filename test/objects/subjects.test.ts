import { runInDurableObject } from "cloudflare:test";
import { beforeAll, expect, it } from "vitest";
import { hmacSha256 } from "../../src/base/digest.ts";
import { fromBase64url } from "../../src/base/bytes.ts";
import { mintRunId, parseDecisionId } from "../../src/base/ids.ts";
import { subjectIndexKey, subjectTag } from "../../src/lineage/subject-tag.ts";
import { shardName } from "../../src/objects/address.ts";
import { ShardStore } from "../../durable-objects/shard/store.ts";
import { activate, decide, env, factsOf, read1, region, shard, undeclared } from "./region.ts";

const asked = (id: string) => ({ ...read1, subject: { type: "user", id } });

beforeAll(activate);

/** What the index of shard 0 says about `user/<id>`, and how many rows it has. */
function indexed(id: string, before: number | null = null, limit = 100) {
  const stub = env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0)));
  return runInDurableObject(stub, (_, state) => {
    const store = new ShardStore(state.storage);
    const key = subjectIndexKey(fromBase64url(store.meta("region_key")!)!, hmacSha256);
    const rows = state.storage.sql.exec<{ tag: string }>("SELECT tag FROM subject_flush").toArray();
    return {
      sseqs: store.sseqsOfTag(subjectTag(key, `subject:user/${id}`, hmacSha256), before, limit),
      rows: rows.length,
      text: JSON.stringify(rows),
    };
  });
}

const sseqOf = (id: string | null): number => parseDecisionId(id ?? "none")?.sseq ?? 0;

it("finds the records about somebody, newest first and in pages, and holds no name", async () => {
  const before = await indexed("carol");
  expect(before.sseqs).toEqual([]);
  const batch = await decide([asked("carol"), asked("dora"), asked("carol")]);
  const alone = await decide([asked("carol")]);
  const first = sseqOf(batch.decision_id);
  const carol = [sseqOf(alone.decision_id), first + 2, first];
  const after = await indexed("carol");
  expect(after.sseqs).toEqual(carol);
  expect((await indexed("dora")).sseqs).toEqual([first + 1]);
  // A row for each subject and flush, not for each record.
  expect(after.rows - before.rows).toBe(3);
  expect((await indexed("carol", null, 2)).sseqs).toEqual(carol.slice(0, 2));
  expect((await indexed("carol", carol[1], 2)).sseqs).toEqual(carol.slice(2));
  expect((await indexed("carol", first + 1)).sseqs).toEqual([first]);
  expect(after.text).not.toMatch(/carol|dora/);
});

it("finds a run by its principal and its members", async () => {
  const opened = await shard().openRun({
    v: 1,
    run: mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16))),
    principal: { type: "user", id: "erin" },
    members: [{ type: "user", id: "frank" }],
    ...undeclared,
    facts: await factsOf(),
    traceparent: null,
  });
  if (!opened.ok) throw new Error(opened.code);
  const expected = [sseqOf(opened.decision_id)];
  expect((await indexed("erin")).sseqs).toEqual(expected);
  expect((await indexed("frank")).sseqs).toEqual(expected);
});
