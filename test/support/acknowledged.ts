import { base64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { parseDecisionId } from "../../src/base/ids.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { Acknowledged } from "./load.ts";
import type { StoredRecord } from "./stored.ts";

export type Shards = ReadonlyMap<number, readonly StoredRecord[]>;

export async function jwksOf(url: string): Promise<readonly PublicJwk[]> {
  const answer = await fetch(`${url}/.well-known/jwks.json`);
  return (JSON.parse(await answer.text()) as { keys: PublicJwk[] }).keys;
}

/** What of an acknowledged answer the disk does not bear out; empty where all of it is there. */
export async function missingFromDisk(
  answer: Acknowledged,
  shards: Shards,
  keys: readonly PublicJwk[],
  expected: { readonly region: string; readonly pdp: string },
): Promise<readonly string[]> {
  const problems: string[] = [];
  const records: StoredRecord[] = [];
  if (answer.ids.length === 0 || answer.ids.length !== answer.receipts.length) {
    return [`${answer.what}: ${answer.ids.length} ids and ${answer.receipts.length} receipts`];
  }
  for (const [at, id] of answer.ids.entries()) {
    const receipt = answer.receipts[at]!;
    const { header } = JSON.parse(receipt) as { header: { items: number; leaf: string } };
    const parts = parseDecisionId(id);
    const call =
      parts === null ? [] : (shards.get(parts.shard) ?? []).slice(parts.sseq - 1, parts.sseq - 1 + header.items);
    if (call.length !== header.items) {
      problems.push(`${id}: ${header.items} records acknowledged, ${call.length} on disk`);
      continue;
    }
    const misnamed = call.find(({ record }, i) => record.decision_id !== (call.length === 1 ? id : `${id}/${i}`));
    if (misnamed !== undefined) problems.push(`${id}: record ${misnamed.sseq} is ${misnamed.record.decision_id}`);
    if (call.length === 1 && base64url(call[0]!.leaf_hash) !== header.leaf) problems.push(`${id}: another leaf hash`);
    const verified = await verifyReceipt(
      receipt,
      { kind: "records", leafHashes: call.map(({ leaf_hash }) => leaf_hash) },
      (kid) => keys.find((key) => key.kid === kid) ?? null,
      expected,
      sha256,
    );
    if (!verified.ok) problems.push(`${id}: receipt ${verified.error.code}: ${verified.error.message}`);
    records.push(...call);
  }
  return problems.length > 0 ? problems : verdictsDiffer(answer, records);
}

/** A `withheld` answer rests on a recorded allow; every other reason is the record's own. */
function verdictsDiffer({ what, ids, reasons }: Acknowledged, records: readonly StoredRecord[]): readonly string[] {
  if (what !== "decide") {
    const kinds = records.map(({ record }) => record.kind).join();
    return kinds === `run.${what}` ? [] : [`${ids.join()}: ${what} is recorded as ${kinds}`];
  }
  const told = reasons.map((reason) => (reason === null || reason === "withheld" ? "allow" : reason)).sort();
  const kept = records.map(({ record }) => record.reason ?? "allow").sort();
  return told.join() === kept.join() ? [] : [`${ids.join()}: told ${told.join()}, recorded ${kept.join()}`];
}
