import { fromUtf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { verifyInclusion } from "./merkle.ts";
import { MAX_NOTE_BYTES, type Verify } from "./note.ts";
import { base64, fromBase64, fromDecimal, hashFromBase64 } from "./text.ts";
import type { TlogPolicy } from "./tlog-policy.ts";
import { trustCheckpoint, type CheckpointDistrust, type TrustedCheckpoint } from "./trusted-checkpoint.ts";

/**
 * Proof that an entry is in a log, for use without a network (C2SP tlog-proof): index, audit path, and the cosigned
 * checkpoint it leads to. Files are named `.tlog-proof`.
 */

export type TlogProof = {
  /** Of the entry, from 0. */
  readonly index: number;
  /** Audit path, lowest sibling first; 32 bytes each. */
  readonly path: readonly Uint8Array[];
  /** The checkpoint's note, verbatim. */
  readonly checkpoint: string;
  /** Not authenticated by anything. */
  readonly extra: Uint8Array | null;
};

export type ProofProblem = {
  readonly code: "malformed" | "not_included" | CheckpointDistrust["code"];
  readonly message: string;
};

const HEADER = "c2sp.org/tlog-proof@v1";
/** A tree below 2^63 leaves has no longer path. */
export const MAX_PROOF_HASHES = 63;
const MAX_EXTRA_BYTES = 64 * 1024;
const MAX_PROOF_BYTES = MAX_NOTE_BYTES + MAX_EXTRA_BYTES * 2;

export function formatTlogProof({ index, path, checkpoint, extra }: TlogProof): string {
  const lines = [HEADER, ...(extra === null ? [] : [`extra ${base64(extra)}`]), `index ${index}`, ...path.map(base64)];
  return `${lines.join("\n")}\n\n${checkpoint}`;
}

/** Reads a proof. The checkpoint is taken as text: `verifyTlogProof` reads and verifies it. */
export function parseTlogProof(source: Uint8Array | string): Result<TlogProof, ProofProblem> {
  if (source.length > MAX_PROOF_BYTES) return malformed(`longer than ${MAX_PROOF_BYTES} bytes`);
  const text = typeof source === "string" ? source : fromUtf8(source);
  const split = text?.indexOf("\n\n") ?? -1;
  if (text === null || split < 0) return malformed("not UTF-8 text with a blank line before its checkpoint");
  const [header, ...lines] = text.slice(0, split).split("\n");
  if (header !== HEADER) return malformed(`the first line is not ${HEADER}`);
  let extra: Uint8Array | null = null;
  if (lines[0]?.startsWith("extra ") === true) {
    extra = fromBase64(lines.shift()!.slice(6));
    if (extra === null || extra.length === 0 || extra.length > MAX_EXTRA_BYTES)
      return malformed("the extra data is not base64 of 1 to 65,536 bytes");
  }
  const [indexLine, ...hashes] = lines;
  const index = indexLine?.startsWith("index ") === true ? fromDecimal(indexLine.slice(6)) : null;
  if (index === null) return malformed("no line with the index of the entry, below 2^53");
  const path = parseHashLines(hashes, MAX_PROOF_HASHES);
  if (path === null) return malformed(`the path is not of at most ${MAX_PROOF_HASHES} hashes in base64`);
  return ok({ index, path, checkpoint: text.slice(split + 2), extra });
}

/** One hash a line; `null` where there are too many or one is none. */
export function parseHashLines(lines: readonly string[], most: number): Uint8Array[] | null {
  if (lines.length > most) return null;
  const hashes = lines.map(hashFromBase64).filter((hash) => hash !== null);
  return hashes.length === lines.length ? hashes : null;
}

const malformed = (message: string): Result<never, ProofProblem> => err({ code: "malformed", message });

/**
 * Verifies that the entry with `leafHash` is in a log of `policy`, under a checkpoint that a quorum cosigned. The leaf
 * hash comes from the entry at hand (SHA-256(0x00 ‖ entry)), never from the one who brings the proof.
 *
 * @returns the checkpoint with its log and cosigners, or the first reason not to believe it.
 * @example
 * const policy = parsePolicy(policyFile, sha256);
 * const proof = parseTlogProof(proofFile);
 * if (policy.ok && proof.ok) await verifyTlogProof(leafHash(leaf, sha256), proof.value, policy.value, ed25519, sha256);
 */
export async function verifyTlogProof(
  leafHash: Uint8Array,
  proof: TlogProof,
  policy: TlogPolicy,
  verify: Verify,
  sha: Sha256,
): Promise<Result<TrustedCheckpoint, ProofProblem>> {
  const trusted = await trustCheckpoint(proof.checkpoint, policy, verify);
  if (!trusted.ok) return trusted;
  const { size, root } = trusted.value.checkpoint;
  if (!verifyInclusion(leafHash, proof.index, size, proof.path, root, sha))
    return err({ code: "not_included", message: `the path does not lead from entry ${proof.index} to the root` });
  return trusted;
}
