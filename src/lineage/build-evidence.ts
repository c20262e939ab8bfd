import { base64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import {
  coverageOf,
  type CountedRecord,
  type DisclosedPayload,
  type Evidence,
  type EvidenceLeaf,
  type EvidenceRecord,
  type LaterErasures,
  type LaterHeadProof,
  type OpenedText,
  type PayloadAbsence,
} from "./evidence.ts";
import { multiProofRanges } from "./multi-proof.ts";
import { parseNote } from "./note.ts";
import { decodeRecord, leafHash } from "./record.ts";
import type { CommitmentSalts, OpenedPayload } from "./seal.ts";
import type { TileTree } from "./tile-reader.ts";

/** A record to export. `payload`: what `openPayload` gave for an entitled reader, or why there is nothing. */
export type RecordInput = {
  readonly index: number | null;
  readonly leaf: Uint8Array;
  readonly payload: OpenedPayload | PayloadAbsence;
};

export type LeafInput = { readonly index: number; readonly leaf: Uint8Array };

export type EvidenceInput = {
  readonly region: string;
  readonly log_epoch: number;
  readonly origin: string;
  readonly exported_at_ms: number;
  readonly run: { readonly id: string; readonly salt: Uint8Array } | null;
  /** In order of `seq`. */
  readonly records: readonly RecordInput[];
  /** The `erasure` leaves that name an erased record of these. */
  readonly erasures: readonly LeafInput[];
  /** Those that are in the log of a later epoch (`frameLater`), oldest first. */
  readonly later?: readonly LaterErasures[];
  /** Where the log had ended without a head: what a later one says (`frameLaterHead`). */
  readonly later_head?: LaterHeadProof | null;
  /** The `run.head` leaf; append it, wait for a checkpoint with a quorum that covers it, then build. */
  readonly head: LeafInput | null;
  /** Note of that checkpoint, cosignatures included; `null` where the log has none. */
  readonly checkpoint: string | null;
  /** tlog-policy text. */
  readonly policy: string;
};

export type BuildProblem = {
  /** Tiles: the log cannot read its own tree. `checkpoint`: no note, or of another size than the tree. */
  readonly code: "checkpoint" | "tiles" | "payload";
  readonly message: string;
};

/**
 * The bundle of `input`. `tree` reads the tiles of the checkpoint's tree (`new TileTree(size, read, sha)`); it is not
 * asked for anything where there is no checkpoint. Nothing is verified here: that is the reader's part.
 */
export async function buildEvidence(
  input: EvidenceInput,
  tree: TileTree | null,
  sha: Sha256,
): Promise<Result<Evidence, BuildProblem>> {
  const { records: inputs, ...rest } = input;
  const records: EvidenceRecord[] = [];
  for (const record of inputs) {
    const disclosed = discloseRecord(record, sha);
    if (!disclosed.ok) return disclosed;
    records.push(disclosed.value);
  }
  const last = inputs.at(-1);
  const lastRecord = last === undefined ? null : decodeRecord(last.leaf);
  const counted = records.map(({ index, payload }) => ({
    index,
    payload: typeof payload === "string" ? payload : ("opened" as const),
  }));
  const planned = { ...rest, records: counted, last_seq: lastRecord?.ok === true ? lastRecord.value.seq : 0 };
  const frame = await frameEvidence(planned, tree, sha);
  return frame.ok ? ok({ ...frame.value, records }) : frame;
}

/** A bundle before its records are at hand: where each stands in the log, and what of it will be shown. */
export type EvidencePlan = Omit<EvidenceInput, "records"> & {
  /** In order of `seq`. */
  readonly records: readonly CountedRecord[];
  /** `seq` of the last of them. */
  readonly last_seq: number;
};

/** Everything of a bundle but its records, so that those can be written one after the other (`evidenceFrame`). */
export async function frameEvidence(
  plan: EvidencePlan,
  tree: TileTree | null,
  sha: Sha256,
): Promise<Result<Omit<Evidence, "records">, BuildProblem>> {
  const size = plan.checkpoint === null ? 0 : checkpointSize(plan.checkpoint);
  if (size === null || size !== (tree?.size ?? 0))
    return problem("checkpoint", "the note is no checkpoint of the size of the tree");
  const erasures = plan.erasures.map((leaf) => leafOf(leaf, sha));
  const head = plan.head === null ? null : leafOf(plan.head, sha);
  const leaves = [...plan.records, ...erasures, ...(head === null ? [] : [head])];
  const proof = tree === null ? ok([]) : await proofOf(tree, leaves);
  if (!proof.ok) return proof;
  return ok({
    checkpoint: plan.checkpoint,
    coverage: coverageOf(plan.records, size, plan.last_seq),
    erasures,
    exported_at_ms: plan.exported_at_ms,
    head,
    ...(plan.later === undefined || plan.later.length === 0 ? {} : { later: plan.later }),
    ...(plan.later_head === undefined || plan.later_head === null ? {} : { later_head: plan.later_head }),
    log_epoch: plan.log_epoch,
    origin: plan.origin,
    policy: plan.policy,
    proof: proof.value.map(base64url),
    region: plan.region,
    run: plan.run === null ? null : { id: plan.run.id, salt: base64url(plan.run.salt) },
    type: "interlock-evidence",
    v: 1,
  });
}

/** The `run.head` leaf of a later log with its proof; `tree` is that of the checkpoint. */
export async function frameLaterHead(
  { log_epoch, origin, checkpoint, head }: Omit<LaterInput, "erasures"> & { readonly head: LeafInput },
  tree: TileTree,
  sha: Sha256,
): Promise<Result<LaterHeadProof, BuildProblem>> {
  const framed = await frameLater({ log_epoch, origin, checkpoint, erasures: [head] }, tree, sha);
  return framed.ok ? ok({ checkpoint, head: leafOf(head, sha), log_epoch, origin, proof: framed.value.proof }) : framed;
}

export type LaterInput = Pick<EvidenceInput, "log_epoch" | "origin" | "erasures"> & { readonly checkpoint: string };

/** `erasure` leaves of a later log with their proof; `tree` is that of the checkpoint. */
export async function frameLater(
  { log_epoch, origin, checkpoint, erasures }: LaterInput,
  tree: TileTree,
  sha: Sha256,
): Promise<Result<LaterErasures, BuildProblem>> {
  if (checkpointSize(checkpoint) !== tree.size)
    return problem("checkpoint", "the note is no checkpoint of the size of the tree");
  const proof = await proofOf(tree, erasures);
  if (!proof.ok) return proof;
  const leaves = erasures.map((leaf) => leafOf(leaf, sha));
  return ok({ checkpoint, erasures: leaves, log_epoch, origin, proof: proof.value.map(base64url) });
}

const leafOf = ({ index, leaf }: LeafInput, sha: Sha256): EvidenceLeaf => ({
  hash: base64url(leafHash(leaf, sha)),
  index,
  leaf: base64url(leaf),
});

/** A record as the bundle has it. */
export function discloseRecord(
  { index, leaf, payload }: RecordInput,
  sha: Sha256,
): Result<EvidenceRecord, BuildProblem> {
  const disclosed = typeof payload === "string" ? payload : disclose(payload);
  if (disclosed === null) return problem("payload", "an opened payload is not what a shard seals");
  return ok({ hash: base64url(leafHash(leaf, sha)), index, leaf: base64url(leaf), payload: disclosed });
}

function checkpointSize(source: string): number | null {
  const note = parseNote(source);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : null;
  return checkpoint?.ok === true ? checkpoint.value.size : null;
}

async function proofOf(
  tree: TileTree,
  leaves: readonly { readonly index: number | null }[],
): Promise<Result<Uint8Array[], BuildProblem>> {
  const covered = new Set(leaves.flatMap(({ index }) => (index === null || index >= tree.size ? [] : [index])));
  const nodes: Uint8Array[] = [];
  for (const range of multiProofRanges(
    [...covered].sort((a, b) => a - b),
    tree.size,
  )) {
    const node = await tree.range(range);
    if (!node.ok) return problem("tiles", node.error.message);
    nodes.push(node.value);
  }
  return ok(nodes);
}

/**
 * The parts of a sealed payload that its record commits to, each in the text that was hashed. The rest of it
 * (`determining`, `errors`) rests on nothing but the region's word and is no evidence, so it stays out.
 */
function disclose({ salts, text }: OpenedPayload): DisclosedPayload | null {
  // The shard wrote it, and a request within HTTP's limits fits; parsing is strict all the same.
  const parsed = parseJson(text, { max_depth: 64, max_values: 1_000_000 });
  if (!parsed.ok || !isObject(parsed.value)) return null;
  const payload = parsed.value;
  const core = payload["core"];
  if (core === undefined) return null;
  return {
    core: jcs(core),
    facts: opened(payload, "facts", salts, "facts"),
    input: opened(payload, "input", salts, "input"),
    run_state: opened(payload, "run_state", salts, "run"),
    ...(payload["seen"] === undefined ? {} : { seen: jcs(payload["seen"]) }),
  };
}

function opened(payload: JsonObject, member: string, salts: CommitmentSalts, label: keyof CommitmentSalts): OpenedText {
  return { salt: base64url(salts[label]), text: jcs(payload[member] ?? null) };
}

const problem = (code: BuildProblem["code"], message: string): Result<never, BuildProblem> => err({ code, message });
