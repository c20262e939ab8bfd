import { beforeAll, expect, it } from "vitest";
import { DEFAULT_JSON_LIMITS, type JsonValue } from "../../src/base/json.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { pastOfItem } from "../../src/replay/past.ts";
import { wordOf } from "../../src/replay/tally.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { activate, decide, read1, region, shard } from "./region.ts";

/** What the door takes, whoever reads the record of it must be able to read: the payload holds more than the request. */
const policy = activePolicy(region);

beforeAll(activate);

async function readBack(request: CanonicalRequest): Promise<readonly [word: string, past: string]> {
  await decide([request]);
  const { sseq } = await shard().status();
  const found = await shard().findRecords({
    v: 1,
    from_ms: 0,
    to_ms: Date.now() + 60_000,
    subject: null,
    run: null,
    reason: null,
    before_sseq: sseq + 1,
    decision: null,
    limit: 1,
    payload: true,
    max_bytes: 8_000_000,
  });
  if (!found.ok) throw new Error(found.code);
  const item = found.found[0]!;
  const past = pastOfItem({ kind: "decision", ...item });
  return [wordOf(judge(recordedItem(item), policy)), typeof past === "string" ? past : "read"];
}

const { max_depth, max_values } = DEFAULT_JSON_LIMITS;

it("a request as deep as the door lets in", async () => {
  // The request and its context are two levels.
  let deep: JsonValue = {};
  for (let level = 3; level < max_depth; level++) deep = { deeper: deep };
  expect(await readBack({ ...read1, context: { deep } })).toEqual(["identical", "read"]);
});

it("a request of as many values as the door lets in", async () => {
  const many = Array.from({ length: max_values - 10 }, () => 1);
  expect(await readBack({ ...read1, context: { many } })).toEqual(["identical", "read"]);
});
