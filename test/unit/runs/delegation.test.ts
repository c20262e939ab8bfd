import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BudgetInput } from "../../../src/runs/budgets.ts";
import {
  authorityOf,
  beyondParent,
  chainCovers,
  chainKeys,
  chainsOf,
  DelegationInput,
  likeliest,
  MAX_CHAINS,
} from "../../../src/runs/delegation.ts";
import { anyCovers, scopeCovers } from "../../../src/runs/scope.ts";
import type { Budget, Charged, Delegation } from "../../../src/vocabulary/run.ts";

const T = 1_000_000;
const MAX = { required: false, max_depth: 16 };
const ACTIONS = ["pay.execute", "pay.prepare", "pay.x.y", "read.doc", "quote"];
const SCOPES = ["*", "pay.*", "pay.x.*", "read.*", "pay.execute", "read.doc", "quote"];

const link = (over: Partial<Delegation> = {}): Delegation => ({
  id: "d0",
  delegator: "user/p",
  delegate: "agent/a",
  scopes: ["*"],
  limits: [],
  not_before_ms: 0,
  expires_ms: T + 1_000,
  depth: 8,
  parent: null,
  source: "run",
  ...over,
});
const limit = (max: string, over: Partial<Budget> = {}): Budget => ({
  id: "sum",
  actions: ["*"],
  sum: "amount",
  unit: null,
  per: "run",
  window_ms: null,
  max,
  ...over,
});
const never = (): boolean => false;
const act = (
  chains: readonly (readonly Delegation[])[],
  action: string,
  charged: readonly Charged[] = [],
  amount = 1,
) =>
  authorityOf(
    { principal: "user/p", chains, charged },
    ["user/p"],
    chains[0]?.at(-1)?.delegate ?? "agent/a",
    { name: action, properties: { amount } },
    MAX,
    T,
    never,
  );

function narrowed(claims: Delegation, parent: Delegation): Delegation {
  const scopes = claims.scopes.filter((scope) => parent.scopes.some((wide) => scopeCovers(wide, scope)));
  return {
    ...claims,
    scopes: scopes.length === 0 ? parent.scopes : scopes,
    not_before_ms: Math.max(claims.not_before_ms, parent.not_before_ms),
    expires_ms: Math.min(claims.expires_ms, parent.expires_ms),
    depth: Math.min(claims.depth, parent.depth - 1),
    limits: [limit(String(Math.min(Number(claims.limits[0]!.max), Number(parent.limits[0]!.max))))],
  };
}

