import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { checkpointText, EMPTY_ROOT_TEXT, parseCheckpoint } from "../../../src/lineage/checkpoint.ts";
import {
  cosign,
  cosignatureMessage,
  decodeCosignature,
  encodeCosignature,
  verifierOf,
} from "../../../src/lineage/cosignature.ts";
import { emptyRoot, verifyConsistency, verifyInclusion } from "../../../src/lineage/merkle.ts";
import { parseSignerKey, parseVerifierKey } from "../../../src/lineage/note-key.ts";
import { formatNote, parseNote, signNote, verifyNote } from "../../../src/lineage/note.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { base64 } from "../../../src/lineage/text.ts";
import { bundlePath, tilePath } from "../../../src/lineage/tile-path.ts";
import { TileTree, type ReadTile } from "../../../src/lineage/tile-reader.ts";
import { decodeBundle } from "../../../src/lineage/tiles.ts";
import { TreeState } from "../../../src/lineage/tree-state.ts";
import { vectors } from "../base/vectors.ts";
import { bytesOf, sha } from "./build.ts";
import { flip, keyOf, verifyEd25519, witnessKey } from "./log-build.ts";

describe("a checkpoint", () => {
  const place = fc.record({
    origin: fc.constantFrom("example.org/log", "a", "é/1"),
    size: fc.integer({ min: 1, max: 2 ** 53 - 1 }),
    root: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes)),
  });

  test("round-trips", () => {
    fc.assert(
      fc.property(place, (checkpoint) => {
        expect(parseCheckpoint(checkpointText(checkpoint))).toEqual({
          ok: true,
          value: { ...checkpoint, extensions: [] },
        });
      }),
    );
  });

  test("of size zero has the empty root, and no other", () => {
    expect(EMPTY_ROOT_TEXT).toBe(base64(emptyRoot(sha)));
    const empty = { origin: "o", size: 0, root: emptyRoot(sha) };
    expect(parseCheckpoint(checkpointText(empty))).toMatchObject({ ok: true, value: empty });
    expect(() => checkpointText({ ...empty, root: bytesOf("x") })).toThrow("not that of no leaves");
  });

  test.each([
    { origin: "" },
    { origin: "a b" },
    { origin: "a+b" },
    { origin: "a\nb" },
    { size: -1 },
    { size: 1.5 },
    { size: 2 ** 53 },
    { size: Number.NaN },
    { root: new Uint8Array(31) },
    { root: new Uint8Array(33) },
  ])("that must never be signed has no text: %j", (change) => {
    expect(() => checkpointText({ origin: "o", size: 1, root: bytesOf("x"), ...change })).toThrow(RangeError);
  });

  const ROOT = base64(bytesOf("x"));
  test("of others may have extension lines, which are flagged", () => {
    expect(parseCheckpoint(`any line + at all\n7\n${ROOT}\none\ntwo\n`)).toMatchObject({
      ok: true,
      value: { origin: "any line + at all", extensions: ["one", "two"] },
    });
  });

  test.each<[string, string, string]>([
    ["nothing", "", "malformed"],
    ["two lines", `o\n7\n`, "malformed"],
    ["no origin", `\n7\n${ROOT}\n`, "malformed"],
    ["no final newline", `o\n7\n${ROOT}`, "malformed"],
    ["a leading zero", `o\n07\n${ROOT}\n`, "size"],
    ["a sign", `o\n+7\n${ROOT}\n`, "size"],
    ["2^53", `o\n9007199254740992\n${ROOT}\n`, "size"],
    ["no size", `o\n\n${ROOT}\n`, "size"],
    ["a short root", `o\n7\n${ROOT.slice(4)}\n`, "root"],
    ["a root without padding", `o\n7\n${ROOT.slice(0, -1)}\n`, "root"],
    ["a root in base64url", `o\n7\n${"-".repeat(43)}=\n`, "root"],
    ["spare bits set", `o\n7\n${"A".repeat(42)}B=\n`, "root"],
    ["a root for no leaves", `o\n0\n${ROOT}\n`, "empty_root"],
    ["an empty extension", `o\n7\n${ROOT}\n\n`, "extension"],
  ])("with %s is refused", (_, text, code) => {
    expect(parseCheckpoint(text)).toMatchObject({ ok: false, error: { code } });
  });
});

