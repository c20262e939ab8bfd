import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { digestOfOutcomes, outcomes } from "../../support/determinism.ts";
import type * as Determinism from "../../support/determinism.ts";
import { DETERMINISM } from "../../vectors/determinism.ts";

/** The same corpus in workerd: test/objects/determinism.test.ts; in browsers: test/conformance/engines.test.ts. */

test("spellings of one question are one question, and every other question is another", () => {
  const seen = new Map<string, string>();
  for (const [name, all] of Object.entries(outcomes())) {
    const [first] = new Set(all);
    expect([name, new Set(all).size]).toEqual([name, 1]);
    // What is refused has no digest: the same word for several reasons.
    if (/^(?:refused|invalid)/.test(first!)) continue;
    expect([name, seen.get(first!)]).toEqual([name, undefined]);
    seen.set(first!, name);
  }
  expect(seen.size).toBe(29);
});

test("what has no meaning has a defined end", () => {
  const ends = Object.fromEntries(Object.entries(outcomes()).map(([name, [first]]) => [name, first!]));
  expect(ends).toMatchObject({
    plain: expect.stringMatching(/^allow sha256:/),
    denied: expect.stringMatching(/^deny policy_denied sha256:/),
    zero: expect.stringMatching(/^allow /),
    five_places: "invalid action.properties.n",
    too_large: "invalid action.properties.n",
    beyond_a_double: "refused malformed",
    nan: "refused malformed",
    infinity: "refused malformed",
    duplicate: "refused duplicate_member",
    lone_surrogate: "refused lone_surrogate",
    null_in_array: expect.stringMatching(/^invalid action\.properties/),
    no_subject: "invalid subject",
    empty: "refused malformed",
    byte_order_mark: "refused malformed",
    byte_order_mark_in_text: expect.stringMatching(/ sha256:/),
    // No trust event could name it (trust/keys).
    nul: "invalid subject.id",
    nul_unescaped: "refused malformed",
    overlong: "refused not_utf8",
    not_utf8: "refused not_utf8",
    deepest: expect.stringMatching(/^allow /),
    too_deep: "refused too_deep",
    cedar_long: "invalid action.properties.n",
    duplicate_deep: "refused duplicate_member",
    lone_surrogate_deep: "refused lone_surrogate",
    longer_text: "invalid subject.id",
  });
});

test("Node comes to the bytes that are written down", () => {
  expect(digestOfOutcomes()).toBe(DETERMINISM);
});

test("so does a script without Node and without a Worker, as any engine could run it", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ["test/support/determinism.ts"],
    bundle: true,
    platform: "neutral",
    mainFields: ["module", "main"],
    format: "iife",
    globalName: "determinism",
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  expect(Object.values(metafile.outputs).flatMap(({ imports }) => imports)).toEqual([]);
  // No process, no Buffer, no crypto: a context of its own, with its own Object, Array, Map and RegExp.
  const context = { TextEncoder, TextDecoder, determinism: {} as typeof Determinism };
  runInNewContext(`${outputFiles[0]!.text};globalThis.determinism = determinism`, context);
  expect(context.determinism.digestOfOutcomes()).toBe(DETERMINISM);
});
