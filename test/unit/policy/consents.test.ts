import { expect, test } from "vitest";
import { consentsOf } from "../../../src/policy/consents.ts";
import { loadPolicy } from "../../../src/policy/evaluate.ts";
import { parseKey } from "../../../src/trust/keys.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { builtPack, request, type PackFiles } from "./pack-fixture.ts";

const SCHEMA = `entity User = { role?: String, age?: Long };
entity Doc = { patient: String };
action read appliesTo { principal: [User], resource: [Doc], context: { request: { purpose?: String } } };`;
const pack = (depends: readonly object[]): PackFiles => ({
  schema: SCHEMA,
  manifest: { resources: { doc: { type: "Doc", attributes: "pack", depends } } },
  entities: [{ uid: { type: "Doc", id: "d-1" }, attrs: { patient: "P-204" }, parents: [] }],
});

async function of(packs: Record<string, PackFiles>, asked: CanonicalRequest) {
  const built = await Promise.all(Object.entries(packs).map(([name, files]) => builtPack(name, files)));
  return consentsOf(loadPolicy({ v: 1, packs: built }, Object.keys(packs)), asked);
}

const FIXED = { kind: "consent", type: "patient", of: { attribute: "patient" }, for: "treatment" };
const STATED = { kind: "consent", type: "patient", of: "id", for: { context: "purpose" } };

test("by an attribute of the resource, for a fixed purpose", async () => {
  expect(await of({ a: pack([FIXED]) }, request())).toEqual({ keys: ["consent:patient/P-204#treatment"], failed: [] });
});

test("by the resource's id, for the stated purpose", async () => {
  const asked = request({ context: { purpose: "research" } });
  expect(await of({ a: pack([STATED]) }, asked)).toEqual({ keys: ["consent:patient/d-1#research"], failed: [] });
});

test("without a purpose, or with one that is no word, there is nothing that it could rest on", async () => {
  for (const context of [
    undefined,
    {},
    { purpose: "" },
    { purpose: "a#b" },
    { purpose: "Treatment" },
    { purpose: 1 },
  ]) {
    const asked = request(context === undefined ? {} : { context });
    expect(await of({ a: pack([STATED]) }, asked)).toEqual({
      keys: [],
      failed: [{ reason: "context_missing", detail: "purpose" }],
    });
  }
});

test("of all packs, each once; and all are keys that can be revoked", async () => {
  const asked = request({ context: { purpose: "treatment" } });
  const { keys } = await of({ a: pack([FIXED, STATED]), b: pack([FIXED]) }, asked);
  expect(keys).toEqual(["consent:patient/P-204#treatment", "consent:patient/d-1#treatment"]);
  expect(keys.every((key) => parseKey(key).ok)).toBe(true);
});

test("one that could never be withdrawn is none", async () => {
  const long = request({ context: { purpose: "treatment" }, resource: { type: "doc", id: "x".repeat(2_040) } });
  expect(await of({ a: pack([STATED]) }, long)).toMatchObject({ keys: [], failed: [{ reason: "policy_error" }] });
});

test("nobody's, where the pack does not know the resource or does not cover the request", async () => {
  const unknown = request({ resource: { type: "doc", id: "d-9" } });
  expect(await of({ a: pack([FIXED]) }, unknown)).toEqual({ keys: [], failed: [] });
  expect(await of({ a: pack([FIXED]) }, request({ action: { name: "write" } }))).toEqual({ keys: [], failed: [] });
});
