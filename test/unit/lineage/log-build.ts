import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import { SIGNATURE_TYPE, verifierKey, type VerifierKey } from "../../../src/lineage/note-key.ts";
import type { NoteSignature, Sign, Verify } from "../../../src/lineage/note.ts";
import { formatNote, signNote } from "../../../src/lineage/note.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { merkleTree, treeHash } from "../../../src/lineage/merkle.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import type { ReadTile } from "../../../src/lineage/tile-reader.ts";
import { tilePath, TILE_WIDTH } from "../../../src/lineage/tile-path.ts";
import { encodeHashTile, hashesAt, tilesOf } from "../../../src/lineage/tiles.ts";
import { bytesOf, sha } from "./build.ts";

/** Ed25519 private and public keys in the fixed envelopes of RFC 8410. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

export type TestKey = { readonly key: VerifierKey; readonly sign: Sign; readonly spki: KeyObject };

/** Key `name` of a signature type, made from the name and type alone. */
export function keyOf(name: string, type: number = SIGNATURE_TYPE.ed25519, seed = bytesOf("key", name, type)): TestKey {
  const secret = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(secret);
  const raw = new Uint8Array(spki.export({ format: "der", type: "spki" }).subarray(SPKI.length));
  return {
    key: verifierKey(name, type, raw, sha),
    sign: (message) => new Uint8Array(sign(null, message, secret)),
    spki,
  };
}

export const witnessKey = (name: string): TestKey => keyOf(name, SIGNATURE_TYPE.cosignature);

export const verifyEd25519: Verify = (publicKey, message, signature) =>
  verify(null, message, { key: Buffer.concat([SPKI, publicKey]), format: "der", type: "spki" }, signature);

/** Entries of test logs; those of log `name` differ from those of another. */
export const entryOf = (index: number, name = "log"): Uint8Array => utf8(`${name} entry ${index}`);
export const leavesOf = (size: number, name = "log"): Uint8Array[] =>
  Array.from({ length: size }, (_, index) => leafHash(entryOf(index, name), sha));

/** Signs a checkpoint over `leaves`. */
export async function checkpointNote(
  log: TestKey,
  leaves: readonly Uint8Array[],
  more: readonly NoteSignature[] = [],
): Promise<string> {
  const text = checkpointText({ origin: log.key.name, size: leaves.length, root: treeHash(leaves, sha) });
  return formatNote(text, [await signNote(text, log.key, log.sign), ...more]);
}

/** All tiles of the tree over `leaves` by path, straight from the definition of MTH. */
export function tileFiles(leaves: readonly Uint8Array[]): Map<string, Uint8Array> {
  const levels: (readonly Uint8Array[])[] = [leaves];
  for (let level = 1; hashesAt(level, leaves.length) > 0; level++) {
    const below = levels[level - 1]!;
    levels.push(
      Array.from(
        { length: hashesAt(level, leaves.length) },
        (_, at) => merkleTree(below.slice(at * TILE_WIDTH, (at + 1) * TILE_WIDTH), sha).root,
      ),
    );
  }
  const files = new Map<string, Uint8Array>();
  for (const tile of tilesOf(leaves.length)) {
    const start = tile.index * TILE_WIDTH;
    files.set(tilePath(tile), encodeHashTile(levels[tile.level]!.slice(start, start + tile.width)));
  }
  return files;
}

export const readFrom =
  (files: ReadonlyMap<string, Uint8Array>): ReadTile =>
  (level, index, width) =>
    files.get(tilePath({ level, index, width })) ?? null;

/** `bytes` with one bit changed. */
export const flip = (bytes: Uint8Array, bit: number): Uint8Array<ArrayBuffer> => {
  const out = concat(bytes);
  const at = Math.floor(bit / 8) % bytes.length;
  out[at] = out[at]! ^ (1 << (bit % 8));
  return out;
};
