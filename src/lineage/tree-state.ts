import { concat } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { emptyRoot, merkleTree, treeHash } from "./merkle.ts";
import { TILE_WIDTH, type HashTile } from "./tile-path.ts";
import { decodeHashTile, encodeHashTile, HASH_BYTES, hashesAt } from "./tiles.ts";

/**
 * A growing tree that keeps only its right edge: per level the hashes of the tile that is not full yet. Appending
 * costs one hash a leaf on average and gives the tiles that became full; the root costs at most log2(size) hashes.
 */

export type TileBytes = HashTile & { readonly bytes: Uint8Array };

export class TreeState {
  #size = 0;
  /** Roots of the full subtrees, largest first, one per binary digit of the size. */
  #peaks: Uint8Array[] = [];
  /** By level, the hashes of the partial tile. */
  #edges: Uint8Array[][] = [];
  readonly #sha: Sha256;

  constructor(sha: Sha256) {
    this.#sha = sha;
  }

  /** Leaves. */
  get size(): number {
    return this.#size;
  }

  /** Appends leaf hashes in order. Returns the full tiles that this completed, to be stored with the new state. */
  append(leafHashes: readonly Uint8Array[]): TileBytes[] {
    const full: TileBytes[] = [];
    for (const leaf of leafHashes) this.#appendOne(leaf, full);
    return full;
  }

  #appendOne(leaf: Uint8Array, full: TileBytes[]): void {
    if (leaf.length !== HASH_BYTES) throw new RangeError("tree: a leaf hash has 32 bytes");
    let node = leaf;
    let height = 0;
    this.#put(0, node, full);
    // As in binary addition: each trailing one of the size is a peak that the new node joins.
    for (let n = this.#size; n % 2 === 1; n = Math.floor(n / 2)) {
      node = treeHash([this.#peaks.pop()!, node], this.#sha);
      height++;
      if (height % 8 === 0) this.#put(height / 8, node, full);
    }
    this.#peaks.push(node);
    this.#size++;
  }

  #put(level: number, hash: Uint8Array, full: TileBytes[]): void {
    const edge = (this.#edges[level] ??= []);
    edge.push(hash);
    if (edge.length < TILE_WIDTH) return;
    const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
    full.push({ level, index, width: TILE_WIDTH, bytes: encodeHashTile(edge) });
    this.#edges[level] = [];
  }

  /** RFC 6962 root of all leaves so far. */
  root(): Uint8Array {
    if (this.#peaks.length === 0) return emptyRoot(this.#sha);
    return this.#peaks.reduceRight((right, left) => treeHash([left, right], this.#sha));
  }

  /** The partial tiles of this size, lowest level first: served from here, not stored. */
  partialTiles(): TileBytes[] {
    return this.#edges.flatMap((edge, level) => {
      const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
      return edge.length === 0 ? [] : [{ level, index, width: edge.length, bytes: encodeHashTile(edge) }];
    });
  }

  /** The state as bytes: the size in eight bytes, then the edge hashes, level 0 first. At most 8 KiB a level. */
  encode(): Uint8Array<ArrayBuffer> {
    const size = new Uint8Array(8);
    new DataView(size.buffer).setBigUint64(0, BigInt(this.#size));
    return concat(size, ...this.#edges.flat());
  }

  /**
   * The state that `encode` gave; `null` where the bytes cannot be one. Nothing here shows that the hashes are right:
   * compare the root with the last checkpoint before signing anything on top.
   */
  static decode(bytes: Uint8Array, sha: Sha256): TreeState | null {
    if (bytes.length < 8) return null;
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
    if (!Number.isSafeInteger(size)) return null;
    const state = new TreeState(sha);
    let at = 8;
    for (let level = 0; hashesAt(level, size) > 0; level++) {
      const width = hashesAt(level, size) % TILE_WIDTH;
      // A copy: the caller may reuse its buffer.
      const edge = decodeHashTile(bytes.slice(at, at + width * HASH_BYTES), width);
      if (edge === null) return null;
      state.#edges.push(edge);
      at += width * HASH_BYTES;
    }
    if (at !== bytes.length) return null;
    state.#size = size;
    state.#peaks = state.#edges.toReversed().flatMap((edge) => peaksOf(edge, sha));
    return state;
  }
}

/** Roots of the full subtrees over a partial tile, largest first. */
function peaksOf(edge: readonly Uint8Array[], sha: Sha256): Uint8Array[] {
  const peaks: Uint8Array[] = [];
  let at = 0;
  for (let width = TILE_WIDTH / 2; width >= 1; width /= 2) {
    if (edge.length - at < width) continue;
    peaks.push(merkleTree(edge.slice(at, at + width), sha).root);
    at += width;
  }
  return peaks;
}
