import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { consistencyRanges, emptyRoot, Frontier, inclusionRanges, treeHash, type LeafRange } from "./merkle.ts";
import { tilePath, TILE_WIDTH, type HashTile } from "./tile-path.ts";
import { decodeHashTile, widthOf } from "./tiles.ts";

/**
 * Proofs and roots out of hash tiles, as any reader of a log makes them (C2SP tlog-tiles). Tiles are not trusted: a
 * root or proof is worth what it matches. The caller compares it with a checkpoint whose signatures it verified.
 */

/** Bytes of a hash tile, from storage, a file or HTTP; `null` where there is no such tile. */
export type ReadTile = (level: number, index: number, width: number) => Promise<Uint8Array | null> | Uint8Array | null;

export type TileProblem = {
  readonly code: "missing_tile" | "malformed_tile";
  readonly tile: HashTile;
  readonly message: string;
};

type Read<T> = Promise<Result<T, TileProblem>>;

/** Tiles that are kept, some 30 KB each: a proof of records all over a large log reads more than fits in memory. */
const MAX_TILES = 512;

/** Reads the tree of `size`; keeps the last tiles that it read, so use one per question. */
export class TileTree {
  readonly size: number;
  readonly #read: ReadTile;
  readonly #sha: Sha256;
  readonly #tiles = new Map<string, Promise<Result<readonly Uint8Array[], TileProblem>>>();

  constructor(size: number, read: ReadTile, sha: Sha256) {
    this.size = size;
    this.#read = read;
    this.#sha = sha;
  }

  /** Hash of leaf `index`. @throws RangeError beyond the size. */
  async leaf(index: number): Read<Uint8Array> {
    return this.range([index, index + 1]);
  }

  /** Root of the first `size` leaves, of all by default, as the tiles have it. */
  async root(size = this.size): Read<Uint8Array> {
    return size === 0 ? ok(emptyRoot(this.#sha)) : this.range([0, size]);
  }

  /** Audit path of leaf `index`, lowest sibling first (RFC 6962 section 2.1.1). @throws RangeError beyond the size. */
  async inclusion(index: number): Read<Uint8Array[]> {
    return this.#ranges(inclusionRanges(index, this.size));
  }

  /** Proof that the tree begins with its first `from` leaves (RFC 6962 section 2.1.2); empty from nothing. */
  async consistency(from: number): Read<Uint8Array[]> {
    return from === 0 ? ok([]) : this.#ranges(consistencyRanges(from, this.size));
  }

  async #ranges(ranges: readonly LeafRange[]): Read<Uint8Array[]> {
    const hashes: Uint8Array[] = [];
    for (const range of ranges) {
      const hash = await this.range(range);
      if (!hash.ok) return hash;
      hashes.push(hash.value);
    }
    return ok(hashes);
  }

  /** Root over a range that is a node of the tree, or of a tree that this one begins with. @throws RangeError beyond. */
  async range([start, end]: LeafRange): Read<Uint8Array> {
    if (!(start >= 0 && start < end && end <= this.size)) throw new RangeError(`no leaves ${start} to ${end}`);
    const peaks: Uint8Array[] = [];
    for (let at = start; at < end;) {
      let height = 0;
      while (at + 2 ** (height + 1) <= end) height++;
      const peak = await this.#subtree(at, height);
      if (!peak.ok) return peak;
      peaks.push(peak.value);
      at += 2 ** height;
    }
    return ok(new Frontier(end - start, peaks).root(this.#sha));
  }

  /** Root of the 2^height leaves from `start`, which is a multiple of 2^height: all within one tile. */
  async #subtree(start: number, height: number): Read<Uint8Array> {
    const level = Math.floor(height / 8);
    const first = start / TILE_WIDTH ** level;
    const hashes = await this.#tile(level, Math.floor(first / TILE_WIDTH));
    if (!hashes.ok) return hashes;
    const at = first % TILE_WIDTH;
    return ok(treeHash(hashes.value.slice(at, at + 2 ** (height % 8)), this.#sha));
  }

  #tile(level: number, index: number): Read<readonly Uint8Array[]> {
    const key = `${level}/${index}`;
    const known = this.#tiles.get(key);
    if (known !== undefined) return known;
    const tile = readHashTile(this.#read, { level, index, width: widthOf(level, index, this.size) });
    // Ranges are asked for from left to right, so the oldest tile is the one that is needed least.
    if (this.#tiles.size >= MAX_TILES) this.#tiles.delete(this.#tiles.keys().next().value!);
    this.#tiles.set(key, tile);
    return tile;
  }
}

/** The hashes of one tile. A log may drop a partial tile once the full one is there, so that is asked for next. */
export async function readHashTile(read: ReadTile, tile: HashTile): Read<readonly Uint8Array[]> {
  const { level, index, width } = tile;
  let have = width;
  let bytes = await read(level, index, width);
  if (bytes === null && width < TILE_WIDTH) {
    have = TILE_WIDTH;
    bytes = await read(level, index, have);
  }
  if (bytes === null) return problem("missing_tile", tile, "is not there");
  const hashes = decodeHashTile(bytes, have);
  return hashes === null ? problem("malformed_tile", tile, `is not ${have} hashes long`) : ok(hashes.slice(0, width));
}

const problem = (code: TileProblem["code"], tile: HashTile, what: string): Result<never, TileProblem> =>
  err({ code, tile, message: `${tilePath(tile)} ${what}` });
