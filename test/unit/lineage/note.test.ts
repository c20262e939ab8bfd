import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import { verifierOf } from "../../../src/lineage/cosignature.ts";
import {
  formatSignerKey,
  formatVerifierKey,
  isKeyName,
  keyId,
  parseSignerKey,
  parseVerifierKey,
  verifierKey,
} from "../../../src/lineage/note-key.ts";
import {
  formatNote,
  MAX_NOTE_BYTES,
  parseNote,
  signatureLine,
  signNote,
  verifyNote,
  type NoteVerifier,
} from "../../../src/lineage/note.ts";
import { base64, fromBase64, fromDecimal, hashFromBase64 } from "../../../src/lineage/text.ts";
import { vectors } from "../base/vectors.ts";
import { bytesOf, sha } from "./build.ts";
import { flip, keyOf, verifyEd25519, witnessKey } from "./log-build.ts";

const verifiersOf = (...texts: readonly string[]): NoteVerifier[] =>
  texts.flatMap((text) => {
    const key = parseVerifierKey(text, sha);
    if (!key.ok) throw new Error(key.error.message);
    return verifierOf(key.value, verifyEd25519) ?? [];
  });

/** "ok" or the reason. */
async function open(source: Uint8Array | string, verifiers: readonly NoteVerifier[]): Promise<string> {
  const note = parseNote(source);
  if (!note.ok) return note.error.code;
  const verified = await verifyNote(note.value, verifiers);
  return verified.ok ? "ok" : verified.error.code;
}

const published = vectors("signed-note-c2sp");

describe.skipIf(published.missing)(`vectors of C2SP and golang.org/x/mod/sumdb/note${published.note}`, () => {
  type Published = {
    readonly vectors: readonly { name: string; note: string; vkeys: readonly string[]; want: "ok" | "reject" }[];
    readonly bad_vkeys: readonly string[];
  };
  const { vectors: notes, bad_vkeys } = published.missing
    ? { vectors: [], bad_vkeys: [] }
    : (JSON.parse(readFileSync(join(published.folder, "notes.json"), "utf8")) as Published);

  test("there are eight of them", () => expect([notes.length, bad_vkeys.length]).toEqual([6, 2]));

  test.each(notes)("$name: $want", async ({ note, vkeys, want }) => {
    const opened = await open(utf8(note), verifiersOf(...vkeys));
    expect(opened === "ok" ? "ok" : "reject").toBe(want);
  });

  test.each(bad_vkeys)("bad verifier key %s", (text) => expect(parseVerifierKey(text, sha).ok).toBe(false));
});

const peter = keyOf("example.org/peter");
const enoch = keyOf("example.org/enoch");
const TEXT = "one\n\nthree — with a blank line above\n";
const signed = formatNote(TEXT, [
  await signNote(TEXT, peter.key, peter.sign),
  await signNote(TEXT, enoch.key, enoch.sign),
]);
const verifierFor = ({ key }: { readonly key: typeof peter.key }): NoteVerifier => verifierOf(key, verifyEd25519)!;

