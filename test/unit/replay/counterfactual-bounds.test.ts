import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import type { JsonObject } from "../../../src/base/json.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { counterfactual } from "../../../src/replay/explain/counterfactual.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { goldenQuestion, questionOf } from "../../../tools/explain/question.ts";
import { goldenCases } from "../../support/past.ts";
import { writePacks } from "../policy/pack-fixture.ts";

/** Whoever may ask may ask with a megabyte: what a search makes of it is bounded. */

const folder = await mkdtemp(join(tmpdir(), "interlock-packs-"));
await writePacks(folder, {
  tagged: {
    manifest: {
      subjects: { agent: { type: "Agent", attributes: "request", identity: "pep-asserted" } },
      resources: { thing: { type: "Thing", attributes: "request" } },
      actions: { act: {} },
    },
    schema: `entity Agent = {}; entity Thing = {};
      action act appliesTo { principal: [Agent], resource: [Thing], context: { action: { tags: Set<String>, note?: String } } };`,
    policies: `permit (principal, action, resource) unless { context.action.tags.contains("secret") || context.action.tags.contains("t1") };`,
  },
});
const [{ pack, problems }] = (await buildPacks(folder)) as [Awaited<ReturnType<typeof buildPacks>>[number]];
if (problems.length > 0) throw new Error(JSON.stringify(problems));
await rm(folder, { recursive: true });
const policy = loadPolicy({ v: 1, packs: [pack] }, [pack.name]);
const ask = (properties: JsonObject) =>
  questionOf(policy, {
    v: 1,
    subject: { type: "agent", id: "1" },
    action: { name: "act", properties },
    resource: { type: "thing", id: "1" },
  });
const tags = (n: number): string[] => ["secret", ...Array.from({ length: n - 1 }, (_, at) => `t${at + 2}`)];

const changed = (properties: JsonObject) => {
  const found = counterfactual(ask(properties));
  return "none" in found ? found : { ...found, to: found.changes.map(({ to }) => to) };
};

test("a member that a policy names is left out, however many there are; what was not tried is not called minimal", () => {
  expect(changed({ tags: tags(8) })).toMatchObject({ to: [tags(8).slice(1)], minimal: true });
  // What matters stands last, after two hundred that nobody names.
  const many = [...Array.from({ length: 200 }, (_, at) => `t${at + 2}`), "secret"];
  expect(changed({ tags: many })).toMatchObject({ facts: 1, minimal: false });
});

test("a set of thousands is looked at as little as a short one", () => {
  const found = counterfactual(ask({ tags: tags(3_000) }));
  expect(found.decisions).toBeLessThanOrEqual(75);
  // Before: a copy of the set without each of its members, nine million of them, and 6,008 answers.
  expect(found.probes).toBeLessThanOrEqual(750);
});

test("a member that a policy names is tried once, however often it is said", () => {
  const often = (n: number): string[] => Array.from({ length: n }, (_, at) => (at % 2 === 0 ? "secret" : "t1"));
  // Before: a copy of the set without each of its members, and as many answers.
  const [few, many] = [counterfactual(ask({ tags: often(10) })), counterfactual(ask({ tags: often(800) }))];
  expect(many).toMatchObject({ facts: 1, minimal: true, changes: [{ to: [] }] });
  expect(many.probes).toBe(few.probes);
  // What is in the set twice goes at once.
  const one = [...often(40).filter((tag) => tag === "secret"), "t2"];
  expect(changed({ tags: one })).toMatchObject({ to: [["t2"]], minimal: true });
});

test("facts that could each be left out are not noted in every combination", async () => {
  const name = "hospital-mcp";
  const golden = goldenCases(name).find(({ expect: { reason } }) => reason === "residency_violation")!;
  const asked = goldenQuestion(loadPolicy(bundleJson as unknown as Bundle, ["sovereign", name]), name, golden);
  const junk = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`a${at}`, 1]));
  const context = { ...asked.request.context, ...junk };
  const keep = vi.spyOn(Map.prototype, "set");
  const found = counterfactual({ ...asked, request: { ...asked.request, context } });
  const kept = keep.mock.calls.length;
  keep.mockRestore();
  expect(found).toMatchObject({ none: "cut_off" });
  // Before: every pair of the 200, some 40,000 of them, each a copy of its facts.
  expect(kept).toBeLessThan(20_000);
});

test("the longer the question the less is tried, and of a very long one nothing", () => {
  const note = (length: number): JsonObject => ({ tags: tags(40), note: "n".repeat(length) });
  const [short, long] = [changed(note(1)), changed(note(9_000))];
  expect(short).toMatchObject({ facts: 1 });
  expect(long.probes).toBeLessThanOrEqual(1_000);
  expect(changed(note(40_000))).toEqual({ none: "cut_off", decisions: 0, probes: 0 });
});
