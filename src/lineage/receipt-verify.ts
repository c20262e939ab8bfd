import { errors, flattenedVerify, type CryptoKey, type JWK } from "jose";
import { equalBytes, fromBase64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { treeHash, verifyInclusion } from "./merkle.ts";
import { parseReceipt, type ParsedReceipt, type ReceiptForm } from "./receipt-read.ts";
import type { ReceiptPayload } from "./receipt.ts";

/**
 * What the verifier holds of the call's records: all their leaf hashes in order, one of them with its path to the
 * call root, or none. Without leaf hashes the receipt still shows that the region promised `call_root`, to be
 * compared with the records when they are at hand.
 */
export type ReceiptEvidence =
  | { readonly kind: "records"; readonly leafHashes: readonly Uint8Array[] }
  | {
      readonly kind: "record";
      readonly leafHash: Uint8Array;
      readonly index: number;
      readonly path: readonly Uint8Array[];
    }
  | { readonly kind: "none" };

export type ReceiptExpectation = {
  readonly region: string;
  /** Identifier of the PDP that was asked. */
  readonly pdp: string;
};

export type ReceiptProblem = {
  readonly code:
    | ReceiptForm["code"]
    | "wrong_region"
    | "wrong_pdp"
    | "unknown_key"
    | "unusable_key"
    | "bad_signature"
    /** The call root is not in the signed flush tree. */
    | "path_mismatch"
    /** The records are not those of the call root. */
    | "record_mismatch";
  readonly message: string;
};

export type VerifiedReceipt = {
  readonly kid: string;
  readonly payload: ReceiptPayload;
  readonly call: number;
  readonly items: number;
  readonly call_root: Uint8Array;
};

/** The public half of `kid` from a key set that the verifier trusts, or `null`. */
export type ResolveKey = (kid: string) => CryptoKey | JWK | null | Promise<CryptoKey | JWK | null>;

/**
 * Verifies the receipt `text`: form, who promised, signature, path, records, in this order. Whether the key was
 * certified for its shard at that time is `resolveKey`'s to know; whether the log kept the promise (`merge_by`) is
 * the inclusion proof's.
 */
export async function verifyReceipt(
  text: string,
  evidence: ReceiptEvidence,
  resolveKey: ResolveKey,
  expected: ReceiptExpectation,
  sha: Sha256,
): Promise<Result<VerifiedReceipt, ReceiptProblem>> {
  const parsed = parseReceipt(text);
  if (!parsed.ok) return parsed;
  const { header, kid, payload } = parsed.value;
  // Another region's promise binds nobody here (G8), and another PDP's answers another question.
  if (payload.region !== expected.region) return problem("wrong_region", `the receipt is of region ${payload.region}`);
  if (payload.iss !== expected.pdp) return problem("wrong_pdp", "the receipt is of another PDP");
  const key = await resolveKey(kid);
  if (key === null) return problem("unknown_key", `no key ${kid}`);
  const unsigned = await signatureProblem(parsed.value, key);
  if (unsigned !== null) return err(unsigned);
  const root = fromBase64url(payload.root)!;
  if (!verifyInclusion(header.leaf, header.call, payload.calls, header.path, root, sha)) {
    return problem("path_mismatch", `call ${header.call} is not in the signed flush tree`);
  }
  if (!recordsMatch(header, evidence, sha)) return problem("record_mismatch", "the records are not those of the call");
  return ok({ kid, payload, call: header.call, items: header.items, call_root: header.leaf });
}

const problem = (code: ReceiptProblem["code"], message: string): Result<never, ReceiptProblem> =>
  err({ code, message });

/** `algorithms` is pinned, so that neither the header nor the key chooses another one. */
async function signatureProblem(receipt: ParsedReceipt, key: CryptoKey | JWK): Promise<ReceiptProblem | null> {
  try {
    await flattenedVerify(receipt.jws, key, { algorithms: ["Ed25519"] });
    return null;
  } catch (cause) {
    return cause instanceof errors.JWSSignatureVerificationFailed
      ? { code: "bad_signature", message: "the signature does not verify" }
      : { code: "unusable_key", message: `key ${receipt.kid} cannot verify Ed25519` };
  }
}

function recordsMatch(header: ParsedReceipt["header"], evidence: ReceiptEvidence, sha: Sha256): boolean {
  if (evidence.kind === "record") {
    return verifyInclusion(evidence.leafHash, evidence.index, header.items, evidence.path, header.leaf, sha);
  }
  if (evidence.kind === "none") return true;
  return evidence.leafHashes.length === header.items && equalBytes(treeHash(evidence.leafHashes, sha), header.leaf);
}
