import type { Sha256 } from "../base/digest.ts";
import type { Evidence, EvidenceLeaf } from "./evidence.ts";
import { openLeaf, type OpenedLeaf } from "./evidence-chain.ts";
import type { Problems } from "./evidence-report.ts";
import { decodeStateRecord, type StateKind, type StateRecord } from "./state-record.ts";

/** `state`: `null` where the leaf is not what it has to be; the problem is noted. */
export type OpenedState = Omit<OpenedLeaf, "bytes"> & { readonly state: StateRecord | null };

/** Opens a leaf that the region wrote about itself: of `kind`, and of the bundle's region and epoch. */
export function openState(
  where: string,
  entry: EvidenceLeaf,
  kind: StateKind,
  { region, log_epoch }: Evidence,
  problems: Problems,
  sha: Sha256,
): OpenedState {
  const { bytes, ...opened } = openLeaf(where, entry, sha);
  const decoded = bytes === null ? null : decodeStateRecord(bytes);
  const state = decoded?.ok === true ? decoded.value : null;
  const place = { ...opened.place, sseq: state?.sseq ?? null };
  if (bytes === null) problems.add("undecodable", place, "leaf", "is not base64url");
  else if (!opened.intact) problems.add("leaf_hash", place, "leaf", "does not have the leaf hash beside it");
  if (decoded?.ok === false) problems.add("undecodable", place, "leaf", decoded.error);
  const expected = { kind, region, log_epoch };
  const foreign = (["kind", "region", "log_epoch"] as const).filter(
    (field) => state && state[field] !== expected[field],
  );
  for (const field of foreign) problems.add("foreign", place, field, `is ${state![field]}, not ${expected[field]}`);
  return { ...opened, place, state: foreign.length === 0 ? state : null };
}
