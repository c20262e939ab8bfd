import { beforeAll, expect, it } from "vitest";
import { base64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { wordOf } from "../../src/replay/tally.ts";
import { guestRunId } from "../../src/runs/guest.ts";
import type { IdentityFacts, PassFacts } from "../../src/vocabulary/run.ts";
import { judge, recordedItem } from "../support/replayed.ts";
import { activate, ask, factsOf, named, read1, region, shard } from "./region.ts";
import { newId } from "./run-steps.ts";

/** What a step under a pass saw of names: each key has its own, however often and in whichever order they are asked. */
const policy = activePolicy(region);

beforeAll(activate);

async function guestStep(over: Partial<PassFacts>, more: object = {}): Promise<DecideMessage> {
  const pass: PassFacts = {
    id: newId(),
    home: "eu",
    run: base64url(crypto.getRandomValues(new Uint8Array(32))),
    node: "quote",
    subject: named("subject:user/alice"),
    action: "read",
    resource: null,
    labels: [],
    parents: [],
    dependencies: [],
    ancestors: [],
    homes: [],
    keys: [],
    expires_ms: Date.now() + 60_000,
    digest: "sha256:x",
    ...over,
  };
  const facts = jcs({ ...(JSON.parse(await factsOf()) as object), ...more, pass });
  const message = await ask([{ ...read1, resource: { type: "record", id: "record-1" } }]);
  const run = guestRunId("eu", 1, pass, sha256);
  return { ...message, items: message.items.map((item) => ({ ...item, run, facts })), implicit_run: run };
}

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
  expect(await replayed(await guestStep(mixed))).toEqual({ reason: "permit_invalid", word: "identical" });
  const both = { resource: { type: "record", key: named("subject:user/alice") } };
  expect(await replayed(await guestStep(both))).toEqual({ reason: "permit_invalid", word: "identical" });
});

it("so is a step that rests on many keys, and one that rests on more than its receipt holds", async () => {
  const resource = { type: "record", key: named("resource:record/record-1") };
  expect(await replayed(await guestStep({ resource }, withKeys(700)))).toEqual({ reason: null, word: "identical" });
  expect(await replayed(await guestStep({ resource }, withKeys(1_024)))).toEqual({
    reason: "input_invalid",
    word: "identical",
  });
});
