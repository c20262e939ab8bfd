import { describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { coverageSigningInput, coverageText, readCoverage, type Coverage } from "../../../src/lineage/coverage.ts";
import { inclusionPath, merkleTree, treeHash } from "../../../src/lineage/merkle.ts";
import { formatVerifierKey } from "../../../src/lineage/note-key.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord } from "../../../src/lineage/state-record.ts";
import { parsePolicy } from "../../../src/lineage/tlog-policy.ts";
import { verifyCoverage, type CoverageProblem } from "../../../src/lineage/verify-coverage.ts";
import { sha } from "./build.ts";
import { checkpointNote, keyOf, leavesOf, verifyEd25519, type TestKey } from "./log-build.ts";

/** A log of 20 leaves: 5 of its own, 12 of a shard, 3 of the authority; 16 are under its checkpoint. */
const ORIGIN = "eu.pdp.example/eu/1";
const log = keyOf(ORIGIN);
const policyOf = (text: string) => {
  const policy = parsePolicy(text, sha);
  if (!policy.ok) throw new Error(policy.error.message);
  return policy.value;
};
const policy = policyOf(`log ${formatVerifierKey(log.key)}\nquorum none\n`);

const heartbeat = (changes: object = {}): Uint8Array =>
  encodeStateRecord({
    body: { marks: { log: 3, "shard/0": 9, trust: 2 } },
    kind: "log.heartbeat",
    log_epoch: 1,
    prev: base64url(new Uint8Array(32)),
    region: "eu",
    source: "log",
    sseq: 4,
    t: 1_000,
    v: 1,
    ...changes,
  });

const AT = 14;
const leavesWith = (leaf: Uint8Array): Uint8Array[] =>
  leavesOf(20).map((hash, at) => (at === AT ? leafHash(leaf, sha) : hash));

async function statement(changes: Partial<Coverage> = {}, leaf = heartbeat()): Promise<Coverage> {
  const leaves = leavesWith(leaf);
  const covered = leaves.slice(0, 16);
  return {
    anchored: { first: 0, last: 15 },
    checkpoint: await checkpointNote(log, covered),
    erased: 2,
    gaps: [],
    halted: null,
    heartbeat: { index: AT, leaf: base64url(leaf), path: inclusionPath(merkleTree(covered, sha), AT).map(base64url) },
    iat: 1_900_000_000,
    incidents: [],
    iss: "https://eu.pdp.example",
    log_epoch: 1,
    origin: ORIGIN,
    reads_pending: 0,
    region: "eu",
    retention_days: null,
    sources: [
      { head: 5, mark: 5, source: "log" },
      { head: 13, mark: 12, source: "shard/0" },
      { head: null, mark: 3, source: "trust" },
    ],
    t_ms: 1_900_000_000_000,
    tree: { root: base64url(treeHash(leaves, sha)), size: 20 },
    unanchored: { first: 16, last: 19 },
    v: 1,
    ...changes,
  };
}

async function signed(coverage: Coverage, by: TestKey = log, kid = "eu.1.log.1"): Promise<string> {
  const input = coverageSigningInput(kid, coverageText(coverage));
  return `${input}.${base64url(await by.sign(utf8(input)))}`;
}

const verify = (text: string, under = policy, since_ms = 0) =>
  verifyCoverage(text, under, { sha, verify: verifyEd25519 }, { since_ms });
const codes = (problems: readonly CoverageProblem[]) => problems.map(({ code }) => code);

test("a statement verifies with nothing but a policy", async () => {
  const report = await verify(await signed(await statement()));
  expect(report.problems).toEqual([]);
  expect(report.status).toBe("verified");
  expect(report.coverage).toMatchObject({ erased: 2, unanchored: { first: 16, last: 19 } });
});

const root = base64url(treeHash(leavesOf(20, "other"), sha));

describe("what a log may state and must not be believed", () => {
  test.each<readonly [string, Partial<Coverage>, CoverageProblem["code"]]>([
    ["a gap", { gaps: [{ first: 4, last: 6, source: "shard/0" }] }, "gaps"],
    [
      "fewer records than leaves",
      {
        sources: [
          { head: 5, mark: 5, source: "log" },
          { head: 12, mark: 12, source: "shard/0" },
        ],
      },
      "gaps",
    ],
    [
      "a source twice",
      {
        sources: [
          { head: 5, mark: 5, source: "log" },
          { head: 12, mark: 12, source: "shard/0" },
          { head: 12, mark: 0, source: "shard/0" },
          { head: 3, mark: 3, source: "trust" },
        ],
      },
      "gaps",
    ],
    [
      "a source that lost its end",
      {
        sources: [
          { head: 5, mark: 5, source: "log" },
          { head: 11, mark: 12, source: "shard/0" },
          { head: 3, mark: 3, source: "trust" },
        ],
      },
      "source_behind",
    ],
    [
      "a mark below the heartbeat's, made good elsewhere",
      {
        sources: [
          { head: 9, mark: 9, source: "log" },
          { head: 8, mark: 8, source: "shard/0" },
          { head: 3, mark: 3, source: "trust" },
        ],
      },
      "mark_went_back",
    ],
    ["no checkpoint", { checkpoint: null, anchored: null, heartbeat: null }, "no_checkpoint"],
    ["more anchored than there is", { anchored: { first: 0, last: 19 } }, "tree_mismatch"],
    ["less unanchored than there is", { unanchored: null }, "tree_mismatch"],
    ["a tree smaller than its checkpoint", { tree: { root, size: 10 } }, "tree_mismatch"],
    ["another root at the checkpoint's size", { tree: { root, size: 16 }, unanchored: null }, "tree_mismatch"],
    ["no heartbeat", { heartbeat: null }, "no_heartbeat"],
    ["another region", { region: "us" }, "origin_mismatch"],
    ["another epoch", { log_epoch: 2 }, "origin_mismatch"],
    ["another PDP", { iss: "https://eu.evil.example" }, "origin_mismatch"],
    ["a log that the policy does not know", { origin: "us.pdp.example/us/1" }, "unknown_log"],
    ["a halt", { halted: "it was rewound", sources: [] }, "halted"],
  ])("%s", async (_, changes, code) => {
    const report = await verify(await signed(await statement(changes)));
    expect(report.status).toBe("failed");
    expect(codes(report.problems)).toContain(code);
  });

  test.each<readonly [string, object]>([
    ["of another kind", { kind: "incident" }],
    ["of another region", { region: "us" }],
    ["of another epoch", { log_epoch: 2 }],
    ["without marks", { body: {} }],
    ["whose marks are no numbers", { body: { marks: { log: "3" } } }],
  ])("a heartbeat %s", async (_, changes) => {
    const report = await verify(await signed(await statement({}, heartbeat(changes))));
    expect(codes(report.problems)).toContain("no_heartbeat");
  });

  test("a heartbeat that is not under the checkpoint", async () => {
    const good = (await statement()).heartbeat!;
    for (const heartbeatChanged of [
      { ...good, leaf: base64url(heartbeat({ body: { marks: {} } })) },
      { ...good, index: 13 },
      { ...good, index: 17 },
      { ...good, path: good.path.slice(1) },
    ]) {
      const report = await verify(await signed(await statement({ heartbeat: heartbeatChanged })));
      expect(codes(report.problems)).toEqual(["no_heartbeat"]);
    }
  });
});

describe("the signature", () => {
  test("of another key, and a statement that was changed, are refused", async () => {
    expect(codes((await verify(await signed(await statement(), keyOf("other")))).problems)).toEqual(["bad_signature"]);
    const [header, , signature] = (await signed(await statement())).split(".");
    const changed = base64url(utf8(coverageText(await statement({ erased: 0 }))));
    expect(codes((await verify(`${header}.${changed}.${signature}`)).problems)).toEqual(["bad_signature"]);
  });

  test("counts under a policy with the quorum only", async () => {
    const witness = keyOf("w.example/witness", 0x04);
    const strict = policyOf(
      `log ${formatVerifierKey(log.key)}\nwitness w ${formatVerifierKey(witness.key)}\nquorum w\n`,
    );
    expect(codes((await verify(await signed(await statement()), strict)).problems)).toEqual(["untrusted"]);
  });

  test("that is old says so to who asks", async () => {
    const text = await signed(await statement());
    expect(codes((await verify(text, policy, 1_900_000_000_001)).problems)).toEqual(["stale"]);
    expect((await verify(text, policy, 1_900_000_000_000)).status).toBe("verified");
  });
});

describe("a text that is no statement", () => {
  const cases: readonly (readonly [string, (text: string) => string | Promise<string>])[] = [
    ["is empty", () => ""],
    ["is another JWS", (text) => text.replace(/^[^.]+/, base64url(utf8('{"alg":"Ed25519","kid":"k","typ":"JWT"}')))],
    [
      "says alg none",
      (text) => text.replace(/^[^.]+/, base64url(utf8('{"alg":"none","kid":"k","typ":"interlock-coverage+jwt"}'))),
    ],
    ["has four parts", (text) => `${text}.AA`],
    ["is padded", (text) => `${text}=`],
    ["has a member more", async () => signed({ ...(await statement()), more: 1 } as unknown as Coverage)],
    ["has a member of another form", async () => signed({ ...(await statement()), gaps: {} } as unknown as Coverage)],
    [
      "has another order of members",
      async (text) => {
        const { v, ...rest } = await statement();
        return text.replace(/\.[^.]+\./, `.${base64url(utf8(JSON.stringify({ v, ...rest })))}.`);
      },
    ],
    ["is too long", (text) => text + "A".repeat(300_000)],
  ];
  test.each(cases)("%s", async (_, change) => {
    const text = await change(await signed(await statement()));
    expect(readCoverage(text).ok).toBe(false);
    expect((await verify(text)).status).toBe("unreadable");
  });
});
