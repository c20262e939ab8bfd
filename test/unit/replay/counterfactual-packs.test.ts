import { expect, test } from "vitest";
import { isObject, type JsonObject, type JsonValue } from "../../../src/base/json.ts";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { counterfactual, search } from "../../../src/replay/explain/counterfactual.ts";
import { applied } from "../../../src/replay/explain/fact.ts";
import { seeded, type Random } from "../../support/random.ts";
import { buildPacks, POLICIES } from "../../../tools/policy/build.ts";
import { goldenQuestion } from "../../../tools/explain/question.ts";

/** Denials of the packs that ship, made by spoiling golden cases, and what would have turned them. */

const PACKS = ["treasury", "kubernetes-sre", "hospital-mcp", "authzen-certification", "authzen-search", "authzen-todo"];
const built = await buildPacks(POLICIES, [...PACKS, "sovereign"]);
const bundle = { v: 1 as const, packs: built.map(({ pack }) => pack) };

const WORDS = ["treatment", "research", "EUR", "USD", "archived", "admin", "a@klinik.example", "b@evil.example", ""];

function spoilt(json: JsonValue, random: Random): JsonValue {
  if (typeof json === "number")
    return random.pick([json * 2, json + 1, -json, json * 1000, 0, json / 2 + 0.25, 18_400.5, 11]);
  if (typeof json === "boolean") return !json;
  if (typeof json === "string") return random.chance(0.2) ? 7 : random.pick(WORDS);
  if (Array.isArray(json)) return [];
  return "text";
}

/** One or two members changed or left out, anywhere in the request's properties. */
function spoil(properties: JsonObject | undefined, random: Random): JsonObject | undefined {
  if (properties === undefined) return undefined;
  const names = Object.keys(properties);
  if (names.length === 0) return properties;
  const name = random.pick(names);
  const { [name]: value, ...others } = properties;
  if (random.chance(0.3)) return others;
  if (isObject(value!)) return { ...others, [name]: spoil(value, random)! };
  return { ...others, [name]: spoilt(value!, random) };
}

function variant(question: DecideInput, random: Random): DecideInput {
  const { request, facts } = question;
  const sides = ["action", "context", "subject", "resource"] as const;
  let next = question;
  for (let turns = random.int(1, 2); turns > 0; turns--) {
    const side = random.pick(sides);
    const asked = next.request;
    const changed =
      side === "context"
        ? { ...asked, context: spoil(asked.context, random) ?? {} }
        : { ...asked, [side]: { ...asked[side], properties: spoil(asked[side].properties, random) ?? {} } };
    next = { ...next, request: changed };
  }
  if (random.chance(0.1) && facts.workload !== undefined)
    next = { ...next, facts: { ...facts, workload: { failed: [], identity: null, attestation: null } } };
  const step = next.run?.step;
  if (step !== undefined && random.chance(0.15))
    next = { ...next, run: { ...next.run!, step: { ...step, history: [] } } };
  if (step !== undefined && random.chance(0.15)) {
    const budget = {
      id: "b",
      actions: ["*"],
      sum: "amount",
      unit: null,
      per: "run",
      window_ms: null,
      max: "500",
    } as const;
    next = { ...next, run: { ...next.run!, step: { ...step, charged: [{ owner: "run", budget, spent: "120.5" }] } } };
  }
  if (step !== undefined && random.chance(0.1))
    next = { ...next, run: { ...next.run!, step: { ...step, after: [{ node: "first", state: "none" }] } } };
  if (next.run?.kind === "opened" && random.chance(0.1)) next = { ...next, request: { ...request, state_version: 9 } };
  return next;
}

type Asked = { readonly pack: string; readonly question: DecideInput };

function denials(): Asked[] {
  const random = seeded(20_261_123);
  const found: Asked[] = [];
  for (const { pack, golden } of built) {
    if (golden === null || pack.name === "sovereign") continue;
    const policy = loadPolicy(bundle, [pack.name, "sovereign"]);
    for (const one of golden.cases) {
      const seed = goldenQuestion(policy, pack.name, one);
      const variants = Array.from({ length: 14 }, () => variant(seed, random));
      for (const question of [seed, ...variants])
        if (decide(question).core.decision === "deny") found.push({ pack: pack.name, question });
    }
  }
  return found;
}

/** Puts a pointer's value into a request without the code under test. */
function put(request: unknown, pointer: string, value: JsonValue): void {
  const names = pointer
    .slice(1)
    .split("/")
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = names.pop()!;
  let at = request as Record<string, unknown>;
  for (const name of names)
    at = (typeof at[name] === "object" && at[name] !== null ? at[name] : (at[name] = {})) as Record<string, unknown>;
  if (value === null) delete at[last];
  else at[last] = value;
}

