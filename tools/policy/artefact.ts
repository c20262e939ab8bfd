import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { utf8 } from "../../src/base/bytes.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Artefact } from "../../src/policy/bundles/artefact.ts";
import { MAX_BUNDLE_BYTES } from "../../src/policy/bundles/documents.ts";
import type { RegionPacks } from "../../src/policy/regions.ts";
import { Problem } from "../problem.ts";
import { buildBundle, POLICIES } from "./build.ts";
import type { BundleOfRegions } from "./newly-allowed.ts";
import { readSource } from "./source.ts";
import { reportResult, testPacks } from "./test.ts";

/**
 * The bundle of a folder of packs: canonical bytes, so that the same packs give the same digest on every machine. It is
 * made only where every pack validates strictly and every golden decision holds.
 */
export async function buildArtefact(directory: string = POLICIES): Promise<Uint8Array> {
  const { packs } = await testPacks(directory);
  const wrong = packs
    .filter(({ built, failures }) => built.pack.status !== "valid" || failures.length > 0)
    .flatMap(reportResult);
  if (wrong.length > 0)
    throw new Problem(
      `The packs are not fit to be signed:\n${wrong.join("\n")}`,
      "Correct them: interlock policy test.",
    );
  const artefact: Artefact = {
    v: 1,
    packs: packs.map(({ built }) => built.pack),
    regions: JSON.parse(await readFile(join(directory, "regions.json"), "utf8")) as RegionPacks,
    sources: Object.fromEntries((await Promise.all(packs.map(({ name }) => sourcesOf(directory, name)))).flat()),
    tests: Object.fromEntries(packs.map(({ name, built }) => [name, built.golden as unknown as JsonObject])),
  };
  const bytes = utf8(jcs(artefact));
  if (bytes.length > MAX_BUNDLE_BYTES)
    throw new Problem(`The bundle has ${bytes.length} bytes, and ${MAX_BUNDLE_BYTES} are the most`, "Leave packs out.");
  return bytes;
}

/** What ships with this checkout: what a region decides by that never took a signed bundle. */
export async function baselineBundle(): Promise<BundleOfRegions> {
  const regions = JSON.parse(await readFile(join(POLICIES, "regions.json"), "utf8")) as RegionPacks;
  return { ...(await buildBundle()), regions };
}

async function sourcesOf(directory: string, pack: string): Promise<readonly (readonly [string, string])[]> {
  const leaves = (await readdir(join(directory, pack))).filter((leaf) => /\.(cedar|cedarschema)$/.test(leaf)).sort();
  return Promise.all(
    leaves.map(async (leaf) => [`${pack}/${leaf}`, await readSource(join(directory, pack, leaf))] as const),
  );
}
