import { createHash, createHmac } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { digestOf, hmacSha256, sha256 } from "../../../src/base/digest.ts";

test("the portable hash gives the platform's bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 100 }), (message, key) => {
      expect(Buffer.from(sha256(message)).equals(createHash("sha256").update(message).digest())).toBe(true);
      expect(Buffer.from(hmacSha256(key, message)).equals(createHmac("sha256", key).update(message).digest())).toBe(
        true,
      );
    }),
  );
});

test("digest text names its algorithm", () => {
  expect(digestOf("")).toBe("sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
  expect(digestOf("a")).toBe(digestOf("a", (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest())));
  expect(utf8("a").length).toBe(1);
});
