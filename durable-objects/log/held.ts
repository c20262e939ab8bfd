import { err, ok, type Result } from "../../src/base/result.ts";
import { MAX_ADD_CHECKPOINT_BYTES } from "../../src/lineage/add-checkpoint.ts";
import { parseCheckpoint, type ParsedCheckpoint } from "../../src/lineage/checkpoint.ts";
import { verifierOf } from "../../src/lineage/cosignature.ts";
import { originHash } from "../../src/lineage/names.ts";
import type { VerifierKey } from "../../src/lineage/note-key.ts";
import { parseNote, verifyNote } from "../../src/lineage/note.ts";
import { ed25519Verify, nodeSha256 } from "../platform.ts";

const TIMEOUT_MS = 3_000;

/** A checkpoint that a witness holds of this log, under this log's own signature. */
export type Held = { readonly note: string; readonly checkpoint: ParsedCheckpoint };

/** `none`: the witness answers, and has cosigned nothing of this log. `silent`: it does not answer. */
export type NotHeld = { readonly code: "none" | "silent" | "unsigned"; readonly message: string };

/**
 * Asks the witness under `url` for the last checkpoint that it cosigned of this log: `<url>/<origin hash>/checkpoint`,
 * the read route of C2SP's witness and mirror drafts. A status is worth nothing, since nobody signs it; this is
 * worth what `key`, the log's own, has signed.
 */
export async function askHeld(send: typeof fetch, url: string, key: VerifierKey): Promise<Result<Held, NotHeld>> {
  const refuse = (code: NotHeld["code"], message: string) => err({ code, message });
  let source: Uint8Array;
  try {
    const answer = await send(`${url}/${originHash(key.name, nodeSha256)}/checkpoint`, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    source = await readAnswer(answer);
    if (answer.status === 404) return refuse("none", "it has cosigned no checkpoint of this log");
    if (answer.status !== 200) return refuse("silent", `its checkpoint: status ${answer.status}`);
  } catch (cause) {
    return refuse("silent", `its checkpoint: ${cause instanceof Error ? cause.message : "no answer"}`);
  }
  const note = parseNote(source);
  const checkpoint = note.ok ? parseCheckpoint(note.value.text) : note;
  if (!note.ok || !checkpoint.ok) return refuse("unsigned", "it shows no checkpoint");
  const verified = await verifyNote(note.value, [verifierOf(key, ed25519Verify)!]);
  if (!verified.ok || checkpoint.value.origin !== key.name)
    return refuse("unsigned", "what it shows is not signed by this log");
  return ok({ note: new TextDecoder().decode(source), checkpoint: checkpoint.value });
}

/** The body of a witness's answer. @throws RangeError for one that no witness has to give. */
export async function readAnswer(answer: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    const bytes = chunk as Uint8Array;
    length += bytes.length;
    if (length > MAX_ADD_CHECKPOINT_BYTES) throw new RangeError("the answer is too long");
    chunks.push(bytes);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
