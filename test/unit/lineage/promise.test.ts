import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import { inclusionPath, merkleTree, treeHash } from "../../../src/lineage/merkle.ts";
import { checkPromise, type PromiseEvidence } from "../../../src/lineage/promise.ts";
import {
  compactReceipt,
  flushTree,
  receiptKid,
  receiptPayloadText,
  receiptProtected,
  receiptSigningInput,
  receiptText,
} from "../../../src/lineage/receipt.ts";
import { leafHash } from "../../../src/lineage/record.ts";
import { encodeStateRecord } from "../../../src/lineage/state-record.ts";
import { formatPolicy, type TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import { formatTlogProof, type TlogProof } from "../../../src/lineage/tlog-proof.ts";
import { interlock } from "../../support/command.ts";
import { sha } from "./build.ts";
import { checkpointNote, keyOf, leavesOf, tileFiles, verifyEd25519, witnessKey } from "./log-build.ts";

/** A promise of 10:00:02, and what was cosigned around it. */
const PDP = "https://eu.pdp.example";
const LOG = keyOf("eu.pdp.example/eu/1");
const WITNESSES = ["a", "b", "c"].map((name) => ({ name, ...witnessKey(`${name}.example/witness`) }));
const POLICY: TlogPolicy = {
  logs: [{ key: LOG.key, url: null }],
  witnesses: WITNESSES.map(({ name, key }) => ({ name, key, url: null })),
  groups: [{ name: "two", threshold: 2, members: ["a", "b", "c"] }],
  quorum: "two",
};
const T0 = Date.UTC(2026, 10, 23, 10) / 1_000;
const MERGE_BY = (T0 + 2) * 1_000;
const PAYLOAD = { iss: PDP, region: "eu", log_epoch: 1, merge_by: MERGE_BY };

const LEAVES = leavesOf(40);
const INDEX = 25;
const LEAF = LEAVES[INDEX]!;

/** The tree of the first `size` leaves, cosigned `after` seconds after T0 by each of the witnesses in order. */
async function note(size: number, after: readonly number[], log = LOG): Promise<string> {
  const leaves = LEAVES.slice(0, size);
  const text = checkpointText({ origin: log.key.name, size, root: treeHash(leaves, sha) });
  const cosigned = await Promise.all(
    after.map((seconds, at) => cosign(text, WITNESSES[at]!.key, T0 + seconds, WITNESSES[at]!.sign)),
  );
  return checkpointNote(log, leaves, cosigned);
}

async function proofUnder(size: number, after: readonly number[]): Promise<TlogProof> {
  const path = inclusionPath(merkleTree(LEAVES.slice(0, size), sha), INDEX);
  return { index: INDEX, path, checkpoint: await note(size, after), extra: null };
}

async function check(evidence: Partial<PromiseEvidence>, payload: Partial<typeof PAYLOAD> = {}, policy = POLICY) {
  const whole: PromiseEvidence = { leafHash: LEAF, proof: null, checkpoints: [], leaves: null, ...evidence };
  const deps = { sha, verify: verifyEd25519 };
  const checked = await checkPromise({ ...PAYLOAD, ...payload }, whole, policy, deps);
  return checked.ok ? checked.value : checked.error;
}

describe("a promise", () => {
  test("is kept where a quorum had cosigned the record by merge_by, to the second", async () => {
    expect(await check({ proof: await proofUnder(30, [1, 2]) })).toEqual({
      verdict: "kept",
      merge_by: MERGE_BY,
      index: INDEX,
      size: 30,
      cosigned_at_ms: MERGE_BY,
      late_ms: null,
      message: expect.any(String),
    });
    // The third came late; two were enough.
    expect(await check({ proof: await proofUnder(30, [1, 2, 60]) })).toMatchObject({ verdict: "kept" });
    expect(await check({ proof: await proofUnder(30, [1, 3]) })).toMatchObject({ verdict: "undecided", index: INDEX });
  });

  test("is broken where a quorum cosigned a tree without the record, later than any witness takes", async () => {
    const proof = await proofUnder(40, [60, 60]);
    expect(await check({ proof, checkpoints: [await note(INDEX, [8, 9])] })).toEqual({
      verdict: "broken",
      merge_by: MERGE_BY,
      index: INDEX,
      size: INDEX,
      cosigned_at_ms: (T0 + 8) * 1_000,
      late_ms: 6_000,
      message: expect.stringContaining("came later, at index 25"),
    });
  });

  test.each<[string, number, readonly number[]]>([
    ["the tree has the record", INDEX + 1, [30, 30]],
    ["it was cosigned before merge_by", INDEX, [1, 1]],
    ["it may have been signed before merge_by", INDEX, [7, 7]],
    ["only one witness is that late, whose clock may be wrong", INDEX, [1, 3_600]],
  ])("is not called broken where %s", async (_, size, after) => {
    const proof = await proofUnder(40, [60, 60]);
    expect(await check({ proof, checkpoints: [await note(size, after)] })).toMatchObject({
      verdict: "undecided",
      late_ms: null,
    });
  });

  test("is broken, without a proof, where all leaves of such a tree are known and the record is none of them", async () => {
    const [checkpoints, leaves] = [[await note(20, [30, 31, 32])], LEAVES.slice(0, 20)];
    expect(await check({ checkpoints, leaves })).toMatchObject({
      verdict: "broken",
      index: null,
      size: 20,
      late_ms: 29_000,
      message: expect.stringContaining("is not in it"),
    });
    expect(await check({ checkpoints })).toMatchObject({ verdict: "undecided" });
    const short = leaves.slice(1);
    expect(await check({ checkpoints, leaves: short })).toMatchObject({ code: "wrong_leaves" });
    const others = leavesOf(20, "other");
    expect(await check({ checkpoints, leaves: others })).toMatchObject({ code: "wrong_leaves" });
    const held = { checkpoints: [await note(30, [30, 31])], leaves: LEAVES.slice(0, 30) };
    expect(await check(held)).toMatchObject({ verdict: "undecided", index: INDEX });
  });

  test("rests on nothing that the policy does not trust", async () => {
    const proof = await proofUnder(40, [60, 60]);
    expect(await check({ proof, checkpoints: [await note(INDEX, [60])] })).toMatchObject({ code: "no_quorum" });
    const stranger = keyOf("us.pdp.example/us/1");
    const other = await note(INDEX, [60, 60], stranger);
    expect(await check({ proof, checkpoints: [other] })).toMatchObject({ code: "unknown_log" });
    const both = { ...POLICY, logs: [...POLICY.logs, { key: stranger.key, url: null }] };
    expect(await check({ proof, checkpoints: [other] }, {}, both)).toMatchObject({ code: "wrong_origin" });
    expect(await check({ leafHash: LEAVES[3]!, proof })).toMatchObject({ code: "not_included" });
    const nobody = { ...POLICY, quorum: null };
    expect(await check({ proof, checkpoints: [await note(INDEX, [60, 60])] }, {}, nobody)).toMatchObject({
      verdict: "undecided",
    });
  });

  test("that names no time promises nothing", async () => {
    const none = { merge_by: null as unknown as number };
    expect(await check({ proof: await proofUnder(30, [1, 2]) }, none)).toMatchObject({ verdict: "undecided" });
  });
});

describe("interlock receipt", () => {
  const folder = mkdtempSync(join(tmpdir(), "interlock-receipt-"));
  const at = (name: string): string => join(folder, name);
  afterAll(() => rmSync(folder, { recursive: true }));
  const secret = createPrivateKey({
    key: {
      kty: "OKP",
      crv: "Ed25519",
      d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
      x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    },
    format: "jwk",
  }); // RFC 8037 appendix A.1
  const kid = receiptKid("eu", 1, 0, 1);
  const tree = flushTree([LEAF], sha);
  const payload = receiptPayloadText({
    calls: 1,
    first: 7,
    last: 7,
    ...PAYLOAD,
    root: base64url(tree.root),
    source: "shard/0",
    t: MERGE_BY - 2_000,
    unanchored: true,
    v: 1,
  });
  const input = receiptSigningInput(receiptProtected(kid), payload);
  const jws = compactReceipt(input, sign(null, utf8(input), secret));
  const receipt = receiptText(jws, { call: 0, items: 1, leaf: base64url(LEAF), path: [] });
  const keys = [{ ...createPublicKey(secret).export({ format: "jwk" }), kid }];
  writeFileSync(at("receipt"), `${receipt}\n`);
  writeFileSync(at("keys.json"), JSON.stringify({ keys }));
  writeFileSync(at("policy"), formatPolicy(POLICY));
  const base = ["--keys", at("keys.json"), "--region", "eu", "--pdp", PDP, "--trust", at("policy")];

  async function command(...args: readonly string[]) {
    const running = interlock("receipt", at("receipt"), ...base, ...args);
    const code = await running.ended;
    return { code, out: running.stdout(), err: running.stderr() };
  }

  test("ends with 1 and the numbers where the promise is broken, with 0 where it is kept", async () => {
    writeFileSync(at("late.proof"), formatTlogProof(await proofUnder(40, [60, 60])));
    writeFileSync(at("without"), await note(20, [30, 31]));
    const broken = await command("--proof", at("late.proof"), "--checkpoint", at("without"));
    expect(broken.out).toContain("promise broken");
    expect(broken.out).toContain("late               28000 ms after merge_by");
    expect(broken.out).toContain("which said that it was unanchored");
    expect(broken.code).toBe(1);
    writeFileSync(at("good.proof"), formatTlogProof(await proofUnder(30, [1, 1])));
    const kept = await command("--proof", at("good.proof"), "--json");
    expect(JSON.parse(kept.out)).toMatchObject({ verdict: "kept", index: INDEX, kid });
    expect(kept.code).toBe(0);
  });

  test("ends with 1 where the log's own leaf says that it was late, by however little", async () => {
    const at_ms = { log_epoch: 1, region: "eu", source: "log", sseq: 1, t: MERGE_BY + 1, v: 1 } as const;
    const own = encodeStateRecord({ ...at_ms, body: { marks: {} }, kind: "log.heartbeat", prev: null });
    const leaves = LEAVES.with(12, leafHash(own, sha));
    const text = checkpointText({ origin: LOG.key.name, size: leaves.length, root: treeHash(leaves, sha) });
    const cosigned = await Promise.all([0, 1].map((n) => cosign(text, WITNESSES[n]!.key, T0 + 3, WITNESSES[n]!.sign)));
    const checkpoint = await checkpointNote(LOG, leaves, cosigned);
    const write = (name: string, index: number, extra: Uint8Array | null): void =>
      writeFileSync(
        at(name),
        formatTlogProof({ index, path: inclusionPath(merkleTree(leaves, sha), index), checkpoint, extra }),
      );
    write("record.proof", INDEX, null);
    write("own.proof", 12, own);
    const { code, out } = await command("--proof", at("record.proof"), "--late", at("own.proof"));
    expect(out).toContain("late               1 ms after merge_by");
    expect(code).toBe(1);
  });

  test("reads the tiles of a log that never took the record", async () => {
    const files = tileFiles(LEAVES.slice(0, 20));
    const server = createServer((request, response) => {
      const tile = files.get(request.url!.slice("/log/".length));
      if (tile === undefined) response.writeHead(404).end();
      else response.writeHead(200).end(tile);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/log`;
    writeFileSync(at("without"), await note(20, [30, 31]));
    const { code, out } = await command("--checkpoint", at("without"), "--log", url, "--json");
    server.close();
    expect(JSON.parse(out)).toMatchObject({ verdict: "broken", size: 20, index: null, late_ms: 28_000 });
    expect(code).toBe(1);
  });

  test("names a receipt or file that is not to be believed", async () => {
    const stranger = interlock("receipt", at("receipt"), ...base.with(5, "https://us.pdp.example"));
    expect([await stranger.ended, stranger.stderr()]).toEqual([1, expect.stringContaining("another PDP")]);
    const missing = await command("--proof", at("nothing"));
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining("There is no file")]);
  });
});
