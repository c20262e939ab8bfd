import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../src/base/json.ts";
import { packDigest, type ValidPack } from "../../../src/policy/bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../../../src/policy/evaluate.ts";
import type { ApplicationManifest } from "../../../src/policy/manifest.ts";
import { placesOf } from "../../../src/policy/places.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { seeded, seedOf, type Random } from "../../support/random.ts";
import { builtPack, type PackFiles } from "./pack-fixture.ts";

const ACTIONS = ["none", "in", "out", "both", "listed"] as const;
const SCHEMA = `entity User = { zone: String };
entity Doc = { zone: String, labels: Set<String> };
action "none", "in", "out", "both", "listed" appliesTo {
  principal: [User],
  resource: [Doc],
  context: { action: { amount?: Long }, request: { purpose?: String } },
};`;
const BASE: PackFiles = {
  schema: SCHEMA,
  manifest: {
    subjects: { user: { type: "User", attributes: "request", identity: "pep-asserted", zone: "zone" } },
    resources: { doc: { type: "Doc", attributes: "request", zone: "zone", labels: "labels" } },
    actions: {
      none: { data: "none" },
      in: { data: "in" },
      out: { data: "out" },
      both: {},
      listed: { unlabelled: ["zone", "labels", "amount", "purpose"] },
    },
    zones: { home: { region: "eu" } },
  },
};

type Rules = Pick<ApplicationManifest, "zones" | "edges" | "labels" | "unknown_label">;

/** Packs that differ in their rules only, all of which cover every question. */
async function packsWith(): Promise<(rules: readonly Rules[]) => LoadedPolicy> {
  const built = await builtPack("p", BASE);
  return (rules) => {
    const packs = rules.map((over, i): ValidPack => {
      const name = `p${i}`;
      const manifest = { ...(built.manifest as ApplicationManifest), ...over, name };
      return { ...built, manifest, name, digest: packDigest({ ...built, manifest }) };
    });
    const policy = loadPolicy(
      { v: 1, packs },
      packs.map(({ name }) => name),
    );
    expect(policy.problem).toBeNull();
    return policy;
  };
}

type Question = {
  readonly action: (typeof ACTIONS)[number];
  readonly from: string;
  readonly to: string;
  readonly resource_labels: readonly string[];
  readonly run_labels: readonly string[];
  readonly region: string;
  readonly properties?: JsonObject;
  readonly context?: JsonObject;
};

const requestOf = ({ action, from, to, resource_labels, properties, context }: Question): CanonicalRequest => ({
  v: 1,
  subject: { type: "user", id: "u", properties: { zone: from } },
  action: { name: action, ...(properties === undefined ? {} : { properties }) },
  resource: { type: "doc", id: "d", properties: { zone: to, labels: resource_labels } },
  ...(context === undefined ? {} : { context }),
});

const ask = (policy: LoadedPolicy, question: Question) =>
  placesOf(policy, requestOf(question), question.run_labels, question.region);

const QUESTION: Question = {
  action: "both",
  from: "home",
  to: "home",
  resource_labels: [],
  run_labels: [],
  region: "eu",
};

const reasons = (policy: LoadedPolicy, over: Partial<Question>): string[] =>
  ask(policy, { ...QUESTION, ...over }).failed.map(({ reason, detail }) => `${reason}: ${detail}`);

describe("zones", async () => {
  const load = await packsWith();
  const zones = { home: { region: "eu" }, lab: { region: "eu" }, away: { region: "us" } };
  const policy = load([{ zones, edges: [{ from: "home", to: "lab" }] }]);

  test("there is no edge but those that are listed, and none back", () => {
    expect(reasons(policy, {})).toEqual([]);
    expect(reasons(policy, { to: "lab" })).toEqual([]);
    expect(reasons(policy, { from: "lab" })).toEqual(["zone_mismatch: no edge from lab to home"]);
    expect(reasons(policy, { to: "away" })).toEqual(["zone_mismatch: no edge from home to away"]);
  });

  test("a zone that nobody knows is no zone, also where both are the same", () => {
    expect(reasons(policy, { from: "moon", to: "moon" })).toEqual(["zone_mismatch: no zone moon"]);
    expect(reasons(policy, { from: "moon", to: "sun" })).toEqual([
      "zone_mismatch: no zone moon",
      "zone_mismatch: no zone sun",
    ]);
    expect(reasons(policy, { from: "constructor", to: "__proto__" })).toHaveLength(2);
    expect(reasons(policy, { from: "x".repeat(10_000) })[0]!.length).toBeLessThan(100);
  });

  test("every pack has to have the edge", () => {
    const both = load([{ zones, edges: [{ from: "home", to: "lab" }] }, { zones }]);
    expect(reasons(both, { to: "lab" })).toEqual(["zone_mismatch: no edge from home to lab"]);
    expect(reasons(both, {})).toEqual([]);
  });
});

