import { expect, test } from "vitest";
import { alarms, type Troubles } from "../../../src/sync/alarm.ts";
import { overview } from "../../../src/sync/overview.ts";
import { newSyncRecord, restart } from "../../../src/sync/restart.ts";
import type { Core, Peer, SyncState } from "../../../src/sync/state.ts";
import { timingOf } from "../../../src/sync/timing.ts";
import { withPeer } from "../../../src/sync/turn.ts";

const NOW = 1_900_000_000_000;
const core: Core = {
  self: "eu",
  timing: timingOf(2_000),
  page: 10,
  ask: "one",
  secret: { id: "f1", check: "c" },
  held: () => null,
};
const member = { state: "active", incarnation: 1, final: null, keys: [] } as const;
const view = { version: 1, regions: { eu: member, us: member, ap: { ...member, state: "joining" as const } } };
const started = restart(core, newSyncRecord(), view, 0, ["0"], { now_ms: NOW });
const well: SyncState = { ...started, check: { phase: "passed" }, last_request_ms: NOW };
const us = (change: Partial<Peer>): SyncState => withPeer(well, "us", change);

/** What is said over a series of states, one millisecond apart. */
function said(...states: readonly SyncState[]): readonly (string | null)[] {
  let troubles: Troubles = {};
  return states.flatMap((state, i) => {
    const looked = alarms(core, state, troubles, NOW + i);
    troubles = looked.troubles;
    return looked.changes.map(({ region, why }) => `${region} ${why ?? "well"}`);
  });
}

const fresh = us({ fresh_until_ms: NOW + 10_000 });
const silent = us({ failures: 2 });

test("a peer that goes unheard is said once, and once more when it is well", () => {
  expect(said(fresh, silent, silent, us({ failures: 3 }), fresh, fresh)).toEqual(["us lease", "us well"]);
});

test("a lease that ends because nobody asks is no alarm; a failed poll within the lease is none", () => {
  expect(said(fresh, us({}), us({ fresh_until_ms: NOW + 10_000, failures: 1 }))).toEqual([]);
});

test("idling does not end an alarm", () => {
  expect(said(silent, us({}), us({}), fresh)).toEqual(["us lease", "us well"]);
});

test("what gets worse is said, with the time since when it is not well", () => {
  const poison = {
    incarnation: 1,
    reason: "fork" as const,
    at_ms: NOW,
    proof: {
      origin: "us",
      held: { incarnation: 1, seq: 1, jws: null },
      shown: { incarnation: 1, seq: 1, jws: "x" },
    },
  };
  const forked = us({ record: { ...well.peers["us"]!.record, poison } });
  const first = alarms(core, silent, {}, NOW);
  const then = alarms(core, forked, first.troubles, NOW + 500);
  expect(then.changes).toEqual([{ region: "us", why: "equivocation", since_ms: NOW }]);
  expect(alarms(core, forked, then.troubles, NOW + 900).changes).toEqual([]);
});

test("a joining peer is no trouble; the own clock and the own check are", () => {
  expect(said(fresh)).toEqual([]);
  expect(said({ ...fresh, clock: { ...fresh.clock, high_ms: NOW + 60_000 } })).toEqual(["eu clock_anomaly"]);
  const unchecked: SyncState = { ...silent, check: { phase: "asking", answered: [] } };
  expect(said(unchecked)).toEqual(["eu unchecked", "us lease"]);
});

test("the overview has one word, the worst first, and tells idle from stale", () => {
  const word = (state: SyncState, now_ms = NOW) => overview(core, state, now_ms).word;
  const alone = { ...well, peers: { us: fresh.peers["us"]! } };
  expect(word(alone)).toBe("current");
  expect(word({ ...well, peers: {} })).toBe("region_only");
  expect(word(silent)).toBe("stale");
  const later = NOW + core.timing.busy_ms + 20_000;
  expect(word(alone, later)).toBe("idle");
  expect(word({ ...well, peers: { us: silent.peers["us"]! } }, later)).toBe("stale");
  expect(word(us({ unsupported: 4, fresh_until_ms: NOW + 10_000 }))).toBe("unsupported");
});

test("ages, remaining time and what is not confirmed yet", () => {
  const { lease_ms, hold_ms } = core.timing;
  const state: SyncState = {
    ...us({ fresh_until_ms: NOW + lease_ms - 400 }),
    own: { ...well.own, mark: { incarnation: 1, seq: 5, hash: "h" } },
  };
  const seen = overview(core, state, NOW).peers.find(({ region }) => region === "us")!;
  expect(seen).toMatchObject({ stale: null, heard_ms: 400, fresh_for_ms: lease_ms - 400, confirmed_seq: 0 });
  // After a start every holder is assumed leased.
  expect(seen.leased_for_ms).toBe(hold_ms);
  const confirmed = { ...state, book: { ...state.book, us: { confirmed: 5, grants: [] } } };
  expect(overview(core, confirmed, NOW).peers[1]).toMatchObject({ confirmed_seq: 5, leased_for_ms: 0 });
});
