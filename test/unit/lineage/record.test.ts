import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base64url, concat, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { jcs } from "../../../src/base/jcs.ts";
import {
  commitment,
  decodeRecord,
  encodeRecord,
  leafHash,
  MAX_LEAF_BYTES,
  recordProblem,
  saltedRunHash,
  type LineageRecord,
} from "../../../src/lineage/record.ts";
import { buildSource, bytesOf, digestFor, hashOf, sha } from "./build.ts";

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(base64url);
const digest = hash.map((text) => `sha256:${text}`);
const count = fc.maxSafeNat();
const hexOf = (length: number): fc.Arbitrary<string> => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const traceparent = fc.tuple(hexOf(2), hexOf(32), hexOf(16), hexOf(2)).map((parts) => parts.join("-"));

const place = fc.record({
  region: fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/),
  log_epoch: fc.integer({ min: 1, max: 999_999_999 }),
  shard: fc.integer({ min: 0, max: 9_999 }),
  sseq: fc.integer({ min: 100_000, max: 999_999_999_999_999 }),
  index: fc.option(fc.integer({ min: 0, max: 99_999 }), { nil: null }),
});

/** Each names one other record. */
const ABOUT_ONE: ReadonlySet<string> = new Set([
  "run.outcome",
  "permit.redeem",
  "hold.renew",
  "approval.grant",
  "approval.refuse",
  "approval.cancel",
]);

const verdict = fc.constantFrom(
  { kind: "decision", decision: "allow", reason: null },
  { kind: "decision", decision: "deny", reason: "policy_denied" },
  { kind: "withheld", decision: "deny", reason: "withheld" },
  { kind: "run.close", decision: null, reason: null },
  { kind: "run.open", decision: null, reason: null },
  { kind: "run.open", decision: "deny", reason: "revoked" },
  { kind: "run.open", decision: "allow", reason: null },
  { kind: "run.amend", decision: "allow", reason: null },
  { kind: "run.delegate", decision: "deny", reason: "delegation_exceeded" },
  { kind: "run.outcome", decision: null, reason: null },
  { kind: "permit.redeem", decision: "allow", reason: null },
  { kind: "permit.redeem", decision: "deny", reason: "permit_reused" },
  { kind: "hold.renew", decision: "deny", reason: "hold_ended" },
  { kind: "approval.request", decision: "allow", reason: null },
  { kind: "approval.grant", decision: "deny", reason: "approver_not_independent" },
  { kind: "approval.refuse", decision: "allow", reason: null },
  { kind: "approval.cancel", decision: null, reason: null },
) satisfies fc.Arbitrary<Pick<LineageRecord, "kind" | "decision" | "reason">>;

/** Every record that the format admits. */
const anyRecord: fc.Arbitrary<LineageRecord> = fc
  .record({
    place,
    verdict,
    commit: fc.record({ facts: hash, input: hash, run: hash }),
    digests: fc.tuple(digest, digest, digest),
    engine: fc.stringMatching(/^[\x21-\x7e]{1,64}$/),
    parents: fc.array(hash, { maxLength: 4 }),
    run: hash,
    links: fc.tuple(hash, hash),
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    t: count,
    traceparent: fc.option(traceparent, { nil: null }),
    revision: count,
  })
  .map(({ place: { region, log_epoch, shard, sseq, index }, verdict, digests, links, revision, ...rest }) => {
    const seq = verdict.kind === "run.open" ? 1 : rest.seq;
    const id = decisionId(region, log_epoch, shard, sseq - (index ?? 0)) + (index === null ? "" : `/${index}`);
    return {
      ...rest,
      ...(ABOUT_ONE.has(verdict.kind) ? { parents: [links[0]] } : {}),
      ...verdict,
      v: 1,
      region,
      log_epoch,
      source: `shard/${shard}`,
      sseq,
      seq,
      decision_id: id,
      core: digests[0],
      policy: digests[1],
      trust: { revision, digest: digests[2] },
      prev: seq === 1 ? null : links[0],
      refers: verdict.kind === "withheld" ? links[1] : null,
    };
  });

