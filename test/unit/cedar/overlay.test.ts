import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Entity, entityStore, type EntityUid, long, overlay, record, uidKey } from "../../../src/cedar/index.ts";
import { stored, uid } from "./fixtures.ts";

const node = (id: string, parents: string[], n = 0): Entity => ({
  uid: uid("G", id),
  attributes: record([["n", long(n)]]),
  parents: parents.map((parent) => uid("G", parent)),
});
const key = (id: string) => uidKey(uid("G", id));

describe("overlay", () => {
  const base = stored([node("a", ["b"], 1), node("b", ["c"], 2), node("c", [])]);

  test("replaces an entity whole and leaves the base as it was", () => {
    const over = overlay(base, [node("a", ["z"], 9)]);
    if (!over.ok) throw new Error(over.error);
    expect(over.value.get(key("a"))?.attributes.attributes.get("n")).toBe(9);
    expect([...over.value.ancestors(key("a"))]).toEqual([key("z")]);
    expect(base.get(key("a"))?.attributes.attributes.get("n")).toBe(1);
    expect(over.value.get(key("b"))).toBe(base.get(key("b")));
  });

  test("moves what lies below an overlaid entity", () => {
    const over = overlay(base, [node("b", ["x"])]);
    if (!over.ok) throw new Error(over.error);
    expect(new Set(over.value.ancestors(key("a")))).toEqual(new Set([key("b"), key("x")]));
  });

  test("refuses a cycle through the base, a self-parent, and contradicting duplicates", () => {
    expect(overlay(base, [node("c", ["a"])]).ok).toBe(false);
    expect(overlay(base, [node("q", ["q"])]).ok).toBe(false);
    expect(overlay(base, [node("a", [], 1), node("a", [], 2)]).ok).toBe(false);
    expect(overlay(base, [node("a", [], 1), node("a", [], 1)]).ok).toBe(true);
  });

  test("equals a store built from scratch with the entities replaced", () => {
    const ids = ["a", "b", "c", "d", "e", "f"];
    const entities = fc.uniqueArray(
      fc.tuple(fc.constantFrom(...ids), fc.subarray(ids)).map(([id, parents]) => node(id, parents)),
      { selector: ({ uid: { id } }: { uid: EntityUid }) => id },
    );
    fc.assert(
      fc.property(entities, entities, (below, above) => {
        const under = entityStore(below);
        fc.pre(under.ok);
        const replaced = new Set(above.map((entity) => entity.uid.id));
        const rebuilt = entityStore([...below.filter((entity) => !replaced.has(entity.uid.id)), ...above]);
        const over = overlay(under.value, above);
        expect(over.ok).toBe(rebuilt.ok);
        if (!over.ok || !rebuilt.ok) return;
        for (const id of ids) {
          expect(new Set(over.value.ancestors(key(id)))).toEqual(new Set(rebuilt.value.ancestors(key(id))));
          expect(over.value.get(key(id))?.uid.key).toBe(rebuilt.value.get(key(id))?.uid.key);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  test("refuses cycles in the base and survives a very long chain", () => {
    expect(entityStore([node("a", ["b"]), node("b", ["a"])]).ok).toBe(false);
    const chain = Array.from({ length: 2_000 }, (_, i) => node(String(i), [String(i + 1)]));
    expect(stored(chain).ancestors(key("0")).size).toBe(2_000);
  });
});
