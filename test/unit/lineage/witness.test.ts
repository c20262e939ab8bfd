import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import {
  formatAddCheckpoint,
  MAX_ADD_CHECKPOINT_BYTES,
  readCosignatures,
  readTreeSize,
} from "../../../src/lineage/add-checkpoint.ts";
import { decodeCosignature, verifierOf } from "../../../src/lineage/cosignature.ts";
import { consistencyPath, emptyRoot, treeHash } from "../../../src/lineage/merkle.ts";
import { formatNote, parseNote, signatureLine, signNote } from "../../../src/lineage/note.ts";
import { base64 } from "../../../src/lineage/text.ts";
import { admit, advance, cosignReply, witness, type LogKeys, type WitnessState } from "../../../src/lineage/witness.ts";
import { bytesOf, sha } from "./build.ts";
import { checkpointNote, flip, keyOf, leavesOf, verifyEd25519, witnessKey } from "./log-build.ts";

const LOG = keyOf("example.org/log");
const EVE = keyOf("example.org/log", 0x01, bytesOf("eve"));
const W = witnessKey("example.org/witness");
const NOW_S = 1_795_000_000;

const logKeys: LogKeys = (origin) => (origin === LOG.key.name ? [verifierOf(LOG.key, verifyEd25519)!] : null);
const SETUP = { logKeys, signers: [{ key: W.key, sign: W.sign }], sha };

const LEAVES = leavesOf(40);
const OTHER = leavesOf(40, "other");
const stateAt = (size: number, leaves = LEAVES): WitnessState => ({ size, root: treeHash(leaves.slice(0, size), sha) });
const proofOf = (from: number, to: number, leaves = LEAVES): Uint8Array[] =>
  from === 0 ? [] : consistencyPath(leaves.slice(0, to), from, sha);
const noteAt = (size: number, leaves = LEAVES, log = LOG): Promise<string> =>
  checkpointNote(log, leaves.slice(0, size));

/** A good request from `from` to `to`. */
const requestOf = async (from: number, to: number, leaves = LEAVES): Promise<string> =>
  formatAddCheckpoint(from, proofOf(from, to, leaves), await noteAt(to, leaves));

const ask = (state: WitnessState | null, body: string | Uint8Array) =>
  witness(state, typeof body === "string" ? utf8(body) : body, SETUP, NOW_S);

/** "status reason" */
const outcome = async (state: WitnessState | null, body: string | Uint8Array): Promise<string> => {
  const { status, reason } = await ask(state, body);
  return `${status} ${reason}`;
};

