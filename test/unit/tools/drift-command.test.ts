import { expect, test } from "vitest";
import type { DriftView } from "../../../src/objects/drift.ts";
import { compared, textOf } from "../../../tools/cli/drift-compare.ts";
import { table } from "../../../tools/cli/drift.ts";

const view = (region: string, probe: string, seq: number, sum = "s"): DriftView => ({
  region,
  at_ms: 1,
  on_drift: "alarm",
  problem: null,
  own: {
    v: 1,
    engine: "interlock/1",
    probes: 1,
    policy: "p",
    bundle: null,
    packs: [{ name: "treasury", version: "1.0.0", digest: "d", probe }],
  },
  states: [{ origin: "eu", incarnation: 1, seq, secret: "f1", count: 3, sum }],
  peers: [],
  differences: [],
});

test("regions that say the same are the same; entries at different positions are not compared", () => {
  const found = compared([view("eu", "a", 7), view("us", "a", 7), view("ap", "a", 6)]);
  const text = textOf(found);
  expect(found).toMatchObject({ differs: false, silent: [] });
  expect(text).toContain("same  treasury 1.0.0 content: eu, us, ap");
  expect(text).toContain("same  entries of eu after 1.7 (f1): eu, us");
  expect(text).toContain("only  entries of eu after 1.6 (f1): ap");
});

test("other answers and other entries are named with their regions", () => {
  const found = compared([view("eu", "a", 7), view("us", "b", 7, "t")]);
  const text = textOf(found);
  expect(found.differs).toBe(true);
  expect(text).toContain("DIFFERS  treasury 1.0.0 answers (interlock/1, questions 1): eu a; us b");
  expect(text).toContain("DIFFERS  entries of eu after 1.7 (f1): eu 3 s; us 3 t");
});

test("a region that has not looked at its policy is neither the same nor another", () => {
  const found = compared([view("eu", "a", 7), { ...view("us", "a", 7), own: null, states: [] }]);
  expect(found).toMatchObject({ differs: false, silent: ["us"] });
  expect(textOf(found)).toMatch(/^SILENT {2}us has decided nothing/m);
  expect(table({ ...view("us", "a", 7), own: null })).toContain("us: nothing is known");
});

test("a difference is printed with the id by which it is acknowledged", () => {
  const one = { peer: "us", kind: "state", pack: "eu", own: "sum:x", theirs: "1 entry fewer", since_ms: 0 } as const;
  const text = table({
    ...view("eu", "a", 7),
    differences: [{ ...one, id: "id-1", alarming: true, acknowledged: null }],
  });
  expect(text).toContain("id-1  us state eu: here sum:x, there 1 entry fewer, since 1970-01-01T00:00:00.000Z");
});
