import { base64url, concat } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { encodeStateRecord, type StateKind } from "../../src/lineage/state-record.ts";
import { TILE_WIDTH } from "../../src/lineage/tile-path.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import { widthOf } from "../../src/lineage/tiles.ts";
import { TreeState } from "../../src/lineage/tree-state.ts";
import type { LogPosition } from "../../src/objects/log.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256 } from "../platform.ts";
import type { LogStore } from "./store.ts";

export const HASH = 32;
export const MAX_HASHES = 8_192;

/** A leaf of the log's own source, before it has its number. */
export type OwnLeaf = { readonly kind: StateKind; readonly body: JsonObject };

export type TreePort = {
  readonly grown: () => void;
  /** Storage contradicts itself; `evidence`: the signed checkpoint that says so. */
  readonly damaged: (reason: string, evidence: string | null) => void;
};

/**
 * The log's tree: its right edge in memory, tiles and places in storage. It grows in one synchronous transaction (tiles,
 * edge, batch and mark move together); where that fails, memory is loaded again.
 */
export class LogTree {
  readonly #store: LogStore;
  readonly #region: Region;
  readonly #port: TreePort;
  readonly origin: string;
  #state = new TreeState(nodeSha256);

  constructor(store: LogStore, region: Region, origin: string, port: TreePort) {
    this.#store = store;
    this.#region = region;
    this.origin = origin;
    this.#port = port;
  }

  get size(): number {
    return this.#state.size;
  }

  root(): Uint8Array {
    return this.#state.root();
  }

  /** Text of the checkpoint of the tree as it stands. */
  text(): string {
    return checkpointText({ origin: this.origin, size: this.size, root: this.root() });
  }

  /** Memory from storage, which is the truth; a tree that does not match its last checkpoint is damaged. */
  reload(): void {
    const bytes = this.#store.tree();
    const tree = bytes === null ? new TreeState(nodeSha256) : TreeState.decode(bytes, nodeSha256);
    if (tree === null) return this.#port.damaged("the stored tree cannot be read", null);
    this.#state = tree;
    const newest = this.#store.newest();
    if (newest === null) return;
    if (newest.size > tree.size)
      return this.#port.damaged(
        `a checkpoint of size ${newest.size} was signed and the tree has ${tree.size}`,
        newest.note,
      );
    if (newest.size === tree.size && !newest.note.startsWith(this.text()))
      this.#port.damaged("the tree differs from its signed checkpoint", newest.note);
  }

  /** One transaction: what the leaves change, and `also`. On failure memory is loaded again. */
  grow(source: string, first_sseq: number, hashes: readonly Uint8Array[], also: () => void): void {
    try {
      this.#store.transaction(() => {
        const first_index = this.#state.size;
        for (const { level, index, bytes } of this.#state.append(hashes)) this.#store.putTile(level, index, bytes);
        this.#store.putTree(this.#state.encode());
        this.#store.addBatch({ first_index, source, first_sseq, count: hashes.length });
        also();
      });
    } catch (cause) {
      this.reload();
      throw cause;
    }
    this.#port.grown();
  }

  /** Leaves of the log's own source, in one transaction with what `also` changes; gives where the first one stands. */
  append(
    entries: readonly OwnLeaf[],
    also: (first_sseq: number) => void = () => undefined,
  ): { readonly sseq: number; readonly index: number } {
    const head = this.#store.ownHead();
    const first = head.sseq + 1;
    let prev = head.leaf_hash;
    const leaves = entries.map(({ kind, body }, at) => {
      const leaf = encodeStateRecord({
        body,
        kind,
        log_epoch: this.#region.log_epoch,
        prev: prev === null ? null : base64url(prev),
        region: this.#region.name,
        source: "log",
        sseq: first + at,
        t: Date.now(),
        v: 1,
      });
      prev = leafHash(leaf, nodeSha256);
      return { leaf, hash: prev };
    });
    const index = this.size;
    const hashes = leaves.map(({ hash }) => hash);
    this.grow("log", first, hashes, () => {
      leaves.forEach(({ leaf, hash }, at) => this.#store.addOwn(first + at, leaf, hash));
      also(first);
    });
    return { sseq: first, index };
  }

  /** Of the tree of its first `size` leaves. */
  reader(size: number): TileTree {
    return new TileTree(size, (level, n, width) => this.tile(level, n, width), nodeSha256);
  }

  /** A tile of any width that the tree has ever had: narrower ones are beginnings of what is there now. */
  tile(level: number, index: number, width: number): Uint8Array | null {
    const full = this.#store.tile(level, index);
    const bytes =
      full ?? this.#state.partialTiles().find((tile) => tile.level === level && tile.index === index)?.bytes ?? null;
    return bytes === null || bytes.length < width * HASH ? null : bytes.slice(0, width * HASH);
  }

  /** Root of the first `size` leaves; `null` where a tile is missing. */
  async rootAt(size: number): Promise<Uint8Array | null> {
    const root = await this.reader(this.size).root(size);
    return root.ok ? root.value : null;
  }

  hashes(source: string, from_sseq: number, count: number): Uint8Array {
    const found: Uint8Array[] = [];
    for (let at = 0; at < Math.min(count, MAX_HASHES); at++) {
      const hash = this.hashOf(source, from_sseq + at);
      if (hash === null) break;
      found.push(hash);
    }
    return concat(...found);
  }

  hashOf(source: string, sseq: number): Uint8Array | null {
    const index = this.indexOf(source, sseq);
    if (index === null) return null;
    const n = Math.floor(index / TILE_WIDTH);
    const tile = this.tile(0, n, widthOf(0, n, this.#state.size));
    const at = (index % TILE_WIDTH) * HASH;
    return tile?.subarray(at, at + HASH) ?? null;
  }

  indexOf(source: string, sseq: number): number | null {
    const batch = this.#store.batchOf(source, sseq);
    return batch === null ? null : batch.first_index + sseq - batch.first_sseq;
  }

  /** Which source and number stand at each of `count` indexes from `first`. */
  positions(first: number, count: number): readonly LogPosition[] {
    const last = Math.min(first + count, this.size) - 1;
    return this.#store.batchesAt(first, last).flatMap((batch) => {
      const from = Math.max(first, batch.first_index);
      const to = Math.min(last, batch.first_index + batch.count - 1);
      return Array.from({ length: to - from + 1 }, (_, at) => ({
        source: batch.source,
        sseq: batch.first_sseq + from - batch.first_index + at,
        index: from + at,
      }));
    });
  }
}
