import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { amendPlan, MAX_NODES, planDigest, planText, readPlan } from "../../../src/runs/plan.ts";
import { position } from "../../../src/runs/sequence.ts";
import type { AfterNode, Plan, StepState } from "../../../src/vocabulary/run.ts";

const node = (id: string, after: string[] = [], over: object = {}): object => ({
  id,
  action: `do.${id}`,
  after,
  ...over,
});
function plan(...nodes: object[]): Plan {
  const read = readPlan({ nodes });
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

describe("a plan", () => {
  test("has one text, whatever the order it was written in", () => {
    const a = plan(node("b", ["a"], { resource: { type: "t" } }), node("a"), node("c", ["b", "a"]));
    const b = plan(
      node("c", ["a", "b"], { subject: null }),
      node("b", ["a"], { resource: { id: null, type: "t" } }),
      node("a", [], { repeat: 1 }),
    );
    expect(planText(a)).toBe(planText(b));
    expect(planText(a)).toBe(jcs(JSON.parse(planText(a))));
    expect(planDigest(a, sha256)).not.toBe(planDigest(plan(node("a")), sha256));
  });

  test.each([
    ["no node", []],
    ["a node twice", [node("a"), node("a")]],
    ["an edge to nowhere", [node("a", ["b"])]],
    ["an edge twice", [node("a"), node("b", ["a", "a"])]],
    ["a node after itself", [node("a", ["a"])]],
    ["a circle", [node("a", ["c"]), node("b", ["a"]), node("c", ["b"]), node("d")]],
    ["too many nodes", Array.from({ length: MAX_NODES + 1 }, (_, i) => node(`n${i}`))],
    ["a name with a space", [node("a b")]],
    ["no repetition", [node("a", [], { repeat: 0 })]],
    ["a member nobody knows", [node("a", [], { when: "now" })]],
  ])("with %s is refused", (_, nodes) => expect(readPlan({ nodes }).ok).toBe(false));

  test("of 256 nodes in a row is read", () => {
    const nodes = Array.from({ length: MAX_NODES }, (_, i) => node(`n${i}`, i === 0 ? [] : [`n${i - 1}`]));
    expect(readPlan({ nodes }).ok).toBe(true);
  });
});

describe("an amendment", () => {
  const old = plan(node("a"), node("b", ["a"]), node("c", ["b"]));
  const amend = (taken: string[], ...nodes: object[]): boolean => amendPlan(old, plan(...nodes), new Set(taken)).ok;

  test("adds nodes, and what an untaken one comes after", () => {
    expect(amend(["a", "b", "c"], node("a"), node("b", ["a"]), node("c", ["b"]), node("d", ["c"]))).toBe(true);
    expect(amend(["a"], node("a"), node("b", ["a", "d"]), node("c", ["b"]), node("d"))).toBe(true);
  });

  test("leaves what was taken, and what stood", () => {
    expect(amend(["a", "b"], node("a"), node("b", ["a", "d"]), node("c", ["b"]), node("d"))).toBe(false);
    expect(amend([], node("a"), node("b", ["a"]))).toBe(false);
    expect(amend([], node("a"), node("b"), node("c", ["b"]))).toBe(false);
    expect(amend([], node("a", [], { repeat: 2 }), node("b", ["a"]), node("c", ["b"]))).toBe(false);
    expect(amend([], node("a"), node("b", ["a"], { action: "other" }), node("c", ["b"]))).toBe(false);
  });
});

describe("the order of a plan", () => {
  const state = (over: Partial<StepState>): StepState => ({
    plan: "sha256:p",
    node: null,
    taken: 0,
    after: [],
    parents: [],
    chains: [],
    principal: "user/p",
    charged: [],
    labels: [],
    history: [],
    approvals: [],
    ...over,
  });
  const reasons = (of: Plan, id: string, done: ReadonlySet<string>) => {
    const found = of.nodes.find((one) => one.id === id)!;
    const after = found.after.map((name): AfterNode => ({ node: name, state: done.has(name) ? "allowed" : "none" }));
    const request = {
      v: 1,
      subject: { type: "agent", id: "a" },
      action: { name: `do.${id}` },
      resource: { type: "t", id: "r" },
      step: id,
    } as const;
    return position(state({ node: found, taken: done.has(id) ? 1 : 0, after }), request, "eu").map(
      ({ reason }) => reason,
    );
  };

  function orders(ids: readonly string[]): string[][] {
    return ids.length === 0
      ? [[]]
      : ids.flatMap((id) => orders(ids.filter((other) => other !== id)).map((rest) => [id, ...rest]));
  }

  test("of all orders of every graph of up to four nodes only the legal ones pass", () => {
    let legal = 0;
    let all = 0;
    for (const ids of [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]]) {
      const edges = ids.flatMap((to, at) => ids.slice(0, at).map((from) => [from, to] as const));
      for (let bits = 0; bits < 2 ** edges.length; bits++) {
        const chosen = edges.filter((_, at) => (bits >> at) & 1);
        const made = plan(
          ...ids.map((id) =>
            node(
              id,
              chosen.filter(([, to]) => to === id).map(([from]) => from),
            ),
          ),
        );
        for (const order of orders(ids)) {
          all++;
          const isLegal = chosen.every(([from, to]) => order.indexOf(from) < order.indexOf(to));
          const done = new Set<string>();
          const passes = order.every((id) => reasons(made, id, done).length === 0 && done.add(id));
          expect(passes, `${JSON.stringify(chosen)} as ${order.join("")}`).toBe(isLegal);
          if (isLegal) legal++;
        }
      }
    }
    expect(all).toBe(1 + 2 * 2 + 8 * 6 + 64 * 24);
    expect(legal).toBeGreaterThan(300);
    expect(legal).toBeLessThan(all);
  });

  test("of random larger graphs a random order passes exactly if it is one", () => {
    const graph = fc.array(fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 7 })), { maxLength: 8 });
    const order = fc.shuffledSubarray(["0", "1", "2", "3", "4", "5", "6", "7"], { minLength: 8 });
    fc.assert(
      fc.property(graph, order, (pairs, taken) => {
        const edges = [...new Set(pairs.filter(([a, b]) => a < b).map(([a, b]) => `${a}${b}`))].map(
          (text) => [text[0]!, text[1]!] as const,
        );
        const made = plan(
          ...["0", "1", "2", "3", "4", "5", "6", "7"].map((id) =>
            node(
              id,
              edges.filter(([, to]) => to === id).map(([from]) => from),
            ),
          ),
        );
        const done = new Set<string>();
        const passes = taken.every((id) => reasons(made, id, done).length === 0 && done.add(id));
        expect(passes).toBe(edges.every(([from, to]) => taken.indexOf(from) < taken.indexOf(to)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("taken twice is no step of the plan", () => {
    const made = plan(node("a"));
    expect(reasons(made, "a", new Set(["a"]))).toEqual(["plan_violation"]);
  });

  test("denied, failed, awaited and missing predecessors have reasons of their own", () => {
    const found = plan(node("a"), node("b", ["a"])).nodes[1]!;
    const request = {
      v: 1,
      subject: { type: "agent", id: "a" },
      action: { name: "do.b" },
      resource: { type: "t", id: "r" },
      step: "b",
    } as const;
    const of = (after: AfterNode["state"]) =>
      position(state({ node: found, after: [{ node: "a", state: after }] }), request, "eu")[0]?.reason;
    expect((["none", "failed", "denied", "awaited", "allowed"] as const).map(of)).toEqual([
      "sequence_violation",
      "sequence_violation",
      "parent_denied",
      "guest_receipt_missing",
      undefined,
    ]);
  });
});
