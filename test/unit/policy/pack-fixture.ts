import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { ValidPack } from "../../../src/policy/bundle.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { NOTHING_KNOWN, type PolicyEnv } from "../../../src/policy/interlock-context.ts";

/** Files of one pack; what is left out is written with a default that validates. */
export type PackFiles = {
  readonly manifest?: Readonly<Record<string, unknown>> | string;
  readonly schema?: string;
  readonly policies?: string;
  readonly entities?: readonly unknown[] | string;
  readonly golden?: unknown;
};

const MANIFEST = {
  v: 1,
  version: "1.0.0",
  layer: "application",
  description: "for a test",
  subjects: { user: { type: "User", attributes: "request", identity: "pep-asserted" } },
  resources: { doc: { type: "Doc", attributes: "pack" } },
  actions: { read: {} },
};

const SCHEMA = `entity User = { role?: String, age?: Long };
entity Doc = { owner?: String };
action read appliesTo { principal: [User], resource: [Doc], context: {} };
`;

export const SOVEREIGN_SCHEMA = `namespace Interlock {
  entity Subject = { type: String, id: String, home?: String };
  entity Resource = { type: String, id: String, home?: String };
  action transition appliesTo { principal: [Subject], resource: [Resource], context: { region: String, t_ms: Long } };
}
`;

/** A folder with these packs, removed when the test ends. */
export async function packsFolder(packs: Readonly<Record<string, PackFiles>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-packs-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writePacks(folder, packs);
  return folder;
}

export async function writePacks(folder: string, packs: Readonly<Record<string, PackFiles>>): Promise<void> {
  for (const [name, files] of Object.entries(packs)) {
    const write = async (leaf: string, content: unknown) => {
      await writeFile(join(folder, name, leaf), typeof content === "string" ? content : JSON.stringify(content));
    };
    await mkdir(join(folder, name));
    const { manifest = {} } = files;
    await write("pack.json", typeof manifest === "string" ? manifest : { ...MANIFEST, name, ...manifest });
    await write("schema.cedarschema", files.schema ?? SCHEMA);
    await write("policies.cedar", files.policies ?? "permit (principal, action, resource);");
    await write("entities.json", files.entities ?? []);
    await write("golden.json", files.golden ?? { v: 1, cases: [] });
  }
}

/** The pack as it is built; fails where it is not valid. For what is shared by several tests. */
export async function builtPack(name: string, files: PackFiles): Promise<ValidPack> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-packs-"));
  await writePacks(folder, { [name]: files });
  const [built] = await buildPacks(folder);
  await rm(folder, { recursive: true, force: true });
  if (built!.pack.status === "invalid") throw new Error(built!.pack.errors.map(({ message }) => message).join("; "));
  return built!.pack;
}

/** A manifest of the sovereign layer: it has no types of its own. */
export const SOVEREIGN_MANIFEST = (name: string): string =>
  JSON.stringify({ v: 1, name, version: "1", layer: "sovereign", description: "for a test" });

export const ENV: PolicyEnv = {
  region: "eu",
  t_ms: 1_768_478_400_000,
  pep: "gateway",
  run: { id: "", kind: "implicit", version: 0 },
  ...NOTHING_KNOWN,
};

export const request = (over: Partial<CanonicalRequest> = {}): CanonicalRequest => ({
  v: 1,
  subject: { type: "user", id: "ann" },
  action: { name: "read" },
  resource: { type: "doc", id: "d-1" },
  ...over,
});

/** A pack whose action `read` can be approved by `approve`. */
export const approvable = (policies: string): PackFiles => ({
  manifest: { actions: { read: { approval: { action: "approve", ttl_s: 60 } }, approve: {} } },
  schema: SCHEMA.replace("action read", "action read, approve"),
  policies,
});
