import { verifyTLogInclusion } from "@sigstore/verify/dist/tlog/index.js";
import { describe, expect, test } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import { cosign } from "../../src/lineage/cosignature.ts";
import { TileTree } from "../../src/lineage/tile-reader.ts";
import {
  checkpointNote,
  entryOf,
  flip,
  keyOf,
  leavesOf,
  readFrom,
  tileFiles,
  witnessKey,
} from "../unit/lineage/log-build.ts";
import { sha } from "../unit/lineage/build.ts";
import { checkpointText } from "../../src/lineage/checkpoint.ts";
import { treeHash } from "../../src/lineage/merkle.ts";

/**
 * The verifier of Sigstore, which shares no code with ours, on our checkpoints and inclusion proofs. It exports only
 * the verification of whole bundles, so this takes the part that looks at a log (`dist/tlog`) by its path.
 */
type Inclusion = Parameters<typeof verifyTLogInclusion>;
type Authority = Inclusion[1][number];
/** What of an entry it reads. */
type Entry = {
  readonly logId: { readonly keyId: Buffer };
  readonly canonicalizedBody: Buffer;
  readonly inclusionProof: {
    readonly logIndex: string;
    readonly hashes: readonly Buffer[];
    readonly checkpoint: { readonly envelope: string };
  };
};

const LOG = keyOf("eu.pdp.example/eu/1");
const id = new Uint8Array(4);
new DataView(id.buffer).setUint32(0, LOG.key.id);
// Sigstore knows a log by a digest that begins with the key id.
const AUTHORITY: Authority = {
  logID: Buffer.from(concat(id, new Uint8Array(28))),
  baseURL: `https://${LOG.key.name}`,
  publicKey: LOG.spki,
  validFor: { start: new Date(0), end: new Date(8.64e15) },
};

async function entryAt(index: number, size: number): Promise<Entry> {
  const leaves = leavesOf(size);
  const path = await new TileTree(size, readFrom(tileFiles(leaves)), sha).inclusion(index);
  if (!path.ok) throw new Error(path.error.message);
  const witness = witnessKey("witness.example.org");
  const text = checkpointText({ origin: LOG.key.name, size, root: treeHash(leaves, sha) });
  const cosignature = await cosign(text, witness.key, 1_795_000_000, witness.sign);
  return {
    logId: { keyId: AUTHORITY.logID },
    canonicalizedBody: Buffer.from(entryOf(index)),
    inclusionProof: {
      logIndex: String(index),
      hashes: path.value.map((hash) => Buffer.from(hash)),
      checkpoint: { envelope: await checkpointNote(LOG, leaves, [cosignature]) },
    },
  };
}

const accepts = (entry: Entry): boolean => {
  try {
    verifyTLogInclusion(entry as unknown as Inclusion[0], [AUTHORITY]);
    return true;
  } catch {
    return false;
  }
};

describe("@sigstore/verify", () => {
  test("accepts our checkpoints of any size and the proofs from their tiles", async () => {
    const refused: string[] = [];
    for (const size of [1, 2, 3, 7, 8, 255, 256, 257, 700, 1_025]) {
      for (const index of new Set([0, Math.floor(size / 2), Math.max(0, size - 2), size - 1])) {
        if (!accepts(await entryAt(index, size))) refused.push(`${index} of ${size}`);
      }
    }
    expect(refused).toEqual([]);
  });

  test("refuses them tampered with", async () => {
    const good = await entryAt(300, 700);
    const { inclusionProof } = good;
    const proof = (change: Partial<Entry["inclusionProof"]>): Entry => ({
      ...good,
      inclusionProof: { ...inclusionProof, ...change },
    });
    expect(accepts(good)).toBe(true);
    expect(accepts({ ...good, canonicalizedBody: Buffer.from(entryOf(301)) })).toBe(false);
    expect(accepts(proof({ logIndex: "301" }))).toBe(false);
    expect(accepts(proof({ hashes: inclusionProof.hashes.slice(1) }))).toBe(false);
    expect(
      accepts(proof({ hashes: inclusionProof.hashes.with(2, Buffer.from(flip(inclusionProof.hashes[2]!, 9))) })),
    ).toBe(false);
    const envelope = inclusionProof.checkpoint.envelope.replace("\n700\n", "\n701\n");
    expect(accepts(proof({ checkpoint: { envelope } }))).toBe(false);
  });
});