const all = denials();
const searched = all.map(({ pack, question }) => ({ pack, question, found: search(question) }));

test("at least 500 denials turn, and every one of them is decided again and allowed", () => {
  let turned = 0;
  for (const { question, found } of searched) {
    if ("none" in found) continue;
    turned++;
    expect(decide(applied(question, found.facts)).core).toMatchObject({ decision: "allow", failed: [] });
    // What only changes the request is put into it by other code.
    const shown = counterfactual(question);
    if ("none" in shown) throw new Error("the same question, another answer");
    if (!shown.changes.every(({ path }) => path.startsWith("/") && !path.startsWith("/context/interlock"))) continue;
    const request = structuredClone(question.request);
    for (const { path, to } of shown.changes) put(request, path, to);
    expect(decide({ ...question, request }).core.decision).toBe("allow");
  }
  expect(turned).toBeGreaterThanOrEqual(500);
});

test("no single fact less would do: each part of a counterfactual alone leaves the denial", () => {
  let looked = 0;
  for (const { question, found } of searched) {
    if ("none" in found || found.facts.size < 2) continue;
    looked++;
    for (const path of found.facts.keys()) {
      const fewer = new Map([...found.facts].filter(([name]) => name !== path));
      expect(decide(applied(question, fewer)).core.decision).toBe("deny");
    }
  }
  expect(looked).toBeGreaterThan(50);
});

test("the others say why not, by reason", () => {
  const none: Record<string, number> = {};
  for (const { found } of searched) if ("none" in found) none[found.none] = (none[found.none] ?? 0) + 1;
  const known = ["cut_off", "hidden", "no_rule", "not_found", "pinned", "place"];
  expect(Object.keys(none).filter((reason) => !known.includes(reason))).toEqual([]);
  expect(known.filter((reason) => none[reason] === undefined)).toEqual([]);
  expect(none["cut_off"]).toBeLessThan(0.02 * searched.length);
  const turned = searched.flatMap(({ found }) => ("none" in found ? [] : found));
  expect(turned.filter(({ minimal }) => minimal).length).toBeGreaterThan(0.95 * turned.length);
});

/** Words of policies and manifests: what the law says is no secret of an entity. */
const lawOf = (name: string): string => {
  const { pack } = built.find((one) => one.pack.name === name)!;
  return pack.status === "valid" ? JSON.stringify([pack.policies, pack.manifest]) : "";
};

function leaves(json: unknown, found: Set<string>): Set<string> {
  if (typeof json === "string" || typeof json === "number") found.add(String(json));
  else if (typeof json === "object" && json !== null) for (const inner of Object.values(json)) leaves(inner, found);
  return found;
}

test("nothing of the directory is in a counterfactual", () => {
  let checked = 0;
  for (const { pack, question, found } of searched) {
    if ("none" in found) continue;
    const { pack: source } = built.find((one) => one.pack.name === pack)!;
    if (source.status !== "valid") continue;
    const shown = counterfactual(question);
    const texts = leaves("none" in shown ? [] : shown.changes.map(({ to }) => to), new Set());
    const law = lawOf(pack);
    const sent = JSON.stringify(question.request);
    const secret = [...leaves(source.entities, new Set())].filter(
      (text) => text.length > 3 && !law.includes(text) && !sent.includes(text),
    );
    checked += secret.length;
    for (const text of secret) expect(texts.has(text), `${pack}: ${text}`).toBe(false);
  }
  expect(checked).toBeGreaterThan(1_000);
});

test("the search keeps its bounds, and says so where they end it", () => {
  const question = searched.find(({ found }) => !("none" in found) && found.facts.size > 1)!.question;
  expect(counterfactual(question, { decisions: 1, probes: 100, facts: 4 })).toMatchObject({
    none: "cut_off",
    decisions: 1,
  });
  for (const { found } of searched) expect(found.decisions).toBeLessThanOrEqual(300);
});

test("the same question has the same counterfactual, also with its members in another order", () => {
  for (const { question } of searched.slice(0, 200)) {
    const { properties } = question.request.action;
    const turned = properties === undefined ? undefined : Object.fromEntries(Object.entries(properties).toReversed());
    const other = {
      ...question,
      request: {
        ...question.request,
        action: { ...question.request.action, ...(turned === undefined ? {} : { properties: turned }) },
      },
    };
    expect(counterfactual(other)).toEqual(counterfactual(question));
  }
});
