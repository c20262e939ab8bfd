import { describe, expect, it } from "vitest";
import { hmacSha256 } from "../../../src/base/digest.ts";
import { readFederationSecrets } from "../../../src/region/federation-secrets.ts";
import { keyCheck, pseudonym, secretOf } from "../../../src/trust/pseudonym.ts";

const secret = (fill: number) => Buffer.alloc(32, fill).toString("base64url");
const text = JSON.stringify([
  { id: "f2", secret: secret(2) },
  { id: "f1", secret: secret(1) },
]);

describe("federation secrets", () => {
  it("reads them, the current one first, and the open one behind them", () => {
    const read = readFederationSecrets(text);
    expect(read.ok && read.value.map(({ id }) => id)).toEqual(["f2", "f1", "open"]);
    const none = readFederationSecrets("");
    expect(none.ok && none.value.map(({ id }) => id)).toEqual(["open"]);
  });

  it.each([
    "null", "[]", "{}", "[1]", "[", '[{"id":"f1"}]', `[{"id":"f1","secret":"short"}]`,
    `[{"id":"open","secret":"${secret(1)}"}]`, `[{"id":"F1","secret":"${secret(1)}"}]`,
    `[{"id":"f1","secret":"${secret(1)}","x":1}]`, `[{"id":"f1","secret":"${secret(1)}"},{"id":"f1","secret":"${secret(2)}"}]`,
  ])("refuses %s", (bad) => {
    const read = readFederationSecrets(bad);
    expect(read.ok ? "" : read.error).toMatch(/^INTERLOCK_FEDERATION_SECRETS/);
  }); // prettier-ignore
});

describe("pseudonyms", () => {
  const read = readFederationSecrets(text);
  if (!read.ok) throw new Error(read.error);
  const [current, old] = read.value;

  it("are one for a key and a secret, and name the secret", () => {
    const name = pseudonym(current, "subject:user/alice", hmacSha256);
    expect(name).toMatch(/^f2\.[A-Za-z0-9_-]{43}$/);
    expect(secretOf(name)).toBe("f2");
    expect(pseudonym(current, "subject:user/alice", hmacSha256)).toBe(name);
    expect(pseudonym(current, "subject:user/bob", hmacSha256)).not.toBe(name);
    expect(pseudonym(old!, "subject:user/alice", hmacSha256).slice(3)).not.toBe(name.slice(3));
    expect(keyCheck(current, hmacSha256)).not.toBe(keyCheck(old!, hmacSha256));
  });

  it.each(["", "f1", "f1.", "subject:user/alice", "f1.short"])("%j is none", (text) =>
    expect(secretOf(text)).toBeNull(),
  );
});
