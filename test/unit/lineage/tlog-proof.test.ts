import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { checkpointText } from "../../../src/lineage/checkpoint.ts";
import { cosign } from "../../../src/lineage/cosignature.ts";
import { inclusionPath, merkleTree } from "../../../src/lineage/merkle.ts";
import { formatNote, signNote, type NoteSignature } from "../../../src/lineage/note.ts";
import { base64 } from "../../../src/lineage/text.ts";
import type { TlogPolicy } from "../../../src/lineage/tlog-policy.ts";
import { formatTlogProof, parseTlogProof, verifyTlogProof, type TlogProof } from "../../../src/lineage/tlog-proof.ts";
import { trustCheckpoint } from "../../../src/lineage/trusted-checkpoint.ts";
import { bytesOf, sha } from "./build.ts";
import { flip, keyOf, leavesOf, verifyEd25519, witnessKey, type TestKey } from "./log-build.ts";

const LOG = keyOf("example.org/log");
const [US, IN, OUT] = [witnessKey("us.example.org"), witnessKey("in.example.org"), witnessKey("outside.example.net")];

/** Any peer, and the outside witness. */
const POLICY: TlogPolicy = {
  logs: [{ key: LOG.key, url: null }],
  witnesses: [
    { name: "us", key: US.key, url: null },
    { name: "in", key: IN.key, url: null },
    { name: "outside", key: OUT.key, url: null },
  ],
  groups: [
    { name: "peers", threshold: 1, members: ["us", "in"] },
    { name: "both", threshold: 2, members: ["peers", "outside"] },
  ],
  quorum: "both",
};

const LEAVES = leavesOf(100);
const TREE = merkleTree(LEAVES, sha);
const TEXT = checkpointText({ origin: LOG.key.name, size: 100, root: TREE.root });
const NOW_S = 1_795_000_000;

const cosigned = async (...witnesses: readonly TestKey[]): Promise<string> =>
  formatNote(TEXT, [
    await signNote(TEXT, LOG.key, LOG.sign),
    ...(await Promise.all(witnesses.map(({ key, sign }, at) => cosign(TEXT, key, NOW_S + at, sign)))),
  ]);

const proofOf = (index: number, checkpoint: string, extra: Uint8Array | null = null): TlogProof => ({
  index,
  path: inclusionPath(TREE, index),
  checkpoint,
  extra,
});

/** "ok" or the reason, from the text of a proof. */
async function verdict(leaf: Uint8Array, source: Uint8Array | string, policy = POLICY): Promise<string> {
  const proof = parseTlogProof(source);
  if (!proof.ok) return proof.error.code;
  const verified = await verifyTlogProof(leaf, proof.value, policy, verifyEd25519, sha);
  return verified.ok ? "ok" : verified.error.code;
}

