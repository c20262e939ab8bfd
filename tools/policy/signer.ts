import { documentIn } from "./sign.ts";
import type { Release } from "./release.ts";
import type { Role } from "../../src/policy/bundles/refusals.ts";
import { Problem } from "../problem.ts";
import type { SigningKey } from "../region/keys.ts";

/**
 * A signature by a key that the role does not have counts nowhere, and looks as if it did. A root is signed by its own
 * root keys and by those of the root before it. Without a root at hand nothing can be said.
 */
export function assureSigner(release: Release, role: Role, { kid, publicJwk }: SigningKey, path: string): void {
  const roots = release.roots().map((one) => documentIn("root", one, "roots").document);
  const entitled = roots
    .slice(role === "root" ? -2 : -1)
    .flatMap(({ version, keys, roles }) => roles[role].kids.map((name) => ({ version, name, x: keys[name]!.x })));
  if (entitled.length === 0 || entitled.some(({ name, x }) => name === kid && x === publicJwk.x)) return;
  const names = [...new Set(entitled.map(({ name }) => name))].join(", ");
  const impostor = entitled.some(({ name }) => name === kid);
  throw new Problem(
    impostor
      ? `${path} is called ${kid}, and is another key than the ${role} key of that name in the root`
      : `${kid} (${path}) is none of the ${role} keys of root version ${roots.at(-1)!.version}`,
    `Sign with one of: ${names}. Other keys come with a next root (interlock policy root).`,
    2,
  );
}
