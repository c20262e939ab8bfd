import { base64url, equalBytes } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { LogSources, type SourceProblem } from "./archive-sources.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ReadBundle } from "./log-check.ts";
import { treeHash } from "./merkle.ts";
import { leafHash } from "./record.ts";
import { bundlePath, tilePath, TILE_WIDTH } from "./tile-path.ts";
import type { ReadTile } from "./tile-reader.ts";
import { decodeBundle, decodeHashTile, encodeHashTile, HASH_BYTES, widthOf } from "./tiles.ts";
import { TreeState, type TileBytes } from "./tree-state.ts";

/**
 * A whole log epoch, out of files: the root recomputed from the entries, every tile against it, every source from its
 * first record to the marks of the seal. The checkpoint comes in verified (`trustCheckpoint`); nothing else is believed.
 * It goes on after a fault where it can, so that one report names every file that is wrong.
 */

export type ArchiveProblem = {
  /** Codes are stable: tools may rest on them. */
  readonly code:
    /** A tile or an entry bundle is not there. */
    | "missing"
    /** It is longer or shorter than its name says. */
    | "malformed"
    /** An entry is not that of the leaf hash beside it. */
    | "entry_mismatch"
    /** A hash tile is not that of what it stands over. */
    | "tile_mismatch"
    /** The entries lead to another root than the checkpoint says. */
    | "root_mismatch"
    /** The last leaf is no seal: the log could have gone on. */
    | "not_sealed"
    | SourceProblem["code"];
  readonly file: string;
  readonly message: string;
};

export type ArchiveCheck = {
  readonly entries: number;
  /** Records of every source, where all entries could be read. */
  readonly marks: Readonly<Record<string, number>>;
  readonly sealed: boolean;
  /** The first `MAX_PROBLEMS`. */
  readonly problems: readonly ArchiveProblem[];
  readonly problems_total: number;
};

const MAX_PROBLEMS = 100;

export type ArchiveFiles = { readonly tile: ReadTile; readonly bundle: ReadBundle };

export async function checkArchive(
  checkpoint: Checkpoint,
  files: ArchiveFiles,
  { region, log_epoch }: { readonly region: string; readonly log_epoch: number },
  sha: Sha256,
): Promise<ArchiveCheck> {
  return new ArchiveChecker(checkpoint, files, new LogSources(region, log_epoch), sha).check();
}

type Hashes = readonly Uint8Array[];

class ArchiveChecker {
  readonly #checkpoint: Checkpoint;
  readonly #files: ArchiveFiles;
  readonly #sha: Sha256;
  readonly #sources: LogSources;
  readonly #problems: ArchiveProblem[] = [];
  #total = 0;
  #state: TreeState;
  /** Entries are missing or a source is broken: what follows of the sources says nothing any more. */
  #lost = false;
  #entries = 0;

  constructor(checkpoint: Checkpoint, files: ArchiveFiles, sources: LogSources, sha: Sha256) {
    this.#checkpoint = checkpoint;
    this.#files = files;
    this.#sources = sources;
    this.#sha = sha;
    this.#state = new TreeState(sha);
  }