/** A random tree: each delegation hangs below an earlier one, and may claim more than that one gives. */
const tree = fc
  .array(
    fc.record({
      below: fc.nat(),
      obeys: fc.boolean(),
      scopes: fc.uniqueArray(fc.constantFrom(...SCOPES), { minLength: 1, maxLength: 3 }),
      begins: fc.integer({ min: T - 10, max: T + 2 }),
      lasts: fc.integer({ min: 1, max: 20 }),
      depth: fc.nat({ max: 4 }),
      max: fc.integer({ min: 1, max: 9 }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((drafts) => {
    const made: Delegation[] = [];
    for (const [at, { below, obeys, scopes, begins, lasts, depth, max }] of drafts.entries()) {
      const parent = at === 0 || below % 4 === 0 ? null : made[below % at]!;
      const claims = link({
        id: `d${at}`,
        delegator: parent?.delegate ?? "user/p",
        delegate: `agent/${at}`,
        parent: parent?.id ?? null,
        scopes,
        not_before_ms: begins,
        expires_ms: begins + lasts,
        depth,
        limits: [limit(String(max))],
      });
      made.push(parent !== null && obeys ? narrowed(claims, parent) : claims);
    }
    return made;
  });

describe("authority in a random tree of delegations", () => {
  test("of a way that is accepted is a subset of every ancestor's: actions, time, depth and limits", () => {
    let ways = 0;
    let deep = 0;
    fc.assert(
      fc.property(tree, (made) => {
        const known = new Map(made.map((one) => [one.id, one]));
        for (const { delegate } of made)
          for (const chain of chainsOf(known, "user/p", delegate)) {
            ways++;
            if (chain.length > 1) deep++;
            for (const [at, ancestor] of chain.entries())
              for (const below of chain.slice(at + 1)) {
                const beyond = ACTIONS.filter(
                  (action) => anyCovers(below.scopes, action) && !anyCovers(ancestor.scopes, action),
                );
                expect(beyond).toEqual([]);
                expect(below.not_before_ms).toBeGreaterThanOrEqual(ancestor.not_before_ms);
                expect(below.expires_ms).toBeLessThanOrEqual(ancestor.expires_ms);
                expect(below.depth).toBeLessThan(ancestor.depth);
                expect(Number(below.limits[0]!.max)).toBeLessThanOrEqual(Number(ancestor.limits[0]!.max));
              }
          }
      }),
      { numRuns: 2_000 },
    );
    expect(ways).toBeGreaterThan(1_000);
    expect(deep).toBeGreaterThan(100);
  });

  test("allows a step only if each link by itself would, whatever the links claim", () => {
    let allowed = 0;
    fc.assert(
      fc.property(
        tree,
        fc.constantFrom(...ACTIONS),
        fc.nat({ max: 9 }),
        fc.nat({ max: 9 }),
        (made, action, amount, spent) => {
          const known = new Map(made.map((one) => [one.id, one]));
          const leaf = made.at(-1)!;
          // Links as they are, not only those that were accepted: what holds here does not rest on the check at entry.
          const chain = [leaf];
          while (chain[0]!.parent !== null) chain.unshift(known.get(chain[0]!.parent)!);
          const charged = chain.map(({ id, limits }): Charged => ({
            owner: id,
            budget: limits[0]!,
            spent: String(spent),
          }));
          const whole = act([chain], action, charged, amount).failed;
          const alone = chain.flatMap((one) =>
            act(
              [[one]],
              action,
              charged.filter(({ owner }) => owner === one.id),
              amount,
            ).failed.map(({ reason }) => reason),
          );
          if (whole.length === 0) allowed++;
          expect(whole.length === 0).toBe(
            alone.length === 0 && chain.every(({ depth }, at) => chain.length - 1 - at <= depth),
          );
          expect(whole.map(({ reason }) => reason)).toEqual(expect.arrayContaining(alone));
          expect(whole.length > 0 || chainCovers(chain, action)).toBe(true);
        },
      ),
      { numRuns: 3_000 },
    );
    expect(allowed).toBeGreaterThan(30);
  });
});

describe("a delegation", () => {
  const parent = link({ id: "p", scopes: ["pay.*"], limits: [limit("100")], depth: 2 });
  const child = link({
    id: "c",
    delegator: "agent/a",
    delegate: "agent/b",
    parent: "p",
    scopes: ["pay.execute"],
    depth: 1,
  });

  test("within its parent is accepted, and may tighten a limit", () => {
    expect(beyondParent(child, parent)).toBeNull();
    expect(beyondParent({ ...child, limits: [limit("100")] }, parent)).toBeNull();
    expect(beyondParent({ ...child, limits: [limit("1000", { id: "another" })] }, parent)).toBeNull();
  });

  test.each([
    ["another parent", { parent: "q" }],
    ["somebody else's", { delegator: "agent/z" }],
    ["a wider scope", { scopes: ["pay.execute", "read.doc"] }],
    ["an earlier begin", { not_before_ms: -1 }],
    ["a later end", { expires_ms: T + 1_001 }],
    ["no less depth", { depth: 2 }],
    ["a higher limit", { limits: [limit("100.0001")] }],
    ["a limit of another sum", { limits: [limit("1", { sum: "other" })] }],
    ["a limit in another unit", { limits: [limit("1", { unit: { property: "currency", value: "EUR" } })] }],
    ["a limit by step", { limits: [limit("1", { per: "step" })] }],
    ["a limit with a window", { limits: [limit("1", { window_ms: 1 })] }],
    ["a limit over fewer actions", { limits: [limit("1", { actions: ["pay.execute"] })] }],
  ] satisfies [string, Partial<Delegation>][])("with %s is refused", (_, over) =>
    expect(beyondParent({ ...child, ...over }, parent)).not.toBeNull(),
  );

  test("that goes in a circle, or hangs on nothing, gives no way", () => {
    const a = link({ id: "a", delegator: "agent/b", delegate: "agent/a", parent: "b" });
    const b = link({ id: "b", delegator: "agent/a", delegate: "agent/b", parent: "a" });
    const lost = link({ id: "l", delegator: "agent/x", delegate: "agent/c", parent: "none" });
    const known = new Map([a, b, lost].map((one) => [one.id, one]));
    for (const who of ["agent/a", "agent/b", "agent/c"]) expect(chainsOf(known, "user/p", who)).toEqual([]);
  });

  test("of nobody but the principal begins a way", () => {
    const known = new Map([["d0", link({ delegator: "user/q" })]]);
    expect(chainsOf(known, "user/p", "agent/a")).toEqual([]);
    expect(chainsOf(new Map([["d0", link()]]), "user/p", "agent/a")).toHaveLength(1);
  });

  test("as callers write it", () => {
    const written = {
      delegator: { type: "user", id: "p" },
      delegate: { type: "agent", id: "a/b" },
      scopes: ["pay.*"],
      not_before_ms: 0,
      expires_ms: 1,
      depth: 0,
      parent: null,
    };
    expect(DelegationInput.parse(written)).toMatchObject({ delegate: "agent/a/b", limits: [] });
    for (const over of [
      { delegate: { type: "user", id: "p" } },
      { expires_ms: 0 },
      { scopes: [] },
      { scopes: ["pay*"] },
      { depth: -1 },
      { id: "mine" },
      { delegate: { type: "agent", id: "a\n" } },
    ])
      expect(DelegationInput.safeParse({ ...written, ...over }).success).toBe(false);
  });
});

describe("of several ways", () => {
  const ways = (count: number): Delegation[][] =>
    Array.from({ length: count }, (_, i) => [link({ id: `d${String(i).padStart(2, "0")}`, not_before_ms: i })]);

  test("the newest that cover the step are kept", () => {
    const narrow = [link({ id: "narrow", scopes: ["read.doc"], not_before_ms: 99 })];
    const kept = likeliest([narrow, ...ways(20)], "quote", T);
    expect(kept).toHaveLength(MAX_CHAINS);
    expect(kept[0]![0]!.id).toBe("d19");
    expect(kept.flat().map(({ id }) => id)).not.toContain("narrow");
  });

  test("the first that holds is taken, and one that was revoked only where no other is left", () => {
    const [old, renewed] = ways(2) as [Delegation[], Delegation[]];
    const dead = (keys: readonly string[]): boolean => keys.includes("delegation:d00");
    const take = (chains: Delegation[][]) =>
      authorityOf({ principal: "user/p", chains, charged: [] }, [], "agent/a", { name: "quote" }, MAX, T, dead)
        .chain[0]!.id;
    expect(take([old, renewed])).toBe("d01");
    expect(take([old])).toBe("d00");
    expect(chainKeys(old)).toEqual(["delegation:d00", "subject:user/p", "subject:agent/a"]);
    const key = "K".repeat(43);
    const signed = { ...old[0]!, source: { issuer: "https://payroll.example", key } };
    expect(chainKeys([signed]).slice(3)).toEqual(["issuer:https://payroll.example", `key:${key}`]);
  });

  test("a limit that is used up in one leaves the other", () => {
    const [a, b] = [[link({ id: "a" })], [link({ id: "b" })]];
    const charged = [
      { owner: "a", budget: limit("10"), spent: "9.5" },
      { owner: "b", budget: limit("10"), spent: "9" },
    ];
    expect(act([a, b], "quote", charged).chain[0]!.id).toBe("b");
    expect(act([a], "quote", charged).failed).toEqual([
      { reason: "delegation_exceeded", detail: "budget sum of a: spent 9.5, this step 1, max 10 per run" },
    ]);
  });
});

test("a budget as callers write it", () => {
  expect(BudgetInput.parse({ id: "b", actions: ["pay.*"], max: 100.5 })).toEqual(
    limit("100.5", { id: "b", actions: ["pay.*"], sum: null }),
  );
  for (const over of [
    { max: -1 },
    { max: "1.00001" },
    { unit: { property: "currency", value: "EUR" } },
    { per: "step", window_ms: 1 },
    { actions: [] },
    { actions: ["a*"] },
    { window_ms: 0 },
    { more: 1 },
  ])
    expect(BudgetInput.safeParse({ id: "b", actions: ["*"], max: 1, ...over }).success).toBe(false);
});
