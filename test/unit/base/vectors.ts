import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** Folder of the public vectors: `INTERLOCK_VECTORS`, else `../shared/vectors` beside the checkout. */
const ROOT = resolve(process.env["INTERLOCK_VECTORS"] ?? join(import.meta.dirname, "../../../../shared/vectors"));

export type Vectors = { readonly folder: string; readonly missing: boolean; readonly note: string };

/** Where the vectors `name` are; `missing` with a note for the test's title where they are not. */
export function vectors(name: string): Vectors {
  const folder = join(ROOT, name);
  const missing = !existsSync(folder);
  return { folder, missing, note: missing ? ` (skipped: no ${folder}; set INTERLOCK_VECTORS)` : "" };
}