describe("a proof", () => {
  test("round-trips, for every entry, and verifies", async () => {
    const checkpoint = await cosigned(US, OUT);
    for (const [index, leaf] of LEAVES.entries()) {
      const proof = proofOf(index, checkpoint, index % 3 === 0 ? utf8("extra") : null);
      expect(parseTlogProof(utf8(formatTlogProof(proof)))).toEqual({ ok: true, value: proof });
      expect(await verdict(leaf, formatTlogProof(proof))).toBe("ok");
    }
  });

  test("says who cosigned and when", async () => {
    const proof = proofOf(7, await cosigned(IN, OUT, US));
    const verified = await verifyTlogProof(LEAVES[7]!, proof, POLICY, verifyEd25519, sha);
    expect(verified).toMatchObject({
      ok: true,
      value: {
        log: LOG.key,
        checkpoint: { origin: "example.org/log", size: 100, root: TREE.root, extensions: [] },
        cosigners: [
          { witness: "in", timestamp_s: NOW_S },
          { witness: "outside", timestamp_s: NOW_S + 1 },
          { witness: "us", timestamp_s: NOW_S + 2 },
        ],
      },
    });
  });

  test("has the text of the specification", async () => {
    const checkpoint = await cosigned();
    expect(formatTlogProof({ index: 3, path: [bytesOf("a")], checkpoint, extra: utf8("x") })).toBe(
      `c2sp.org/tlog-proof@v1\nextra eA==\nindex 3\n${base64(bytesOf("a"))}\n\n${checkpoint}`,
    );
  });

  test.each<[string, () => Promise<readonly [leaf: Uint8Array, proof: TlogProof]>, string]>([
    ["another leaf", async () => [LEAVES[8]!, proofOf(7, await cosigned(US, OUT))], "not_included"],
    ["another index", async () => [LEAVES[7]!, { ...proofOf(7, await cosigned(US, OUT)), index: 6 }], "not_included"],
    [
      "an index beyond the tree",
      async () => [LEAVES[7]!, { ...proofOf(7, await cosigned(US, OUT)), index: 107 }],
      "not_included",
    ],
    [
      "a shorter path",
      async () => [LEAVES[7]!, { ...proofOf(7, await cosigned(US, OUT)), path: inclusionPath(TREE, 7).slice(1) }],
      "not_included",
    ],
    [
      "a longer path",
      async () => [
        LEAVES[7]!,
        { ...proofOf(7, await cosigned(US, OUT)), path: [...inclusionPath(TREE, 7), bytesOf("x")] },
      ],
      "not_included",
    ],
    [
      "the path of another",
      async () => [LEAVES[7]!, { ...proofOf(8, await cosigned(US, OUT)), index: 7 }],
      "not_included",
    ],
    ["no cosignature", async () => [LEAVES[7]!, proofOf(7, await cosigned())], "no_quorum"],
    ["peers only", async () => [LEAVES[7]!, proofOf(7, await cosigned(US, IN))], "no_quorum"],
    ["one witness twice", async () => [LEAVES[7]!, proofOf(7, await cosigned(OUT, OUT))], "no_quorum"],
    ["a stranger", async () => [LEAVES[7]!, proofOf(7, await cosigned(US, witnessKey("stranger")))], "no_quorum"],
    [
      "an outside name on a peer's key",
      async () => [LEAVES[7]!, proofOf(7, await cosigned(US, { ...IN, key: OUT.key }))],
      "bad_signature",
    ],
    ["no checkpoint", async () => [LEAVES[7]!, proofOf(7, "")], "unsigned"],
  ])("with %s is refused", async (_, make, code) => {
    const [leaf, proof] = await make();
    expect(await verdict(leaf, formatTlogProof(proof))).toBe(code);
  });

  test("with any bit flipped is refused, but in what is not authenticated", async () => {
    const text = formatTlogProof(proofOf(42, await cosigned(US, OUT)));
    const bytes = utf8(text);
    // Without one of the two no quorum is left, and a changed name or key id is an unknown signer.
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        expect(await verdict(LEAVES[42]!, flip(bytes, bit))).not.toBe("ok");
      }),
      { numRuns: 300 },
    );
  });

  const good = (): Promise<string> => cosigned(US, OUT).then((checkpoint) => formatTlogProof(proofOf(7, checkpoint)));
  test.each<[string, (text: string) => string]>([
    ["nothing", () => ""],
    ["another header", (text) => text.replace("@v1", "@v2")],
    ["no index", (text) => text.replace("index 7\n", "")],
    ["a leading zero", (text) => text.replace("index 7", "index 07")],
    ["a negative index", (text) => text.replace("index 7", "index -7")],
    ["two spaces", (text) => text.replace("index 7", "index  7")],
    ["empty extra data", (text) => text.replace("index 7", "extra \nindex 7")],
    ["extra data that is not base64", (text) => text.replace("index 7", "extra eA\nindex 7")],
    ["extra data twice", (text) => text.replace("index 7", "extra eA==\nextra eA==\nindex 7")],
    ["extra data behind the index", (text) => text.replace("index 7", "index 7\nextra eA==")],
    ["a hash that is none", (text) => text.replace("index 7\n", "index 7\nx\n")],
    ["64 hashes", (text) => text.replace("index 7\n", `index 7\n${`${base64(bytesOf("x"))}\n`.repeat(64)}`)],
    ["carriage returns", (text) => text.replaceAll("\n", "\r\n")],
    ["a megabyte", (text) => text + "x".repeat(1_000_000)],
  ])("with %s is malformed", async (_, change) => {
    expect(parseTlogProof(change(await good()))).toMatchObject({ ok: false, error: { code: "malformed" } });
  });
});

describe("a checkpoint under a policy", () => {
  const code = async (source: string, policy: TlogPolicy): Promise<string> => {
    const trusted = await trustCheckpoint(source, policy, verifyEd25519);
    return trusted.ok ? "ok" : trusted.error.code;
  };

  test("is signed by the log that it names", async () => {
    const other = keyOf("example.org/other");
    const both = { ...POLICY, logs: [...POLICY.logs, { key: other.key, url: null }], quorum: null };
    const signed = async (...keys: readonly TestKey[]): Promise<string> => {
      const signatures: NoteSignature[] = [];
      for (const { key, sign } of keys) signatures.push(await signNote(TEXT, key, sign));
      return formatNote(TEXT, signatures);
    };
    expect(await code(await signed(LOG), both)).toBe("ok");
    expect(await code(await signed(other), both)).toBe("unknown_log");
    expect(await code(await signed(other, LOG), both)).toBe("ok");
    expect(await code(await cosigned(US, OUT), { ...POLICY, logs: [] })).toBe("unknown_log");
    expect(await code(await signed(LOG), { ...both, logs: [], witnesses: [] })).toBe("unknown_signers");
  });

  test("is not signed by a witness that has the log's name", async () => {
    const namesake = witnessKey(LOG.key.name);
    const policy = { ...POLICY, witnesses: [{ name: "w", key: namesake.key, url: null }], groups: [], quorum: "w" };
    const line = await cosign(TEXT, namesake.key, NOW_S, namesake.sign);
    expect(await code(formatNote(TEXT, [line]), policy)).toBe("unknown_log");
    expect(await code(formatNote(TEXT, [line, await signNote(TEXT, LOG.key, LOG.sign)]), policy)).toBe("ok");
  });

  test("is a checkpoint", async () => {
    const text = "example.org/log\n100\nroot\n";
    const note = formatNote(text, [await signNote(text, LOG.key, LOG.sign)]);
    expect(await code(note, POLICY)).toBe("checkpoint_root");
  });

  test("needs no cosignature where the policy asks for none", async () => {
    expect(await code(await cosigned(), { ...POLICY, quorum: null })).toBe("ok");
  });
});