describe("a note", () => {
  test("gives its text, up to the last blank line, and its signatures", () => {
    const note = parseNote(utf8(signed));
    expect(note.ok && note.value.text).toBe(TEXT);
    expect(note.ok && note.value.signatures.map(({ name }) => name)).toEqual([
      "example.org/peter",
      "example.org/enoch",
    ]);
    expect(note.ok && formatNote(note.value.text, note.value.signatures)).toBe(signed);
  });

  test("verifies under any of its signers and ignores the others", async () => {
    const note = parseNote(signed);
    const by = async (...verifiers: readonly NoteVerifier[]) => (note.ok ? verifyNote(note.value, verifiers) : null);
    expect(await by(verifierFor(peter), verifierFor(enoch))).toMatchObject({ ok: true, value: { length: 2 } });
    expect(await by(verifierFor(enoch))).toMatchObject({
      ok: true,
      value: [{ signature: { name: "example.org/enoch" } }],
    });
    expect(await by(verifierFor(keyOf("example.org/other")))).toMatchObject({ error: { code: "unknown_signers" } });
    expect(await by()).toMatchObject({ error: { code: "unknown_signers" } });
  });

  test("ignores a signature that shares only the name, or only the id, with a known key", async () => {
    const [line] = [await signNote(TEXT, peter.key, peter.sign)];
    const strange = [
      { ...line, name: "example.org/petra" },
      { ...line, key_id: line.key_id ^ 1 },
    ];
    expect(await open(formatNote(TEXT, strange), [verifierFor(peter)])).toBe("unknown_signers");
    expect(await open(formatNote(TEXT, [...strange, line]), [verifierFor(peter)])).toBe("ok");
  });

  test("is refused whole where a known key's signature does not verify", async () => {
    const good = await signNote(TEXT, peter.key, peter.sign);
    const bad = { ...(await signNote(TEXT, enoch.key, enoch.sign)), signature: bytesOf("x", 1) };
    expect(await open(formatNote(TEXT, [good, bad]), [verifierFor(peter), verifierFor(enoch)])).toBe("bad_signature");
    expect(await open(formatNote(TEXT, [good, bad]), [verifierFor(peter)])).toBe("ok");
  });

  test("of a key whose type nobody here verifies is of an unknown signer", async () => {
    const pq = verifierKey("example.org/peter", 0x06, new Uint8Array(1312), sha);
    expect(verifierOf(pq, verifyEd25519)).toBeNull();
    const line = { name: pq.name, key_id: pq.id, signature: new Uint8Array(2428) };
    const note = formatNote(TEXT, [line, await signNote(TEXT, peter.key, peter.sign)]);
    expect(await open(note, [verifierFor(peter)])).toBe("ok");
    // A deployment that brings a verifier for it is asked.
    expect(await open(note, [{ key: pq, verify: () => false }, verifierFor(peter)])).toBe("bad_signature");
  });

  test("with any bit flipped is refused", async () => {
    const bytes = utf8(signed);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        expect(await open(flip(bytes, bit), [verifierFor(peter), verifierFor(enoch)])).not.toBe(
          // A changed name or id makes one of the two an unknown signer; the other still signs the same text.
          changesIdentity(bytes, bit) ? "" : "ok",
        );
      }),
    );
  });

  /** Whether the bit is in the name or key id of a signature line, which only makes that signer unknown. */
  function changesIdentity(bytes: Uint8Array, bit: number): boolean {
    const at = Math.floor(bit / 8);
    const line = signed.slice(TEXT.length + 1).split("\n");
    const starts = [utf8(TEXT).length + 1, utf8(TEXT).length + 1 + utf8(line[0]! + "\n").length];
    // Mark and space, the name, a space, and six base64 characters of which the last reaches into the signature.
    return starts.some(
      (start, i) => at >= start + 4 && at < start + utf8(line[i]!).length - 91 + 6 && at < bytes.length,
    );
  }

  test("takes 64 signatures and no more, of any size within the limit", async () => {
    const line = await signNote(TEXT, peter.key, peter.sign);
    const many = (n: number): string =>
      formatNote(
        TEXT,
        Array.from({ length: n }, () => line),
      );
    expect(await open(many(16), [verifierFor(peter)])).toBe("ok");
    expect(await open(many(64), [verifierFor(peter)])).toBe("ok");
    expect(await open(many(65), [verifierFor(peter)])).toBe("too_many_signatures");
    const large = Array.from({ length: 64 }, () => ({ name: "pq", key_id: 7, signature: new Uint8Array(2428) }));
    expect(utf8(formatNote(TEXT, large)).length).toBeLessThan(MAX_NOTE_BYTES);
    expect(parseNote(utf8("x".repeat(MAX_NOTE_BYTES) + signed))).toMatchObject({ error: { code: "too_large" } });
    expect(parseNote("é".repeat(MAX_NOTE_BYTES / 2) + signed)).toMatchObject({ error: { code: "too_large" } });
  });

  const line = signatureLine({ name: "n", key_id: 1, signature: new Uint8Array(64) });
  test.each<[string, Uint8Array | string, string]>([
    ["nothing", "", "unsigned"],
    ["no signature", "text\n\n", "unsigned"],
    ["no blank line", `text\n${line}`, "unsigned"],
    ["bytes that are not UTF-8", concat(utf8("text\n\n"), Uint8Array.of(0xff), utf8(line)), "not_utf8"],
    ["a lone surrogate", `\ud800\n\n${line}`, "not_utf8"],
    ["a tab", `te\txt\n\n${line}`, "control_character"],
    ["a carriage return", `text\r\n\n${line}`, "control_character"],
    ["no final newline", `text\n\n${line.trimEnd()}`, "malformed_signature"],
    ["a line after the signatures", `text\n\n${line}more\n`, "malformed_signature"],
    ["a hyphen for the dash", `text\n\n${line.replace("\u2014", "-")}`, "malformed_signature"],
    ["two spaces", `text\n\n${line.replace(" n ", " n  ")}`, "malformed_signature"],
    ["a space at the end", `text\n\n${line.replace("\n", " \n")}`, "malformed_signature"],
    ["no name", `text\n\n${line.replace(" n ", "  ")}`, "malformed_signature"],
    ["a plus in the name", `text\n\n${line.replace(" n ", " n+ ")}`, "malformed_signature"],
    ["a no-break space in the name", `text\n\n${line.replace(" n ", " n\u00a0 ")}`, "malformed_signature"],
    ["no padding", `text\n\n${line.replaceAll("=", "")}`, "malformed_signature"],
    ["base64url", `text\n\n${line.replace("AAAA", "-_AA")}`, "malformed_signature"],
    ["spare bits set", `text\n\n\u2014 n AAAAAQE/\n\u2014 n AAAAAQF=\n`, "malformed_signature"],
    ["a key id and no signature", `text\n\n\u2014 n AAAAAQ==\n`, "malformed_signature"],
  ])("with %s is refused", (_, source, code) => {
    expect(parseNote(source)).toMatchObject({ ok: false, error: { code } });
  });
});

