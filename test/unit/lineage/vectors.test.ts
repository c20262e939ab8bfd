import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { checkSource } from "../../../src/lineage/chain.ts";
import { fromBase64url, utf8 } from "../../../src/base/bytes.ts";
import { verifyReceipt } from "../../../src/lineage/receipt-verify.ts";
import { VECTORS_FILE, vectorsText } from "../../../tools/lineage/vectors.ts";
import { sha } from "./build.ts";

type Vectors = {
  readonly records: readonly { readonly leaf: string; readonly leaf_hash: string }[];
  readonly flush: { readonly calls: readonly { readonly records: number }[] };
  readonly receipts: { readonly key: Record<string, string>; readonly texts: readonly string[] };
};

const text = readFileSync(VECTORS_FILE, "utf8");
const vectors = JSON.parse(text) as Vectors;

test("docs/vectors/lineage.json is what the code makes (node tools/lineage/vectors.ts writes it)", async () => {
  expect(text).toBe(await vectorsText());
});

test("the published source and its receipts verify from the file alone", async () => {
  const hashes = vectors.records.map((record) => fromBase64url(record.leaf_hash)!);
  const rows = vectors.records.map((record, at) => ({ sseq: at + 1, leaf: utf8(record.leaf), leaf_hash: hashes[at]! }));
  expect(checkSource(rows, sha)).toMatchObject({ ok: true, value: { records: 4 } });
  let at = 0;
  for (const [call, receipt] of vectors.receipts.texts.entries()) {
    const leafHashes = hashes.slice(at, (at += vectors.flush.calls[call]!.records));
    const expected = { region: "eu", pdp: "http://127.0.0.1:8787" };
    const evidence = { kind: "records", leafHashes } as const;
    expect(await verifyReceipt(receipt, evidence, () => vectors.receipts.key, expected, sha)).toMatchObject({
      ok: true,
    });
  }
});
