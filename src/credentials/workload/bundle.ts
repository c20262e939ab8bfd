import { digestOf, type Sha256 } from "../../base/digest.ts";
import { jcs } from "../../base/jcs.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { parseKeyDocument, readKeys } from "../jws/key-set.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { isTrustDomain } from "./id.ts";

/** The keys of one SPIFFE trust domain (SPIFFE_Trust_Domain_and_Bundle.md section 4). */
export type TrustBundle = {
  /** From configuration: a bundle does not name its domain. Bundles of two domains are never merged. */
  readonly trust_domain: string;
  /** `spiffe_sequence`; `null` where the publisher keeps none, and a rollback cannot be seen. */
  readonly sequence: number | null;
  readonly refresh_hint_ms: number;
  /** Keys with `use` `jwt-svid` or `wit-svid`; none: every SVID of the domain is invalid. */
  readonly keys: readonly PublicKey[];
  readonly ignored: number;
  /** Over the canonical document, so that white space is no other bundle. */
  readonly digest: string;
};

const DEFAULT_HINT_MS = 300_000;
/** A longer hint would let a bundle be used for as long as its publisher likes. */
const MAX_HINT_MS = 86_400_000;

/** `use` is case-sensitive; keys without it or with another are ignored, as the specification says. */
const SVID_USES = new Set<string | null>(["jwt-svid", "wit-svid"]);

export function readBundle(text: string, trust_domain: string, hash?: Sha256): Result<TrustBundle, string> {
  if (!isTrustDomain(trust_domain)) return err("the trust domain's name is not one");
  const document = parseKeyDocument(text);
  if (!document.ok) return document;
  const { spiffe_sequence: sequence, spiffe_refresh_hint: hint } = document.value;
  if (sequence !== undefined && !isCount(sequence)) return err("spiffe_sequence is not a whole number");
  if (hint !== undefined && !isCount(hint)) return err("spiffe_refresh_hint is not a whole number of seconds");
  const read = readKeys(document.value, (use) => SVID_USES.has(use), hash);
  if (!read.ok) return read;
  return ok({
    trust_domain,
    sequence: sequence ?? null,
    // 0 is "no hint" in SPIRE; taken literally it would make every bundle stale at once.
    refresh_hint_ms: hint === undefined || hint === 0 ? DEFAULT_HINT_MS : Math.min(hint * 1_000, MAX_HINT_MS),
    ...read.value,
    digest: digestOf(jcs(document.value), hash),
  });
}

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
