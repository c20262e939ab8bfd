import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commitment } from "../../../src/lineage/record.ts";
import {
  openPayload,
  saltsOf,
  sealPayload,
  SEAL_RANDOM_BYTES,
  type Aead,
  type SealPlace,
} from "../../../src/lineage/seal.ts";
import { bytesOf, sha } from "./build.ts";

/** AES-256-GCM of `node:crypto`, as the shard passes it. */
const aead: Aead = {
  seal(key, nonce, aad, plaintext) {
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    cipher.setAAD(aad);
    return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
  },
  open(key, nonce, aad, sealed) {
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    try {
      return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]));
    } catch {
      return null;
    }
  },
};

const KEY = { number: 258, bytes: bytesOf("region key") };
const keys = (number: number): Uint8Array | null => (number === KEY.number ? KEY.bytes : null);
const PLACE: SealPlace = { region: "eu", log_epoch: 1, source: "shard/0", sseq: 17 };
const TEXT = '{"request":"…"}';
const random = (): Uint8Array => new Uint8Array(randomBytes(SEAL_RANDOM_BYTES));

describe("a sealed payload", () => {
  test("opens in its own place, with the salts of its commitments", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "grapheme" }),
        fc.uint8Array({ minLength: 140, maxLength: 140 }),
        async (text, bytes) => {
          const { facts, input, run } = saltsOf(bytes);
          const sealed = await sealPayload(aead, KEY, PLACE, text, bytes);
          expect(await openPayload(aead, keys, PLACE, sealed)).toEqual({
            ok: true,
            value: { salts: { facts, input, run }, text },
          });
        },
      ),
    );
  });

  test("carries what its record's commitments need, after the random buffer was reused for the next record", async () => {
    const bytes = random();
    const made = commitment("input", saltsOf(bytes).input, TEXT, sha);
    const sealed = await sealPayload(aead, KEY, PLACE, TEXT, bytes);
    bytes.fill(0);
    const opened = await openPayload(aead, keys, PLACE, sealed);
    expect(opened.ok && commitment("input", opened.value.salts.input, opened.value.text, sha)).toBe(made);
  });

  test("has the layout that docs/lineage.md gives", async () => {
    const bytes = random();
    const sealed = await sealPayload(aead, KEY, PLACE, TEXT, bytes);
    expect([...sealed.subarray(0, 5)]).toEqual([1, 0, 0, 1, 2]);
    expect(sealed.subarray(5, 17)).toEqual(bytes.subarray(32, 44));
    expect(sealed.length).toBe(65 + 96 + Buffer.byteLength(TEXT) + 16);
  });

  test("says neither its text nor its key", async () => {
    const bytes = random();
    const sealed = Buffer.from(await sealPayload(aead, KEY, PLACE, TEXT, bytes));
    expect(sealed.includes("request")).toBe(false);
    expect(sealed.includes(Buffer.from(bytes.subarray(0, 32)))).toBe(false);
    expect(sealed.includes(Buffer.from(bytes.subarray(44, 76)))).toBe(false);
  });
});

const sealed = await sealPayload(aead, KEY, PLACE, TEXT, random());

describe("is unreadable", () => {
  const unreadable = { ok: false, error: "unreadable" };

  test.each<[string, Partial<SealPlace>]>([
    ["region", { region: "us" }],
    ["log epoch", { log_epoch: 2 }],
    ["source", { source: "shard/1" }],
    ["number", { sseq: 18 }],
  ])("in the place of another %s", async (_, change) => {
    expect(await openPayload(aead, keys, { ...PLACE, ...change }, sealed)).toEqual(unreadable);
  });

  test("with any byte flipped, and at any other length", async () => {
    for (let at = 0; at < sealed.length; at++) {
      expect(await openPayload(aead, keys, PLACE, sealed.with(at, sealed[at]! ^ 0x80))).toEqual(unreadable);
      expect(await openPayload(aead, keys, PLACE, sealed.subarray(0, at))).toEqual(unreadable);
    }
    expect(await openPayload(aead, keys, PLACE, new Uint8Array([...sealed, 0]))).toEqual(unreadable);
  });

  test("without its key, or with another one of that number", async () => {
    expect(await openPayload(aead, () => null, PLACE, sealed)).toEqual(unreadable);
    expect(await openPayload(aead, () => bytesOf("other"), PLACE, sealed)).toEqual(unreadable);
  });

  test("and with less randomness it is never made", async () => {
    await expect(sealPayload(aead, KEY, PLACE, TEXT, new Uint8Array(139))).rejects.toThrow("140 random bytes");
    expect(() => saltsOf(new Uint8Array(141))).toThrow("140 random bytes");
  });
});
