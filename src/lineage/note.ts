import { concat, fromUtf8, utf8 } from "../base/bytes.ts";
import { err, ok, type Result } from "../base/result.ts";
import { base64, controlAt, fromBase64 } from "./text.ts";
import { isKeyName, SIGNATURE_TYPE, type VerifierKey } from "./note-key.ts";

/**
 * Signed notes (C2SP signed-note v1.0.0): a text, a blank line, signature lines. Nothing of a note's text means
 * anything before `openNote` has verified a signature over it.
 */

export type NoteSignature = {
  readonly name: string;
  readonly key_id: number;
  /** What follows the key id: 64 bytes for Ed25519, 72 for cosignature/v1. */
  readonly signature: Uint8Array;
};

export type Note = {
  /** What is signed, its final newline included. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
};

export type NoteProblem = {
  readonly code:
    | "too_large"
    | "not_utf8"
    | "control_character"
    | "unsigned"
    | "malformed_signature"
    | "too_many_signatures"
    /** A signature of a known key does not verify: the whole note is refused. */
    | "bad_signature"
    /** No signature is of a known key. */
    | "unknown_signers";
  readonly message: string;
};

/** 64 signatures of the largest kind here (ML-DSA-44, 2,432 bytes, 3.3 KB in base64) and a text. */
export const MAX_NOTE_BYTES = 256 * 1024;
/** The specification asks for at least 16. */
const MAX_NOTE_SIGNATURES = 64;

const MARK = "\u2014 ";

/** Reads a note from bytes, or from a text that was decoded without loss. */
export function parseNote(source: Uint8Array | string, maxBytes = MAX_NOTE_BYTES): Result<Note, NoteProblem> {
  const read = readText(source, maxBytes);
  if (!read.ok) return read;
  // Signature lines are never empty, so the last empty line is the separator, whatever the text holds.
  const split = read.value.lastIndexOf("\n\n");
  if (split < 0) return problem("unsigned", "no blank line between text and signatures");
  const signatures = parseSignatureLines(read.value.slice(split + 2));
  return signatures.ok ? ok({ text: read.value.slice(0, split + 1), signatures: signatures.value }) : signatures;
}

/** Reads one or more signature lines, as under a note or in a witness's answer. */
export function parseSignatureLines(text: string): Result<readonly NoteSignature[], NoteProblem> {
  const lines = text.split("\n");
  if (lines.pop() !== "") return problem("malformed_signature", "the last signature line does not end in a newline");
  if (lines.length === 0) return problem("unsigned", "no signature line");
  if (lines.length > MAX_NOTE_SIGNATURES)
    return problem("too_many_signatures", `more than ${MAX_NOTE_SIGNATURES} signatures`);
  const signatures: NoteSignature[] = [];
  for (const [at, line] of lines.entries()) {
    const signature = parseSignatureLine(line);
    if (signature === null) return problem("malformed_signature", `signature line ${at + 1} is malformed`);
    signatures.push(signature);
  }
  return ok(signatures);
}

function parseSignatureLine(line: string): NoteSignature | null {
  const [name, encoded, ...more] = line.startsWith(MARK) ? line.slice(MARK.length).split(" ") : [];
  if (name === undefined || encoded === undefined || more.length > 0 || !isKeyName(name)) return null;
  const bytes = fromBase64(encoded);
  if (bytes === null || bytes.length < 5) return null;
  return { name, key_id: new DataView(bytes.buffer).getUint32(0), signature: bytes.subarray(4) };
}

function readText(source: Uint8Array | string, maxBytes: number): Result<string, NoteProblem> {
  const tooLarge = problem("too_large", `longer than ${maxBytes} bytes`);
  if (source.length > maxBytes) return tooLarge;
  const text = typeof source === "string" ? source : fromUtf8(source);
  if (text === null || !text.isWellFormed()) return problem("not_utf8", "not well-formed UTF-8");
  if (typeof source === "string" && utf8(source).length > maxBytes) return tooLarge;
  const control = controlAt(text);
  if (control >= 0) return problem("control_character", `control character at offset ${control}`);
  return ok(text);
}

const problem = (code: NoteProblem["code"], message: string): Result<never, NoteProblem> => err({ code, message });

/** One signature line with its newline: what a note, or the answer of a witness, carries. */
export function signatureLine({ name, key_id, signature }: NoteSignature): string {
  const id = new Uint8Array(4);
  new DataView(id.buffer).setUint32(0, key_id);
  return `${MARK}${name} ${base64(concat(id, signature))}\n`;
}

/** The note of `text` with `signatures`. @throws RangeError where the text does not end in a newline. */
export function formatNote(text: string, signatures: readonly NoteSignature[]): string {
  if (!text.endsWith("\n")) throw new RangeError("note: the text ends in a newline");
  return `${text}\n${signatures.map(signatureLine).join("")}`;
}

/** Ed25519 with a key that the caller holds; 64 bytes. */
export type Sign = (message: Uint8Array) => Promise<Uint8Array> | Uint8Array;

/**
 * Ed25519 (RFC 8032) with a raw public key of 32 bytes; false for whatever does not verify.
 *
 * @example
 * const ed25519: Verify = async (raw, message, signature) => {
 *   const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
 *   return crypto.subtle.verify("Ed25519", key, signature, message);
 * };
 */
export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => Promise<boolean> | boolean;

/** A plain Ed25519 note signature (type 0x01) over `text`. */
export async function signNote(text: string, key: VerifierKey, sign: Sign): Promise<NoteSignature> {
  if (key.type !== SIGNATURE_TYPE.ed25519) throw new RangeError("note: the key is not of type 0x01");
  return { name: key.name, key_id: key.id, signature: await sign(utf8(text)) };
}

/**
 * Something that verifies the signatures of one key, as configured. `verifierOf` (`cosignature.ts`) makes those of
 * the Ed25519 types; a deployment may bring others (ML-DSA).
 */
export type NoteVerifier = {
  readonly key: { readonly name: string; readonly id: number };
  readonly verify: (text: string, signature: Uint8Array) => Promise<boolean> | boolean;
};

export type VerifiedSignature<V extends NoteVerifier> = { readonly verifier: V; readonly signature: NoteSignature };

/**
 * The signatures of `note` that known keys made, in the note's order. Signatures of unknown keys are ignored, also
 * where they share the name *or* the id with a known one; a signature of a known key that does not verify refuses
 * the whole note, and so does a note without any known signer.
 */
export async function verifyNote<V extends NoteVerifier>(
  note: Note,
  verifiers: readonly V[],
): Promise<Result<readonly VerifiedSignature<V>[], NoteProblem>> {
  const verified: VerifiedSignature<V>[] = [];
  for (const signature of note.signatures) {
    const known = verifiers.filter(({ key }) => key.name === signature.name && key.id === signature.key_id);
    if (known.length === 0) continue;
    let found: V | null = null;
    for (const verifier of known) {
      if (await verifier.verify(note.text, signature.signature)) found = verifier;
    }
    if (found === null) return problem("bad_signature", `the signature of ${signature.name} does not verify`);
    verified.push({ verifier: found, signature });
  }
  return verified.length > 0 ? ok(verified) : problem("unknown_signers", "no signature is of a known key");
}
