import type { Sha256 } from "../base/digest.ts";
import type { Evidence, EvidenceLeaf } from "./evidence.ts";
import { leafProblem, NO_BYTES, openLeaf, type OpenedLeaf } from "./evidence-chain.ts";
import type { Problems } from "./evidence-report.ts";
import { decodeStateRecord, type StateKind, type StateRecord } from "./state-record.ts";

/** `state`: `null` where the leaf is damaged or not what it has to be; the problem is noted. */
export type OpenedState = Omit<OpenedLeaf, "bytes"> & { readonly state: StateRecord | null };

/** Opens a leaf that the region wrote about itself: of `kind`, and of the bundle's region and epoch. */
export function openState(
  where: string,
  entry: EvidenceLeaf,
  kind: StateKind,
  { region, log_epoch }: Pick<Evidence, "region" | "log_epoch">,
  problems: Problems,
  sha: Sha256,
): OpenedState {
  const { bytes, ...opened } = openLeaf(where, entry, sha);
  const decoded = bytes === null ? NO_BYTES : decodeStateRecord(bytes);
  const place = { ...opened.place, sseq: decoded.ok ? decoded.value.sseq : null };
  if (!leafProblem(opened, decoded, place, problems) || !decoded.ok) return { ...opened, place, state: null };
  const state = decoded.value;
  const expected = { kind, region, log_epoch };
  const foreign = (["kind", "region", "log_epoch"] as const).filter((field) => state[field] !== expected[field]);
  for (const field of foreign) problems.add("foreign", place, field, `is ${state[field]}, not ${expected[field]}`);
  return { ...opened, place, state: foreign.length === 0 ? state : null };
}
