import { err, ok, type Result } from "../../base/result.ts";

/** An identifier of one workload: SPIFFE-ID.md section 2, and WIMSE identifiers in the same narrow syntax. */
export type WorkloadId = {
  readonly scheme: "spiffe" | "wimse";
  readonly trust_domain: string;
  /** With its leading slash; never empty: the domain as such is not a workload. */
  readonly path: string;
  /** The one spelling: scheme in lower case, everything else as it stands. */
  readonly text: string;
};

const MAX_BYTES = 2_048;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

export const isTrustDomain = (text: string): boolean => TRUST_DOMAIN.test(text);

/**
 * Reads an identifier by its characters, never with `new URL`, which would decode, drop ports and resolve `..`: two
 * texts would then name one workload. No port, user, percent sign, query or fragment; no empty, `.` or `..` segment.
 */
export function parseWorkloadId(text: string): Result<WorkloadId, string> {
  // The pattern is ASCII only, so characters are bytes where it matches.
  if (text.length > MAX_BYTES) return err(`longer than ${MAX_BYTES} bytes`);
  const match = /^(spiffe|wimse):\/\/([^/]*)(\/.*)?$/is.exec(text);
  if (match === null) return err("not a spiffe:// or wimse:// identifier");
  const [, scheme, trust_domain, path] = match as unknown as [string, string, string, string | undefined];
  if (!isTrustDomain(trust_domain)) return err("the trust domain is not of lower-case letters, digits, dot, - and _");
  if (path === undefined) return err("it names a trust domain and no workload");
  for (const segment of path.slice(1).split("/")) {
    if (!SEGMENT.test(segment)) return err("a path segment is empty or not of letters, digits, dot, - and _");
    if (segment === "." || segment === "..") return err("a path segment is relative");
  }
  const lower = scheme.toLowerCase() as WorkloadId["scheme"];
  return ok({ scheme: lower, trust_domain, path, text: `${lower}://${trust_domain}${path}` });
}