describe("a witness", () => {
  test("follows a log from nothing, through any sizes, and cosigns each", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(LEAVES.length), { minLength: 1, maxLength: 5 }), async (stops) => {
        let state: WitnessState | null = null;
        for (const size of stops.toSorted((a, b) => a - b)) {
          const reply = await ask(state, await requestOf(state?.size ?? 0, size));
          expect(reply).toMatchObject({ status: 200, reason: "cosigned" });
          expect(reply.next_state).toEqual(stateAt(size));
          state = reply.next_state;
        }
      }),
      { numRuns: 30 },
    );
  });

  test("answers with its cosignature, which the log reads under the keys it knows", async () => {
    const reply = await ask(stateAt(5), await requestOf(5, 12));
    expect(reply).toMatchObject({ status: 200, content_type: "text/plain; charset=utf-8" });
    const note = parseNote(await noteAt(12));
    const text = note.ok ? note.value.text : "";
    const read = (body: string, ...keys: readonly (typeof W)[]) =>
      readCosignatures(
        utf8(body),
        text,
        keys.map(({ key }) => verifierOf(key, verifyEd25519)!),
      );
    const cosignatures = await read(reply.body, W);
    expect(cosignatures).toMatchObject({ ok: true, value: [{ name: W.key.name, key_id: W.key.id }] });
    expect(cosignatures.ok && decodeCosignature(cosignatures.value[0]!.signature)).toMatchObject({
      timestamp_s: NOW_S,
    });
    // A stranger's line beside it is dropped; alone, or where the witness's own does not verify, the answer is none.
    const stranger = signatureLine({ name: "stranger", key_id: 1, signature: new Uint8Array(72) });
    expect(await read(stranger + reply.body, W)).toEqual(cosignatures);
    expect(await read(stranger, W)).toMatchObject({ error: { code: "unknown_signers" } });
    expect(
      await readCosignatures(utf8(reply.body), text.replace("12", "13"), [verifierOf(W.key, verifyEd25519)!]),
    ).toMatchObject({
      error: { code: "bad_signature" },
    });
    expect(await read("", W)).toMatchObject({ ok: false });
    expect(await read(reply.body.trimEnd(), W)).toMatchObject({ ok: false });
    expect(await read("x".repeat(MAX_ADD_CHECKPOINT_BYTES + 1), W)).toMatchObject({ ok: false });
  });

  test("cosigns the same checkpoint again, with a new time", async () => {
    const reply = await ask(stateAt(12), await requestOf(12, 12));
    expect(reply).toMatchObject({ status: 200, next_state: stateAt(12) });
  });

  test("with several keys gives a line for each", async () => {
    const second = witnessKey("example.org/second");
    const setup = { ...SETUP, signers: [SETUP.signers[0]!, { key: second.key, sign: second.sign }] };
    const { body } = await witness(null, utf8(await requestOf(0, 3)), setup, NOW_S);
    expect(body.split("\n")).toHaveLength(3);
  });

  test("tells the size it holds, to those too who guess zero", async () => {
    for (const [state, old] of [
      [stateAt(12), 0],
      [stateAt(12), 11],
      [stateAt(12), 13],
      [null, 5],
    ] as const) {
      const reply = await ask(state, await requestOf(old, 20));
      const size = state?.size ?? 0;
      expect(reply).toEqual({
        status: 409,
        content_type: "text/x.tlog.size",
        body: `${size}\n`,
        reason: "old_size",
        next_state: null,
      });
      expect(readTreeSize(reply.body)).toBe(size);
    }
    expect(["7\n", "7"].map(readTreeSize)).toEqual([7, 7]);
    expect(["", "\n", "07\n", "7\n\n", "x\n", "-1\n", " 7\n"].map(readTreeSize)).toEqual(Array(7).fill(null));
  });

  test("that was asked with an earlier size than a rewound log has now says so", async () => {
    // The log lost leaves 13 to 20: its largest size is now below what was cosigned.
    expect(await outcome(stateAt(20), await requestOf(12, 12))).toBe("409 old_size");
    expect(await outcome(stateAt(20), formatAddCheckpoint(20, [], await noteAt(12)))).toBe("400 old_above_new");
  });
});

