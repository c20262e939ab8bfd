import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import certification from "../../../policies/authzen-certification/golden.json" with { type: "json" };
import search from "../../../policies/authzen-search/golden.json" with { type: "json" };
import todo from "../../../policies/authzen-todo/golden.json" with { type: "json" };
import hospital from "../../../policies/hospital-mcp/golden.json" with { type: "json" };
import sre from "../../../policies/kubernetes-sre/golden.json" with { type: "json" };
import sovereign from "../../../policies/sovereign/golden.json" with { type: "json" };
import treasury from "../../../policies/treasury/golden.json" with { type: "json" };
import workloads from "../../../policies/workloads/golden.json" with { type: "json" };
import { utf8 } from "../../../src/base/bytes.ts";
import { digestOf, sha256 } from "../../../src/base/digest.ts";
import { coreText, decide } from "../../../src/decision/decide.ts";
import { ENGINE } from "../../../src/decision/engine.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import type { Golden, GoldenCase } from "../../../src/policy/golden-format.ts";
import { loadPolicy, type LoadedPolicy } from "../../../src/policy/load.ts";
import { probePolicy } from "../../../src/policy/probe.ts";
import { inputOf } from "../../../src/replay/rerun.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { goldenEnv, runCase, runSearch } from "../../../src/replay/golden.ts";
import { outcomes } from "../determinism.ts";
import { rerunOfGolden } from "../golden-rerun.ts";
import { seeded, type Random } from "../random.ts";
import { asked } from "./door.ts";
import { damaged, mutated } from "./mutate.ts";
import { spell, treeOf, Members, type Tree } from "./spell.ts";
import { cedarTexts } from "./cedar-texts.ts";

/**
 * What every engine is asked, and answers in digests, one for each block, so that two that differ also say where. Pure
 * and without files: it runs wherever a script runs.
 */
export type Block = { readonly name: string; readonly digest: string };

export type Corpus = {
  readonly blocks: readonly Block[];
  /** Requests that were decided, and what was said of them, by word. */
  readonly words: Readonly<Record<string, number>>;
  /** Two spellings of one request that came out differently, and exceptions: there must be none. */
  readonly wrong: readonly string[];
};

const BUNDLE = bundleJson as unknown as Bundle;
const GOLDEN: Readonly<Record<string, unknown>> = {
  "authzen-certification": certification,
  "authzen-search": search,
  "authzen-todo": todo,
  "hospital-mcp": hospital,
  "kubernetes-sre": sre,
  sovereign,
  treasury,
  workloads,
};

/** Packs of the bundle and packs with golden cases here; a test compares the two. */
export const PACKS = {
  shipped: BUNDLE.packs.map(({ name }) => name),
  asked: Object.keys(GOLDEN),
} as const;

type Pack = {
  readonly name: string;
  readonly policy: LoadedPolicy;
  readonly golden: Golden;
  readonly words: readonly string[];
};

const packs = (): readonly Pack[] =>
  Object.entries(GOLDEN).map(([name, json]) => {
    const golden = json as Golden;
    const policy = loadPolicy(BUNDLE, [...new Set(["sovereign", name])]);
    return { name, policy, golden, words: [...new Set(textsIn(json))].sort() };
  });

function textsIn(json: unknown): readonly string[] {
  if (typeof json === "string") return [json];
  if (typeof json !== "object" || json === null) return [];
  return Object.values(json).flatMap(textsIn);
}

const FUZZ_BLOCK = 100;

export function corpus({ fuzz_blocks }: { readonly fuzz_blocks: number }): Corpus {
  const tally = new Tally();
  const all = packs();
  const blocks: Block[] = [
    ...Object.entries(outcomes()).map(([name, said]) => block(`spelling/${name}`, said)),
    ...Object.entries(cedarTexts()).map(([name, said]) => block(`cedar/${name}`, said)),
    ...all.flatMap((pack) => [
      block(`golden/${pack.name}`, goldens(pack, tally)),
      ...(pack.golden.searches === undefined ? [] : [block(`search/${pack.name}`, searches(pack))]),
      block(`probe/${pack.name}`, [JSON.stringify(probePolicy(pack.policy, ENGINE, sha256))]),
    ]),
    ...Array.from({ length: fuzz_blocks }, (_, n) => block(`fuzz/${n}`, fuzz(all, seeded(n), tally))),
  ];
  return { blocks, words: tally.words(), wrong: tally.wrong };
}

