import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  base64url,
  concat,
  equalBytes,
  followedBy,
  fromBase64url,
  fromHex,
  fromUtf8,
  hex,
  scratch,
  utf8,
} from "../../../src/base/bytes.ts";

const bytes = fc.uint8Array({ maxLength: 80 });

describe("base64url", () => {
  test("agrees with Node and comes back", () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(base64url(value)).toBe(Buffer.from(value).toString("base64url"));
        expect(fromBase64url(base64url(value))).toEqual(new Uint8Array(value));
      }),
    );
  });

  test("accepts a text exactly where it is the one text of its bytes", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n\u00e9\u{1f600}";
    const text = fc.string({ unit: fc.constantFrom(...Array.from(alphabet)), maxLength: 12 });
    fc.assert(
      fc.property(text, (value) => {
        const node = Buffer.from(value, "base64url");
        const canonical = node.toString("base64url") === value;
        expect(fromBase64url(value)).toEqual(canonical ? new Uint8Array(node) : null);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each(["A", "AAAAA", "AA==", "AB", "AAB", "AA A", "AA+A", "AA/A", "AAA\n", "\u00ff\u00ffAA"])(
    "refuses %j",
    (text) => {
      expect(fromBase64url(text)).toBeNull();
    },
  );
});

describe("hex", () => {
  test("comes back, in either case", () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(hex(value)).toBe(Buffer.from(value).toString("hex"));
        expect(fromHex(hex(value))).toEqual(new Uint8Array(value));
        expect(fromHex(hex(value).toUpperCase())).toEqual(new Uint8Array(value));
      }),
    );
  });

  test.each(["0", "0g", "0x00", " 00", "00\n"])("refuses %j", (text) => expect(fromHex(text)).toBeNull());
});

describe("UTF-8", () => {
  test("comes back for every well-formed text, a byte order mark included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(fromUtf8(utf8(text))).toBe(text);
      }),
    );
    expect(fromUtf8(utf8("\ufeffa"))).toBe("\ufeffa");
  });

  test.each([[[0x80]], [[0xc0, 0xaf]], [[0xed, 0xa0, 0x80]], [[0xf4, 0x90, 0x80, 0x80]], [[0xe2, 0x82]]])(
    "refuses the bytes %j",
    (list) => expect(fromUtf8(Uint8Array.from(list))).toBeNull(),
  );
});

test("concat and equalBytes agree with Buffer", () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(Buffer.from(concat(a, b)).equals(Buffer.concat([a, b]))).toBe(true);
      expect(equalBytes(a, b)).toBe(Buffer.from(a).equals(b));
      expect(equalBytes(a, Uint8Array.from(a))).toBe(true);
    }),
  );
});

describe("parts in a row", () => {
  const part = fc.oneof(bytes, fc.string({ unit: "binary" }), fc.integer({ min: 0, max: 255 }));
  const bytesOf = (one: Uint8Array | string | number): Uint8Array =>
    typeof one === "string" ? utf8(one) : typeof one === "number" ? Uint8Array.of(one) : one;

  test("are the bytes of each, lone surrogates too", () => {
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        expect([...scratch(...parts)]).toEqual([...concat(...parts.map(bytesOf))]);
      }),
    );
  });

  test.each([16_383, 16_384, 16_385, 100_000])("also where they are %i long, and longer in UTF-8", (length) => {
    for (const parts of [
      ["a".repeat(length)],
      ["\u{1f600}".repeat(length / 2)],
      [7, new Uint8Array(length).fill(1), "x"],
      ["x".repeat(length), 7],
      [new Uint8Array(3), "\u00e9".repeat(length)],
    ])
      expect(equalBytes(scratch(...parts).slice(), concat(...parts.map(bytesOf)))).toBe(true);
  });

  test("a head and a text are in a buffer of their own", () => {
    fc.assert(
      fc.property(bytes, fc.string({ unit: "binary" }), (head, text) => {
        const made = followedBy(head, text);
        scratch("overwritten", head);
        expect([...made]).toEqual([...concat(head, utf8(text))]);
        expect(made.buffer.byteLength).toBe(made.length);
      }),
    );
  });
});
