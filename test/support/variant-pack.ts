import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bundle } from "../../src/policy/bundle.ts";
import { buildPacks, POLICIES } from "../../tools/policy/build.ts";

/** A shipped pack as its authors would have written it elsewhere, and the sovereign one. */

/** `leaf`: the file's name in the pack's folder. */
export type Edit = (leaf: string, text: string) => string;

export async function variantOf(pack: string, edit: Edit): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-variant-"));
  try {
    for (const name of ["sovereign", pack]) await cp(join(POLICIES, name), join(folder, name), { recursive: true });
    const at = join(folder, pack);
    // What the cases of the scenario's own names say is not what these say.
    await writeFile(join(at, "golden.json"), '{ "v": 1, "cases": [] }\n');
    for (const leaf of await readdir(at)) {
      const path = join(at, leaf);
      await writeFile(path, edit(leaf, await readFile(path, "utf8")));
    }
    const built = await buildPacks(folder);
    const problem = built.flatMap(({ problems }) => problems)[0];
    if (problem !== undefined) throw new Error(`${problem.file}:${problem.line}: ${problem.message}`);
    return { v: 1, packs: built.map(({ pack: valid }) => valid) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whole JSON and Cedar strings only: a name inside of another is another name. */
export const renamed = (text: string, to: ReadonlyMap<string, string>): string =>
  text.replaceAll(/"([^"\\]*)"/g, (whole, inner: string) => {
    const other = to.get(inner);
    return other === undefined ? whole : `"${other}"`;
  });

/** Fails where there is nothing to replace: a pack that was written anew must not pass for a variant of the old one. */
export function replaced(text: string, from: RegExp, to: string): string {
  if (!from.test(text)) throw new Error(`nothing like ${String(from)}`);
  return text.replace(from, to);
}
