import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Golden, GoldenCase } from "../../src/policy/golden-format.ts";
import { ROOT } from "../workerd/bundle.ts";

/**
 * A curl line that is answered with an allow: the first golden case of the region's first application pack that
 * expects one and needs nothing but the request. `null` where the packs have none.
 */
export function sampleCurl(packs: readonly string[], url: string, pep: string): string | null {
  const golden = packs.map(firstAllowed).find((one) => one !== null);
  if (golden === undefined) return null;
  const body = JSON.stringify(golden.request).replaceAll("'", String.raw`'\''`);
  return `curl -s ${url}/access/v1/evaluation -H 'Authorization: Bearer ${pep}' -H 'Content-Type: application/json' -d '${body}'`;
}

function firstAllowed(pack: string): GoldenCase | null {
  const path = join(ROOT, "policies", pack, "golden.json");
  // The sovereign pack judges every request but knows no types of its own, so its cases are no questions to ask.
  if (pack === "sovereign" || !existsSync(path)) return null;
  const golden = JSON.parse(readFileSync(path, "utf8")) as Golden;
  return golden.cases.find((one) => one.expect.decision && asItIs(one)) ?? null;
}

/** Under the circumstances that anybody has who follows the line: nothing is known but what the request says. */
const asItIs = ({ name: _name, request: _request, expect: _expect, run, ...rest }: GoldenCase): boolean =>
  run !== "opened" && Object.keys(rest).length === 0;
