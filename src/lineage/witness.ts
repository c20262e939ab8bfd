import { equalBytes } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { parseAddCheckpoint, TREE_SIZE_TYPE, type AddCheckpoint } from "./add-checkpoint.ts";
import { cosign } from "./cosignature.ts";
import { verifyConsistency } from "./merkle.ts";
import type { VerifierKey } from "./note-key.ts";
import { signatureLine, verifyNote, type NoteVerifier, type Sign } from "./note.ts";

/**
 * The witness of C2SP tlog-witness v1.0.0 in three steps, so that a caller can make the middle one atomic:
 *
 * 1. `admit` reads the body and verifies the log's signature. Asynchronous, touches no state.
 * 2. `advance` compares with what this witness cosigned last and gives the next state. Synchronous: read the state,
 *    advance, store the next one and take the time in one turn, or two requests race and one rolls the other back.
 * 3. `cosignReply` signs. Only after the next state is durable.
 *
 * A state is only ever made of what the log's key signed and the proof showed consistent.
 */

/** The largest checkpoint cosigned for one origin; `null` in its place before the first. */
export type WitnessState = {
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
};

export type WitnessReply = {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly content_type: string;
  readonly body: string;
  /** Why, for the witness's own log and metrics; the wire has status and body. */
  readonly reason:
    | "cosigned"
    | "malformed"
    | "unknown_origin"
    | "unsigned"
    | "extension"
    | "old_above_new"
    /** The log believes in another last size: it retries from the size in the body, or learns that it was rewound. */
    | "old_size"
    /** A second root for a size cosigned before, under the log's own signature: proof of a split view. Keep both. */
    | "split_view"
    | "proof";
};

/** The keys trusted for an origin; `null` for an origin that this witness does not serve. */
export type LogKeys = (origin: string) => readonly NoteVerifier[] | null;

const TEXT = "text/plain; charset=utf-8";

const refuse = (status: WitnessReply["status"], reason: WitnessReply["reason"], message: string): WitnessReply => ({
  status,
  content_type: TEXT,
  body: `${message}\n`,
  reason,
});

/**
 * Steps without state: 400 for what is malformed (a size of zero with another root than the empty one included), 404
 * for an unknown origin, 403 without a valid signature of the log, 400 for an old size above the new one and for
 * extension lines, about which no witness can say anything (and ML-DSA cosignatures do not sign them).
 */
export async function admit(body: Uint8Array, logKeys: LogKeys): Promise<Result<AddCheckpoint, WitnessReply>> {
  const request = parseAddCheckpoint(body);
  if (!request.ok) return err(refuse(400, "malformed", request.error));
  const { checkpoint, note, old_size } = request.value;
  const keys = logKeys(checkpoint.origin);
  if (keys === null) return err(refuse(404, "unknown_origin", "unknown origin"));
  const verified = await verifyNote(note, keys);
  if (!verified.ok) return err(refuse(403, "unsigned", verified.error.message));
  if (checkpoint.extensions.length > 0) return err(refuse(400, "extension", "extension lines are not witnessed"));
  if (old_size > checkpoint.size) return err(refuse(400, "old_above_new", "the old size is above the new one"));
  return request;
}

/**
 * The state after `request`, or 409 with the size held where the old size is another, or 422 where the proof does not
 * show that the new tree begins with the old one: a second root for one size, and a proof where there is nothing to
 * prove, included.
 */
export function advance(
  state: WitnessState | null,
  request: AddCheckpoint,
  sha: Sha256,
): Result<WitnessState, WitnessReply> {
  const { checkpoint, old_size, proof } = request;
  const held = state?.size ?? 0;
  if (old_size !== held)
    return err({ status: 409, content_type: TREE_SIZE_TYPE, body: `${held}\n`, reason: "old_size" });
  const { size, root } = checkpoint;
  if (state !== null && size === held && !equalBytes(root, state.root))
    return err(refuse(422, "split_view", "another root was cosigned for this size"));
  // Of size zero there is one root only, and `parseCheckpoint` refuses any other.
  const consistent = held === 0 ? proof.length === 0 : verifyConsistency(held, size, proof, state!.root, root, sha);
  return consistent ? ok({ size, root }) : err(refuse(422, "proof", "the consistency proof does not verify"));
}

export type WitnessSigner = {
  /** Of type 0x04. One key belongs to one witness: the signed message does not name it. */
  readonly key: VerifierKey;
  readonly sign: Sign;
};

/** 200 with a cosignature of each key. `now_s` is of the turn in which the state was stored, in Unix seconds. */
export async function cosignReply(
  request: AddCheckpoint,
  signers: readonly WitnessSigner[],
  now_s: number,
): Promise<WitnessReply> {
  const lines: string[] = [];
  for (const { key, sign } of signers) lines.push(signatureLine(await cosign(request.note.text, key, now_s, sign)));
  return { status: 200, content_type: TEXT, body: lines.join(""), reason: "cosigned" };
}

export type WitnessSetup = {
  readonly logKeys: LogKeys;
  readonly signers: readonly WitnessSigner[];
  readonly sha: Sha256;
};

/**
 * The three steps at once, for tests and callers with nobody to race against. `next_state` is null where the state
 * stays as it is.
 */
export async function witness(
  state: WitnessState | null,
  body: Uint8Array,
  { logKeys, signers, sha }: WitnessSetup,
  now_s: number,
): Promise<WitnessReply & { readonly next_state: WitnessState | null }> {
  const request = await admit(body, logKeys);
  if (!request.ok) return { ...request.error, next_state: null };
  const next = advance(state, request.value, sha);
  if (!next.ok) return { ...next.error, next_state: null };
  return { ...(await cosignReply(request.value, signers, now_s)), next_state: next.value };
}
