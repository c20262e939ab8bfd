import { equalBytes } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { verifyConsistency } from "./merkle.ts";
import { leafHash } from "./record.ts";
import { bundlePath, tilePath, TILE_WIDTH } from "./tile-path.ts";
import { readHashTile, TileTree, type ReadTile, type TileProblem } from "./tile-reader.ts";
import { decodeBundle, encodeHashTile, tilesBetween } from "./tiles.ts";
import { TreeState, type TileBytes } from "./tree-state.ts";

/**
 * What a monitor checks of a log: that every two checkpoints are of one history, and that the root is that of the
 * tiles (and entries) served. Checkpoints come in verified (`trustCheckpoint`); tiles are believed for nothing.
 */

export type LogProblem =
  | TileProblem
  | {
      readonly code:
        | "other_origin"
        /** Two signed checkpoints that no log can both have: proof of misbehaviour, keep both notes. */
        | "split_view"
        /** The tiles served are not those of the checkpoint: bad service, which proves nothing by itself. */
        | "tiles_disagree"
        /** A bundle is missing, malformed, or holds another entry than the leaf hash. */
        | "bundle";
      readonly message: string;
    };

type Checked<T> = Promise<Result<T, LogProblem>>;

/**
 * Whether the two checkpoints are of one history, by tiles of a tree at least as large as the larger one. Order does
 * not matter.
 *
 * With wrong tiles the proof fails too, so a split view is claimed only where the tiles prove, against the larger
 * checkpoint's own root, that its history begins with another tree than the smaller checkpoint says.
 */
export async function checkConsistent(one: Checkpoint, other: Checkpoint, read: ReadTile, sha: Sha256): Checked<null> {
  const [older, newer] = one.size <= other.size ? [one, other] : [other, one];
  if (older.origin !== newer.origin) return problem("other_origin", `${older.origin} and ${newer.origin}`);
  if (older.size === newer.size) {
    return equalBytes(older.root, newer.root) ? ok(null) : problem("split_view", `two roots for size ${older.size}`);
  }
  const tree = new TileTree(newer.size, read, sha);
  const path = await tree.consistency(older.size);
  if (!path.ok) return path;
  const begins = await tree.root(older.size);
  if (!begins.ok) return begins;
  if (!verifyConsistency(older.size, newer.size, path.value, begins.value, newer.root, sha))
    return problem("tiles_disagree", `the tiles are not those of the checkpoint of size ${newer.size}`);
  return equalBytes(begins.value, older.root)
    ? ok(null)
    : problem("split_view", `size ${newer.size} does not begin with the tree of size ${older.size}`);
}

/** Bytes of an entry bundle; `null` where there is none. */
export type ReadBundle = (index: number, width: number) => Promise<Uint8Array | null> | Uint8Array | null;

export type Recompute = {
  /** Checked before, with its root: only what was added since is read. It is not changed. */
  readonly from?: TreeState;
  /** For those entitled to entries: each is hashed and compared with its leaf hash. */
  readonly readBundle?: ReadBundle;
};

/**
 * Recomputes the root of `checkpoint` from the tiles of level 0 and compares every tile above on the way. Gives the
 * tree at this size, to go on from at the next checkpoint.
 */
export async function recomputeLog(
  checkpoint: Checkpoint,
  read: ReadTile,
  sha: Sha256,
  { from = new TreeState(sha), readBundle }: Recompute = {},
): Checked<TreeState> {
  if (from.size > checkpoint.size) throw new RangeError(`recompute: already at ${from.size}`);
  const state = TreeState.decode(from.encode(), sha)!;
  for (const tile of tilesBetween(from.size, checkpoint.size)) {
    if (tile.level > 0) break;
    const hashes = await readHashTile(read, tile);
    if (!hashes.ok) return hashes;
    const held = state.size % TILE_WIDTH;
    const known = state.partialTiles()[0];
    if (held > 0 && !equalBytes(encodeHashTile(hashes.value.slice(0, held)), known!.bytes))
      return problem("tiles_disagree", `${tilePath(tile)} changed hashes that it had before`);
    if (readBundle !== undefined) {
      const wrong = await bundleProblem(readBundle, tile.index, hashes.value, sha);
      if (wrong !== null) return problem("bundle", wrong);
    }
    const above = await comparedTiles(state.append(hashes.value.slice(held)), read);
    if (!above.ok) return above;
  }
  const edge = await comparedTiles(state.partialTiles(), read);
  if (!edge.ok) return edge;
  return equalBytes(state.root(), checkpoint.root)
    ? ok(state)
    : problem("tiles_disagree", `the tiles have another root at size ${checkpoint.size} than the checkpoint`);
}

/** Compares the tiles above level 0, which follow from those below, with what is served. */
async function comparedTiles(tiles: readonly TileBytes[], read: ReadTile): Checked<null> {
  for (const tile of tiles) {
    if (tile.level === 0) continue;
    const { level, index, width } = tile;
    const served = await readHashTile(read, { level, index, width });
    if (!served.ok) return served;
    if (!equalBytes(encodeHashTile(served.value), tile.bytes))
      return problem("tiles_disagree", `${tilePath(tile)} does not follow from the tiles below`);
  }
  return ok(null);
}

async function bundleProblem(
  readBundle: ReadBundle,
  index: number,
  hashes: readonly Uint8Array[],
  sha: Sha256,
): Promise<string | null> {
  const name = bundlePath({ index, width: hashes.length });
  const bytes = await readBundle(index, hashes.length);
  if (bytes === null) return `${name} is not there`;
  const entries = decodeBundle(bytes, hashes.length);
  if (entries === null) return `${name} is not ${hashes.length} entries`;
  const wrong = entries.findIndex((entry, at) => !equalBytes(leafHash(entry, sha), hashes[at]!));
  return wrong < 0 ? null : `${name}: entry ${index * TILE_WIDTH + wrong} is not that of its leaf hash`;
}

const problem = (code: Exclude<LogProblem, TileProblem>["code"], message: string): Result<never, LogProblem> =>
  err({ code, message });
