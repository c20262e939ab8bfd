import { err, ok, type Result } from "../base/result.ts";
import { base64, fromDecimal, hashFromBase64 } from "./text.ts";
import { isKeyName } from "./note-key.ts";

/** Checkpoints (C2SP tlog-checkpoint v1.0.0): the text of the note in which a log states size and root. */

export type Checkpoint = {
  /** Who the log is: for ours a name as keys have it, for others any line. */
  readonly origin: string;
  /** Leaves, below 2^53. */
  readonly size: number;
  /** RFC 6962 root of the first `size` leaves, 32 bytes. */
  readonly root: Uint8Array;
};

/** A checkpoint as read. Extension lines say what no monitor can audit: ours has none, and our witness signs none. */
export type ParsedCheckpoint = Checkpoint & { readonly extensions: readonly string[] };

export type CheckpointProblem = {
  readonly code: "malformed" | "size" | "root" | "empty_root" | "extension";
  readonly message: string;
};

/** SHA-256 of nothing: the root of the tree without leaves. */
export const EMPTY_ROOT_TEXT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/**
 * The text to sign: three lines, no extensions.
 *
 * @throws RangeError for an origin that is no key name, a size beyond 2^53 − 1, or a root that cannot be one: such a
 * checkpoint must never be signed.
 */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  const text = `${origin}\n${size}\n${base64(root)}\n`;
  if (!isKeyName(origin)) throw new RangeError("checkpoint: an origin holds no space and no plus");
  const parsed = parseCheckpoint(text);
  if (!parsed.ok) throw new RangeError(`checkpoint: ${parsed.error.message}`);
  return text;
}

/** Reads the text of a checkpoint note. A size of zero goes with the empty root only. */
export function parseCheckpoint(text: string): Result<ParsedCheckpoint, CheckpointProblem> {
  const lines = text.split("\n");
  if (lines.pop() !== "") return problem("malformed", "the last line does not end in a newline");
  const [origin, sizeText, rootText, ...extensions] = lines;
  if (origin === undefined || origin === "" || sizeText === undefined || rootText === undefined)
    return problem("malformed", "a checkpoint has an origin, a size and a root");
  const size = fromDecimal(sizeText);
  if (size === null) return problem("size", "the size is not a decimal number below 2^53");
  const root = hashFromBase64(rootText);
  if (root === null) return problem("root", "the root is not 32 bytes in base64");
  if (size === 0 && rootText !== EMPTY_ROOT_TEXT) return problem("empty_root", "the root is not that of no leaves");
  if (extensions.includes("")) return problem("extension", "an extension line is empty");
  return ok({ origin, size, root, extensions });
}

const problem = (code: CheckpointProblem["code"], message: string): Result<never, CheckpointProblem> =>
  err({ code, message });
