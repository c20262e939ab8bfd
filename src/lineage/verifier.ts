/**
 * The verifier of evidence as a library (`interlock/verify`, docs/evidence.md): pure, without network, clock or
 * platform, for a browser, a server or an auditor's own tool. What it needs from outside are bytes, a policy, and
 * Ed25519.
 */

export { sha256, type Sha256 } from "../base/digest.ts";
export type { Result } from "../base/result.ts";
export {
  EVIDENCE_CODES,
  exitCodeOf,
  type EvidenceCode,
  type EvidenceInfo,
  type EvidenceProblem,
  type EvidenceReport,
  type SeqRange,
} from "./evidence-report.ts";
export { MAX_EVIDENCE_BYTES, type Evidence } from "./evidence.ts";
export type { Verify } from "./note.ts";
export { checkPromise, type PromiseEvidence, type PromiseProblem, type PromiseVerdict } from "./promise.ts";
export { readEvidence } from "./read-evidence.ts";
export { parsePolicy, type TlogPolicy } from "./tlog-policy.ts";
export { verifyEvidence, type VerifyDeps, type VerifyOptions } from "./verify-evidence.ts";
export { coverageExitCode, verifyCoverage, type CoverageProblem, type CoverageReport } from "./verify-coverage.ts";
export type { Coverage } from "./coverage.ts";
