import { createHash } from "node:crypto";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { digestText, type Sha256 } from "../../../src/base/digest.ts";
import { decisionId, mintRunId } from "../../../src/base/ids.ts";
import type { ChainRow } from "../../../src/lineage/chain.ts";
import { encodeRecord, leafHash, saltedRunHash, type LineageRecord } from "../../../src/lineage/record.ts";

/** The platform's hash, as the server passes it. */
export const sha: Sha256 = (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest());

/** 32 bytes that depend on `words` only. */
export const bytesOf = (...words: readonly (string | number)[]): Uint8Array => sha(utf8(words.join("/")));
export const hashOf = (...words: readonly (string | number)[]): string => base64url(bytesOf(...words));
export const digestFor = (...words: readonly (string | number)[]): string => digestText(bytesOf(...words));

export type Run = { readonly id: string; readonly salt: Uint8Array; readonly hash: string };

export function runOf(n: number): Run {
  const id = mintRunId("eu", 1, bytesOf("run", n));
  const salt = bytesOf("salt", n).subarray(0, 16);
  return { id, salt, hash: saltedRunHash(salt, id, sha) };
}

/** One call: for each record the number of its run. */
export type Call = readonly number[];

export type Source = { readonly rows: readonly ChainRow[]; readonly records: readonly LineageRecord[] };

/** A well-formed source in which odd records allow and even ones deny. */
export function buildSource(
  calls: readonly Call[],
  change: (record: LineageRecord) => LineageRecord = (r) => r,
): Source {
  const rows: ChainRow[] = [];
  const records: LineageRecord[] = [];
  const heads = new Map<string, { seq: number; hash: string }>();
  for (const call of calls) {
    const first = rows.length + 1;
    for (const [index, n] of call.entries()) {
      const sseq = rows.length + 1;
      const run = runOf(n).hash;
      const head = heads.get(run);
      const allow = sseq % 2 === 1;
      const record = change({
        commit: { facts: hashOf("facts", sseq), input: hashOf("input", sseq), run: hashOf("state", sseq) },
        core: digestFor("core", sseq),
        decision: allow ? "allow" : "deny",
        decision_id: decisionId("eu", 1, 0, first) + (call.length === 1 ? "" : `/${index}`),
        engine: "interlock/0.1.0",
        kind: "decision",
        log_epoch: 1,
        parents: head === undefined ? [] : [head.hash],
        policy: digestFor("policy"),
        prev: head?.hash ?? null,
        reason: allow ? null : "policy_denied",
        refers: null,
        region: "eu",
        run,
        seq: (head?.seq ?? 0) + 1,
        source: "shard/0",
        sseq,
        t: 1_795_000_000_000 + 5 * first,
        traceparent: sseq % 3 === 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" : null,
        trust: { digest: digestFor("trust"), revision: 7 },
        v: 1,
      });
      const row = rowOf(record);
      rows.push(row);
      records.push(record);
      heads.set(record.run, { seq: record.seq, hash: base64url(row.leaf_hash) });
    }
  }
  return { rows, records };
}

/** The row of `record`, hashed as an honest shard would. */
export function rowOf(record: LineageRecord): ChainRow {
  const leaf = encodeRecord(record);
  return { sseq: record.sseq, leaf, leaf_hash: leafHash(leaf, sha) };
}