const block = (name: string, said: readonly string[]): Block => ({ name, digest: digestOf(JSON.stringify(said)) });

/** Each golden case as it stands and in three other spellings; and by the tool that `policy build` checks it with. */
function goldens({ name, policy, golden }: Pack, tally: Tally): readonly string[] {
  const random = seeded(golden.cases.length);
  return golden.cases.flatMap((one) => {
    const tree = bodyOf(name, one);
    const plain = become(name, policy, one, JSON.stringify(plainOf(tree)));
    tally.add(plain);
    for (let i = 0; i < 3; i++) tally.same(plain, become(name, policy, one, spell(random, tree)), one.name);
    const { differences, determining } = runCase(policy, name, one);
    return [plain, JSON.stringify([differences, determining])];
  });
}

const searches = ({ name, policy, golden }: Pack): readonly string[] =>
  (golden.searches ?? []).map((one) => {
    const { differences, determining } = runSearch(policy, name, one);
    return JSON.stringify([differences, determining]);
  });

function fuzz(all: readonly Pack[], random: Random, tally: Tally): readonly string[] {
  return Array.from({ length: FUZZ_BLOCK }, () => {
    const { name, policy, golden, words } = random.pick(all);
    const one = random.pick(golden.cases);
    let tree = bodyOf(name, one);
    for (let i = random.int(0, 3); i > 0; i--) tree = mutated(random, tree, words);
    const first = spell(random, tree);
    const said = become(name, policy, one, first);
    tally.add(said);
    tally.same(said, become(name, policy, one, spell(random, tree)), first);
    if (!random.chance(0.15)) return said;
    const broken = become(name, policy, one, damaged(random, utf8(first)));
    tally.add(broken);
    return `${said}\n${broken}`;
  });
}

/** The golden request as a caller would send it. */
function bodyOf(pack: string, golden: GoldenCase): Tree {
  const { run } = goldenEnv(pack, golden);
  const { context } = golden.request;
  return treeOf({
    ...golden.request,
    ...(run.kind === "opened" ? { context: { ...context, interlock: { run: run.id } } } : {}),
  });
}

/** Back to a value, for a spelling that nobody shuffled. */
function plainOf(tree: Tree): unknown {
  if (tree instanceof Members) return Object.fromEntries(tree.list.map(([name, value]) => [name, plainOf(value)]));
  return Array.isArray(tree) ? (tree as readonly Tree[]).map(plainOf) : tree;
}

/** The core's text and what determined it, or what the door says; an exception is a bug, and is said to be one. */
function become(pack: string, policy: LoadedPolicy, golden: GoldenCase, body: string | Uint8Array): string {
  const question = asked(typeof body === "string" ? utf8(body) : body);
  if ("refused" in question) return question.refused;
  try {
    const request = JSON.parse(question.text) as CanonicalRequest;
    const rerun = rerunOfGolden(policy, pack, golden, request, question.text);
    const { core, determining, errors } = decide(inputOf(rerun, policy, sha256, true));
    return `${core.reason ?? core.decision} ${coreText(core)} ${JSON.stringify([determining, errors])}`;
  } catch (cause) {
    return `threw ${cause instanceof Error ? cause.name : "something"}`;
  }
}

class Tally {
  readonly #words = new Map<string, number>();
  readonly wrong: string[] = [];

  add(said: string): void {
    const [word, more] = said.split(" ", 2);
    const key = word === "refused" ? `refused ${more}` : word!;
    this.#words.set(key, (this.#words.get(key) ?? 0) + 1);
    if (word === "threw") this.wrong.push(said);
  }

  /**
   * Of a request with several faults, which one is named may hang on the order of its members: of two members with one
   * name, the later one is looked into. That it is refused may not.
   */
  same(one: string, other: string, of: string): void {
    const comparable = (said: string): string => /^(?:invalid|refused) /.exec(said)?.[0] ?? said;
    if (comparable(one) !== comparable(other)) this.wrong.push(`${of}: ${one} | ${other}`);
  }

  words(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#words].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
