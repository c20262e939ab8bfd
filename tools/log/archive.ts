import { setTimeout as sleep } from "node:timers/promises";
import { equalBytes } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { placeOfOrigin, rootText } from "../../src/lineage/archive.ts";
import { parseCheckpoint, type ParsedCheckpoint } from "../../src/lineage/checkpoint.ts";
import { parseNote } from "../../src/lineage/note.ts";
import { leafHash } from "../../src/lineage/record.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import { bundlePath, tilePath, TILE_WIDTH } from "../../src/lineage/tile-path.ts";
import { decodeBundle, decodeHashTile, widthOf } from "../../src/lineage/tiles.ts";
import { parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { TreeState, type TileBytes } from "../../src/lineage/tree-state.ts";
import { trustCheckpoint } from "../../src/lineage/trusted-checkpoint.ts";
import { ed25519 } from "../evidence/ed25519.ts";
import { messageOf, Problem } from "../problem.ts";
import { membershipsOf } from "../region/memberships.ts";
import { hexDigest, LOOSE_FILES, manifestText, readFile, readmeText, writeFile, type Manifest } from "./archive-dir.ts";

const TIMEOUT_MS = 30_000;
/** 256 entries of 65,535 bytes with their lengths. */
const MAX_BYTES = 256 * 65_537;
/** A region turns reads away while others are under way, a witness takes its time: 0.5 s, 1 s, … 8 s. */
const RETRIES_MS = [500, 1_000, 2_000, 4_000, 8_000, 8_000];
/** Bundles that are asked for at once; the region turns away more than 8 reads. */
const AT_ONCE = 4;

export type ArchiveJob = {
  /** Of the region. */
  readonly url: string;
  readonly token: string;
  readonly log_epoch: number;
  readonly out: string;
  /** `null`: the region's own word is taken, for now. */
  readonly policy: TlogPolicy | null;
  readonly say: (text: string) => void;
};

/** How much of it was there already, and the policy that it was written under. */
export type Archived = { readonly bundles: number; readonly kept: number; readonly policy: TlogPolicy };

/**
 * Writes a sealed log epoch into a directory. What is there and right stays, so it goes on where it was stopped; the
 * manifest comes last, so a directory without one is unfinished.
 */
export async function archiveLog(job: ArchiveJob): Promise<Archived> {
  const { log_epoch, out } = job;
  const prefix = `${job.url.replace(/\/+$/, "")}/logs/${log_epoch}`;
  const [claimed, served] = await Promise.all([get(`${prefix}/checkpoint`, null), get(`${prefix}/policy`, null)]);
  if (claimed === null || served === null)
    throw new Problem(`The region has no log of epoch ${log_epoch}`, "Look at `interlock epoch status`.");
  const policy = job.policy ?? readServed(textOf(served));
  await requireSeal(claimed, prefix, job.token);
  const { note, checkpoint } = await cosigned(claimed, prefix, policy, job);
  const place = placeOfOrigin(checkpoint.origin);
  if (place?.log_epoch !== log_epoch)
    throw new Problem(`The log at ${prefix} is ${checkpoint.origin}`, "Is this address an Interlock region?");
  refuseOther(out, checkpoint);
  // Before the tiles: a directory that was begun says which log it is of.
  writeFile(out, "checkpoint", note);

  const counts = await writeTiles(checkpoint, prefix, job);
  writeFile(out, "policy", served);
  const memberships = await membershipsOf(job.url);
  writeFile(out, "memberships.json", JSON.stringify({ memberships }, null, 2) + "\n");
  const files = Object.fromEntries(LOOSE_FILES.map((name) => [name, hexDigest(readFile(out, name)!)]));
  const manifest: Manifest = {
    v: 1,
    type: "interlock-log-archive",
    origin: checkpoint.origin,
    region: place.region,
    log_epoch,
    size: checkpoint.size,
    root: rootText(checkpoint),
    files: files as Manifest["files"],
  };
  writeFile(out, "README.md", readmeText(manifest));
  writeFile(out, "manifest.json", manifestText(manifest));
  return { ...counts, policy };
}

function readServed(text: string): TlogPolicy {
  const policy = parsePolicy(text, sha256);
  if (!policy.ok) throw new Problem(`The region serves no policy: ${policy.error.message}`, "Give one with --trust.");
  return policy.value;
}

/** A directory of another log, or of another tree of it, is not written over. */
function refuseOther(out: string, { origin, size, root }: ParsedCheckpoint): void {
  const kept = readFile(out, "checkpoint");
  const known = kept === null ? null : textOf(kept);
  if (known === null || known.startsWith(`${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`)) return;
  throw new Problem(
    `${out} holds another log, or another state of it: ${known.split("\n").slice(0, 2).join(", ")} entries`,
    "Give another directory with --out.",
    2,
  );
}

/**
 * Before everything else is fetched: whether there is an end at all. Of a checkpoint that nobody has verified yet, so
 * that a log which runs is not waited for.
 */
async function requireSeal(claimed: Uint8Array, prefix: string, token: string): Promise<void> {
  const note = parseNote(claimed);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : note;
  if (!checkpoint.ok)
    throw new Problem(`${prefix}/checkpoint is no checkpoint: ${checkpoint.error.message}`, "Is this a log?");
  const { size } = checkpoint.value;
  const index = Math.floor((size - 1) / TILE_WIDTH);
  const width = widthOf(0, index, size);
  const bundle = size === 0 ? null : await get(`${prefix}/${bundlePath({ index, width })}`, token);
  const last = bundle === null ? undefined : decodeBundle(bundle, width)?.at(-1);
  const state = last === undefined ? null : decodeStateRecord(last);
  if (state?.ok !== true || state.value.kind !== "log.seal")
    throw new Problem("The log epoch is not sealed: its last leaf is no seal", "Seal it first: interlock epoch seal.");
}

/** A log that was sealed a moment ago is waited for: its witnesses may not have cosigned its end yet. */
async function cosigned(
  claimed: Uint8Array,
  prefix: string,
  policy: TlogPolicy,
  { log_epoch, say }: ArchiveJob,
): Promise<{ readonly note: Uint8Array; readonly checkpoint: ParsedCheckpoint }> {
  let note = claimed;
  for (let tries = 0; ; tries++) {
    const trusted = await trustCheckpoint(note, policy, ed25519);
    if (trusted.ok) return { note, checkpoint: trusted.value.checkpoint };
    const { code, message } = trusted.error;
    const wait = code === "no_quorum" ? RETRIES_MS[tries] : undefined;
    if (wait === undefined)
      throw new Problem(
        `The checkpoint of log epoch ${log_epoch} is not to be trusted: ${message}`,
        "Ask for it again when its witnesses have cosigned it; else ask the operator.",
      );
    if (tries === 0) say(`the last checkpoint is ${message}: waiting for its witnesses`);
    await sleep(wait);
    note = (await get(`${prefix}/checkpoint`, null)) ?? note;
  }
}

/** Bundles and hash tiles, each compared before it is written; the tiles above follow from them. */
async function writeTiles(
  { size }: ParsedCheckpoint,
  prefix: string,
  { out, token, say }: ArchiveJob,
): Promise<Omit<Archived, "policy">> {
  const rows = Math.ceil(size / TILE_WIDTH);
  const tree = new TreeState(sha256);
  let kept = 0;
  const above = (tiles: readonly TileBytes[]): void => {
    for (const tile of tiles) {
      const { level, bytes } = tile;
      const name = tilePath(tile);
      const here = level === 0 ? null : readFile(out, name);
      if (level > 0 && (here === null || !equalBytes(here, bytes))) writeFile(out, name, bytes);
    }
  };
  for (let first = 0; first < rows; first += AT_ONCE) {
    const indexes = Array.from({ length: Math.min(AT_ONCE, rows - first) }, (_, at) => first + at);
    const fetched = await Promise.all(indexes.map((index) => row(index, widthOf(0, index, size), prefix, out, token)));
    for (const { hashes, kept: was } of fetched) {
      if (was) kept++;
      above(tree.append(hashes));
    }
    if (first % 400 === 0 && first > 0) say(`${first * TILE_WIDTH} of ${size} entries`);
  }
  above(tree.partialTiles());
  return { bundles: rows, kept };
}

async function row(index: number, width: number, prefix: string, out: string, token: string) {
  const [tileName, bundleName] = [tilePath({ level: 0, index, width }), bundlePath({ index, width })];
  const here = matching(readFile(out, tileName), readFile(out, bundleName), width);
  if (here !== null) return { hashes: here, kept: true };
  const [tile, bundle] = await Promise.all([get(`${prefix}/${tileName}`, null), get(`${prefix}/${bundleName}`, token)]);
  for (const [name, bytes] of [
    [tileName, tile],
    [bundleName, bundle],
  ] as const)
    if (bytes === null) throw new Problem(`${prefix}/${name} is not there`, "Ask the operator: the log is not whole.");
  const hashes = matching(tile, bundle, width);
  if (hashes === null)
    throw new Problem(
      `${prefix}/${bundleName} does not hold the entries of ${tileName}`,
      "Keep both, ask the operator.",
    );
  writeFile(out, bundleName, bundle!);
  writeFile(out, tileName, tile!);
  return { hashes, kept: false };
}

/** The leaf hashes, where tile and bundle are there and say the same. */
function matching(tile: Uint8Array | null, bundle: Uint8Array | null, width: number): readonly Uint8Array[] | null {
  const hashes = tile === null ? null : decodeHashTile(tile, width);
  const entries = bundle === null ? null : decodeBundle(bundle, width);
  if (hashes === null || entries === null) return null;
  return entries.every((entry, at) => equalBytes(leafHash(entry, sha256), hashes[at]!)) ? hashes : null;
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** `null` for 404. A region that is busy is asked again; a credential never follows a redirect. */
async function get(url: string, token: string | null): Promise<Uint8Array | null> {
  for (let tries = 0; ; tries++) {
    let answer: Response;
    let bytes: Uint8Array;
    try {
      answer = await fetch(url, {
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
        redirect: "error",
      });
      bytes = await bounded(answer, url);
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
      throw new Problem(`${url} cannot be reached (${messageOf(inner)})`, "Run it again: it goes on where it stopped.");
    }
    if (answer.ok) return bytes;
    if (answer.status === 404) return null;
    const wait = answer.status === 503 ? RETRIES_MS[tries] : undefined;
    if (wait === undefined)
      throw new Problem(
        `GET ${url} answered ${answer.status}: ${textOf(bytes.subarray(0, 300))}`,
        answer.status === 401 || answer.status === 403
          ? "Give an auditor's credential: `interlock region auditor-token`, then --token or INTERLOCK_ADMIN_TOKEN."
          : "Run it again: it goes on where it stopped.",
      );
    await sleep(wait);
  }
}

async function bounded(answer: Response, url: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    const bytes = chunk as Uint8Array;
    length += bytes.length;
    if (length > MAX_BYTES) throw new Problem(`${url} answered more than ${MAX_BYTES} bytes`, "Is this a log?");
    chunks.push(bytes);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
