import { readFileSync } from "node:fs";
import { sha256 } from "../../src/base/digest.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import { Golden, type GoldenCase } from "../../src/policy/golden-format.ts";
import type { Past } from "../../src/replay/past.ts";
import { decideAgain, inputOf } from "../../src/replay/rerun.ts";
import { goldenEnv, goldenRequest } from "../../src/replay/golden.ts";
import { rerunOfGolden } from "./golden-rerun.ts";

/** History made of a pack's golden decisions, as a region would have recorded them. */

export function goldenCases(pack: string): readonly GoldenCase[] {
  const text = readFileSync(`policies/${pack}/golden.json`, "utf8");
  const { $schema: _for_editors, ...golden } = JSON.parse(text) as Record<string, unknown>;
  return Golden.parse(golden).cases;
}

export function pastOfGolden(policy: LoadedPolicy, pack: string, golden: GoldenCase, at: number): Past {
  const { run: asked } = goldenEnv(pack, golden);
  const request = { ...goldenRequest(golden), ...(asked.kind === "opened" ? { run: asked.id } : {}) };
  const rerun = rerunOfGolden(policy, pack, golden, request);
  const { core, determining } = decideAgain(inputOf(rerun, policy, sha256, true), false);
  const { facts, run, seen } = rerun;
  return { decision_id: `eu.1.s0.${at + 1}`, core, request, facts, run, seen, determining };
}
