import { expect, test } from "vitest";
import { sourceFiles, withoutComments } from "./source-files.ts";

/**
 * What two engines, two versions of one, or one in another country may answer differently: rooms whose results are
 * recomputed elsewhere (G6) do without it. That the rest is the same is tried out in `test/conformance/engines.test.ts`.
 */
const ROOMS = ["base", "cedar", "decision", "lineage", "policy", "replay", "runs", "trust", "vocabulary"];
/** Of the door: what makes the canonical text. */
const DOOR = /^src\/http\/(?:canonical-request|json-text|step-options|interlock-options)\.ts$/;

const FORBIDDEN: Readonly<Record<string, RegExp>> = {
  "the locale": /\bIntl\b|\.toLocale\w*\(|\.localeCompare\(/g,
  "the version of Unicode":
    /\.normalize\(|\.to(?:Lower|Upper)Case\(|\\p\{|\/[dgmsy]*[uv]?i[dgmsyuv]*\.(?:test|exec)\(/g,
  "the time zone": /\.(?:get|set)(?:Date|Day|FullYear|Hours|Milliseconds|Minutes|Month|Seconds|TimezoneOffset|Year)\(/g,
  "the engine's reading and writing of dates":
    /\bDate\.parse\(|\bnew Date\((?:["'`]|\w*[tT]ext\b)|\.to(?:Date|GMT|UTC|Time)String\(/g,
  "approximate mathematics":
    /\bMath\.(?:a?cosh?|a?sinh?|a?tanh?|atan2|cbrt|exp|expm1|hypot|log|log10|log1p|log2|pow)\b/g,
  "the engine's own words": /\.stack\b|\bFunction\.prototype\.toString\b/g,
  "the collector": /\bWeakRef\b|\bFinalizationRegistry\b/g,
  "code made at run time": /\beval\(|\bnew Function\(/g,
};

/** Read over, and harmless: why. */
const KNOWN: Readonly<Record<string, string>> = {
  "src/lineage/note-key.ts: the version of Unicode": "White_Space has not changed since 2013, and decides no request",
};

test("what is computed again elsewhere asks for nothing that another engine answers otherwise", () => {
  const files = sourceFiles("src").filter(({ path }) => ROOMS.includes(path.split("/")[1]!) || DOOR.test(path));
  expect(files.length).toBeGreaterThan(100);
  const found = files.flatMap(({ path, text }) => usesIn(text).map((what) => `${path}: ${what}`));
  expect([...new Set(found)].sort()).toEqual(Object.keys(KNOWN).sort());
});

test("the search finds each kind", () => {
  const samples = [
    "a.localeCompare(b)",
    "a.toLowerCase()",
    "date.getHours()",
    'new Date("2026-01-15")',
    "Math.log2(8)",
    "cause.stack",
    "new WeakRef(a)",
    'eval("1")',
  ];
  expect(samples.map((sample) => usesIn(sample)).flat()).toEqual(Object.keys(FORBIDDEN));
  expect(usesIn("date.setUTCFullYear(1); Math.min(1, 2); new Date(0).toISOString(); Math.clz32(8)")).toEqual([]);
});

function usesIn(text: string): readonly string[] {
  const code = withoutComments(text);
  return Object.entries(FORBIDDEN).flatMap(([what, pattern]) => (code.match(pattern) === null ? [] : [what]));
}
