import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadArtefact, readArtefact, type Artefact } from "../../../../src/policy/bundles/artefact.ts";
import { buildArtefact } from "../../../../tools/policy/artefact.ts";
import { POLICIES } from "../../../../tools/policy/build.ts";
import { conflicts } from "../../../../tools/policy/conflicts.ts";
import { assureGolden } from "../../../../tools/policy/golden-of.ts";

/** The gate before a signature: a bundle is the same bytes everywhere, its golden decisions hold, and it says what changes. */

let folder: string;
let bytes: Uint8Array;
let whole: Artefact;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interlock-packs-"));
  cpSync(POLICIES, folder, { recursive: true });
  bytes = await buildArtefact();
  whole = artefact(bytes);
});
afterAll(() => rmSync(folder, { recursive: true }));

function artefact(of: Uint8Array): Artefact {
  const read = readArtefact(of);
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

const SOURCE = "authzen-certification/policies.cedar";
/** The bundle with other policies in one pack; its golden decisions are kept, held or not. */
async function changed(edit: (text: string) => string): Promise<Artefact> {
  const path = join(folder, SOURCE);
  const text = readFileSync(path, "utf8");
  writeFileSync(path, edit(text));
  try {
    const { buildBundle } = await import("../../../../tools/policy/build.ts");
    return { ...whole, packs: (await buildBundle(folder)).packs };
  } finally {
    writeFileSync(path, text);
  }
}

const found = async (edit: (text: string) => string) =>
  conflicts(await changed(edit), whole).map(({ kind, where }) => `${kind} ${where}`);

test("the same packs give the same bytes in another folder, and every region of the table loads them", async () => {
  expect(await buildArtefact(folder)).toEqual(bytes);
  for (const region of Object.keys(whole.regions)) expect(loadArtefact(bytes, region)).toMatchObject({ ok: true });
  expect(whole.sources[SOURCE]).toBe(readFileSync(join(POLICIES, SOURCE), "utf8"));
  expect(assureGolden(bytes)).toMatch(/^[1-9][0-9]+ golden decisions hold$/);
});

test("packs that fail their golden decisions are not built, and a bundle of such is not published", async () => {
  const golden = join(folder, "authzen-certification/golden.json");
  const text = readFileSync(golden, "utf8");
  writeFileSync(golden, text.replace('"decision": true', '"decision": false'));
  await expect(buildArtefact(folder)).rejects.toThrow(/not fit to be signed/);
  writeFileSync(golden, text);
  const other = await changed((policies) => policies.replace("permit", "forbid"));
  expect(() => assureGolden(new TextEncoder().encode(JSON.stringify(other)))).toThrow(/authzen-certification/);
});

test("nothing is found in what ships", () => {
  expect(conflicts(whole, whole).filter(({ kind }) => kind !== "redundant")).toEqual([]);
});

test.each([
  ["duplicate", '@id("again") permit(principal == User::"alice", action, resource) when { true };', "again"],
  ["unsatisfiable", '@id("never") permit(principal, action, resource) when { false };', "never"],
  [
    "unsatisfiable",
    '@id("both") permit(principal, action, resource) when { principal has role } unless { principal has role };',
    "both",
  ],
  ["shadowed", '@id("no") forbid(principal, action, resource);', "known-users-read"],
  ["redundant", '@id("all") permit(principal, action, resource);', "known-users-read"],
])("finds what is %s", async (kind, policy, id) => {
  const twice = kind === "duplicate" ? policy.replace("again", "first") : "";
  const seen = await found((text) => `${text}\n${twice}\n${policy}\n`);
  expect(seen).toContain(`${kind} authzen-certification/${id}`);
});

test("says which golden questions are answered otherwise: what is newly allowed first of all", async () => {
  const lax = await found((text) => `${text}\n@id("all") permit(principal, action, resource);\n`);
  expect(lax.some((one) => one.startsWith("newly_allowed authzen-certification: "))).toBe(true);
  expect(lax.some((one) => one.startsWith("newly_denied"))).toBe(false);
  const strict = await found((text) => `${text}\n@id("no") forbid(principal, action, resource);\n`);
  expect(strict.some((one) => one.startsWith("newly_denied authzen-certification: "))).toBe(true);
});
