import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RevocationIndex } from "../../../src/trust/revocation-index.ts";

const token = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => bytes.some((byte) => byte !== 0));

describe("RevocationIndex", () => {
  it("holds exactly what was added, like a set", () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 300 }), fc.array(token, { maxLength: 100 }), (added, asked) => {
        const index = new RevocationIndex(1);
        const set = new Set<string>();
        for (const bytes of added) {
          index.add(bytes);
          index.add(bytes);
          set.add(String(bytes));
        }
        expect(index.size).toBe(set.size);
        for (const bytes of [...added, ...asked]) expect(index.has(bytes)).toBe(set.has(String(bytes)));
      }),
      { numRuns: 200 },
    );
  });

  it("finds tokens that collide in their first words", () => {
    const index = new RevocationIndex(4);
    const tokens = Array.from({ length: 500 }, (_, i) =>
      Uint8Array.of(0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, i >> 8, i & 255),
    );
    for (const bytes of tokens) index.add(bytes);
    expect(tokens.every((bytes) => index.has(bytes))).toBe(true);
    expect(index.has(Uint8Array.of(0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0))).toBe(false);
  });
});
