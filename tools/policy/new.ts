import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Problem } from "../problem.ts";
import { POLICIES } from "./build.ts";

/** A pack to begin with: small, commented, valid, formatted, and with tests that pass. */
export const TEMPLATE = join(import.meta.dirname, "template");

const NAME = /^[a-z][a-z0-9-]{0,62}$/;

/** `interlock policy new NAME`: copies the template, with the pack's name and namespace put in. Gives its folder. */
export async function newPack(name: string, directory: string = POLICIES): Promise<string> {
  if (!NAME.test(name))
    throw new Problem(`${name} is no name for a pack`, "Use lower-case letters, digits and hyphens, e.g. invoices.", 2);
  const folder = join(directory, name);
  if (existsSync(folder)) throw new Problem(`${folder} is there already`, "Choose another name.", 2);
  const namespace = name.replace(/(?:^|-)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  await cp(TEMPLATE, folder, { recursive: true });
  for (const leaf of await readdir(folder)) {
    const path = join(folder, leaf);
    const text = await readFile(path, "utf8");
    await writeFile(
      path,
      text
        .replaceAll("Template::", `${namespace}::`)
        .replaceAll("namespace Template", `namespace ${namespace}`)
        .replaceAll('"template"', JSON.stringify(name)),
    );
  }
  return folder;
}