  async check(): Promise<ArchiveCheck> {
    const { size, root } = this.#checkpoint;
    for (let index = 0; index * TILE_WIDTH < size; index++) {
      const hashes = await this.#row(index, widthOf(0, index, size));
      if (hashes === null) return this.#report();
      await this.#compare(this.#state.append(hashes));
    }
    await this.#compare(this.#state.partialTiles());
    if (!equalBytes(this.#state.root(), root))
      this.#add("root_mismatch", "checkpoint", `says another root than the ${size} entries have`);
    if (!this.#lost && !this.#sources.sealed)
      this.#add("not_sealed", "checkpoint", "its last leaf is no seal: the log may have gone on");
    return this.#report();
  }

  /** One bundle and its hash tile; gives the leaf hashes to go on with, `null` where neither can be read. */
  async #row(index: number, width: number): Promise<Hashes | null> {
    const [tileName, bundleName] = [tilePath({ level: 0, index, width }), bundlePath({ index, width })];
    const tile = this.#read(tileName, await this.#files.tile(0, index, width), (bytes) => decodeHashTile(bytes, width));
    const bundle = this.#read(bundleName, await this.#files.bundle(index, width), (bytes) =>
      decodeBundle(bytes, width),
    );
    const hashes = bundle?.map((entry) => leafHash(entry, this.#sha)) ?? null;
    if (bundle === null || hashes === null) {
      this.#lost = true;
      return tile;
    }
    const wrong = tile === null ? -1 : tile.findIndex((hash, at) => !equalBytes(hash, hashes[at]!));
    if (wrong >= 0) {
      // The tree above says which of the two is the one that was changed.
      const fits = await this.#above(index, width);
      const entry = `entry ${index * TILE_WIDTH + wrong}`;
      if (fits(tile!) && !fits(hashes)) {
        this.#add("entry_mismatch", bundleName, `${entry} is not that of its leaf hash`);
        this.#lost = true;
        return tile;
      }
      this.#add("tile_mismatch", tileName, `the hash of ${entry} is not that of the entry`);
    }
    bundle.forEach((entry, at) => this.#take(entry, hashes[at]!, bundleName, index * TILE_WIDTH + at));
    return hashes;
  }

  #take(entry: Uint8Array, hash: Uint8Array, file: string, index: number): void {
    if (this.#lost) return;
    const taken = this.#sources.push(entry, hash);
    if (taken.ok) this.#entries++;
    else {
      this.#add(taken.error.code, file, `entry ${index} ${taken.error.message}`);
      this.#lost = true;
    }
  }

  /** Whether leaf hashes are those that the tree has: by the hash above, on the right edge by the root. */
  async #above(index: number, width: number): Promise<(hashes: Hashes) => boolean> {
    const { size, root } = this.#checkpoint;
    if (width < TILE_WIDTH) {
      const before = this.#state.encode();
      return (hashes) => {
        const state = TreeState.decode(before, this.#sha)!;
        state.append(hashes);
        return equalBytes(state.root(), root);
      };
    }
    const above = Math.floor(index / TILE_WIDTH);
    const tile = await this.#files.tile(1, above, widthOf(1, above, size));
    const at = (index % TILE_WIDTH) * HASH_BYTES;
    const parent = tile?.subarray(at, at + HASH_BYTES);
    return (hashes) => parent !== undefined && equalBytes(treeHash(hashes, this.#sha), parent);
  }

  async #compare(tiles: readonly TileBytes[]): Promise<void> {
    for (const { level, index, width, bytes } of tiles) {
      if (level === 0) continue;
      const name = tilePath({ level, index, width });
      const hashes = this.#read(name, await this.#files.tile(level, index, width), (read) =>
        decodeHashTile(read, width),
      );
      if (hashes !== null && !equalBytes(encodeHashTile(hashes), bytes))
        this.#add("tile_mismatch", name, "does not follow from the entries below it");
    }
  }

  #read<T>(file: string, bytes: Uint8Array | null, decode: (bytes: Uint8Array) => T | null): T | null {
    if (bytes === null) {
      this.#add("missing", file, "is not there");
      return null;
    }
    const decoded = decode(bytes);
    if (decoded === null) this.#add("malformed", file, `has ${bytes.length} bytes, which is not what its name says`);
    return decoded;
  }

  #add(code: ArchiveProblem["code"], file: string, message: string): void {
    this.#total++;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ code, file, message });
  }

  #report(): ArchiveCheck {
    return {
      entries: this.#entries,
      marks: this.#sources.marks,
      sealed: !this.#lost && this.#sources.sealed,
      problems: this.#problems,
      problems_total: this.#total,
    };
  }
}

/** Region and epoch in a log's origin (`<host>/<region>/<epoch>`, `logOrigin`); `null` for another form. */
export function placeOfOrigin(origin: string): { readonly region: string; readonly log_epoch: number } | null {
  const match = /\/([^/]+)\/([1-9][0-9]{0,8})$/.exec(origin);
  return match === null ? null : { region: match[1]!, log_epoch: Number(match[2]) };
}

/** The root as manifests and confirmations have it. */
export const rootText = ({ root }: Pick<Checkpoint, "root">): string => base64url(root);