describe("a cosignature", () => {
  const TEXT = checkpointText({ origin: "example.org/log", size: 7, root: bytesOf("root") });
  const { key, sign } = witnessKey("example.org/witness");

  test("signs header, time and checkpoint", () => {
    expect(Buffer.from(cosignatureMessage(TEXT, 1679315147)).toString()).toBe(
      `cosignature/v1\ntime 1679315147\n${TEXT}`,
    );
  });

  test("verifies over its checkpoint and time only", async () => {
    const line = await cosign(TEXT, key, 1_795_000_000, sign);
    expect(decodeCosignature(line.signature)).toMatchObject({ timestamp_s: 1_795_000_000 });
    const verifier = verifierOf(key, verifyEd25519)!;
    const accepts = async (text: string, signature: Uint8Array): Promise<boolean> => verifier.verify(text, signature);
    expect(await accepts(TEXT, line.signature)).toBe(true);
    expect(await accepts(TEXT.replace("7", "8"), line.signature)).toBe(false);
    expect(await accepts(`${TEXT}extension\n`, line.signature)).toBe(false);
    expect(await accepts(TEXT, line.signature.subarray(1))).toBe(false);
    for (let bit = 0; bit < 72 * 8; bit++) expect(await accepts(TEXT, flip(line.signature, bit))).toBe(false);
    // A plain signature of the same key over the same text is no cosignature.
    expect(await accepts(TEXT, await sign(utf8(TEXT)))).toBe(false);
  });

  test("has a time below 2^53", () => {
    const signature = new Uint8Array(64);
    expect(decodeCosignature(encodeCosignature({ timestamp_s: 2 ** 53 - 1, signature }))?.timestamp_s).toBe(
      2 ** 53 - 1,
    );
    expect(decodeCosignature(new Uint8Array(72).fill(0x7f))).toBeNull();
    for (const length of [0, 71, 73]) expect(decodeCosignature(new Uint8Array(length))).toBeNull();
    for (const timestamp_s of [-1, 1.5, 2 ** 53]) {
      expect(() => encodeCosignature({ timestamp_s, signature })).toThrow(RangeError);
      expect(() => cosignatureMessage(TEXT, timestamp_s)).toThrow(RangeError);
    }
    expect(() => encodeCosignature({ timestamp_s: 1, signature: new Uint8Array(63) })).toThrow(RangeError);
  });

  test("of another length never reaches Ed25519, nor does a plain signature", () => {
    const plain = keyOf("example.org/witness").key;
    const accepts = (by: typeof key, length: number) =>
      verifierOf(by, () => true)!.verify(TEXT, new Uint8Array(length));
    expect([63, 64, 65, 72].map((length) => accepts(plain, length))).toEqual([false, true, false, false]);
    expect([64, 71, 72, 73].map((length) => accepts(key, length))).toEqual([false, false, true, false]);
  });

  test("is not made with a key of another type", async () => {
    const plain = keyOf("example.org/witness");
    await expect(cosign(TEXT, plain.key, 1, plain.sign)).rejects.toThrow(RangeError);
    await expect(signNote(TEXT, key, sign)).rejects.toThrow(RangeError);
  });
});

const tessera = vectors("tessera-log");

describe.skipIf(tessera.missing)(`the log that Tessera wrote${tessera.note}`, () => {
  const file = (path: string): Uint8Array => new Uint8Array(readFileSync(join(tessera.folder, "testdata/log", path)));
  const read: ReadTile = (level, index, width) => file(tilePath({ level, index, width }));
  const SIZES = Array.from({ length: 16 }, (_, size) => size);
  // Published with the log, for tests.
  const VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
  const SKEY = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";

  async function checkpoint(size: number) {
    const note = parseNote(file(`checkpoint.${size}`));
    const key = parseVerifierKey(VKEY, sha);
    if (!note.ok || !key.ok) throw new Error("note");
    const verified = await verifyNote(note.value, [verifierOf(key.value, verifyEd25519)!]);
    const parsed = parseCheckpoint(note.value.text);
    if (!verified.ok || !parsed.ok) throw new Error("checkpoint");
    return parsed.value;
  }

  test.each(SIZES)("checkpoint of %i entries: signature, root, and our own bytes for it", async (size) => {
    const { root, origin } = await checkpoint(size);
    const entries = size === 0 ? [] : decodeBundle(file(bundlePath({ index: 0, width: size })), size)!;
    const leaves = entries.map((entry) => leafHash(entry, sha));
    const tree = new TreeState(sha);
    expect(tree.append(leaves)).toEqual([]);
    expect(tree.root()).toEqual(root);
    expect(tree.partialTiles().map((tile) => [tilePath(tile), tile.bytes])).toEqual(
      size === 0 ? [] : [[`tile/0/000.p/${size}`, file(`tile/0/000.p/${size}`)]],
    );
    const signer = parseSignerKey(SKEY);
    const { key, sign } = keyOf(origin, 1, signer.ok ? signer.value.seed : undefined);
    const text = checkpointText({ origin, size, root });
    expect(utf8(formatNote(text, [await signNote(text, key, sign)]))).toEqual(file(`checkpoint.${size}`));
  });

  test.each(SIZES.slice(1))("inclusion and consistency at %i entries, out of its tiles", async (size) => {
    const { root } = await checkpoint(size);
    const tree = new TileTree(size, read, sha);
    expect(await tree.root()).toEqual({ ok: true, value: root });
    for (let index = 0; index < size; index++) {
      const [leaf, path] = [await tree.leaf(index), await tree.inclusion(index)];
      expect(leaf.ok && path.ok && verifyInclusion(leaf.value, index, size, path.value, root, sha)).toBe(true);
      const older = await checkpoint(index);
      const proof = await tree.consistency(index);
      expect(proof.ok && verifyConsistency(index, size, proof.value, older.root, root, sha)).toBe(true);
    }
  });
});
