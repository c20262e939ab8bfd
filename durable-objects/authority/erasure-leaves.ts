import type { JsonObject } from "../../src/base/json.ts";
import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import type { ErasureRows } from "./erasure-rows.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** `erasure` leaves that are written anew into the log of a later epoch, where their own log shows them to nobody. */

/** The records that an `erasure` leaf names are of the epoch that it was made in, and say so in another. */
export const ofEpoch = (body: JsonObject, log_epoch: number): JsonObject => ({
  ...body,
  records: (body["records"] as readonly { readonly source: string; readonly sseq: number }[]).map(
    // A leaf that was carried before says already of which one they are.
    ({ source, sseq }) => ({ source: source.startsWith("epoch/") ? source : `epoch/${log_epoch}/${source}`, sseq }),
  ),
});

/**
 * The log of `log_epoch` is about to go: what it says about records of other epochs is said again in the log that runs.
 * In the caller's transaction.
 */
export function restateErasures(
  log_epoch: number,
  { rows, store, writer }: { readonly rows: ErasureRows; readonly store: AuthorityStore; readonly writer: EventWriter },
): void {
  for (const sseq of rows.leavesAboutOthers(log_epoch)) {
    const [stored] = store.saltedLeaves(log_epoch, sseq, 1);
    const state = stored === undefined ? null : decodeStateRecord(stored.leaf);
    if (state?.ok !== true) throw new Error(`trust leaf ${sseq} of log epoch ${log_epoch} cannot be read`);
    const { body, t } = state.value;
    const again = writer.storeLeaf("erasure", ofEpoch(body, log_epoch), t, stored!.salt);
    rows.moveLeaf({ log_epoch, sseq }, { log_epoch: store.epochs().at(-1)!.log_epoch, sseq: again });
  }
}
