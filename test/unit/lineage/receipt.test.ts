import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import * as fc from "fast-check";
import type { JWK } from "jose";
import { describe, expect, test } from "vitest";
import { base64url, fromBase64url, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { inclusionPath, merkleTree, treeHash } from "../../../src/lineage/merkle.ts";
import { parseReceiptPayload } from "../../../src/lineage/receipt-read.ts";
import { verifyReceipt, type ReceiptEvidence } from "../../../src/lineage/receipt-verify.ts";
import {
  compactReceipt,
  flushTree,
  MAX_RECEIPT_BYTES,
  maxCallsPerFlush,
  parseReceiptKid,
  receiptKid,
  receiptPayloadText,
  receiptProtected,
  receiptSigningInput,
  receiptText,
  widestReceiptBytes,
  type ReceiptPayload,
} from "../../../src/lineage/receipt.ts";
import { bytesOf, sha } from "./build.ts";

const KEY = createPrivateKey({
  key: {
    kty: "OKP",
    crv: "Ed25519",
    d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  },
  format: "jwk",
}); // RFC 8037 appendix A.1
const publicJwk = (key: KeyObject): JWK => createPublicKey(key).export({ format: "jwk" });
const KID = receiptKid("eu", 1, 0, 1);
const PDP = "http://127.0.0.1:8787";
const EXPECTED = { region: "eu", pdp: PDP };
const resolve = (kid: string): JWK | null => (kid === KID ? publicJwk(KEY) : null);

type Flush = {
  readonly calls: readonly (readonly Uint8Array[])[];
  readonly payload: ReceiptPayload;
  readonly receipts: readonly string[];
};

/** A flush of calls with `sizes` records, signed like a shard would; `change` makes its payload wrong. */
function flushOf(sizes: readonly number[], change: Partial<ReceiptPayload> = {}, kid = KID): Flush {
  const calls = sizes.map((size, call) => Array.from({ length: size }, (_, i) => bytesOf("leaf", call, i)));
  const roots = calls.map((leaves) => treeHash(leaves, sha));
  const tree = flushTree(roots, sha);
  const payload: ReceiptPayload = {
    calls: sizes.length,
    first: 101,
    iss: PDP,
    last: 100 + sizes.reduce((sum, size) => sum + size, 0),
    log_epoch: 1,
    merge_by: null,
    region: "eu",
    root: base64url(tree.root),
    source: "shard/0",
    t: 1_795_000_000_000,
    v: 1,
    ...change,
  };
  const input = receiptSigningInput(receiptProtected(kid), receiptPayloadText(payload));
  const jws = compactReceipt(input, sign(null, utf8(input), KEY));
  const receipts = roots.map((root, call) =>
    receiptText(jws, { call, items: sizes[call]!, leaf: base64url(root), path: tree.path(call) }),
  );
  return { calls, payload, receipts };
}

const records = (leafHashes: readonly Uint8Array[]): ReceiptEvidence => ({ kind: "records", leafHashes });
const verify = async (text: string, evidence: ReceiptEvidence): Promise<string> => {
  const verified = await verifyReceipt(text, evidence, resolve, EXPECTED, sha);
  return verified.ok ? "ok" : verified.error.code;
};

describe("a receipt", () => {
  test("verifies for every call of a flush, with all records, with one, and without", async () => {
    for (const sizes of [[1], [1, 1], [3], [1, 5, 2, 1, 1], Array.from({ length: 65 }, (_, i) => (i % 3) + 1)]) {
      const { calls, receipts, payload } = flushOf(sizes);
      for (const [call, text] of receipts.entries()) {
        const leaves = calls[call]!;
        const tree = merkleTree(leaves, sha);
        const index = leaves.length - 1;
        const one: ReceiptEvidence = {
          kind: "record",
          leafHash: leaves[index]!,
          index,
          path: inclusionPath(tree, index),
        };
        expect(await verify(text, one)).toBe("ok");
        expect(await verify(text, { kind: "none" })).toBe("ok");
        expect(await verifyReceipt(text, records(leaves), resolve, EXPECTED, sha)).toEqual({
          ok: true,
          value: { kid: KID, payload, call, items: leaves.length, call_root: tree.root },
        });
      }
    }
  });

  test("is found by a key that is resolved later, as JWK or CryptoKey", async () => {
    const { receipts, calls } = flushOf([1, 1]);
    const key = await crypto.subtle.importKey("jwk", publicJwk(KEY), "Ed25519", true, ["verify"]);
    const verified = await verifyReceipt(receipts[1]!, records(calls[1]!), async () => key, EXPECTED, sha);
    expect(verified.ok).toBe(true);
  });

  test("is JCS text: sorted members, no space", () => {
    const text = flushOf([1, 2]).receipts[1]!;
    expect(Object.keys(JSON.parse(text) as object)).toEqual(["header", "payload", "protected", "signature"]);
    expect(JSON.stringify(JSON.parse(text))).toBe(text);
  });

  test("may be written in another member order, since nothing but its parts is signed", async () => {
    const { receipts, calls } = flushOf([1, 2]);
    const turned = JSON.stringify(
      Object.fromEntries(Object.entries(JSON.parse(receipts[1]!) as object).toReversed()),
      null,
      1,
    );
    expect(await verify(turned, records(calls[1]!))).toBe("ok");
  });
});

describe("tampering with a receipt", () => {
  const { calls, receipts } = flushOf([1, 3, 2, 1, 1]);
  const text = receipts[1]!;
  const held = records(calls[1]!);
  type Parts = { header: Record<string, unknown>; payload: string; protected: string; signature: string };
  const edited = (edit: (parts: Parts) => unknown): string => {
    const parts = JSON.parse(text) as Parts;
    edit(parts);
    return JSON.stringify(parts);
  };
  const part = (change: object, encoded: string): string =>
    base64url(utf8(JSON.stringify({ ...(JSON.parse(fromUtf8(fromBase64url(encoded)!)!) as object), ...change })));
  const reversed = (encoded: string): string => {
    const members = Object.entries(JSON.parse(fromUtf8(fromBase64url(encoded)!)!) as object);
    return base64url(utf8(JSON.stringify(Object.fromEntries(members.toReversed()))));
  };
  const payload = (change: object): string => edited((p) => (p.payload = part(change, p.payload)));
  const header = (change: object): string => edited((p) => Object.assign(p.header, change));
  const shield = (change: object): string => edited((p) => (p.protected = part(change, p.protected)));
  const other = base64url(bytesOf("other"));

  test.each<[string, string, string]>([
    ["another payload root", payload({ root: other }), "bad_signature"],
    ["another last", payload({ last: 200 }), "bad_signature"],
    ["another time", payload({ t: 0 }), "bad_signature"],
    ["unanchored, spelled out as false", payload({ unanchored: false as unknown as true }), "malformed"],
    ["another merge_by", payload({ merge_by: 1 }), "bad_signature"],
    ["another flush size", payload({ calls: 4 }), "bad_signature"],
    ["another signature", edited((p) => (p.signature = base64url(new Uint8Array(64)))), "bad_signature"],
    ["an unknown key", shield({ kid: "eu.1.shard-0.2" }), "unknown_key"],
    [
      "another region in kid and payload",
      flushOf([1, 3], { region: "us" }, "us.1.shard-0.1").receipts[1]!,
      "wrong_region",
    ],
    ["another PDP", flushOf([1, 3], { iss: "http://127.0.0.1:8788" }).receipts[1]!, "wrong_pdp"],
    ["a region that is not the kid's", payload({ region: "us" }), "malformed"],
    ["an epoch that is not the kid's", payload({ log_epoch: 2 }), "malformed"],
    ["a source that is not the kid's", payload({ source: "shard/1" }), "malformed"],
    ["another algorithm", shield({ alg: "EdDSA" }), "wrong_alg"],
    ["no algorithm", shield({ alg: "none" }), "wrong_alg"],
    ["another type", shield({ typ: "JWT" }), "wrong_typ"],
    ["a critical header", shield({ crit: ["b64"] }), "malformed"],
    ["a key in the header", shield({ jwk: publicJwk(KEY) }), "malformed"],
    ["a kid that is no shard's", shield({ kid: "eu.1.log.1" }), "malformed"],
    ["another call", header({ call: 2 }), "path_mismatch"],
    ["another call root", header({ leaf: other }), "path_mismatch"],
    ["another path", header({ path: [other, other, other] }), "path_mismatch"],
    ["a shorter path", edited((p) => (p.header["path"] as string[]).pop()), "path_mismatch"],
    ["a longer path", edited((p) => (p.header["path"] as string[]).push(other)), "path_mismatch"],
    ["another number of items", header({ items: 2 }), "record_mismatch"],
    ["more items than the flush has", header({ items: 5 }), "malformed"],
    ["no items", header({ items: 0 }), "malformed"],
    ["a call beyond the flush", header({ call: 5 }), "malformed"],
    ["a negative call", header({ call: -1 }), "malformed"],
    ["a fraction of a call", header({ call: 0.5 }), "malformed"],
    ["an unknown header member", header({ kid: KID }), "malformed"],
    ["a missing header member", edited((p) => delete p.header["items"]), "malformed"],
    ["an unknown member", edited((p) => Object.assign(p, { signatures: [] })), "malformed"],
    ["an unknown payload member", payload({ sub: "x" }), "malformed"],
    ["a payload of another version", payload({ v: 2 }), "malformed"],
    ["a payload in another order", edited((p) => (p.payload = reversed(p.payload))), "malformed"],
    ["padding", edited((p) => (p.signature += "==")), "malformed"],
    ["a short signature", edited((p) => (p.signature = p.signature.slice(0, 84))), "malformed"],
    ["a path that is no list", header({ path: other }), "malformed"],
    ["a path of other things", header({ path: [1] }), "malformed"],
    ["a compact JWS", "a.b.c", "malformed"],
    ["null", "null", "malformed"],
    ["a duplicate member", text.replace('{"call":1', '{"call":0,"call":1'), "malformed"],
    ["oversize", text.replace("{", "{" + " ".repeat(MAX_RECEIPT_BYTES)), "malformed"],
  ])("%s", async (_, changed, code) => {
    expect(changed).not.toBe(text);
    expect(await verify(changed, held)).toBe(code);
  });

  test("records of another call, in another order, more or fewer", async () => {
    const leaves = calls[1]!;
    for (const wrong of [calls[2]!, leaves.toReversed(), leaves.slice(1), [...leaves, bytesOf("x")], []]) {
      expect(await verify(text, records(wrong))).toBe("record_mismatch");
    }
    const path = inclusionPath(merkleTree(leaves, sha), 0);
    for (const [leafHash, index] of [
      [leaves[1]!, 0],
      [leaves[0]!, 1],
      [leaves[0]!, 3],
    ] as const) {
      expect(await verify(text, { kind: "record", leafHash, index, path })).toBe("record_mismatch");
    }
  });

  test("a call root cannot pass for a record of a batch", async () => {
    const root = treeHash(calls[1]!, sha);
    expect(await verify(text, records([root]))).toBe("record_mismatch");
    expect(await verify(text, { kind: "record", leafHash: root, index: 0, path: [] })).toBe("record_mismatch");
  });

  test("a key that is not Ed25519, or another one", async () => {
    const with_ = (key: KeyObject) => verifyReceipt(text, held, () => publicJwk(key), EXPECTED, sha);
    const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const another = generateKeyPairSync("ed25519").privateKey;
    expect(await with_(ec)).toMatchObject({ error: { code: "unusable_key" } });
    expect(await with_(another)).toMatchObject({ error: { code: "bad_signature" } });
  });

  test("any flipped bit is refused", async () => {
    const flip = fc.record({ at: fc.nat(text.length - 1), bit: fc.integer({ min: 0, max: 6 }) });
    await fc.assert(
      fc.asyncProperty(flip, async ({ at, bit }) => {
        const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1);
        expect(await verify(changed, held)).not.toBe("ok");
      }),
      { numRuns: 300 },
    );
  });
});

