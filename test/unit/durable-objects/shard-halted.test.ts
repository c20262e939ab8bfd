import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { mintRunId } from "../../../src/base/ids.ts";
import { jcs } from "../../../src/base/jcs.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { LeaseRequest } from "../../../src/objects/authority.ts";
import type { IntegrateMessage } from "../../../src/objects/log.ts";
import type { DecideAnswer, DecideMessage } from "../../../src/objects/shard.ts";
import { activePolicy } from "../../../src/policy/baseline.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import type { Region } from "../../../src/region/config.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

const REGION: Region = {
  name: "eu",
  pdp: "https://eu.pdp.example",
  log_epoch: 1,
  shards: 1,
  jurisdiction: null,
  packs: ["sovereign", "authzen-certification"],
  open: true,
  retention_days: null,
  amnesia_ask: "one",
  secrets: [OPEN_SECRET],
};

let shard: Shard;
beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  let mark = 0;
  const namespace = (stub: object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
  const lease = async ({ nonce, material }: LeaseRequest) => ({
    ok: true,
    nonce,
    remaining_ms: 3_600_000,
    from_revision: 0,
    revision: 0,
    mode: "active",
    entries: [],
    more: false,
    federation: null,
    own: { incarnation: 1, seq: 0 },
    origins: [],
    material: material === null ? { v: 1, digest: "none", keys: [] } : null,
    policy: activePolicy(REGION).digest,
  });
  const integrate = async ({ from_sseq, hashes }: IntegrateMessage) => {
    mark = Math.max(mark, from_sseq - 1 + hashes.length / 32);
    return { ok: true, mark, size: mark + 1, anchored: mark };
  };
  const env = {
    TRUST_AUTHORITY: namespace({ lease, erasureHead: async () => 0 }),
    REGION_LOG: namespace({ integrate }),
  } as unknown as Env;
  shard = new Shard(new FakeStorage().attach(), env, REGION, 0);
  await shard.start();
});
afterEach(() => vi.restoreAllMocks());

async function decide(changes: Partial<DecideMessage> = {}): Promise<DecideAnswer> {
  const run = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
  const pep = { id: "open", credential: "", issuer: REGION.pdp, scopes: ["evaluate"], exp_ms: 4_102_444_800_000 };
  const subject = { type: "user", id: "alice" };
  const question = { v: 1, subject, action: { name: "read" }, resource: { type: "record", id: "record-1" } };
  const answer = await shard.decide({
    v: 1,
    items: [{ request: jcs(question), run }],
    semantic: "execute_all",
    implicit_run: run,
    facts: jcs({ v: 1, material: "none", keys: [], thumbprints: [], pep }),
    traceparent: null,
    deadline_ms: 60_000,
    idempotency_key: null,
    dry_run: false,
    explain: true,
    at_least: null,
    inline_evidence: false,
    ...changes,
  });
  if (!answer.ok) throw new Error(answer.code);
  return answer;
}

test("what waits for its turn when the shard is halted is denied, and leaves no record", async () => {
  expect((await decide()).items[0]!.decision).toBe(true);
  const before = shard.store.head().sseq;
  // The first is on its way to disk, the others wait for the next turn.
  const asked = Array.from({ length: 4 }, () => decide());
  while (shard.writer.sseq === before) await new Promise((resolve) => setImmediate(resolve));
  const waiting = decide();
  shard.halt("the log has ended");
  const answer = await waiting;
  expect(answer).toMatchObject({ decision_id: null, receipt: null, items: [{ reason: "lineage_halted" }] });
  const answers = await Promise.all(asked);
  // Whatever was in the turn has its record; of an allow that was withheld there is one more that says so.
  const recorded = answers.filter(({ decision_id }) => decision_id !== null);
  const withheld = recorded.filter(({ items }) => items[0]!.reason === "withheld");
  expect(recorded.length).toBeGreaterThan(0);
  expect(shard.store.head().sseq).toBe(before + recorded.length + withheld.length);
});