describe("a witness refuses", () => {
  test("a fork, at the same size or later", async () => {
    expect(await outcome(stateAt(12), await requestOf(12, 12, OTHER))).toBe("422 split_view");
    expect(await outcome(stateAt(12), await requestOf(12, 20, OTHER))).toBe("422 proof");
    const forked = [...LEAVES.slice(0, 11), ...OTHER.slice(11)];
    expect(await outcome(stateAt(12), await requestOf(12, 20, forked))).toBe("422 proof");
  });

  test("a proof that is missing, longer, of other sizes, or where nothing is to be proven", async () => {
    const note = await noteAt(20);
    const of = (from: number, proof: readonly Uint8Array[]): string => formatAddCheckpoint(from, proof, note);
    const good = proofOf(12, 20);
    expect(await outcome(stateAt(12), of(12, good))).toBe("200 cosigned");
    expect(await outcome(stateAt(12), of(12, []))).toBe("422 proof");
    expect(await outcome(stateAt(12), of(12, good.slice(1)))).toBe("422 proof");
    expect(await outcome(stateAt(12), of(12, [...good, bytesOf("x")]))).toBe("422 proof");
    expect(await outcome(stateAt(12), of(12, proofOf(11, 20)))).toBe("422 proof");
    expect(await outcome(stateAt(12), of(12, good.toReversed()))).toBe("422 proof");
    expect(await outcome(null, of(0, [bytesOf("x")]))).toBe("422 proof");
    expect(await outcome(stateAt(20), of(20, [bytesOf("x")]))).toBe("422 proof");
  });

  test("what it cannot know to be the log's", async () => {
    const good = proofOf(12, 20);
    const elsewhere = await checkpointNote(keyOf("example.org/other"), LEAVES.slice(0, 20));
    expect(await outcome(null, formatAddCheckpoint(0, [], elsewhere))).toBe("404 unknown_origin");
    expect(await outcome(stateAt(12), formatAddCheckpoint(12, good, await noteAt(20, LEAVES, EVE)))).toBe(
      "403 unsigned",
    );
    const note = parseNote(await noteAt(20));
    if (!note.ok) throw new Error("note");
    const { text, signatures } = note.value;
    const stranger = { name: "stranger", key_id: 1, signature: new Uint8Array(64) };
    expect(await outcome(stateAt(12), formatAddCheckpoint(12, good, formatNote(text, [stranger])))).toBe(
      "403 unsigned",
    );
    expect(await outcome(stateAt(12), formatAddCheckpoint(12, good, formatNote(text, [stranger, ...signatures])))).toBe(
      "200 cosigned",
    );
  });

  test("extension lines, and a size of zero with leaves", async () => {
    const extended = `example.org/log\n20\n${base64(stateAt(20).root)}\nextension\n`;
    const note = formatNote(extended, [await signNote(extended, LOG.key, LOG.sign)]);
    expect(await outcome(null, formatAddCheckpoint(0, [], note))).toBe("400 extension");
    const zero = `example.org/log\n0\n${base64(stateAt(20).root)}\n`;
    const empty = formatNote(zero, [await signNote(zero, LOG.key, LOG.sign)]);
    expect(await outcome(null, formatAddCheckpoint(0, [], empty))).toBe("400 malformed");
  });

  test("to be led from the empty tree anywhere but onwards", async () => {
    const empty = { size: 0, root: emptyRoot(sha) };
    expect((await ask(null, await requestOf(0, 0))).next_state).toEqual(empty);
    expect((await ask(empty, await requestOf(0, 7))).next_state).toEqual(stateAt(7));
    expect(await outcome(stateAt(7), await requestOf(0, 0))).toBe("409 old_size");
  });

  const HASH = base64(bytesOf("x"));
  test.each<[string, (good: string) => string | Uint8Array]>([
    ["nothing", () => ""],
    ["no checkpoint", () => "old 12\n\n"],
    ["no blank line", (good) => good.replace("\n\n", "\n")],
    ["no old size", (good) => good.slice(good.indexOf("\n") + 1)],
    ["an old size with a zero in front", (good) => good.replace("old 12", "old 012")],
    ["an old size in another case", (good) => good.replace("old", "Old")],
    ["two spaces", (good) => good.replace("old ", "old  ")],
    ["a negative old size", (good) => good.replace("old 12", "old -12")],
    ["an old size of 2^53", (good) => good.replace("old 12", "old 9007199254740992")],
    ["carriage returns", (good) => good.replaceAll("\n", "\r\n")],
    ["a short hash", (good) => good.replace("old 12\n", `old 12\n${HASH.slice(4)}\n`)],
    ["a hash without padding", (good) => good.replace("old 12\n", `old 12\n${HASH.slice(0, -1)}\n`)],
    ["64 hashes", (good) => good.replace("old 12\n", `old 12\n${`${HASH}\n`.repeat(64)}`)],
    ["an unsigned checkpoint", (good) => good.slice(0, good.indexOf("\u2014"))],
    ["no final newline", (good) => good.trimEnd()],
    ["a byte more", (good) => `${good}x`],
    ["bytes that are not UTF-8", (good) => new Uint8Array([...utf8(good), 0xff])],
    ["a body of 64 KiB and more", (good) => `${good}${"x".repeat(MAX_ADD_CHECKPOINT_BYTES)}`],
    ["a size beyond 2^53", (good) => good.replace("\n20\n", "\n9007199254740993\n")],
  ])("a body with %s", async (_, change) => {
    const good = await requestOf(12, 20);
    expect(await outcome(stateAt(12), good)).toBe("200 cosigned");
    const reply = await ask(stateAt(12), change(good));
    expect(reply).toMatchObject({ status: 400, reason: "malformed", next_state: null });
  });

  test("a body above 64 KiB, though nothing else is wrong with it", async () => {
    const stranger = signatureLine({ name: "stranger", key_id: 1, signature: new Uint8Array(2428) });
    const good = await requestOf(12, 20);
    expect(await outcome(stateAt(12), good + stranger.repeat(16))).toBe("200 cosigned");
    expect(await outcome(stateAt(12), good + stranger.repeat(24))).toBe("400 malformed");
  });

  test("63 hashes are read; they prove nothing", async () => {
    const body = (await requestOf(12, 20)).replace(/\n[^]*?\n\n/, `\n${`${HASH}\n`.repeat(63)}\n`);
    expect(await outcome(stateAt(12), body)).toBe("422 proof");
    expect(() =>
      formatAddCheckpoint(
        1,
        Array.from({ length: 64 }, () => bytesOf("x")),
        "",
      ),
    ).toThrow(RangeError);
  });

  test("a request with any bit flipped, unless it still is the same checkpoint of the same log", async () => {
    const good = utf8(await requestOf(12, 20));
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length * 8 - 1), async (bit) => {
        const reply = await ask(stateAt(12), flip(good, bit));
        expect(reply.status).not.toBe(200);
        expect(reply.next_state).toBeNull();
        expect(reply.body).not.toContain("\u2014");
      }),
      { numRuns: 300 },
    );
  });
});

