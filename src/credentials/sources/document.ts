import { digestOf, type Sha256 } from "../../base/digest.ts";
import { jcs } from "../../base/jcs.ts";
import { ok, type Result } from "../../base/result.ts";
import { parseKeyDocument, readKeySet } from "../jws/key-set.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { judgeBundle, type BundleJudgement } from "../workload/bundle-history.ts";
import { readBundle } from "../workload/bundle.ts";
import type { SourceRules } from "./material.ts";
import type { SourceKind } from "./schema.ts";

/** Keys as a source published them. */
export type SourceDocument = {
  readonly keys: readonly PublicKey[];
  readonly sequence: number | null;
  readonly digest: string;
  readonly hint_ms: number;
};

export type SourceNamed = { readonly kind: SourceKind; readonly id: string; readonly rules: object };

const scheme = ({ kind, rules }: SourceNamed): "spiffe" | "jwks" =>
  kind === "trust-domain" && (rules as SourceRules<"trust-domain">).scheme === "spiffe" ? "spiffe" : "jwks";

const DEFAULT_HINT_MS = 300_000;
const MAX_HINT_MS = 86_400_000;

/** Reads the text that an administrator sent or that was fetched. */
export function readDocument(source: SourceNamed, text: string, hash?: Sha256): Result<SourceDocument, string> {
  const { refresh_s } = source.rules as { readonly refresh_s?: number };
  if (scheme(source) === "spiffe") {
    const bundle = readBundle(text, source.id, hash);
    if (!bundle.ok) return bundle;
    const { keys, sequence, digest, refresh_hint_ms } = bundle.value;
    return ok({ keys, sequence, digest, hint_ms: Math.min(refresh_hint_ms, MAX_HINT_MS) });
  }
  const document = parseKeyDocument(text);
  if (!document.ok) return document;
  const read = readKeySet(text, hash);
  if (!read.ok) return read;
  return ok({
    keys: read.value.keys,
    sequence: null,
    digest: digestOf(jcs(document.value), hash),
    hint_ms: refresh_s === undefined ? DEFAULT_HINT_MS : refresh_s * 1_000,
  });
}

export type KnownDocument = Pick<SourceDocument, "sequence" | "digest">;

/** What it means beside the one that was known: only a SPIFFE bundle says which of two is newer. */
export function judgeDocument(
  source: SourceNamed,
  known: KnownDocument | null,
  received: SourceDocument,
): BundleJudgement {
  const trust_domain = source.id;
  const judged = judgeBundle(known === null ? null : { ...known, trust_domain }, {
    trust_domain,
    sequence: received.sequence,
    digest: received.digest,
  });
  return scheme(source) === "spiffe" || judged === "same" ? judged : "adopt";
}

/** The end of time for keys that do not age: nobody refreshes them but the administrator who entered them. */
export const NEVER_MS = 253_402_300_799_000;

/** Until when the keys count: DESIGN's rule is twice the hint, or the registered age where that is longer. */
export function freshUntil(
  rules: {
    readonly max_age_s?: number | undefined;
    readonly bundle_uri?: string | undefined;
    readonly jwks_uri?: string | undefined;
  },
  /** When the fetch left that brought the document, or brought it again; `null`: none was had yet. */
  sent_ms: number | null,
  hint_ms: number,
): number {
  if (sent_ms === null) return 0;
  const fetched = uriOf(rules) !== null;
  if (!fetched && rules.max_age_s === undefined) return NEVER_MS;
  return sent_ms + Math.max(fetched ? 2 * hint_ms : 0, (rules.max_age_s ?? 0) * 1_000);
}

export const uriOf = (rules: object): string | null => {
  const { bundle_uri, jwks_uri } = rules as { readonly bundle_uri?: string; readonly jwks_uri?: string };
  return bundle_uri ?? jwks_uri ?? null;
};
