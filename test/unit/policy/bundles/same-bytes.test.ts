import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Artefact } from "../../../../src/policy/bundles/artefact.ts";
import { buildArtefact } from "../../../../tools/policy/artefact.ts";
import { POLICIES, policyBuild } from "../../../../tools/policy/build.ts";
import { generateKeyPair, exportJWK } from "jose";

/** A bundle is the same bytes on every desk: two people build it, compare digests, and sign. */

const INTERLOCK = join(import.meta.dirname, "../../../../tools/interlock.ts");
const run = promisify(execFile);
let dir: string;
let bytes: Uint8Array;
let whole: Artefact;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "interlock-same-"));
  bytes = await buildArtefact();
  whole = JSON.parse(new TextDecoder().decode(bytes)) as Artefact;
});
afterAll(() => rmSync(dir, { recursive: true }));

/** The packs again, file by file in another order, each through `edit`. */
function copied(name: string, edit: (text: string) => string): string {
  const files = readdirSync(POLICIES, { recursive: true, encoding: "utf8" })
    .filter((file) => statSync(join(POLICIES, file)).isFile())
    .toSorted((a, b) => (a < b ? 1 : -1));
  for (const file of files) {
    const path = join(dir, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, edit(readFileSync(join(POLICIES, file), "utf8")));
  }
  return join(dir, name);
}

/** A file of a pack, without the member that is for editors. */
function written(path: string): object {
  const { $schema: _, ...rest } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  return rest;
}

test("it holds Cedar text, JSON form, schema, entities, what each pack asks of callers, and golden decisions", () => {
  expect(Object.keys(whole).toSorted()).toEqual(["packs", "regions", "sources", "tests", "v"]);
  for (const pack of whole.packs) {
    if (pack.status !== "valid") throw new Error(`${pack.name} is invalid`);
    const folder = join(POLICIES, pack.name);
    for (const file of readdirSync(folder).filter((leaf) => /\.cedar(schema)?$/.test(leaf)))
      expect(whole.sources[`${pack.name}/${file}`]).toBe(readFileSync(join(folder, file), "utf8"));
    expect(pack.policies.length).toBeGreaterThan(0);
    expect(pack.policies.every(({ json }) => typeof json === "object")).toBe(true);
    expect(pack.schema.text).toBe(whole.sources[`${pack.name}/schema.cedarschema`]);
    expect(Object.keys(pack.schema.json).length).toBeGreaterThan(0);
    // Those of the pack's directory, and the actions of its schema.
    const entities = JSON.parse(readFileSync(join(folder, "entities.json"), "utf8")) as readonly { uid: unknown }[];
    expect(pack.entities.map(({ uid }) => uid)).toEqual(expect.arrayContaining(entities.map(({ uid }) => uid)));
    expect(pack.manifest).toEqual(written(join(folder, "pack.json")));
    expect(whole.tests[pack.name]).toEqual(written(join(folder, "golden.json")));
  }
  const [workloads] = whole.packs.filter(({ name }) => name === "workloads");
  expect(workloads).toMatchObject({
    manifest: {
      subjects: {
        workload: { identity: { accept: ["wit", "access-token"] } },
        enclave: { attestation: { max_age_ms: 300_000, tiers: ["affirming"] } },
      },
    },
  });
});

test("from a checkout with CRLF, and from files that were written in another order", async () => {
  const folder = copied("crlf", (text) => text.replaceAll("\n", "\r\n"));
  expect(readFileSync(join(folder, "sovereign/policies.cedar"), "utf8")).toContain("\r\n");
  expect(Buffer.from(await buildArtefact(folder)).equals(bytes)).toBe(true);
  expect(await policyBuild({ directory: folder, check: true })).toMatchObject({ ok: true });
});

test("on machines of other languages and time zones", async () => {
  const folder = copied("abroad", (text) => text);
  for (const [n, env] of [
    { TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" },
    { TZ: "America/St_Johns", LANG: "C", LC_ALL: "C" },
  ].entries()) {
    const release = join(dir, `release-${n}`);
    await run(process.execPath, [INTERLOCK, "policy", "release", release, "--version", "1", "--policies", folder], {
      env: { ...process.env, ...env },
    });
    expect(readFileSync(join(release, "bundle.json")).equals(bytes)).toBe(true);
    // `--check` compares what this gives with the `bundle.json` of the checkout, byte by byte.
    await run(process.execPath, [INTERLOCK, "policy", "build", "--check"], { env: { ...process.env, ...env } });
  }
});

test("two keys of one name make no root", async () => {
  const path = async (name: string, kid: string): Promise<string> => {
    const { privateKey } = await generateKeyPair("Ed25519", { extractable: true });
    writeFileSync(join(dir, name), JSON.stringify({ ...(await exportJWK(privateKey)), kid }));
    return join(dir, name);
  };
  const [r, p, t] = [await path("r.jwk", "one"), await path("p.jwk", "one"), await path("t.jwk", "t")];
  const args = ["--root-key", r, "--policy-key", p, "--timestamp-key", t, "--thresholds", "1,1,1"];
  await expect(run(process.execPath, [INTERLOCK, "policy", "root", join(dir, "root"), ...args])).rejects.toMatchObject({
    stderr: expect.stringContaining("Two different keys are called one") as unknown,
  });
});