describe("one KiB", () => {
  const kids = [KID, receiptKid("eu-west", 12, 7, 1), receiptKid("r".repeat(31), 999_999_999, 9_999, 999_999_999)];

  test.each(kids)("%s: the widest receipt of the largest flush fits, the next larger flush would not", (kid) => {
    for (let length = 1; length < 400; length += 7) {
      const iss = "h".repeat(length);
      const calls = maxCallsPerFlush(kid, iss);
      expect(calls === 0 || widestReceiptBytes(kid, iss, calls) <= MAX_RECEIPT_BYTES).toBe(true);
      const next = calls === 0 ? 1 : 2 * calls;
      expect(calls === 256 || widestReceiptBytes(kid, iss, next) > MAX_RECEIPT_BYTES).toBe(true);
    }
  });

  test("no receipt is wider than the widest", () => {
    const sizes = Array.from({ length: maxCallsPerFlush(KID, PDP) }, () => 1);
    const { receipts, calls } = flushOf(sizes, {
      unanchored: true,
      first: 999_999_999_999_000,
      last: 999_999_999_999_999,
      merge_by: 9_999_999_999_999,
    });
    const widest = widestReceiptBytes(KID, PDP, calls.length);
    for (const text of receipts) expect(text.length).toBeLessThanOrEqual(widest);
    expect(widest).toBeLessThanOrEqual(MAX_RECEIPT_BYTES);
  });

  test("names that the comment gives", () => {
    const iss = (length: number): string => "h".repeat(length);
    expect([maxCallsPerFlush(KID, iss(14)), maxCallsPerFlush(KID, iss(15))]).toEqual([256, 128]);
    expect([maxCallsPerFlush(KID, iss(49)), maxCallsPerFlush(KID, iss(50))]).toEqual([128, 64]);
    expect([maxCallsPerFlush(kids[2]!, iss(66)), maxCallsPerFlush(kids[2]!, iss(67))]).toEqual([16, 8]);
    expect(() => maxCallsPerFlush("eu.1.log.1", PDP)).toThrow("not a shard's");
  });
});