describe("labels", async () => {
  const load = await packsWith();
  const zones = { home: { region: "eu" }, clinic: { region: "de" }, away: { region: "us" } };
  const edges = ["home", "clinic", "away"].flatMap((from) =>
    ["home", "clinic", "away"].filter((to) => to !== from).map((to) => ({ from, to })),
  );
  const labels = {
    pii: { may_flow_to: "own" as const },
    phi: { may_flow_to: ["de", "eu"] },
    open: { may_flow_to: "any" as const },
    sealed: { may_flow_to: [] },
  };
  const policy = load([{ zones, edges, labels }]);

  test("data of the run go where their label lets them", () => {
    expect(reasons(policy, { run_labels: ["pii:eu", "phi", "open"] })).toEqual([]);
    expect(reasons(policy, { run_labels: ["pii:eu", "phi", "open"], to: "clinic" })).toEqual([
      "residency_violation: pii:eu may not go to de (resource)",
    ]);
    expect(reasons(policy, { run_labels: ["phi"], to: "away" })).toEqual([
      "residency_violation: phi may not go to us (resource)",
    ]);
    expect(reasons(policy, { run_labels: ["phi"], region: "us" })).toEqual([
      "residency_violation: phi may not go to us (deciding region)",
    ]);
    expect(reasons(policy, { run_labels: ["phi"], from: "away" })).toEqual([
      "residency_violation: phi may not go to us (subject)",
    ]);
    expect(reasons(policy, { run_labels: ["sealed"] })).toHaveLength(3);
    expect(reasons(policy, { run_labels: ["pii"] })).toHaveLength(3);
  });

  test("data of the resource come to the subject and stay with the run", () => {
    const out = ask(policy, { ...QUESTION, action: "out", resource_labels: ["phi"], run_labels: ["open"] });
    expect(out).toEqual({ failed: [], carried: ["phi"], gained: ["open", "phi"] });
    expect(reasons(policy, { action: "out", resource_labels: ["phi"], to: "away" })).toEqual([]);
    expect(reasons(policy, { action: "out", resource_labels: ["phi"], from: "away" })).toEqual([
      "residency_violation: phi may not go to us (subject)",
    ]);
    const write = ask(policy, { ...QUESTION, action: "in", resource_labels: ["sealed"], run_labels: ["open"] });
    expect(write).toEqual({ failed: [], carried: ["open"], gained: ["open"] });
    const nothing = ask(policy, { ...QUESTION, action: "none", resource_labels: ["sealed"], run_labels: ["sealed"] });
    expect(nothing).toEqual({ failed: [], carried: [], gained: ["sealed"] });
  });

  test("a step with nothing but listed properties carries none of the run's data", () => {
    const listed: Question = { ...QUESTION, action: "listed", run_labels: ["sealed"] };
    expect(ask(policy, { ...listed, properties: { amount: 3 }, context: { purpose: "x" } })).toEqual({
      failed: [],
      carried: [],
      gained: ["sealed"],
    });
    expect(reasons(policy, { ...listed, properties: { amount: 3, payee: "x" } })).toHaveLength(3);
    expect(reasons(policy, { ...listed, context: { note: "x" } })).toHaveLength(3);
    const request = requestOf(listed);
    const on_subject = { ...request, subject: { ...request.subject, properties: { zone: "home", note: "x" } } };
    expect(placesOf(policy, on_subject, ["sealed"], "eu").failed).toHaveLength(3);
    const on_resource = { ...request, resource: { ...request.resource, properties: { zone: "home", note: "x" } } };
    expect(placesOf(policy, on_resource, ["sealed"], "eu").failed).toHaveLength(3);
  });

  test("what nobody knows is the most sensitive: it stays in the region that it names", () => {
    expect(reasons(policy, { run_labels: ["secret:eu"] })).toEqual([]);
    expect(reasons(policy, { run_labels: ["secret:de"] })).toHaveLength(3);
    expect(reasons(policy, { run_labels: ["secret"] })).toHaveLength(3);
    expect(reasons(policy, { run_labels: ["constructor"] })).toHaveLength(3);
    const as_phi = load([{ zones, edges, labels, unknown_label: "phi" }]);
    expect(reasons(as_phi, { run_labels: ["secret", "secret:us"] })).toEqual([]);
    expect(reasons(as_phi, { run_labels: ["secret:us"], to: "away" })).toHaveLength(1);
  });

  test("a label means the same in every pack, and every pack that knows it has to agree", () => {
    const two = load([
      { zones, edges, labels },
      { zones, edges, labels: { open: { may_flow_to: ["eu"] }, other: { may_flow_to: "any" } } },
    ]);
    expect(reasons(two, { run_labels: ["open"] })).toEqual([]);
    expect(reasons(two, { run_labels: ["open"], to: "away" })).toEqual([
      "residency_violation: open may not go to us (resource)",
    ]);
    expect(reasons(two, { run_labels: ["other", "phi"] })).toEqual([]);
  });

  test("where no pack has a say, all labels count", () => {
    const request = { ...requestOf(QUESTION), action: { name: "fly" } };
    expect(placesOf(policy, request, ["b", "a", "b"], "eu")).toEqual({
      failed: [],
      carried: ["a", "b"],
      gained: ["a", "b"],
    });
  });
});

