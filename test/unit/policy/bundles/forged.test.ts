import { describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../../../src/base/bytes.ts";
import { sha256 } from "../../../../src/base/digest.ts";
import { jcs } from "../../../../src/base/jcs.ts";
import { TYPES, type RootDocument } from "../../../../src/policy/bundles/documents.ts";
import type { Envelope } from "../../../../src/policy/bundles/envelope.ts";
import type { Role } from "../../../../src/policy/bundles/refusals.ts";
import { policyOf, renamed, rootOf, sign, signature, timestampOf } from "../../../support/policy-documents.ts";
import { keys, offered, OTHER, pick, pinned, rootBy, said, served, six, T, YEAR } from "./served.ts";

/** What else one may try who makes envelopes and payloads by hand: the suite leaves that to the format of a client. */

describe("forged envelopes", () => {
  const header = (text: string) => base64url(utf8(text));
  /** The next policy with its two signatures made over another protected header. */
  async function under(head: (kid: string) => string): Promise<string> {
    const { policy, ...rest } = await six();
    const signatures = await Promise.all(
      keys.policy.slice(0, 2).map(async ({ kid, key }) => {
        const text = header(head(kid));
        const bytes = await crypto.subtle.sign("Ed25519", key, utf8(`${text}.${policy.payload}`));
        return { protected: text, signature: base64url(new Uint8Array(bytes)) };
      }),
    );
    return said(served, { ...rest, policy: { payload: policy.payload, signatures } });
  }

  test.each([
    ["as it is made", (kid: string) => `{"alg":"Ed25519","kid":"${kid}","typ":"${TYPES.policy}"}`, "taken"],
    ["in another order", (kid: string) => `{"typ":"${TYPES.policy}", "kid":"${kid}", "alg":"Ed25519"}`, "taken"],
    ["alg none", (kid: string) => `{"alg":"none","kid":"${kid}","typ":"${TYPES.policy}"}`, "policy bad_signature"],
    ["alg ES256", (kid: string) => `{"alg":"ES256","kid":"${kid}","typ":"${TYPES.policy}"}`, "policy bad_signature"],
    ["alg HS256", (kid: string) => `{"alg":"HS256","kid":"${kid}","typ":"${TYPES.policy}"}`, "policy bad_signature"],
    [
      "alg twice",
      (kid: string) => `{"alg":"none","alg":"Ed25519","kid":"${kid}","typ":"${TYPES.policy}"}`,
      "policy bad_signature",
    ],
    [
      "b64 false",
      (kid: string) => `{"alg":"Ed25519","b64":false,"crit":["b64"],"kid":"${kid}","typ":"${TYPES.policy}"}`,
      "policy bad_signature",
    ],
    [
      "crit",
      (kid: string) => `{"alg":"Ed25519","crit":["exp"],"exp":1,"kid":"${kid}","typ":"${TYPES.policy}"}`,
      "policy bad_signature",
    ],
    ["no typ", (kid: string) => `{"alg":"Ed25519","kid":"${kid}"}`, "policy bad_signature"],
    [
      "application/ before typ",
      (kid: string) => `{"alg":"Ed25519","kid":"${kid}","typ":"application/${TYPES.policy}"}`,
      "policy wrong_role",
    ],
    ["no kid", () => `{"alg":"Ed25519","typ":"${TYPES.policy}"}`, "policy bad_signature"],
    [
      "an inherited name as kid",
      () => `{"alg":"Ed25519","kid":"__proto__","typ":"${TYPES.policy}"}`,
      "policy duplicate_signer",
    ],
    ["no JSON", () => "alg=Ed25519", "policy bad_signature"],
  ])("a protected header %s", async (_, head, expected) => expect(await under(head)).toBe(expected));

  test.each([
    [
      "the compact form",
      ({ payload, signatures: [first] }: Envelope) => `${first!.protected}.${payload}.${first!.signature}`,
      "malformed",
    ],
    ["the flattened form", ({ payload, signatures: [first] }: Envelope) => ({ payload, ...first }), "unsigned"],
    [
      "an unprotected header",
      (one: Envelope) => ({ ...one, signatures: one.signatures.map((s) => ({ ...s, header: { kid: "x" } })) }),
      "malformed",
    ],
    [
      "the header unprotected alone",
      (one: Envelope) => ({
        ...one,
        signatures: one.signatures.map(({ signature: s }) => ({ header: { alg: "Ed25519" }, signature: s })),
      }),
      "malformed",
    ],
    ["an unknown member beside them", (one: Envelope) => ({ ...one, comment: "" }), "malformed"],
    [
      "signatures the other way round",
      (one: Envelope) => ({ ...one, signatures: one.signatures.toReversed() }),
      "taken",
    ],
    ["padding", (one: Envelope) => ({ ...one, payload: `${one.payload}==` }), "malformed"],
    [
      "a longer signature",
      (one: Envelope) => ({
        ...one,
        signatures: one.signatures.map((s) => ({ ...s, signature: `${s.signature}AAAA` })),
      }),
      "bad_signature",
    ],
    [
      "1,000 signatures",
      (one: Envelope) => ({ ...one, signatures: Array.from({ length: 1_000 }, () => one.signatures[0]) }),
      "too_large",
    ],
    ["a payload of 2 MB", (one: Envelope) => ({ ...one, payload: "A".repeat(2_000_000) }), "too_large"],
    ["no payload", ({ signatures }: Envelope) => ({ signatures }), "malformed"],
    ["null", () => [null], "malformed"],
  ])("%s", async (_, change, expected) => {
    const { policy, ...rest } = await six();
    expect(await said(served, { ...rest, policy: change(policy) })).toBe(
      expected === "taken" ? "taken" : `policy ${expected}`,
    );
  });

  test.each([
    ["trailing bytes", (text: string) => `${text}{}`],
    ["a byte order mark", (text: string) => `\ufeff${text}`],
    ["a member twice", (text: string) => text.replace('"version":6', '"version":6,"version":6')],
    ["a member twice, once escaped", (text: string) => text.replace('"version":6', '"version":6,"v\\u0065rsion":9')],
    ["version 0", (text: string) => text.replace('"version":6', '"version":0')],
    ["version -1", (text: string) => text.replace('"version":6', '"version":-1')],
    ["version 6.5", (text: string) => text.replace('"version":6', '"version":6.5')],
    ['version "6"', (text: string) => text.replace('"version":6', '"version":"6"')],
    ["version 2^48 + 1", (text: string) => text.replace('"version":6', '"version":281474976710657')],
    ["version 2^53", (text: string) => text.replace('"version":6', '"version":9007199254740992')],
    ["version 1e400", (text: string) => text.replace('"version":6', '"version":1e400')],
    ["expires_ms as a text", (text: string) => text.replace(/"expires_ms":([0-9]+)/, '"expires_ms":"$1"')],
    ["a depth of 9", (text: string) => text.replace('"version":6', '"version":6,"x":[[[[[[[[[]]]]]]]]]')],
    ["__proto__", (text: string) => text.replace('"version":6', '"__proto__":{"version":6},"version":6')],
  ])("a properly signed payload with %s", async (_, change) => {
    const { policy: __, ...rest } = await six();
    const payload = base64url(utf8(change(jcs(policyOf(OTHER, 6, T)))));
    const signatures = await Promise.all(keys.policy.map((key) => signature(payload, key, TYPES.policy)));
    expect(await said(served, { ...rest, policy: { payload, signatures } })).toBe("policy malformed");
  });

  test.each([
    ["6.0, the same number", '"version":6.0', "taken"],
    ["6e0", '"version":6e0', "taken"],
  ])("a version written as %s is that version", async (_, text, expected) => {
    const document = policyOf(OTHER, 6, T);
    const payload = base64url(utf8(jcs(document).replace('"version":6', text)));
    const signatures = await Promise.all(keys.policy.map((key) => signature(payload, key, TYPES.policy)));
    const named = {
      version: 6,
      sha256: `sha256:${base64url(sha256(utf8(jcs(document).replace('"version":6', text))))}`,
    };
    const timestamp = await sign("timestamp", timestampOf(document, 6, T, { policy: named }), keys.timestamp);
    expect(await said(served, { timestamp, policy: { payload, signatures }, bundle: OTHER })).toBe(expected);
  });
});

describe("forged roots", () => {
  type Change = (root: RootDocument) => object;
  const roles = (root: RootDocument, role: Role, changes: object): object => ({
    ...root,
    roles: { ...root.roles, [role]: { ...root.roles[role], ...changes } },
  });

  test.each<readonly [string, Change]>([
    ["threshold 0", (root) => roles(root, "policy", { threshold: 0 })],
    ["threshold -1", (root) => roles(root, "policy", { threshold: -1 })],
    ["threshold 1.5", (root) => roles(root, "policy", { threshold: 1.5 })],
    ["threshold above its keys", (root) => roles(root, "timestamp", { threshold: 2 })],
    [
      "threshold met by a key listed twice",
      (root) => roles(root, "timestamp", { kids: ["timestamp-1", "timestamp-1"], threshold: 2 }),
    ],
    ["no keys in a role", (root) => roles(root, "policy", { kids: [] })],
    ["a role's key that is not there", (root) => roles(root, "policy", { kids: ["policy-1", "policy-99"] })],
    ["an inherited name as a key", (root) => roles(root, "policy", { kids: ["policy-1", "toString"] })],
    ["a role missing", (root) => ({ ...root, roles: { root: root.roles.root, policy: root.roles.policy } })],
    ["another role", (root) => ({ ...root, roles: { ...root.roles, snapshot: root.roles.policy } })],
    ["an EC key", (root) => ({ ...root, keys: { ...root.keys, ec: { kty: "EC", crv: "P-256", x: "AA", y: "AA" } } })],
    ["a private key", (root) => ({ ...root, keys: { ...root.keys, d: { ...root.keys["root-1"], d: "AA" } } })],
    ["a short key", (root) => ({ ...root, keys: { ...root.keys, short: { kty: "OKP", crv: "Ed25519", x: "AAAA" } } })],
    ["version 2^53", (root) => ({ ...root, version: 2 ** 53 })],
  ])("with %s", async (_, change) => {
    const root = await sign("root", change(rootOf(keys, 2, T + YEAR)), keys.root);
    expect(await said(served, { roots: [root] })).toBe("root malformed");
  });

  test("out of order, again, and with the trusted one before them", async () => {
    const [two, three] = [await rootBy(keys, 2, keys.root), await rootBy(keys, 3, keys.root)];
    expect(await said(served, { roots: [three, two] })).toBe("root root_skipped");
    expect(await said(served, { roots: [pinned, two, two, three] })).toBe("taken");
    const { trust } = await offered(served, { roots: [two, three] });
    expect(await said(trust, { roots: [two, three] })).toBe("root rollback");
    expect(await said(trust, { roots: [three] })).toBe("unchanged");
  });

  test("one name for two keys: the signature has to be that of the key which the root lists", async () => {
    const thief = renamed(pick([0])[0]!, "policy-1");
    const policy = await sign("policy", policyOf(OTHER, 6, T), [thief, keys.policy[1]!]);
    expect(await said(served, { ...(await six()), policy })).toBe("policy bad_signature");
    // In a root the later of two keys of one name is no second one: the document has each name once.
    const text = jcs(rootOf(keys, 2, T + YEAR)).replace(
      '"keys":{',
      `"keys":{"policy-1":{"crv":"Ed25519","kty":"OKP","x":"${thief.x}"},`,
    );
    const payload = base64url(utf8(text));
    const signatures = await Promise.all(keys.root.map((key) => signature(payload, key, TYPES.root)));
    expect(await said(served, { roots: [{ payload, signatures }] })).toBe("root malformed");
  });
});