test("says unanchored only where it is, under the signature", async () => {
  const [said, silent] = [flushOf([1], { unanchored: true }), flushOf([1])];
  for (const { receipts, calls } of [said, silent]) expect(await verify(receipts[0]!, records(calls[0]!))).toBe("ok");
  const verified = await verifyReceipt(said.receipts[0]!, { kind: "none" }, resolve, EXPECTED, sha);
  expect(verified).toMatchObject({ ok: true, value: { payload: { unanchored: true } } });
  expect(receiptPayloadText(silent.payload)).not.toContain("unanchored");
  const { unanchored: _, ...without } = said.payload;
  const stripped = base64url(utf8(receiptPayloadText(without)));
  expect(await verify(JSON.stringify({ ...JSON.parse(said.receipts[0]!), payload: stripped }), { kind: "none" })).toBe(
    "bad_signature",
  );
});

test("a stored payload is read like a sent one", () => {
  const { payload } = flushOf([1, 2]);
  expect(parseReceiptPayload(receiptPayloadText(payload))).toEqual({ ok: true, value: payload });
  expect(parseReceiptPayload(JSON.stringify(payload, null, 1)).ok).toBe(false);
  expect(parseReceiptPayload("").ok).toBe(false);
});

test.each(["eu.1.shard-0", "eu.1.shard-00.1", "eu.1.shard-0.01", "EU.1.shard-0.1", "eu.1.shard-0.1 "])(
  "%j is not a kid",
  (kid) => {
    expect(parseReceiptKid(kid)).toBeNull();
  },
);
