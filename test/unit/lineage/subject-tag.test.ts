import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { hmacSha256 } from "../../../src/base/digest.ts";
import { subjectIndexKey, subjectTag } from "../../../src/lineage/subject-tag.ts";

const regionKey = new Uint8Array(32).fill(7);

it("is the HMAC of the canonical key under a key of the region key's, whatever makes the HMAC", () => {
  const node = (key: Uint8Array, message: Uint8Array) => createHmac("sha256", key).update(message).digest();
  const key = node(regionKey, new TextEncoder().encode("interlock subject index v1"));
  const tag = node(key, new TextEncoder().encode("subject:user/alice")).toString("base64url");
  for (const hmac of [node, hmacSha256])
    expect(subjectTag(subjectIndexKey(regionKey, hmac), "subject:user/alice", hmac)).toBe(tag);
  expect(tag).toHaveLength(43);
});

it("differs by subject and by region key", () => {
  const tags = [regionKey, new Uint8Array(32).fill(8)].flatMap((bytes) =>
    ["subject:user/alice", "subject:user/bob"].map((subject) =>
      subjectTag(subjectIndexKey(bytes, hmacSha256), subject, hmacSha256),
    ),
  );
  expect(new Set(tags).size).toBe(4);
});
