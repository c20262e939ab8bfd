import { expect, test } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { cut } from "../../../src/base/cut.ts";
import { parseJson } from "../../../src/base/json.ts";
import { coreText, decide } from "../../../src/decision/decide.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { goldenQuestion } from "../../../tools/explain/question.ts";
import { goldenCases } from "../../support/past.ts";

test("a text is cut between characters", () => {
  expect(cut("abc", 3)).toBe("abc");
  expect(cut("abcd", 3)).toBe("abc");
  expect(cut("ab\u{1F511}", 3)).toBe("ab");
  expect(cut("ab\u{1F511}", 4)).toBe("ab\u{1F511}");
  expect(cut("a\u{1F511}\u{1F511}", 4)).toBe("a\u{1F511}");
});

test("what a decision quotes of a request can be read again, wherever it is cut", () => {
  const name = "kubernetes-sre";
  const policy = loadPolicy(bundleJson as unknown as Bundle, ["sovereign", name]);
  const golden = goldenCases(name).find(({ expect: { reason } }) => reason === "zone_mismatch")!;
  const asked = goldenQuestion(policy, name, golden);
  for (let before = 60; before < 66; before++) {
    const cluster = "c".repeat(before) + "\u{1F511}".repeat(4);
    const resource = { ...asked.request.resource, properties: { ...asked.request.resource.properties, cluster } };
    const { core } = decide({ ...asked, request: { ...asked.request, resource } });
    expect(core.failed).toContainEqual({ reason: "zone_mismatch", detail: expect.stringMatching(/^no zone c{60,64}/) });
    expect(parseJson(coreText(core)).ok).toBe(true);
  }
});
