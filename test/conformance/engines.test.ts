import { beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { corpus, PACKS } from "../support/engines/corpus.ts";
import { chromium, chromiumMissing } from "../support/engines/chromium.ts";
import { javascriptCore, node } from "../support/engines/processes.ts";
import { quickjs } from "../support/engines/quickjs.ts";
import { engineScript, type Answer, type Engine } from "../support/engines/script.ts";
import { workerd } from "../support/engines/workerd.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { openRun } from "../support/runs.ts";
import { startRegion } from "../support/region.ts";

/**
 * G6 across engines: one script, the same questions and the records of a real region, in V8 (Node, workerd, Chromium),
 * JavaScriptCore and QuickJS, in other time zones and under another locale. Every answer has to be the same bytes.
 */
const FUZZ_BLOCKS = 40;
/** An interpreter takes a second for each hundred. */
const FEW_BLOCKS = 4;

const TURKISH_SAMOA = { TZ: "Pacific/Apia", LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8" } as const;
const HERE = { TZ: "UTC", LC_ALL: "C.UTF-8", LANG: "C.UTF-8" } as const;

type Runs = {
  readonly engine: Engine;
  readonly fuzz_blocks: number;
  /** Why it is not there. */
  readonly missing?: string | null;
  /** Where it has to say that it is, so that another place was really another. */
  readonly place?: Partial<Answer["place"]>;
};
const SAMOA = { locale: "tr-TR", zone_minutes: 660 };
const ENGINES: Readonly<Record<string, Runs>> = {
  "Node under another locale and time zone": { engine: node(TURKISH_SAMOA), fuzz_blocks: FUZZ_BLOCKS, place: SAMOA },
  workerd: { engine: workerd, fuzz_blocks: FUZZ_BLOCKS },
  "Chromium under another locale and time zone": {
    engine: chromium({ locale: "tr-TR", timezoneId: "Pacific/Apia" }),
    fuzz_blocks: FUZZ_BLOCKS,
    missing: chromiumMissing(),
    place: SAMOA,
  },
  JavaScriptCore: {
    engine: javascriptCore({ TZ: "America/St_Johns" }),
    fuzz_blocks: FUZZ_BLOCKS,
    place: { zone_minutes: 210 },
  },
  QuickJS: { engine: quickjs, fuzz_blocks: FEW_BLOCKS },
};

let script: string;
let records: readonly JsonObject[];
let expected: Answer;

beforeAll(async () => {
  [script, records] = await Promise.all([engineScript(), recordsOfRegion()]);
  expected = await node(HERE)(script, { fuzz_blocks: FUZZ_BLOCKS, records });
});

/** What a region recorded: allowed and denied, in runs and outside, and what takes runs further. */
async function recordsOfRegion(): Promise<readonly JsonObject[]> {
  const packs = ["sovereign", "authzen-certification"];
  const region = await startRegion({ packs, env: { INTERLOCK_LOG: "off" } });
  try {
    const note = { note: "ünïcode \u{1F511} e\u0301", deep: { list: [1, 0.5, "x"], none: null } };
    await evaluate(region, { ...READ, context: note });
    await evaluate(region, { ...READ, action: { name: "unheard-of" } });
    const plan = { nodes: [{ id: "a", action: "read", repeat: 9 }, { id: "b", action: "read", after: ["a"] }] }; // prettier-ignore
    const budgets = [{ id: "steps", actions: ["*"], max: 4 }];
    const run = await openRun(region, { principal: READ.subject, plan, budgets });
    for (const step of ["b", "a", "a", "b", "b", "a", "a", "c"]) await run.step(READ, { step });
    const { base } = region;
    const at = ["--region", "eu", "--data", base];
    const revoked = interlock("revoke", "subject:user/alice", ...at, "--reason", "test");
    expect(await revoked.ended).toBe(0);
    await run.step(READ, { step: "a" });
    const found = interlock("lineage", "search", "--payload", "--json", "--limit", "1000", ...at);
    expect(await found.ended).toBe(0);
    const lines = found.stdout().trim().split("\n");
    return lines.map((line) => JSON.parse(line) as JsonObject);
  } finally {
    await region.remove();
  }
}

test("the corpus asks every pack that is shipped, and meets most words that a decision can say", () => {
  expect([...PACKS.asked].sort()).toEqual([...PACKS.shipped].sort());
  const decided = Object.entries(expected.words).filter(([word]) => !/^(?:refused|invalid|threw)/.test(word));
  expect(decided.length).toBeGreaterThan(18);
  expect(decided.reduce((sum, [, n]) => sum + n, 0)).toBeGreaterThan(2_000);
  expect(expected.words["allow"]).toBeGreaterThan(500);
  for (const word of ["duplicate_member", "lone_surrogate", "malformed", "not_utf8", "too_deep"])
    expect(expected.words[`refused ${word}`]).toBeGreaterThan(20);
});

test("spellings of one request are one question, and none of them is an exception", () => {
  expect(expected.wrong).toEqual([]);
});

test("the questions are the same ones however the file is loaded", () => {
  expect(corpus({ fuzz_blocks: 2 }).blocks).toEqual(first(expected, 2).blocks);
});

test("the region's records come out identical", () => {
  const words = new Set(expected.replayed);
  expect([...words].sort()).toEqual(["identical"]);
  expect(expected.replayed.length).toBe(records.length);
  expect(records.length).toBeGreaterThan(11);
});

for (const [name, { engine, fuzz_blocks, missing = null, place = {} }] of Object.entries(ENGINES)) {
  // Said aloud: a run without an engine proves nothing about it.
  if (missing !== null) process.stderr.write(`engines: ${name} is not asked: ${missing}\n`);
  test.skipIf(missing !== null)(
    `${name} comes to the same bytes`,
    async () => {
      const said = await engine(script, { fuzz_blocks, records });
      const wanted = first(expected, fuzz_blocks);
      expect(said.blocks.filter(({ digest }, i) => digest !== wanted.blocks[i]?.digest).map(of)).toEqual([]);
      expect(said.blocks).toEqual(wanted.blocks);
      expect(said.wrong).toEqual([]);
      expect(said.replayed).toEqual(wanted.replayed);
      expect(said.place).toMatchObject(place);
    },
    120_000,
  );
}

const of = ({ name }: { readonly name: string }): string => name;

/** As an answer with fewer fuzzed blocks would be; they stand last. */
const first = (answer: Answer, fuzz_blocks: number): Answer => ({
  ...answer,
  blocks: answer.blocks.slice(0, answer.blocks.length - FUZZ_BLOCKS + fuzz_blocks),
});

test("an engine that reads a number otherwise is found, with the block that shows it", async () => {
  // As an engine without the shortest text of a double would write it.
  const sabotage = `{ const { String: right } = globalThis; globalThis.String = Object.assign(
    (value) => typeof value === "number" && value === 0.5 ? "0.50" : right(value),
    { fromCharCode: right.fromCharCode, raw: right.raw, prototype: right.prototype }); }`;
  const said = await node(HERE)(`${sabotage}\n${script}`, { fuzz_blocks: 1, records: [] });
  const wanted = first(expected, 1).blocks;
  const differ = said.blocks.filter(({ digest }, i) => digest !== wanted[i]?.digest).map(of);
  expect(differ).toContain("spelling/decimal");
});