/** The rules of docs/pack.md once more: every place that a datum reaches, held one by one against every rule. */
function naive(packs: readonly Rules[], question: Question) {
  const { action, from, to, resource_labels, run_labels, region } = question;
  const reasons_found = new Set<string>();
  const extra = Object.keys({ ...question.properties, ...question.context }).some((name) => name === "note");
  const goes = action === "in" || action === "both" || (action === "listed" && extra);
  const comes = action === "out" || action === "both" || action === "listed";
  for (const pack of packs) {
    const regionOf = (zone: string) => pack.zones?.[zone]?.region;
    const known = regionOf(from) !== undefined && regionOf(to) !== undefined;
    const joined = pack.edges?.some((edge) => edge.from === from && edge.to === to) ?? false;
    if (!known || (from !== to && !joined)) reasons_found.add("zone_mismatch");
    const reached: [string, string | undefined][] = [
      ...(goes
        ? run_labels.flatMap((label) =>
            [region, regionOf(from), regionOf(to)].map((at) => [label, at] as [string, string | undefined]),
          )
        : []),
      ...(comes
        ? resource_labels.flatMap((label) =>
            [region, regionOf(from)].map((at) => [label, at] as [string, string | undefined]),
          )
        : []),
    ];
    for (const [label, at] of reached) {
      if (at === undefined) continue;
      const [name, own] = label.split(":");
      const all = packs.flatMap((one) => (one.labels?.[name!] === undefined ? [] : [one.labels[name!]!]));
      const stand_in = packs.flatMap((one) => one.labels?.[pack.unknown_label ?? ""] ?? []);
      const rules = all.length > 0 ? all : stand_in.length > 0 ? stand_in : [{ may_flow_to: "own" as const }];
      for (const { may_flow_to } of rules) {
        const fine = may_flow_to === "any" || (may_flow_to === "own" ? own === at : may_flow_to.includes(at));
        if (!fine) reasons_found.add("residency_violation");
      }
    }
  }
  const carried = [...(goes ? run_labels : []), ...(comes ? resource_labels : [])];
  return {
    reasons: [...reasons_found].sort((a, b) => (a < b ? 1 : -1)),
    carried: [...new Set(carried)].sort(),
    gained: [...new Set([...run_labels, ...(comes ? resource_labels : [])])].sort(),
  };
}

