import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DAY_MS, newRoleKeys, rootOf, sign } from "../../support/policy-documents.ts";
import { Release } from "../../../tools/policy/release.ts";
import { addSignature } from "../../../tools/policy/sign.ts";
import { Problem } from "../../../tools/problem.ts";

/** What lies in a release directory went through many hands, and a desk may lose power while it writes. */

let dir: string;
let release: Release;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "interlock-release-"));
  release = new Release(dir);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const ONE = { payload: "e30", signatures: [] };
const TWO = { payload: "e30", signatures: [{ protected: "e30", signature: "A" }] };

test("a file is there as it was or as it is, never in part: who holds the old one keeps all of it", () => {
  for (const [role, version] of [
    ["root", 1],
    ["policy", 0],
    ["timestamp", 0],
  ] as const) {
    const path = release.write(role, ONE, version);
    const old = join(dir, `${role}.held`);
    linkSync(path, old);
    release.write(role, TWO, version);
    expect(JSON.parse(readFileSync(old, "utf8"))).toEqual(ONE);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(TWO);
  }
  const path = release.writeBundle(new Uint8Array([1, 2, 3]));
  linkSync(path, join(dir, "bundle.held"));
  release.writeBundle(new Uint8Array([4]));
  expect([...readFileSync(join(dir, "bundle.held"))]).toEqual([1, 2, 3]);
  expect(release.bundle()).toEqual(new Uint8Array([4]));
  // What was left behind by a desk that lost power is no document.
  writeFileSync(join(dir, "roots", "2.json.1234"), "{");
  expect(release.roots()).toEqual([TWO]);
});

test.each([
  "",
  "{",
  "null",
  "[]",
  '{"payload":7}',
  '{"payload":"e30"}',
  '{"payload":"!","signatures":[]}',
  '{"payload":"W10","signatures":[]}',
])("a damaged root is named, with what to do: %s", async (text) => {
  const keys = await newRoleKeys();
  release.write("root", await sign("root", rootOf(keys, 1, Date.now() + DAY_MS), keys.root), 1);
  writeFileSync(join(dir, "roots", "2.json"), text);
  expect(() => release.offerFor({ trust: null })).toThrow(Problem);
  expect(() => release.offerFor({ trust: null })).toThrow(/2\.json/);
});

test("a damaged signature does not keep the next one from being added", async () => {
  const keys = await newRoleKeys();
  const signer = keys.policy[0]!;
  const { x, key, kid } = signer;
  const signed = await addSignature(TWO, "policy", { kid, key, publicJwk: { x } });
  expect(signed.signatures).toHaveLength(2);
  const junk = { ...ONE, signatures: [{ protected: "!", signature: "A" }] };
  expect((await addSignature(junk, "policy", { kid, key, publicJwk: { x } })).signatures).toHaveLength(2);
});
