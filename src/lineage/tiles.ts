import { concat } from "../base/bytes.ts";
import { TILE_WIDTH, type HashTile } from "./tile-path.ts";

/** Which tiles a tree has, and their bytes (C2SP tlog-tiles v0.1.0). */

export const HASH_BYTES = 32;

/** Hashes that the tree of `size` has at `level`: one for each full run of 256^level leaves. */
export const hashesAt = (level: number, size: number): number => Math.floor(size / TILE_WIDTH ** level);

/** Width of tile `index` at `level` in the tree of `size`: 256, less on the right edge, 0 beyond it. */
export const widthOf = (level: number, index: number, size: number): number =>
  Math.max(0, Math.min(TILE_WIDTH, hashesAt(level, size) - index * TILE_WIDTH));

/** All hash tiles of the tree of `size`, lowest level first, partial ones last in their level. */
export const tilesOf = (size: number): Generator<HashTile> => tilesBetween(0, size);

/**
 * The hash tiles that the tree of `to` has and the tree of `from` had not, in this width: what a log that grows from
 * `from` to `to` has to write. Those at level 0 are also the entry bundles to write.
 */
export function* tilesBetween(from: number, to: number): Generator<HashTile> {
  for (const size of [from, to]) if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`no size ${size}`);
  for (let level = 0; hashesAt(level, to) > 0; level++) {
    const before = hashesAt(level, from);
    const after = hashesAt(level, to);
    for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < after; index++) {
      const width = widthOf(level, index, to);
      if (width > widthOf(level, index, from)) yield { level, index, width };
    }
  }
}

export const encodeHashTile = (hashes: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => concat(...hashes);

/** The hashes of a tile of `width`, as views; `null` where the length is another. */
export function decodeHashTile(bytes: Uint8Array, width: number): Uint8Array[] | null {
  if (bytes.length !== width * HASH_BYTES) return null;
  return Array.from({ length: width }, (_, at) => bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES));
}

/** The specification's length prefix ends here. */
const MAX_ENTRY_BYTES = 65_535;

/** An entry bundle: each entry after its length in two bytes, big-endian. @throws RangeError where it cannot be one. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  if (entries.length < 1 || entries.length > TILE_WIDTH) throw new RangeError("entry bundle: 1 to 256 entries");
  return concat(
    ...entries.flatMap((entry) => {
      if (entry.length > MAX_ENTRY_BYTES) throw new RangeError(`entry bundle: an entry above ${MAX_ENTRY_BYTES} bytes`);
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
    }),
  );
}

/** The `width` entries of a bundle, as views; `null` where there are fewer, more, or bytes left over. */
export function decodeBundle(bytes: Uint8Array, width: number): Uint8Array[] | null {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= bytes.length && entries.length < width) {
    const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries.length === width && at === bytes.length ? entries : null;
}