const REGIONS = ["eu", "us", "de"];
const ZONES = ["a", "b", "c", "d"];
const CLASSES = ["pii", "phi", "open", "odd"];

const some = <T>(random: Random, from: readonly T[], chance: number): T[] => from.filter(() => random.chance(chance));
const label = (random: Random): string =>
  random.pick([...CLASSES, "unheard"]) + (random.chance(0.5) ? `:${random.pick(REGIONS)}` : "");

function rulesOf(random: Random): Rules {
  const zones = Object.fromEntries(some(random, ZONES, 0.85).map((zone) => [zone, { region: random.pick(REGIONS) }]));
  const names = Object.keys(zones);
  const edges = names
    .flatMap((from) => names.map((to) => ({ from, to })))
    .filter(({ from, to }) => from !== to && random.chance(0.4));
  const labels = Object.fromEntries(
    some(random, CLASSES, 0.6).map((name) => [
      name,
      { may_flow_to: random.pick(["own", "any", some(random, REGIONS, 0.6), some(random, REGIONS, 0.6)] as const) },
    ]),
  );
  const unknown = random.chance(0.5) ? random.pick(["", ...Object.keys(labels)]) : "";
  return { zones, edges, labels, ...(unknown === "" ? {} : { unknown_label: unknown }) };
}

test("random graphs and labels against a naive reading of the rules", async () => {
  const seed = seedOf();
  const random = seeded(seed);
  const load = await packsWith();
  const tally = new Map<string, number>();
  for (let world = 0; world < 150; world++) {
    const packs = Array.from({ length: random.int(1, 3) }, () => rulesOf(random));
    const policy = load(packs);
    for (let i = 0; i < 60; i++) {
      const question: Question = {
        action: random.pick(ACTIONS),
        from: random.pick(ZONES),
        to: random.pick(ZONES),
        resource_labels: Array.from({ length: random.int(0, 2) }, () => label(random)),
        run_labels: Array.from({ length: random.int(0, 2) }, () => label(random)),
        region: random.pick(REGIONS),
        ...(random.chance(0.4) ? { properties: random.chance(0.5) ? { amount: 1 } : { note: "x" } } : {}),
        ...(random.chance(0.3) ? { context: random.chance(0.5) ? { purpose: "x" } : { note: "x" } } : {}),
      };
      const { failed, carried, gained } = ask(policy, question);
      const found = [...new Set(failed.map(({ reason }) => reason))];
      expect({ seed, packs, question, reasons: found, carried, gained }).toEqual({
        seed,
        packs,
        question,
        ...naive(packs, question),
      });
      const outcome = found.join("+") || "fine";
      tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
    }
  }
  // Every outcome was met often enough to mean something.
  for (const outcome of ["fine", "zone_mismatch", "residency_violation", "zone_mismatch+residency_violation"])
    expect(tally.get(outcome) ?? 0).toBeGreaterThan(200);
});

test("data with more labels than a run can hold go nowhere, and say so once", async () => {
  const policy = (await packsWith())([{ labels: { pii: { may_flow_to: "any" } } }]);
  const ask = (resource_labels: readonly string[], run_labels: readonly string[] = []) =>
    placesOf(
      policy,
      {
        v: 1,
        subject: { type: "user", id: "u", properties: { zone: "home" } },
        action: { name: "both" },
        resource: { type: "doc", id: "d", properties: { zone: "home", labels: resource_labels } },
      },
      run_labels,
      "eu",
    );
  const many = (n: number, name: string): string[] => Array.from({ length: n }, (_, i) => `pii:${name}${i}`);
  expect(ask(many(256, "a"))).toMatchObject({ failed: [], gained: { length: 256 } });
  expect(ask(many(255, "a"), many(1, "b")).failed).toEqual([]);
  for (const over of [ask(many(257, "a")), ask(many(256, "a"), many(1, "b")), ask([`pii:${"x".repeat(125)}`])])
    expect(over.failed).toMatchObject([{ reason: "residency_violation" }]);
  expect(ask(many(20_000, "a")).gained).toEqual([]);
});
