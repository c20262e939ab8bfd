import { readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { Release } from "../policy/release.ts";
import { documentIn, rootDocument, signDocument, type RoleKeys } from "../policy/sign.ts";
import { Problem } from "../problem.ts";
import { rootsDirOf } from "../workerd/data-dir.ts";
import { signingKey, type SigningKey } from "./keys.ts";

/**
 * Throw-away policy keys of a local fleet, beside its membership roots. Whoever reads them can change what every region
 * of this machine decides by; real ones are made and kept offline (docs/operations/publish-policy.md).
 */
export type DevPolicy = {
  readonly keys: Readonly<Record<"root" | "policy" | "timestamp", readonly SigningKey[]>>;
  readonly release: Release;
  /** `INTERLOCK_POLICY_ROOT` */
  readonly pinned: string;
};

const YEAR_MS = 365 * 86_400_000;

export async function devPolicy(base: string): Promise<DevPolicy> {
  const directory = join(rootsDirOf(base), "policy");
  const make = (names: readonly string[]): Promise<SigningKey[]> =>
    Promise.all(names.map((name) => signingKey(join(directory, `${name}.jwk`), name)));
  const keys = {
    root: await make(["dev-policy-root-1", "dev-policy-root-2"]),
    policy: await make(["dev-policy-1", "dev-policy-2"]),
    timestamp: await make(["dev-timestamp-1"]),
  };
  const release = new Release(directory);
  let [first] = release.roots();
  if (first === undefined) {
    const document = rootDocument(
      keys satisfies RoleKeys,
      { root: 2, policy: 2, timestamp: 1 },
      1,
      Date.now() + 10 * YEAR_MS,
    );
    first = await signDocument("root", document, keys.root);
    release.write("root", first, 1);
  }
  return { keys, release, pinned: JSON.stringify(first) };
}

/** The root that an operator pins: a signed root document in a file. */
export function pinnedPolicyRoot(path: string): string {
  if (!existsSync(path))
    throw new Problem(
      `There is no policy root ${path}`,
      "Give the signed root document, roots/1.json of a release.",
      2,
    );
  const text = readFileSync(path, "utf8");
  documentIn("root", JSON.parse(text), path);
  return JSON.stringify(JSON.parse(text));
}
