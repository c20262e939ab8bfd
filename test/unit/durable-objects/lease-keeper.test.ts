import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LeaseKeeper } from "../../../durable-objects/shard/lease-keeper.ts";
import { ShardStore } from "../../../durable-objects/shard/store.ts";
import { ShardTrust } from "../../../durable-objects/shard/trust.ts";
import { Pseudonyms } from "../../../durable-objects/pseudonyms.ts";
import type { LeaseAnswer, LeaseRequest } from "../../../src/objects/lease.ts";
import { FRESHNESS } from "../../../src/region/config.ts";
import { OPEN_SECRET } from "../../../src/region/federation-secrets.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** An authority whose every answer takes a second, and whose state comes in `pages`; `underWay` counts polls. */
function keeper(pages: number, answers: (n: number) => boolean = () => true) {
  const trust = new ShardTrust("eu", new ShardStore(new FakeStorage().attach()), new Pseudonyms([OPEN_SECRET]));
  const seen = { sent: 0, underWay: 0, most: 0 };
  const looks: number[] = [];
  const send = async (request: LeaseRequest): Promise<LeaseAnswer> => {
    const n = ++seen.sent;
    seen.most = Math.max(seen.most, ++seen.underWay);
    await new Promise<void>((resolve) => {
      if (answers(n)) setTimeout(resolve, 1_000);
    });
    seen.underWay--;
    const revision = request.revision + 1;
    return {
      ok: true,
      nonce: request.nonce,
      remaining_ms: revision < pages ? 0 : 1_500,
      from_revision: request.revision,
      revision,
      mode: "active",
      entries: [],
      more: revision < pages,
      material: null,
      federation: null,
      own: { incarnation: 1, seq: 0 },
      origins: [],
      policy: "policy",
      certificate: null,
    };
  };
  const lease = new LeaseKeeper({
    trust,
    marked: () => null,
    over: () => false,
    now: () => {
      looks.push(Date.now());
      return Date.now();
    },
    request: (wanted) =>
      trust.leaseRequest(0, { kty: "OKP", kid: "eu.1.shard-0.1", alg: "Ed25519", use: "sig" }, wanted),
    send,
    settled: () => Promise.resolve(),
    failed: () => undefined,
  });
  return { lease, trust, seen, looks };
}

async function askEverySecond(lease: LeaseKeeper, times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    void lease.ensure();
    await vi.advanceTimersByTimeAsync(1_000);
  }
}

test("page after page is fetched once, however long it takes and however often somebody asks", async () => {
  const { lease, trust, seen } = keeper(12);
  await askEverySecond(lease, 12);
  expect(trust.applied).toBe(12);
  expect(trust.leaseUntil).toBeGreaterThan(0);
  expect(seen).toMatchObject({ sent: 12, most: 1 });
});

test("one that is never answered is given up, and the next brings the lease", async () => {
  const { lease, trust, seen } = keeper(1, (n) => n > 1);
  await askEverySecond(lease, 3);
  expect(seen.sent).toBe(1);
  await askEverySecond(lease, 6);
  expect(seen.sent).toBeGreaterThan(1);
  expect(trust.leaseUntil).toBeGreaterThan(0);
});

test("an idle shard looks at its clock while its lease holds, and not after", async () => {
  const { lease, trust, looks } = keeper(1);
  void lease.ensure();
  await vi.advanceTimersByTimeAsync(1_000);
  const until = trust.leaseUntil;
  expect(until).toBeGreaterThan(Date.now());
  const before = looks.length;
  while (Date.now() < until) await vi.advanceTimersByTimeAsync(100);
  const gaps = looks.slice(before - 1).map((at, i, all) => at - (all[i - 1] ?? at));
  expect(Math.max(...gaps)).toBeLessThanOrEqual(FRESHNESS.poll_ms);
  await vi.advanceTimersByTimeAsync(FRESHNESS.poll_ms);
  const after = looks.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(looks).toHaveLength(after);
});
