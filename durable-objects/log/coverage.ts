import { base64url } from "../../src/base/bytes.ts";
import { parseCheckpoint } from "../../src/lineage/checkpoint.ts";
import { coverageSigningInput, coverageText, type Coverage } from "../../src/lineage/coverage.ts";
import { parseNote } from "../../src/lineage/note.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { TileTree, type ReadTile } from "../../src/lineage/tile-reader.ts";
import type { CoverageMessage, LogStatus } from "../../src/objects/log.ts";
import type { Region } from "../../src/region/config.ts";
import { ed25519Signer, nodeSha256, type SigningKey } from "../platform.ts";
import type { SourceCount } from "./source-counts.ts";
import type { LogStore } from "./store.ts";

const asciiBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const SHOWN_GAPS = 100;

/** The log as the statement needs it. */
export type CoveredLog = {
  readonly region: Region;
  readonly store: LogStore;
  readonly signing: SigningKey;
  readonly status: LogStatus;
  /** What the log has of every source. */
  readonly counts: readonly SourceCount[];
  readonly tile: ReadTile;
  readonly indexOf: (source: string, sseq: number) => number | null;
};

/** The statement of what the log covers (`lineage/coverage`), signed with the key of its checkpoints. */
export async function signCoverage(log: CoveredLog, asked: CoverageMessage): Promise<string> {
  const { region, store, signing, status } = log;
  // Everything that can change is read before the first `await`.
  const row = store.newestAnchored() ?? store.newest();
  const { sources, gaps } = status.halted === null ? sourcesOf(log, asked) : { sources: [], gaps: [] };
  const heartbeat = row === null ? null : newestHeartbeat(log, row.size);
  const reads_pending = store.countUntoldReads();
  const noted = row === null ? null : parseNote(row.note);
  const checkpoint = noted?.ok === true ? parseCheckpoint(noted.value.text) : null;
  // A halted log may be one that was put back: it signs nothing of a tree that it may have had otherwise before.
  const tree =
    status.halted === null || checkpoint?.ok !== true
      ? { root: status.root, size: status.size }
      : { root: base64url(checkpoint.value.root), size: checkpoint.value.size };
  const size = row?.size ?? 0;
  const range = (first: number, end: number) => (end > first ? { first, last: end - 1 } : null);
  const coverage: Coverage = {
    anchored: range(0, size),
    checkpoint: row?.note ?? null,
    erased: asked.erased,
    gaps,
    halted: status.halted,
    heartbeat: heartbeat === null ? null : await proven(log.tile, size, heartbeat),
    iat: Math.floor(asked.t_ms / 1_000),
    incidents: status.incidents.map(({ sseq, t_ms, what }) => ({ sseq, t_ms, what })),
    iss: region.pdp,
    log_epoch: region.log_epoch,
    origin: status.origin,
    reads_pending,
    region: region.name,
    retention_days: asked.retention_days,
    sources,
    t_ms: asked.t_ms,
    tree,
    unanchored: range(size, tree.size),
    v: 1,
  };
  const input = coverageSigningInput(signing.kid, coverageText(coverage));
  return `${input}.${base64url(await ed25519Signer(signing)(asciiBytes(input)))}`;
}

/** Marks and holes of every source, and its own head as it told. */
function sourcesOf(
  { store, counts }: CoveredLog,
  { marks, heads }: CoverageMessage,
): Pick<Coverage, "sources" | "gaps"> {
  const own = store.ownHead().sseq;
  const known = new Set([...counts.map(({ source }) => source), ...Object.keys(heads)]);
  const sources = [...known].sort().map((source) => {
    const mark = counts.find((one) => one.source === source)?.mark ?? 0;
    const head = source === "log" ? own : (heads[source] ?? null);
    // What the log has taken from a source since it was asked, the source has.
    const behind = head !== null && head < (marks[source] ?? 0);
    return { head: head === null || behind ? head : Math.max(head, mark), mark, source };
  });
  const broken = counts.filter(({ first, mark, count }) => first !== 1 || count !== mark);
  return { sources, gaps: broken.flatMap(({ source }) => store.gapsOf(source, SHOWN_GAPS)) };
}

type Found = { readonly index: number; readonly leaf: Uint8Array };

/** The newest heartbeat under a checkpoint of that size: not far from the newest leaf, since there is one a minute. */
function newestHeartbeat({ store, indexOf }: CoveredLog, size: number): Found | null {
  for (const { sseq, leaf } of store.ownBack("log.heartbeat")) {
    const index = indexOf("log", sseq);
    const record = decodeStateRecord(leaf);
    if (index !== null && index < size && record.ok && record.value.kind === "log.heartbeat") return { index, leaf };
  }
  return null;
}

/** `null` where the tiles do not give the path: the tree was put back behind its checkpoint. */
async function proven(tile: ReadTile, size: number, { index, leaf }: Found): Promise<Coverage["heartbeat"]> {
  const path = await new TileTree(size, tile, nodeSha256).inclusion(index);
  return path.ok ? { index, leaf: base64url(leaf), path: path.value.map(base64url) } : null;
}
