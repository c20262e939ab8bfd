import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/base/json.ts";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { search } from "../../../src/replay/explain/counterfactual.ts";
import { seeded, type Random } from "../../support/random.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { writePacks } from "../policy/pack-fixture.ts";
import { questionOf } from "../../../tools/explain/question.ts";

/**
 * Minimal by exhaustion: random policies over five facts with small domains, all combinations tried. Literals lie
 * strictly inside the domains, so no value outside could do better than one at their edge.
 */

const DOMAIN = {
  amount: Array.from({ length: 13 }, (_, at) => at - 5),
  weight: Array.from({ length: 13 }, (_, at) => at - 5),
  kind: ["a", "b", "other"],
  urgent: [true, false],
  note: ["x", "y", "other", undefined],
} as const;
type Name = keyof typeof DOMAIN;
const NAMES = Object.keys(DOMAIN) as Name[];

function condition(random: Random): string {
  const number = `context.action.${random.pick(["amount", "weight"])}`;
  return random.pick([
    () => `${number} ${random.pick(["<", "<=", ">", ">=", "==", "!="])} ${random.int(1, 3)}`,
    () => `${number} + context.action.weight ${random.pick(["<", ">="])} ${random.int(2, 5)}`,
    () => `context.action.amount ${random.pick(["<", ">"])} context.action.weight`,
    () => `context.action.kind ${random.pick(["==", "!="])} "${random.pick(["a", "b"])}"`,
    () => `["a", "b"].contains(context.action.kind)`,
    () => `${random.pick(["", "!"])}context.action.urgent`,
    () => `(context.action has note && context.action.note == "${random.pick(["x", "y"])}")`,
    () => `!(context.action has note)`,
  ])();
}

const conditions = (random: Random): string =>
  Array.from({ length: random.int(1, 3) }, () => condition(random)).join(random.pick([" && ", " || "]));

const policies = (random: Random): string =>
  [
    ...Array.from(
      { length: random.int(1, 2) },
      () => `permit (principal, action, resource) when { ${conditions(random)} };`,
    ),
    ...Array.from(
      { length: random.int(0, 2) },
      () => `forbid (principal, action, resource) when { ${conditions(random)} };`,
    ),
  ].join("\n");

const properties = (values: Readonly<Record<Name, unknown>>): JsonObject =>
  Object.fromEntries(NAMES.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]]))) as JsonObject;

function* combinations(): Generator<Record<Name, unknown>> {
  for (const amount of DOMAIN.amount)
    for (const weight of DOMAIN.weight)
      for (const kind of DOMAIN.kind)
        for (const urgent of DOMAIN.urgent)
          for (const note of DOMAIN.note) yield { amount, weight, kind, urgent, note };
}

const differing = (a: Record<Name, unknown>, b: Record<Name, unknown>): Name[] =>
  NAMES.filter((name) => a[name] !== b[name]);
const distance = (a: Record<Name, unknown>, b: Record<Name, unknown>): number =>
  (["amount", "weight"] as const).reduce((sum, name) => sum + Math.abs(Number(a[name]) - Number(b[name])), 0);

const RANDOM = seeded(6);
const LAWS = Array.from({ length: 40 }, () => policies(RANDOM));

const folder = await mkdtemp(join(tmpdir(), "interlock-packs-"));
await writePacks(
  folder,
  Object.fromEntries(
    LAWS.map((text, at) => [
      `law-${at}`,
      {
        manifest: {
          subjects: { agent: { type: "Agent", attributes: "request", identity: "pep-asserted" } },
          resources: { thing: { type: "Thing", attributes: "request" } },
          actions: { act: {} },
        },
        schema: `entity Agent = {}; entity Thing = {};
          action act appliesTo { principal: [Agent], resource: [Thing],
            context: { action: { amount: Long, weight: Long, kind: String, urgent: Bool, note?: String } } };`,
        policies: text,
      },
    ]),
  ),
);
const built = await buildPacks(folder);
await rm(folder, { recursive: true });

test("as few facts as any combination needs, and as little movement of numbers", () => {
  let turned = 0;
  let several = 0;
  let proven = 0;
  const wrong: unknown[] = [];
  for (const { pack, problems } of built) {
    if (problems.length > 0) throw new Error(JSON.stringify(problems));
    const policy = loadPolicy({ v: 1, packs: [pack] }, [pack.name]);
    const ask = (values: Record<Name, unknown>): DecideInput =>
      questionOf(policy, {
        v: 1,
        subject: { type: "agent", id: "1" },
        action: { name: "act", properties: properties(values) },
        resource: { type: "thing", id: "1" },
      });
    const allowed = [...combinations()].filter((values) => decide(ask(values)).core.decision === "allow");
    const random = seeded(pack.name.length * 7919 + allowed.length);
    for (let tries = 0; tries < 12; tries++) {
      const start: Record<Name, unknown> = {
        amount: random.int(0, 4),
        weight: random.int(0, 4),
        kind: random.pick(DOMAIN.kind),
        urgent: random.chance(0.5),
        note: random.pick(DOMAIN.note),
      };
      const question = ask(start);
      if (decide(question).core.decision === "allow") continue;
      const found = search(question, { decisions: 20_000, probes: 400_000, facts: 4 });
      const fewest = Math.min(...allowed.map((values) => differing(start, values).length));
      const nearest = Math.min(
        ...allowed
          .filter((values) => differing(start, values).length === fewest)
          .map((values) => distance(start, values)),
      );
      if ("none" in found) {
        if (allowed.length > 0) wrong.push([pack.name, start, found, fewest, nearest]);
        continue;
      }
      turned++;
      if (found.facts.size > 1) several++;
      const moved = [...found.facts.values()].reduce((sum, fact) => sum + fact.distance, 0);
      const usual = search(question);
      const exact = ({ facts }: { facts: typeof found.facts }): boolean =>
        facts.size === fewest && [...facts.values()].reduce((sum, fact) => sum + fact.distance, 0) === nearest;
      if (!exact(found)) wrong.push([pack.name, start, [...found.facts.values()], moved, { fewest, nearest }]);
      if ("none" in usual ? usual.none !== "cut_off" : usual.minimal && !exact(usual))
        wrong.push([pack.name, start, usual, { fewest, nearest }]);
      if (!("none" in usual) && usual.minimal) proven++;
    }
  }
  expect(wrong).toEqual([]);
  expect(turned).toBeGreaterThan(150);
  expect(several).toBeGreaterThan(10);
  // Within what one search may cost, most are not only found but known to be the smallest.
  expect(proven).toBeGreaterThan(0.8 * turned);
});
