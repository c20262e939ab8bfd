import { base64url } from "../../../src/base/bytes.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Checkpoint } from "../../../src/lineage/checkpoint.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord, type StateKind } from "../../../src/lineage/state-record.ts";
import { bundlePath, TILE_WIDTH } from "../../../src/lineage/tile-path.ts";
import { encodeBundle } from "../../../src/lineage/tiles.ts";
import { buildSource, sha } from "./build.ts";
import { tileFiles } from "./log-build.ts";

/** The leaves of a log epoch of region eu, in order, as an honest region has them. */
export class TestLog {
  readonly leaves: Uint8Array[] = [];
  readonly #marks: Record<string, number> = {};
  readonly #heads = new Map<string, string>();

  get marks(): JsonObject {
    return { ...this.#marks };
  }

  records(leaves: readonly Uint8Array[]): void {
    for (const leaf of leaves) this.#push("shard/0", leaf);
  }

  state(source: string, kind: StateKind, body: JsonObject): void {
    const sseq = (this.#marks[source] ?? 0) + 1;
    const prev = this.#heads.get(source) ?? null;
    const t = 1_795_000_000_000;
    this.#push(source, encodeStateRecord({ body, kind, log_epoch: 1, prev, region: "eu", source, sseq, t, v: 1 }));
  }

  #push(source: string, leaf: Uint8Array): void {
    this.leaves.push(leaf);
    this.#marks[source] = (this.#marks[source] ?? 0) + 1;
    this.#heads.set(source, base64url(leafHash(leaf, sha)));
  }
}

/** `records` decisions, events of the authority, heartbeats between them, and the seal. */
export function sealedLog(records: number): TestLog {
  const log = new TestLog();
  const { rows } = buildSource(Array.from({ length: records }, (_, at) => [at]));
  log.state("log", "log.genesis", { kid: "eu.1.log.1", previous: null, shards: 1 });
  for (let at = 0; at < rows.length; at += 100) {
    log.records(rows.slice(at, at + 100).map(({ leaf }) => leaf));
    log.state("trust", "trust.event", { commit: "c", event: "revoke", seq: at });
    log.state("log", "log.heartbeat", { marks: log.marks });
  }
  log.state("log", "log.seal", { marks: log.marks });
  return log;
}

/** Everything that is served of a log, by path. */
export function archiveFiles(leaves: readonly Uint8Array[]): Map<string, Uint8Array> {
  const files = tileFiles(leaves.map((leaf) => leafHash(leaf, sha)));
  for (let at = 0; at < leaves.length; at += TILE_WIDTH) {
    const entries = leaves.slice(at, at + TILE_WIDTH);
    files.set(bundlePath({ index: at / TILE_WIDTH, width: entries.length }), encodeBundle(entries));
  }
  return files;
}

export const checkpointOf = (leaves: readonly Uint8Array[]): Checkpoint => ({
  origin: "eu.pdp.example/eu/1",
  size: leaves.length,
  root: treeHash(
    leaves.map((leaf) => leafHash(leaf, sha)),
    sha,
  ),
});
