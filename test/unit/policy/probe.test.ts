import { describe, expect, test } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { sha256 } from "../../../src/base/digest.ts";
import { buildEntityStore } from "../../../src/cedar/index.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { evaluatePolicy, loadPolicy, type LoadedPolicy } from "../../../src/policy/evaluate.ts";
import { deviations, probePolicy, type PolicyProbe } from "../../../src/policy/probe.ts";
import { questionsTo } from "../../../src/policy/probe-questions.ts";
import { probesOf } from "../../../src/policy/probe-set.ts";

const BUNDLE = bundleJson as unknown as Bundle;
const packs = BUNDLE.packs.filter((pack) => pack.status === "valid");
const packNamed = (name: string): ValidPack => packs.find((pack) => pack.name === name)!;

const probed = (policy: LoadedPolicy, engine = "test/1"): PolicyProbe => probePolicy(policy, engine, sha256);

/** The pack with one change, and the digest that goes with it. */
function changed(pack: ValidPack, change: (copy: ValidPack) => void): ValidPack {
  const copy = structuredClone(pack);
  change(copy);
  return { ...copy, digest: packDigest(copy) };
}

const load = (...loaded: readonly ValidPack[]): LoadedPolicy =>
  loadPolicy(
    { v: 1, packs: loaded },
    loaded.map(({ name }) => name),
  );

test("the same pack is asked the same and answers the same, whatever stands beside it", () => {
  const alone = probed(load(packNamed("treasury"))).packs;
  const beside = probed(load(packNamed("treasury"), packNamed("sovereign"), packNamed("kubernetes-sre"))).packs;
  expect(beside.find(({ name }) => name === "treasury")).toEqual(alone[0]);
  expect(probesOf(packNamed("treasury"))).toEqual(probesOf(structuredClone(packNamed("treasury"))));
});

/** Policies that no question meets: they hold at another time of day, or of an agent with the right scopes only. */
const NOT_MET: Readonly<Record<string, readonly string[]>> = {
  "kubernetes-sre": ["outside-window"],
  treasury: ["execute-payment", "prepare-payment"],
};

test.each(packs.map((pack) => [pack.name, pack] as const))(
  "questions to %s meet its policies, with allows and denials, and are few",
  (name, pack) => {
    const policy = load(pack);
    const asking = questionsTo(policy, policy.parts[0]!, 48);
    let step = asking.next();
    while (step.done !== true) step = asking.next();
    const outcomes = step.value.probes.map(({ request, env }) => evaluatePolicy(policy, request, env));
    const met = new Set(outcomes.flatMap(({ determining }) => determining.map((one) => one.policy)));
    const unmet = pack.policies.filter(({ id }) => !met.has(`${name}/${id}`)).map(({ id }) => id);
    expect(unmet.sort()).toEqual(NOT_MET[name] ?? []);
    // A sovereign pack only forbids.
    expect(outcomes.some(({ reason }) => reason === null)).toBe(pack.manifest.layer === "application");
    expect(outcomes.length).toBeLessThanOrEqual(Math.min(96, Math.max(48, 8 * pack.policies.length)) + 8);
    // Whoever has the time, as the gate has, asks as many as there may be.
    expect(probesOf(pack).length).toBeGreaterThan(48);
    expect(probesOf(pack).length).toBeLessThanOrEqual(96);
  },
);

