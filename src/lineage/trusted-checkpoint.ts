import { err, ok, type Result } from "../base/result.ts";
import { parseCheckpoint, type CheckpointProblem, type ParsedCheckpoint } from "./checkpoint.ts";
import { decodeCosignature, verifierOf } from "./cosignature.ts";
import type { VerifierKey } from "./note-key.ts";
import { parseNote, verifyNote, type Note, type NoteProblem, type NoteVerifier, type Verify } from "./note.ts";
import { isQuorum, type TlogPolicy } from "./tlog-policy.ts";

/** Whether a checkpoint counts under a policy: signed by its log, cosigned by a quorum. */

export type Cosigner = {
  /** The witness, by its name in the policy. */
  readonly witness: string;
  /** When it saw this as the largest tree, in Unix seconds by its own clock. */
  readonly timestamp_s: number;
};

export type TrustedCheckpoint = {
  readonly checkpoint: ParsedCheckpoint;
  readonly note: Note;
  /** Key of the log that signed it. */
  readonly log: VerifierKey;
  /** Every verified cosignature of a witness of the policy. */
  readonly cosigners: readonly Cosigner[];
};

export type CheckpointDistrust = {
  readonly code:
    | NoteProblem["code"]
    | `checkpoint_${CheckpointProblem["code"]}`
    /** No log of the policy with the checkpoint's origin for its name signed it. */
    | "unknown_log"
    | "no_quorum";
  readonly message: string;
};

/**
 * Verifies the note of a checkpoint, from outside, under `policy`. A signature of any known key, log or witness, that
 * does not verify refuses the whole; keys of a type without verifier (ML-DSA) count as unknown and help no quorum.
 * Whether the cosignatures are recent enough is the caller's to say.
 */
export async function trustCheckpoint(
  source: Uint8Array | string,
  policy: TlogPolicy,
  verify: Verify,
): Promise<Result<TrustedCheckpoint, CheckpointDistrust>> {
  const note = parseNote(source);
  if (!note.ok) return note;
  const checkpoint = parseCheckpoint(note.value.text);
  if (!checkpoint.ok) return err({ ...checkpoint.error, code: `checkpoint_${checkpoint.error.code}` });
  const verified = await verifyNote(note.value, signersOf(policy, verify));
  if (!verified.ok) return verified;
  const { origin } = checkpoint.value;
  const log = verified.value
    .map(({ verifier }) => verifier)
    .find((by) => by.witness === null && by.key.name === origin);
  if (log === undefined) return err({ code: "unknown_log", message: `no known log signed a checkpoint of ${origin}` });
  const cosigners = verified.value.flatMap(({ verifier: { witness }, signature }) => {
    const cosignature = decodeCosignature(signature.signature);
    return witness === null || cosignature === null ? [] : [{ witness, timestamp_s: cosignature.timestamp_s }];
  });
  if (!isQuorum(policy, new Set(cosigners.map(({ witness }) => witness))))
    return err({ code: "no_quorum", message: `cosigned by ${cosigners.length}, which is no quorum` });
  return ok({ checkpoint: checkpoint.value, note: note.value, log: log.key, cosigners });
}

type PolicySigner = NoteVerifier & { readonly key: VerifierKey; readonly witness: string | null };

function signersOf(policy: TlogPolicy, verify: Verify): PolicySigner[] {
  const signer = (key: VerifierKey, witness: string | null): PolicySigner[] => {
    const verifier = verifierOf(key, verify);
    return verifier === null ? [] : [{ ...verifier, witness }];
  };
  return [
    ...policy.logs.flatMap(({ key }) => signer(key, null)),
    ...policy.witnesses.flatMap(({ key, name }) => signer(key, name)),
  ];
}
