import { base64url } from "./bytes.ts";

/** Random bytes as a parameter, so that pure rooms stay pure. */
export type RandomBytes = (length: number) => Uint8Array;

const REGION = /^[a-z][a-z0-9-]{0,30}$/;
export const isRegionName = (text: string): boolean => REGION.test(text);

/** Run id: `<region>.<log_epoch>.<128 random bits>`; the region in front is the run's home (DESIGN section 1). */
export const mintRunId = (region: string, logEpoch: number, bits: Uint8Array): string =>
  `${region}.${logEpoch}.${base64url(bits.subarray(0, 16))}`;

export type RunIdParts = { readonly region: string; readonly log_epoch: number };

export function parseRunId(text: string): RunIdParts | null {
  const match = /^([a-z][a-z0-9-]{0,30})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{22})$/.exec(text);
  return match === null ? null : { region: match[1]!, log_epoch: Number(match[2]) };
}

/**
 * Decision id: `<region>.<log_epoch>.s<shard>.<sseq>`, where `sseq` is that of the call's first record. The items of
 * a batch are `id/0`, `id/1` … in the order in which the shard decided them, and their records stand next to each
 * other, so no index is needed to find one.
 */
export type DecisionIdParts = {
  readonly region: string;
  readonly log_epoch: number;
  readonly shard: number;
  /** `sseq` of the record that this id (with its `/index`) names. */
  readonly sseq: number;
};

export const decisionId = (region: string, logEpoch: number, shard: number, sseq: number): string =>
  `${region}.${logEpoch}.s${shard}.${sseq}`;

/** `null` for another form; numbers have one spelling (no leading zeros), so that one record has one id. */
export function parseDecisionId(text: string): DecisionIdParts | null {
  const match =
    /^([a-z][a-z0-9-]{0,30})\.([1-9][0-9]{0,8})\.s(0|[1-9][0-9]{0,3})\.([1-9][0-9]{0,14})(?:\/(0|[1-9][0-9]{0,4}))?$/.exec(
      text,
    );
  if (match === null) return null;
  return {
    region: match[1]!,
    log_epoch: Number(match[2]),
    shard: Number(match[3]),
    sseq: Number(match[4]) + Number(match[5] ?? 0),
  };
}
