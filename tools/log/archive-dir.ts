import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeOf } from "../problem.ts";

/**
 * The directory of an archived log epoch: C2SP tlog-tiles as files (`checkpoint`, `tile/…`, `tile/entries/…`), and
 * beside it `policy`, `memberships.json`, `manifest.json`, `README.md`.
 */

export type Manifest = {
  readonly v: 1;
  readonly type: "interlock-log-archive";
  readonly origin: string;
  readonly region: string;
  readonly log_epoch: number;
  readonly size: number;
  /** base64url. */
  readonly root: string;
  /** SHA-256, hex, of the files that no checkpoint covers. */
  readonly files: Readonly<Record<(typeof LOOSE_FILES)[number], string>>;
};

/** Everything but the tiles, which the root covers. */
export const LOOSE_FILES = ["checkpoint", "memberships.json", "policy"] as const;

export const manifestText = (manifest: Manifest): string => JSON.stringify(manifest, null, 2) + "\n";

export const hexDigest = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** Made of the manifest alone, so that a changed README shows too. */
export const readmeText = (
  manifest: Manifest,
): string => `# Log epoch ${manifest.log_epoch} of region ${manifest.region}

The whole Merkle log \`${manifest.origin}\`, as static C2SP tlog-tiles.

    size      ${manifest.size}
    root      ${manifest.root}
    manifest  sha256:${hexDigest(manifestText(manifest))}

Keep the digest of the manifest somewhere else: it covers the checkpoint, the checkpoint covers every entry.

- \`checkpoint\`: the last one, with the cosignatures of the witnesses.
- \`tile/\`: hash tiles. \`tile/entries/\`: entry bundles, the records themselves, for auditors only. Payloads are not in here.
- \`policy\`: the tlog-policy that the region served. Do not trust it because it lies here.
- \`memberships.json\`: every membership that the region has held, signed by the roots: with \`interlock region trust
  --membership memberships.json --roots ROOTS --region ${manifest.region}\` they give a policy to trust.

Check it, without a network: \`interlock log verify-archive DIR --trust POLICY\`
`;

export function readFile(dir: string, name: string): Uint8Array | null {
  try {
    return readFileSync(join(dir, name));
  } catch (cause) {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(codeOf(cause) ?? "")) return null;
    throw cause;
  }
}

/** Whole or not at all; for the owner alone, since entries are an auditor's. */
export function writeFile(dir: string, name: string, bytes: Uint8Array | string): void {
  const path = join(dir, name);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.part`, bytes, { mode: 0o600 });
  renameSync(`${path}.part`, path);
}
