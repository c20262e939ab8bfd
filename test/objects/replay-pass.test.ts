import { beforeAll, expect, it } from "vitest";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { wordOf } from "../../src/replay/tally.ts";
import type { IdentityFacts, PassFacts } from "../../src/vocabulary/run.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { guestStep } from "./guest-step.ts";
import { activate, named, region, shard } from "./region.ts";

/** What a step under a pass saw of names: each key has its own, however often and in whichever order they are asked. */
const policy = activePolicy(region);

beforeAll(activate);

const under = async (over: Partial<PassFacts>, more: object = {}): Promise<DecideMessage> =>
  (await guestStep("record-1", more, over)).message;

async function replayed(message: DecideMessage): Promise<{ reason: string | null; word: string }> {
  const answer = await shard().decide(message);
  if (!answer.ok) throw new Error(answer.code);
  const { sseq } = await shard().status();
  const whole = { v: 1, from_ms: 0, to_ms: Date.now() + 60_000, subject: null, run: null, reason: null } as const;
  const found = await shard().findRecords({
    ...whole,
    before_sseq: sseq + 1,
    decision: null,
    limit: 1,
    payload: true,
    max_bytes: 4_000_000,
  });
  if (!found.ok) throw new Error(found.code);
  return { reason: answer.items[0]!.reason, word: wordOf(judge(recordedItem(found.found[0]!), policy)) };
}

const withKeys = (count: number): object => {
  const identity: IdentityFacts = {
    kind: "wit",
    workload: "alice",
    issuer: "spiffe://prod.example",
    trust_domain: "prod.example",
    on_behalf_of: null,
    prior_actors: [],
    bearer: true,
    proof: null,
    keys: Array.from({ length: count }, (_, at) => `pod:${at}`),
    valid_until_ms: Date.now() + 60_000,
  };
  return { workload: { failed: [], identity, attestation: null } };
};

it("a pass that names the resource as its subject is decided again as it was", async () => {
  const mixed = { subject: named("resource:record/record-1") };
  expect(await replayed(await under(mixed))).toEqual({ reason: "permit_invalid", word: "identical" });
  const both = { resource: { type: "record", key: named("subject:user/alice") } };
  expect(await replayed(await under(both))).toEqual({ reason: "permit_invalid", word: "identical" });
});

it("so is a step that rests on many keys, and one that rests on more than its receipt holds", async () => {
  const resource = { type: "record", key: named("resource:record/record-1") };
  expect(await replayed(await under({ resource }, withKeys(700)))).toEqual({ reason: null, word: "identical" });
  expect(await replayed(await under({ resource }, withKeys(1_024)))).toEqual({
    reason: "input_invalid",
    word: "identical",
  });
});
