import { createCipheriv, createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { base64url, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { digestText, type Sha256 } from "../../src/base/digest.ts";
import { decisionId } from "../../src/base/ids.ts";
import { treeHash } from "../../src/lineage/merkle.ts";
import {
  compactReceipt,
  flushTree,
  receiptKid,
  receiptPayloadText,
  receiptProtected,
  receiptSigningInput,
  receiptText,
} from "../../src/lineage/receipt.ts";
import { commitment, encodeRecord, leafHash, saltedRunHash, type LineageRecord } from "../../src/lineage/record.ts";
import { saltsOf, sealPayload, SEAL_RANDOM_BYTES, type Aead } from "../../src/lineage/seal.ts";

/**
 * The vectors of docs/lineage.md: one small source, deterministic to the byte, for readers in other languages.
 * `node tools/lineage/vectors.ts` writes docs/vectors/lineage.json; a test holds the file against this code.
 */

const sha: Sha256 = (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest());
const made = (words: string): Uint8Array => sha(utf8(words));
const b64 = base64url;

/** RFC 8037 appendix A.1: a published key, for vectors only. */
const SIGNING_KEY = createPrivateKey({
  format: "jwk",
  key: {
    kty: "OKP",
    crv: "Ed25519",
    d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  },
});

const aesGcm: Pick<Aead, "seal"> = {
  seal(key, nonce, aad, plaintext) {
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    cipher.setAAD(aad);
    return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
  },
};

const PLACE = { region: "eu", log_epoch: 1, source: "shard/0" } as const;
const RUN = "eu.1.AAECAwQFBgcICQoLDA0ODw";
const RUN_SALT = made("run salt").subarray(0, 16);
const TEXTS = {
  facts: '{"v":1}',
  input: '{"action":{"name":"read"},"resource":{"id":"1","type":"ledger"},"subject":{"id":"a","type":"agent"},"v":1}',
  run: '{"version":0}',
} as const;

/** 140 bytes that stand for the random ones of record `sseq`. */
const randomOf = (sseq: number): Uint8Array =>
  new Uint8Array(Buffer.concat([1, 2, 3, 4, 5].map((part) => made(`random ${sseq}/${part}`)))).subarray(
    0,
    SEAL_RANDOM_BYTES,
  );

/** What tells the records of the vectors apart. */
type Draft = Pick<LineageRecord, "kind" | "decision" | "reason"> & {
  readonly call: number;
  readonly id: string;
  readonly refers?: number;
};

/** Three calls: an allow; a batch of a deny and an allow; the withdrawal of the first allow. */
const DRAFTS: readonly Draft[] = [
  { call: 0, id: decisionId("eu", 1, 0, 1), kind: "decision", decision: "allow", reason: null },
  { call: 1, id: `${decisionId("eu", 1, 0, 2)}/0`, kind: "decision", decision: "deny", reason: "policy_denied" },
  { call: 1, id: `${decisionId("eu", 1, 0, 2)}/1`, kind: "decision", decision: "allow", reason: null },
  { call: 2, id: decisionId("eu", 1, 0, 4), kind: "withheld", decision: "deny", reason: "withheld", refers: 0 },
];

function buildRecords(): { readonly record: LineageRecord; readonly leaf: Uint8Array; readonly hash: Uint8Array }[] {
  const out: { record: LineageRecord; leaf: Uint8Array; hash: Uint8Array }[] = [];
  for (const [at, draft] of DRAFTS.entries()) {
    const sseq = at + 1;
    const salts = saltsOf(randomOf(sseq));
    const before = out.at(-1);
    const record: LineageRecord = {
      commit: {
        facts: commitment("facts", salts.facts, TEXTS.facts, sha),
        input: commitment("input", salts.input, TEXTS.input, sha),
        run: commitment("run", salts.run, TEXTS.run, sha),
      },
      core: digestText(made(`core ${sseq}`)),
      decision: draft.decision,
      decision_id: draft.id,
      engine: "interlock/0.1.0",
      kind: draft.kind,
      parents: at === 2 ? [b64(out[0]!.hash)] : [],
      policy: digestText(made("policy")),
      prev: before === undefined ? null : b64(before.hash),
      reason: draft.reason,
      refers: draft.refers === undefined ? null : b64(out[draft.refers]!.hash),
      run: saltedRunHash(RUN_SALT, RUN, sha),
      seq: sseq,
      sseq,
      t: 1_795_000_000_000 + at,
      traceparent: at === 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" : null,
      trust: { digest: digestText(made("trust")), revision: 7 },
      v: 1,
      ...PLACE,
    };
    const leaf = encodeRecord(record);
    out.push({ record, leaf, hash: leafHash(leaf, sha) });
  }
  return out;
}

async function lineageVectors(): Promise<object> {
  const records = buildRecords();
  const calls = [0, 1, 2].map((call) => records.filter((_, at) => DRAFTS[at]!.call === call));
  const roots = calls.map((call) =>
    treeHash(
      call.map(({ hash }) => hash),
      sha,
    ),
  );
  const flush = flushTree(roots, sha);
  const kid = receiptKid("eu", 1, 0, 1);
  const payload = receiptPayloadText({
    ...PLACE,
    calls: 3,
    first: 1,
    iss: "http://127.0.0.1:8787",
    last: 4,
    merge_by: null,
    root: b64(flush.root),
    t: 1_795_000_000_003,
    v: 1,
  });
  const input = receiptSigningInput(receiptProtected(kid), payload);
  const jws = compactReceipt(input, sign(null, utf8(input), SIGNING_KEY));
  const regionKey = { number: 1, bytes: made("region key") };
  const salts = saltsOf(randomOf(1));
  return {
    note: "Made by tools/lineage/vectors.ts; see docs/lineage.md. Bytes are base64url. The signing key is the one of RFC 8037, appendix A.1.",
    run: { id: RUN, salt: b64(RUN_SALT), hash: saltedRunHash(RUN_SALT, RUN, sha) },
    commitments: (["facts", "input", "run"] as const).map((label) => ({
      label,
      salt: b64(salts[label]),
      payload: TEXTS[label],
      commitment: commitment(label, salts[label], TEXTS[label], sha),
    })),
    records: records.map(({ leaf, hash }) => ({ leaf: fromUtf8(leaf), leaf_hash: b64(hash) })),
    flush: {
      calls: roots.map((root, call) => ({ records: calls[call]!.length, root: b64(root) })),
      root: b64(flush.root),
    },
    receipts: {
      key: createPublicKey(SIGNING_KEY).export({ format: "jwk" }),
      kid,
      payload,
      texts: roots.map((root, call) =>
        receiptText(jws, { call, items: calls[call]!.length, leaf: b64(root), path: flush.path(call) }),
      ),
    },
    sealed: {
      region_key: b64(regionKey.bytes),
      region_key_number: regionKey.number,
      place: { ...PLACE, sseq: 1 },
      random: b64(randomOf(1)),
      text: TEXTS.input,
      sealed: b64(
        await sealPayload({ ...aesGcm, open: () => null }, regionKey, { ...PLACE, sseq: 1 }, TEXTS.input, randomOf(1)),
      ),
    },
  };
}

export const VECTORS_FILE = join(import.meta.dirname, "../../docs/vectors/lineage.json");
export const vectorsText = async (): Promise<string> => JSON.stringify(await lineageVectors(), null, 2) + "\n";

if (import.meta.main) writeFileSync(VECTORS_FILE, await vectorsText());