describe("leaf bytes", () => {
  test("are 0x01 and the JCS of the record, and read back", () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        const leaf = encodeRecord(record);
        expect(leaf).toEqual(concat(Uint8Array.of(1), utf8(jcs(record))));
        expect(decodeRecord(leaf)).toEqual({ ok: true, value: record });
      }),
    );
  });

  test("do not depend on the order in which the members were set", () => {
    const { records } = buildSource([[0]]);
    const turned = Object.fromEntries(Object.entries(records[0]!).toReversed()) as unknown as LineageRecord;
    expect(encodeRecord(turned)).toEqual(encodeRecord(records[0]!));
  });

  test("no other bytes are read as a record: any flipped bit changes the record or is refused", () => {
    fc.assert(
      fc.property(anyRecord, fc.nat(), fc.integer({ min: 0, max: 7 }), (record, at, bit) => {
        const leaf = encodeRecord(record);
        leaf[at % leaf.length]! ^= 1 << bit;
        const read = decodeRecord(leaf);
        expect(read.ok ? encodeRecord(read.value) : leaf).toEqual(leaf);
        expect(read).not.toEqual({ ok: true, value: record });
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("the strict reader", () => {
  const good = buildSource([[0], [0]]).records[1]!;
  const text = (): string => fromUtf8(encodeRecord(good).subarray(1))!;
  const leafOf = (json: string): Uint8Array => utf8(`\u0001${json}`);

  test.each<[string, (json: string) => string, string]>([
    ["white space", (json) => json.replace("{", "{ "), "leaf: not in canonical form (RFC 8785)"],
    ["another number form", (json) => json.replace('"v":1', '"v":1.0'), "leaf: not in canonical form (RFC 8785)"],
    ["an escape", (json) => json.replace('"eu"', '"\\u0065u"'), "leaf: not in canonical form (RFC 8785)"],
    ["an escaped name", (json) => json.replace('"v"', '"\\u0076"'), "leaf: not in canonical form (RFC 8785)"],
    [
      "another order",
      (json) => json.replace(',"v":1', "").replace("{", '{"v":1,'),
      "leaf: not in canonical form (RFC 8785)",
    ],
    ["a byte order mark", (json) => `\ufeff${json}`, "leaf: not valid JSON"],
    ["a duplicate", (json) => json.replace('"v":1', '"v":1,"v":1'), "leaf: an object names the same member twice"],
    [
      "a nested duplicate",
      (json) => json.replace('"revision":7', '"revision":7,"revision":7'),
      "leaf: an object names the same",
    ],
    ["an unknown member", (json) => json.replace('"v":1', '"v":1,"w":1'), "record: member w is unknown"],
    ["a missing member", (json) => json.replace(',"v":1', ""), "record: member v is missing"],
    ["an unknown commitment", (json) => json.replace('{"facts"', '{"x":1,"facts"'), "commit: member x is unknown"],
    [
      "an unknown trust member",
      (json) => json.replace('"revision":7', '"revision":7,"root":1'),
      "trust: member root is unknown",
    ],
    ["a list", () => "[]", "record: not an object"],
    ["nothing", () => "", "leaf: not valid JSON"],
    ["deep nesting", (json) => json.replace('"parents":[', '"parents":[['), "leaf: nested deeper"],
  ])("refuses %s", (_, change, reason) => {
    const changed = change(text());
    expect(changed).not.toBe(text());
    const read = decodeRecord(leafOf(changed));
    expect(read).toEqual({ ok: false, error: expect.stringContaining(reason) });
  });

  test.each<[string, object]>([
    ["v", { v: 2 }],
    ["kind", { kind: "erasure" }],
    ["region", { region: "EU" }],
    ["log_epoch", { log_epoch: 0 }],
    ["source", { source: "shard/01" }],
    ["source", { source: "trust" }],
    ["sseq", { sseq: 1.5 }],
    ["sseq", { sseq: 2 ** 53 }],
    ["run", { run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA" }],
    ["run", { run: "A".repeat(42) + "B" }],
    ["seq", { seq: 0 }],
    ["prev", { prev: "" }],
    ["prev", { prev: null }],
    ["parents", { parents: ["x"] }],
    ["parents", { parents: {} }],
    ["refers", { refers: hashOf("x") }],
    ["t", { t: -1 }],
    ["decision", { decision: "permit" }],
    ["decision", { decision: null, reason: null }],
    ["reason", { reason: null }],
    ["reason", { decision: "allow" }],
    ["reason", { reason: "Personal data!" }],
    ["core", { core: hashOf("x") }],
    ["policy", { policy: "sha512:" + hashOf("x") }],
    ["engine", { engine: "" }],
    ["engine", { engine: "a b" }],
    ["commit.input", { commit: { ...good.commit, input: "" } }],
    ["trust.digest", { trust: { digest: "", revision: 0 } }],
    ["trust.revision", { trust: { digest: digestFor("x"), revision: "7" } }],
    ["traceparent", { traceparent: "00-1-1-1" }],
    ["decision_id", { decision_id: "eu.1.s0.1" }],
    ["decision_id", { decision_id: "eu.1.s0.1/2" }],
    ["decision_id", { decision_id: "eu.2.s0.2" }],
    ["decision_id", { decision_id: "us.1.s0.2" }],
    ["decision_id", { decision_id: "eu.1.s1.2" }],
    ["decision_id", { decision_id: "" }],
    ["refers", { kind: "withheld" }],
    ["decision", { kind: "withheld", refers: hashOf("x"), decision: "allow", reason: null }],
    ["seq", { kind: "run.open" }],
    ["decision", { kind: "run.amend", decision: null, reason: null }],
    ["decision", { kind: "run.delegate", decision: null, reason: null }],
    ["parents", { kind: "run.outcome", decision: null, reason: null, parents: [] }],
    ["parents", { kind: "run.outcome", decision: null, reason: null, parents: [hashOf("a"), hashOf("b")] }],
    ["parents", { kind: "run.outcome", decision: "allow", reason: null, parents: [hashOf("a")] }],
    ["decision", { kind: "permit.redeem", decision: null, reason: null, parents: [hashOf("a")] }],
    ["parents", { kind: "permit.redeem", parents: [] }],
    ["parents", { kind: "hold.renew", parents: [hashOf("a"), hashOf("b")] }],
    ["decision", { kind: "approval.request", decision: null, reason: null }],
    ["decision", { kind: "approval.grant", decision: null, reason: null, parents: [hashOf("a")] }],
    ["decision", { kind: "approval.refuse", decision: null, reason: null, parents: [hashOf("a")] }],
    ["decision", { kind: "approval.cancel", decision: "allow", reason: null, parents: [hashOf("a")] }],
    ["parents", { kind: "approval.grant", decision: "allow", reason: null, parents: [] }],
    ["parents", { kind: "approval.refuse", decision: "allow", reason: null, parents: [hashOf("a"), hashOf("b")] }],
    ["parents", { kind: "approval.cancel", decision: null, reason: null, parents: [] }],
  ])("refuses a wrong %s: %j", (member, change) => {
    expect(recordProblem({ ...good, ...change })).toMatch(new RegExp(`^${member.replace(".", "\\.")}: `));
    expect(decodeRecord(leafOf(jcs({ ...good, ...change }))).ok).toBe(false);
  });

  test("refuses other version bytes, bytes that are not UTF-8, and oversize", () => {
    const leaf = encodeRecord(good);
    expect(decodeRecord(leaf.with(0, 2))).toEqual({ ok: false, error: "leaf: the version byte is not 0x01" });
    expect(decodeRecord(new Uint8Array(0)).ok).toBe(false);
    expect(decodeRecord(leaf.with(20, 0xff))).toEqual({ ok: false, error: "leaf: not UTF-8" });
    const wide = { ...good, parents: Array.from({ length: 1_300 }, (_, i) => hashOf(i)) };
    expect(encodeRecord(wide).length).toBeGreaterThan(MAX_LEAF_BYTES);
    expect(decodeRecord(encodeRecord(wide)).ok).toBe(false);
    expect(decodeRecord(encodeRecord({ ...wide, parents: wide.parents.slice(0, 1_200) })).ok).toBe(true);
  });
});

test("the leaf hash is that of RFC 6962, with either hash function", () => {
  const leaf = encodeRecord(buildSource([[0]]).records[0]!);
  expect(leafHash(leaf, sha)).toEqual(sha(concat(Uint8Array.of(0), leaf)));
  expect(leafHash(leaf, sha256)).toEqual(leafHash(leaf, sha));
});

describe("commitments", () => {
  const salt = bytesOf("salt");

  test("bind label, salt and payload", () => {
    const base = commitment("input", salt, "{}", sha);
    expect(base).toBe(base64url(sha(concat(utf8("\u0002i"), salt, utf8("{}")))));
    const others = [
      commitment("facts", salt, "{}", sha),
      commitment("run", salt, "{}", sha),
      commitment("input", bytesOf("other"), "{}", sha),
      commitment("input", salt, "{ }", sha),
    ];
    expect(new Set([base, ...others]).size).toBe(5);
  });

  test("refuse a salt of another length, which would let parts shift", () => {
    expect(() => commitment("input", salt.subarray(1), "{}", sha)).toThrow("32 bytes");
    expect(() => saltedRunHash(salt, "eu.1.x", sha)).toThrow("16 bytes");
  });

  test("a run's hash is no commitment and no node", () => {
    const short = salt.subarray(0, 16);
    expect(saltedRunHash(short, "eu.1.x", sha)).toBe(base64url(sha(concat(Uint8Array.of(3), short, utf8("eu.1.x")))));
  });
});
