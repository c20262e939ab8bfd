import { z } from "zod";
import { base64url, fromBase64url, fromUtf8, utf8 } from "../../base/bytes.ts";
import { digestText, type Sha256 } from "../../base/digest.ts";
import { isObject, parseJson } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import type { Verify } from "../../lineage/note.ts";
import { MAX_PAYLOAD, MAX_SIGNATURES, SCHEMAS, TYPES, type Documents, type RootDocument } from "./documents.ts";
import { refusal, type Refusal, type Role } from "./refusals.ts";

/** A JWS in general JSON form (RFC 7515, 7.2.1) as it is passed about, protected headers only. */
export type Envelope = {
  readonly payload: string;
  readonly signatures: readonly { readonly protected: string; readonly signature: string }[];
};

const envelopeSchema = z.strictObject({
  payload: z.string(),
  signatures: z.array(z.strictObject({ protected: z.string().max(1_024), signature: z.string().max(128) })),
});

/** A document with what names it. Its signatures have not been looked at. */
export type Opened<R extends Role> = {
  readonly role: R;
  readonly envelope: Envelope;
  readonly document: Documents[R];
  readonly version: number;
  /** Digest text over the exact payload bytes. */
  readonly sha256: string;
};

/** Reads an envelope of a role: form, bounds and schema, no signature. */
export function openEnvelope<R extends Role>(role: R, offered: unknown, sha256: Sha256): Result<Opened<R>, Refusal> {
  const refuse = (code: Refusal["code"], detail: string) => err(refusal(code, role, detail));
  // A document that comes without the signatures around it is as good as one with an empty list of them.
  if (isObject(offered) && offered["signatures"] === undefined) return refuse("unsigned", "there are no signatures");
  const shape = envelopeSchema.safeParse(offered);
  if (!shape.success) return refuse("malformed", "not a JWS in general JSON form with protected headers only");
  const { payload, signatures } = shape.data;
  if (signatures.length === 0) return refuse("unsigned", "the list of signatures is empty");
  if (signatures.length > MAX_SIGNATURES) return refuse("too_large", `more than ${MAX_SIGNATURES} signatures`);
  if (payload.length > MAX_PAYLOAD[role]) return refuse("too_large", `more than ${MAX_PAYLOAD[role]} characters`);
  const bytes = fromBase64url(payload);
  const text = bytes === null ? null : fromUtf8(bytes);
  const json = text === null ? null : parseJson(text, { max_depth: 8, max_values: 5_000 });
  if (bytes === null || json?.ok !== true || !isObject(json.value)) return refuse("malformed", "no JSON object in it");
  const type = json.value["type"];
  if (
    typeof type === "string" &&
    type !== `interlock-${role}` &&
    Object.keys(TYPES).some((r) => type === `interlock-${r}`)
  )
    return refuse("wrong_role", `its payload is of type ${type}`);
  const parsed = SCHEMAS[role].safeParse(json.value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    return refuse("malformed", `${issue.path.join(".") || "payload"}: ${issue.message}`);
  }
  const document = parsed.data as Documents[R];
  return ok({
    role,
    envelope: shape.data,
    document,
    version: document.version,
    sha256: digestText(sha256(bytes)),
  });
}

/**
 * Why the envelope is not signed by the threshold of its role in `root`; `null` where it is. Keys are counted, not
 * signatures and not names: who signs twice under two names counts once. One name twice is refused whatever stands
 * beside it ("The keyid MUST be unique", TUF 1.0.34, 4.2.1). `at_least`: where more keys are needed
 * than the threshold.
 */
export async function unsignedBy(
  root: RootDocument,
  { role, envelope }: Pick<Opened<Role>, "role" | "envelope">,
  verify: Verify,
  at_least = 1,
): Promise<Refusal | null> {
  const { kids } = root.roles[role];
  const threshold = Math.max(root.roles[role].threshold, at_least);
  const signers = new Set<string>();
  const names = new Set<string>();
  const spoilt = { wrong_role: 0, unknown_key: 0, bad_signature: 0, duplicate_signer: 0 };
  for (const { protected: protectedHeader, signature } of envelope.signatures) {
    const header = readHeader(protectedHeader);
    if (header !== null && names.has(header.kid))
      return refusal("duplicate_signer", role, `there are two signatures of ${header.kid.slice(0, 64)}`);
    if (header !== null) names.add(header.kid);
    if (header === null) spoilt.bad_signature++;
    else if (header.typ !== TYPES[role]) spoilt.wrong_role++;
    else if (!kids.includes(header.kid)) {
      // The same key under a name that the role does not list is that key's second signature.
      spoilt.unknown_key++;
    } else {
      const x = base64url(fromBase64url(root.keys[header.kid]!.x)!);
      if (signers.has(x)) spoilt.duplicate_signer++;
      else if (await isSigned(x, `${protectedHeader}.${envelope.payload}`, signature, verify)) signers.add(x);
      else spoilt.bad_signature++;
    }
  }
  if (signers.size >= threshold) return null;
  const lacking = threshold - signers.size;
  // The first kind without which the threshold would be met says most about what went wrong.
  const why = (["wrong_role", "duplicate_signer", "unknown_key", "bad_signature"] as const).find(
    (kind) => spoilt[kind] >= lacking,
  );
  return refusal(why ?? "under_threshold", role, `${signers.size} of ${threshold} required keys signed it`);
}

const headerSchema = z.strictObject({ alg: z.literal("Ed25519"), kid: z.string(), typ: z.string() });

/** `null` where it says anything else than algorithm, key and role. */
function readHeader(text: string): z.infer<typeof headerSchema> | null {
  const bytes = fromBase64url(text);
  const json = bytes === null ? null : parseJson(fromUtf8(bytes) ?? "", { max_depth: 2, max_values: 8 });
  const parsed = headerSchema.safeParse(json?.ok === true ? json.value : null);
  return parsed.success ? parsed.data : null;
}

async function isSigned(x: string, input: string, signature: string, verify: Verify): Promise<boolean> {
  const bytes = fromBase64url(signature);
  return bytes?.length === 64 && (await verify(fromBase64url(x)!, utf8(input), bytes));
}
