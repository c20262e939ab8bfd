import { readArtefact, type Artefact } from "../../src/policy/bundles/artefact.ts";
import { loadPolicy } from "../../src/policy/evaluate.ts";
import { Golden } from "../../src/policy/golden-format.ts";
import { Problem } from "../problem.ts";
import { runCase, runSearch } from "../../src/replay/golden.ts";
import type { Release } from "./release.ts";

export function artefactIn(release: Release, where: string): Artefact {
  const bytes = release.bundle();
  if (bytes === null) throw new Problem(`${where} has no bundle.json`, "Make one: interlock policy release.", 2);
  return artefactOf(bytes);
}

function artefactOf(bytes: Uint8Array): Artefact {
  const read = readArtefact(bytes);
  if (!read.ok) throw new Problem(`bundle.json: ${read.error}`, "Build it anew: interlock policy release.");
  return read.value;
}

/** Whether every golden decision in the bundle holds with this engine; says how many there are. */
export function assureGolden(bytes: Uint8Array): string {
  const artefact = artefactOf(bytes);
  let held = 0;
  for (const { name, status } of artefact.packs) {
    const golden = Golden.safeParse(artefact.tests[name]);
    if (status !== "valid" || !golden.success)
      throw new Problem(
        `Pack ${name} is ${status}, or has no golden decisions`,
        "Correct it, and build the bundle anew.",
      );
    const policy = loadPolicy(artefact, [name]);
    const results = [
      ...golden.data.cases.map((one) => runCase(policy, name, one)),
      ...(golden.data.searches ?? []).map((one) => runSearch(policy, name, one)),
    ];
    const wrong = results.find(({ differences }) => differences.length > 0);
    if (wrong !== undefined)
      throw new Problem(
        `${name}: ${wrong.name}: ${wrong.differences.join("; ")}`,
        "Correct the pack, and build the bundle anew.",
      );
    held += results.length;
  }
  return `${held} golden decisions hold`;
}