test("whatever the request, the next state is signed by the log and consistent with the state before", async () => {
  const some = fc.record({ from: fc.nat(20), proofFrom: fc.nat(20), to: fc.nat(20), fork: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.option(fc.nat(20)), some, async (held, { from, proofFrom, to, fork }) => {
      const state = held === null ? null : stateAt(held);
      const leaves = fork ? OTHER : LEAVES;
      const body = formatAddCheckpoint(from, proofOf(Math.min(proofFrom, to), to, leaves), await noteAt(to, leaves));
      const { status, next_state } = await ask(state, body);
      // Out of an empty tree either history grows; later only the one that was cosigned.
      const grows = from === (held ?? 0) && from <= to && (!fork || from === 0);
      expect(status === 200).toBe(next_state !== null);
      expect(next_state === null || grows).toBe(true);
      expect([null, stateAt(to, leaves)]).toContainEqual(next_state);
    }),
    { numRuns: 300 },
  );
});

test("the state is compared in one turn: of two requests from the same size one is told the other's", async () => {
  const admitted = async (to: number) => {
    const request = await admit(utf8(await requestOf(12, to)), logKeys);
    if (!request.ok) throw new Error(request.error.body);
    return request.value;
  };
  // Both were admitted against 12 before either was stored.
  const [a, b] = [await admitted(14), await admitted(20)];
  const first = advance(stateAt(12), b, sha);
  expect(first).toEqual({ ok: true, value: stateAt(20) });
  expect(first.ok && advance(first.value, a, sha)).toMatchObject({ ok: false, error: { status: 409, body: "20\n" } });
  expect(await cosignReply(b, SETUP.signers, NOW_S)).toMatchObject({ status: 200, reason: "cosigned" });
});
