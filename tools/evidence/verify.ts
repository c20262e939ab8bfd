import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Sha256 } from "../../src/base/digest.ts";
import type { EvidenceReport } from "../../src/lineage/evidence-report.ts";
import { MAX_EVIDENCE_BYTES } from "../../src/lineage/evidence.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyEvidence, type VerifyOptions } from "../../src/lineage/verify-evidence.ts";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { ed25519 } from "./ed25519.ts";

/** `interlock verify FILE --trust POLICY`: two files, no network. */

const sha: Sha256 = (bytes) => hash("sha256", bytes, "buffer");

/** Verifies the bundle in `file` under the tlog-policy in `trust`. A policy that cannot be read is wrong usage. */
export async function verifyFile(file: string, trust: string, options: VerifyOptions = {}): Promise<EvidenceReport> {
  const policy = parsePolicy(await bytesOf(trust, "policy"), sha);
  if (!policy.ok) {
    const where = policy.error.line === 0 ? "" : `, line ${policy.error.line}`;
    throw new Problem(`${trust} is no tlog-policy${where}: ${policy.error.message}`, "Give the policy you trust.", 2);
  }
  return verifyEvidence(await bytesOf(file, "bundle"), policy.value, { sha, verify: ed25519 }, options);
}

async function bytesOf(path: string, what: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_EVIDENCE_BYTES) return bytes;
    throw new Problem(`${path} has ${bytes.length} bytes`, `A ${what} has at most ${MAX_EVIDENCE_BYTES}.`, 2);
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    const why = codeOf(cause) === "ENOENT" ? "There is no" : `${messageOf(cause)}: cannot read the`;
    throw new Problem(`${why} ${what} ${path}`, "Check the path.", 2);
  }
}
