import { expect, test } from "vitest";
import { base64url, concat, followedBy, fromBase64url, scratch, utf8 } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { COMPATIBILITY_FLAGS } from "../../tools/workerd/config.ts";
import { nodeSha256 } from "../../durable-objects/platform.ts";

/** What the engine does here itself gives the bytes that the portable code gives elsewhere. */

/** Up to a few characters of every kind that UTF-8 treats differently, lone surrogates among them. */
const KINDS = [
  "a",
  "\0",
  "\x7f",
  "\x80",
  "\xe9",
  "\u07ff",
  "\u0800",
  "\uffff",
  "\ufeff",
  "\u{1f600}",
  "\ud83d",
  "\ude00",
];
const BYTES = crypto.getRandomValues(new Uint8Array(4_096));
/** As much as `scratch` holds without a buffer of its own. */
const ROOM = 16_384;

function mixed(length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += KINDS[BYTES[(i * 7 + length) % BYTES.length]! % KINDS.length];
  return text;
}

/** RFC 4648 by bits, without an alphabet shared with what is tested. */
const plain = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

test("the engine has its own base64, and the timers that are deployed", () => {
  expect(typeof (BYTES as { toBase64?: unknown }).toBase64).toBe("function");
  expect(COMPATIBILITY_FLAGS).toContain("no_nodejs_global_timers");
  expect(typeof setTimeout(() => undefined, 1)).toBe("number");
});

test("base64url: every length and every last byte, of views too", () => {
  for (let length = 0; length < 300; length++) {
    const view = BYTES.subarray(length, 2 * length);
    expect(base64url(view)).toBe(plain(view));
    expect(fromBase64url(base64url(view))).toEqual(view.slice());
  }
  for (let byte = 0; byte < 256; byte++) {
    const three = [Uint8Array.of(byte), Uint8Array.of(0xfb, byte), Uint8Array.of(0xff, 0xef, byte)];
    for (const bytes of three) expect(base64url(bytes)).toBe(plain(bytes));
  }
});

test("text after a head, and parts in a row, are the bytes that they are one by one", () => {
  const head = BYTES.subarray(5, 101);
  for (const length of [0, 1, 2, 3, 17, 1_000]) {
    for (const text of ["a".repeat(length), mixed(length), "a".repeat(length) + "\xe9", "\xe9" + "a".repeat(length)]) {
      expect(followedBy(head, text)).toEqual(concat(head, utf8(text)));
      expect(scratch(3, head, text, 0x80, text).slice()).toEqual(
        concat(Uint8Array.of(3), head, utf8(text), Uint8Array.of(0x80), utf8(text)),
      );
    }
  }
});

test("at the end of the room that parts share nothing is cut off or left out", () => {
  for (const kind of KINDS)
    for (let left = 0; left <= 5; left++)
      for (const last of ["", "a", kind, kind + kind, kind + "a" + kind]) {
        const filled = ["x".repeat(ROOM - left), new Uint8Array(ROOM - left).fill(7)];
        for (const first of filled) {
          const expected = concat(typeof first === "string" ? utf8(first) : first, utf8(last), Uint8Array.of(9));
          const found = scratch(first, last, 9);
          expect([found.length, base64url(nodeSha256(found))]).toEqual([
            expected.length,
            base64url(nodeSha256(expected)),
          ]);
        }
      }
});

test("the platform's SHA-256 reads a view as the portable one does, and what it gives stays", () => {
  const first = nodeSha256(scratch("first"));
  const kept = base64url(first);
  for (const bytes of [new Uint8Array(0), BYTES.subarray(1, 1), BYTES.subarray(3, 68), BYTES.subarray(100), BYTES])
    expect(base64url(nodeSha256(bytes))).toBe(base64url(sha256(bytes)));
  expect(base64url(nodeSha256(scratch(0x00, BYTES)))).toBe(base64url(sha256(concat(Uint8Array.of(0), BYTES))));
  expect(base64url(first)).toBe(kept);
});