describe("a change to the law shows in the answers", () => {
  test.each(packs.map((pack) => [pack.name, pack] as const))(
    "%s without any one of its policies, or with another effect of it, in memory only",
    (_, pack) => {
      for (const [at, { id }] of pack.policies.entries()) {
        const policy = load(pack);
        const before = probed(policy).packs[0]!.probe;
        const after = (change: (policies: ValidPack["policies"][number][]) => void): string => {
          const other = load(
            changed(pack, (copy) => {
              const policies = [...copy.policies];
              change(policies);
              Object.assign(copy, { policies });
            }),
          );
          const [into, from] = [policy, other].map((one) => [...one.sovereign, ...one.application][0]!);
          Object.assign(into!, { policies: from!.policies });
          return probed(policy).packs[0]!.probe;
        };
        expect([id, after((policies) => void policies.splice(at, 1))]).not.toEqual([id, before]);
        const { json } = pack.policies[at]!;
        const effect = json.effect === "permit" ? "forbid" : "permit";
        const turned = { ...pack.policies[at]!, json: { ...json, effect, annotations: {} } } as const;
        expect([id, after((policies) => void policies.splice(at, 1, turned))]).not.toEqual([id, before]);
      }
    },
  );

  test.each(packs.map((pack) => [pack.name, pack] as const))(
    "%s with another reason of any one policy that is met, in memory only",
    (name, pack) => {
      const policy = load(pack);
      const before = probed(policy).packs[0]!.probe;
      const { facts } = [...policy.sovereign, ...policy.application][0]!;
      const unseen = pack.policies.flatMap(({ id }) => {
        const { determining } = facts.get(id)!;
        const { reason } = determining;
        Object.assign(determining, { reason: "odd" });
        const same = probed(policy).packs[0]!.probe === before;
        Object.assign(determining, { reason });
        return same ? id : [];
      });
      expect(unseen.sort()).toEqual(NOT_MET[name] ?? []);
    },
  );

  test.each(packs.map((pack) => [pack.name, pack] as const))(
    "%s without any one entity of its directory, or with another attribute or parent, in memory only",
    (_, pack) => {
      const before = probed(load(pack)).packs[0]!.probe;
      const after = (change: (entities: ValidPack["entities"][number][], at: number) => void, at: number): string => {
        const policy = load(pack);
        const entities = [...structuredClone(pack.entities)];
        change(entities, at);
        const built = buildEntityStore(entities);
        if (!built.ok) throw new Error(built.error);
        Object.assign([...policy.sovereign, ...policy.application][0]!, { directory: built.value });
        return probed(policy).packs[0]!.probe;
      };
      for (const at of pack.entities.keys()) {
        expect(after((entities) => void entities.splice(at, 1), at)).not.toBe(before);
        expect(after((entities) => void Object.assign(entities[at]!.attrs, { odd: 1 }), at)).not.toBe(before);
        const uid = pack.entities[at]!.uid;
        const { type } = "__entity" in uid ? uid.__entity : uid;
        const odd = { type, id: "odd" };
        expect(after((entities) => void Object.assign(entities[at]!, { parents: [odd] }), at)).not.toBe(before);
      }
    },
  );

  test("an action that demands another delegation than it did", () => {
    const policy = load(packNamed("hospital-mcp"));
    const before = probed(policy);
    const [action] = policy.application[0]!.demands.actions.values();
    Object.assign(action!, { delegation: { required: !action!.delegation.required, max_depth: 8 } });
    expect(deviations(before, probed(policy))).toEqual(["hospital-mcp"]);
  });

  test("a compiled policy that was changed in memory, with every digest as before", () => {
    const policy = load(packNamed("authzen-certification"), packNamed("sovereign"));
    const expected = probed(policy);
    expect(deviations(expected, probed(policy))).toEqual([]);
    const pack = policy.application[0]!;
    const emptied = load(
      changed(packNamed("authzen-certification"), (copy) => void Object.assign(copy, { policies: [] })),
    );
    Object.assign(pack, { policies: emptied.application[0]!.policies });
    const found = probed(policy);
    expect(found.policy).toBe(expected.policy);
    expect(deviations(expected, found)).toEqual(["authzen-certification"]);
  });

  test("what the packs say together, where no pack's own answers change", () => {
    const policy = load(packNamed("treasury"));
    const expected = probed(policy);
    (policy.actions as Map<string, string>).set("payment.execute", "optional");
    expect(deviations(expected, probed(policy))).toEqual([""]);
  });

  test("a pack that is gone, and one that was never there", () => {
    const both = probed(load(packNamed("treasury"), packNamed("sovereign")));
    const one = { ...probed(load(packNamed("treasury"))), policy: both.policy };
    expect(deviations(both, one)).toEqual(["sovereign", ""]);
    expect(deviations(one, both)).toEqual(["sovereign", ""]);
  });
});

test("answers of another engine, to other questions or of another policy are not compared", () => {
  const expected = probed(load(packNamed("treasury")));
  const other = { ...expected, packs: [], whole: "" };
  expect(deviations(expected, other)).not.toEqual([]);
  for (const change of [{ engine: "test/2" }, { set: 99 }, { policy: "sha256:other" }])
    expect(deviations(expected, { ...other, ...change })).toEqual([]);
});
