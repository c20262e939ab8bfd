import { join } from "node:path";
import { readRoots } from "../../src/trust/membership.ts";
import { Problem } from "../problem.ts";
import { readSecret, rootsDirOf } from "../workerd/data-dir.ts";
import { signingKey, type SigningKey } from "./keys.ts";

/**
 * Throw-away membership roots of a local fleet. Whoever reads these two files can admit a region, so they are for
 * one developer's machine and nothing else; real roots are made and kept offline (docs/operations/enrol.md).
 */
export type DevRoots = { readonly keys: readonly SigningKey[]; /** `INTERLOCK_ROOTS` */ readonly pinned: string };

const THRESHOLD = 2;

export async function devRoots(base: string): Promise<DevRoots> {
  const directory = rootsDirOf(base);
  const keys: SigningKey[] = [];
  for (const n of [1, 2]) keys.push(await signingKey(join(directory, `dev-root-${n}.jwk`), `dev-root-${n}`));
  return { keys, pinned: JSON.stringify({ threshold: THRESHOLD, keys: keys.map((key) => key.publicJwk) }) };
}

/** Real roots from a file: public halves only, `{threshold, keys: [JWK, …]}`. */
export function pinnedRoots(path: string): string {
  const text = readSecret(path);
  if (text === null)
    throw new Problem(`There is no roots file ${path}`, "Give the JSON {threshold, keys} of the membership roots.", 2);
  const roots = readRoots(text);
  if (!roots.ok) throw new Problem(`${path}: ${roots.error}`, "Correct the file.", 2);
  if (roots.value.keys.some((key) => "d" in key)) {
    throw new Problem(`${path} holds a private key`, "Pin public halves only; keep the private ones offline.", 2);
  }
  return JSON.stringify(roots.value);
}