describe("keys", () => {
  test("have the text that others write", () => {
    for (const test of [peter, witnessKey("example.org/w")]) {
      expect(parseVerifierKey(formatVerifierKey(test.key), sha)).toEqual({ ok: true, value: test.key });
    }
  });

  test.each<[string, (text: string) => string, string]>([
    ["another name", (text) => text.replace("peter", "petra"), "wrong_id"],
    ["another hash", (text) => text.replace(/\+[0-9a-f]/, "+x"), "malformed"],
    [
      "an upper-case hash",
      (text) => text.replace(/\+(.{8})\+/, (_, h: string) => `+${h.toUpperCase()}F+`),
      "malformed",
    ],
    ["another type", (text) => text.replace(/\+A/, "+B"), "unknown_type"],
    [
      "the type of a cosignature",
      (text) => text.replace(/(?<=\+.{8}\+).*$/, base64(concat(Uint8Array.of(4), peter.key.public_key))),
      "wrong_id",
    ],
    ["a short key", (text) => text.slice(0, -4), "malformed"],
    ["no key", (text) => text.slice(0, 26), "malformed"],
    ["a space in the name", (text) => text.replace("peter", "pe ter"), "malformed"],
    ["a newline", (text) => `${text}\n`, "malformed"],
    ["nothing", () => "", "malformed"],
  ])("with %s are refused", (_, change, code) => {
    expect(parseVerifierKey(change(formatVerifierKey(peter.key)), sha)).toMatchObject({ error: { code } });
  });

  test("any bit of hash or key flipped is refused", () => {
    const [name, , material] = formatVerifierKey(peter.key).split("+", 2).concat(base64(peter.key.public_key));
    fc.assert(
      fc.property(fc.nat(255), (bit) => {
        const text = `${name}+${peter.key.id.toString(16).padStart(8, "0")}+${base64(
          concat(Uint8Array.of(1), flip(fromBase64(material!)!, bit)),
        )}`;
        expect(parseVerifierKey(text, sha)).toMatchObject({ error: { code: "wrong_id" } });
      }),
    );
  });

  test("a signer key is read, and claims an id that its public key must have", () => {
    // From Go's note tools, published as an example of theirs.
    const text = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
    const signer = parseSignerKey(text);
    if (!signer.ok) throw new Error(signer.error.message);
    expect(formatSignerKey(signer.value)).toBe(text);
    const made = keyOf(signer.value.name, signer.value.type, signer.value.seed);
    expect(made.key.id).toBe(signer.value.id);
    expect(keyId(made.key.name, 0x01, made.key.public_key, sha)).toBe(0x33d7b496);
  });

  test.each(["", "PRIVATE+KEY+", "PRIVATE+KEY+n+00000000+AQ==", "PRIVATE+KEY+n+00000000+Bg==", "n+00000000+AQEB"])(
    "a bad signer key is refused: %s",
    (text) => expect(parseSignerKey(text).ok).toBe(false),
  );

  test("names", () => {
    expect(["a", "example.org/eu/1", "é", "a\u007f"].map(isKeyName)).toEqual([true, true, true, true]);
    expect(["", " ", "a b", "a+b", "a\n", "a\t", "a\u0000", "\u2028", "a\u3000", "\ud800"].some(isKeyName)).toBe(false);
    expect(() => verifierKey("a b", 1, new Uint8Array(32), sha)).toThrow(RangeError);
    expect(() => verifierKey("a", 1, new Uint8Array(31), sha)).toThrow(RangeError);
    expect(() => verifierKey("a", 2, new Uint8Array(32), sha)).toThrow(RangeError);
  });
});

describe("text forms", () => {
  test("base64 is that of the platform, and canonical", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.string({ maxLength: 12 }), (bytes, text) => {
        expect(base64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
        expect(fromBase64(base64(bytes))).toEqual(new Uint8Array(bytes));
        const read = fromBase64(text);
        expect(read === null || base64(read) === text).toBe(true);
      }),
    );
    expect(["A", "AA", "AA=", "AAA", "AB==", "AAB=", "====", "A===", "AA==AA==", "AA\n="].map(fromBase64)).toEqual(
      Array.from({ length: 10 }, () => null),
    );
    expect(hashFromBase64(base64(bytesOf("x")))).toEqual(bytesOf("x"));
    expect(hashFromBase64(base64(bytesOf("x").subarray(1)))).toBeNull();
  });

  test("numbers have one spelling", () => {
    expect(["0", "7", "9007199254740991"].map(fromDecimal)).toEqual([0, 7, 2 ** 53 - 1]);
    expect(
      ["", "-0", "+1", "01", "1.0", "1e3", " 1", "9007199254740992", "99999999999999999"].map(fromDecimal),
    ).toEqual(Array.from({ length: 9 }, () => null));
  });
});
