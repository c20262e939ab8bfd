import { describe, expect, it } from "vitest";
import { ShardLeases } from "../../../durable-objects/authority/leases.ts";

describe("ShardLeases", () => {
  it("assumes after a restart that every shard is leased until now + L", () => {
    const leases = new ShardLeases(2, 1_000, 1_500);
    expect(leases.endsBefore()).toEqual([2_500, 2_500]);
    expect(leases.allExpired(1, 2_500)).toBe(false);
    expect(leases.allExpired(1, 2_501)).toBe(true);
  });

  it("counts a shard as done when it confirmed, or when its lease has ended", () => {
    const leases = new ShardLeases(2, 0, 100);
    leases.granted(0, 5_000, 3);
    leases.granted(1, 9_000, 2);
    expect(leases.allConfirmed(3)).toBe(false);
    expect(leases.allExpired(3, 8_999)).toBe(false);
    expect(leases.allExpired(3, 9_001)).toBe(true);
    leases.confirmed(1, 3);
    expect(leases.allConfirmed(3)).toBe(true);
  });

  it("never shortens a lease and never lowers a revision", () => {
    const leases = new ShardLeases(1, 0, 100);
    leases.granted(0, 5_000, 7);
    leases.granted(0, 4_000, 6);
    expect(leases.endsBefore()).toEqual([5_000]);
    expect(leases.revisionOf(0)).toBe(7);
  });
});
