import { fromUtf8 } from "../base/bytes.ts";
import { err, ok, type Result } from "../base/result.ts";
import { parseCheckpoint, type ParsedCheckpoint } from "./checkpoint.ts";
import {
  parseNote,
  parseSignatureLines,
  verifyNote,
  type Note,
  type NoteProblem,
  type NoteSignature,
  type NoteVerifier,
} from "./note.ts";
import { base64, fromDecimal } from "./text.ts";
import { MAX_PROOF_HASHES, parseHashLines } from "./tlog-proof.ts";

/** The bodies of `add-checkpoint`, as a log sends and a witness reads them (C2SP tlog-witness v1.0.0). */

export type AddCheckpoint = {
  /** Size that the witness is believed to have cosigned last. */
  readonly old_size: number;
  /** Consistency proof from `old_size`; empty from zero. */
  readonly proof: readonly Uint8Array[];
  readonly note: Note;
  /** What the note's text says, not verified. */
  readonly checkpoint: ParsedCheckpoint;
};

/** 63 proof lines take 3 KB; the rest is for a checkpoint with up to 16 post-quantum signatures. */
export const MAX_ADD_CHECKPOINT_BYTES = 64 * 1024;

/** The request body of a log that asks for a cosignature under `note`, its signed checkpoint. */
export function formatAddCheckpoint(oldSize: number, proof: readonly Uint8Array[], note: string): string {
  if (proof.length > MAX_PROOF_HASHES) throw new RangeError(`add-checkpoint: at most ${MAX_PROOF_HASHES} hashes`);
  return `${[`old ${oldSize}`, ...proof.map(base64)].join("\n")}\n\n${note}`;
}

/** Reads a request body; the message says which part is malformed. */
export function parseAddCheckpoint(body: Uint8Array): Result<AddCheckpoint, string> {
  if (body.length > MAX_ADD_CHECKPOINT_BYTES) return err(`the body is longer than ${MAX_ADD_CHECKPOINT_BYTES} bytes`);
  const text = fromUtf8(body);
  // The first blank line: the checkpoint has one of its own.
  const split = text?.indexOf("\n\n") ?? -1;
  if (text === null || split < 0) return err("the body is not UTF-8 text with a blank line before the checkpoint");
  const [first, ...lines] = text.slice(0, split).split("\n");
  const old_size = first!.startsWith("old ") ? fromDecimal(first!.slice(4)) : null;
  if (old_size === null) return err("the first line is not the old size, below 2^53");
  const proof = parseHashLines(lines, MAX_PROOF_HASHES);
  if (proof === null) return err(`the proof is not of at most ${MAX_PROOF_HASHES} hashes in base64`);
  const note = parseNote(text.slice(split + 2));
  if (!note.ok) return err(`the checkpoint: ${note.error.message}`);
  const checkpoint = parseCheckpoint(note.value.text);
  if (!checkpoint.ok) return err(`the checkpoint: ${checkpoint.error.message}`);
  return ok({ old_size, proof, note: note.value, checkpoint: checkpoint.value });
}

/**
 * The cosignatures in a witness's 200 answer that verify over `checkpointText` under `verifiers`. Those of unknown keys
 * are dropped; one of a known key that does not verify refuses the answer, and so does an answer without any.
 */
export async function readCosignatures(
  body: Uint8Array,
  checkpointText: string,
  verifiers: readonly NoteVerifier[],
): Promise<Result<readonly NoteSignature[], NoteProblem>> {
  const text = body.length > MAX_ADD_CHECKPOINT_BYTES ? null : fromUtf8(body);
  if (text === null) return err({ code: "not_utf8", message: "the answer is too long or not UTF-8" });
  const signatures = parseSignatureLines(text);
  if (!signatures.ok) return signatures;
  const verified = await verifyNote({ text: checkpointText, signatures: signatures.value }, verifiers);
  return verified.ok ? ok(verified.value.map(({ signature }) => signature)) : verified;
}

/** Content type of a 409 answer that says the size the witness holds. */
export const TREE_SIZE_TYPE = "text/x.tlog.size";

/** The size in a 409 answer of that type; `null` where it is none. A larger size than the log's own: halt. */
export const readTreeSize = (body: string): number | null => fromDecimal(body.replace(/\n$/, ""));
