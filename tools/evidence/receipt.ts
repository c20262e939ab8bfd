import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import { fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { parseCheckpoint } from "../../src/lineage/checkpoint.ts";
import { parseNote } from "../../src/lineage/note.ts";
import { checkPromise, type PromiseVerdict } from "../../src/lineage/promise.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import { hashesAt } from "../../src/lineage/tiles.ts";
import { TILE_WIDTH } from "../../src/lineage/tile-path.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { parseTlogProof, type TlogProof } from "../../src/lineage/tlog-proof.ts";
import { httpSource } from "../log/http-source.ts";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { ed25519 } from "./ed25519.ts";

/** `interlock receipt`: who promised, and whether the log kept it. */
export type ReceiptFiles = {
  readonly receipt: string;
  /** JWKS of the region. */
  readonly keys: string;
  readonly region: string;
  readonly pdp: string;
  /** tlog-policy file. */
  readonly trust: string;
  readonly proof?: string;
  /** tlog-proof of the log's own leaf that says that the record was late. */
  readonly late?: string;
  readonly checkpoints: readonly string[];
  /** Prefix of the log: its tiles are read where there is no proof. */
  readonly log?: string;
  /** base64url; needed where the receipt's call has more than one record. */
  readonly leafHash?: string;
};

export type ReceiptReport = PromiseVerdict & {
  readonly kid: string;
  readonly unanchored: boolean;
};

export async function checkReceipt(files: ReceiptFiles): Promise<ReceiptReport> {
  const policy = parsePolicy(await textOf(files.trust), sha256);
  if (!policy.ok)
    throw new Problem(`${files.trust} is no tlog-policy: ${policy.error.message}`, "Give the policy you trust.", 2);
  const keys = readKeys(await textOf(files.keys), files.keys);
  const text = (await textOf(files.receipt)).trim();
  const resolve = (kid: string): JWK | null => keys.find((key) => key.kid === kid) ?? null;
  const expected = { region: files.region, pdp: files.pdp };
  const verified = await verifyReceipt(text, { kind: "none" }, resolve, expected, sha256);
  if (!verified.ok) throw new Problem(`The receipt does not verify: ${verified.error.message}`, verified.error.code);
  const { kid, payload, items, call_root } = verified.value;
  const leafHash = leafHashOf(files.leafHash, items, call_root);

  const [proof, late] = [await proofOf(files.proof), await proofOf(files.late)];
  const checkpoints = await Promise.all(files.checkpoints.map(textOf));
  const [first] = checkpoints;
  const leaves =
    files.log === undefined || proof !== null || first === undefined ? null : await leavesOf(files.log, first);
  const checked = await checkPromise(payload, { leafHash, proof, late, checkpoints, leaves }, policy.value, {
    sha: sha256,
    verify: ed25519,
  });
  if (!checked.ok) throw new Problem(`Not to be believed: ${checked.error.message}`, checked.error.code);
  return { ...checked.value, kid, unanchored: payload.unanchored === true };
}

async function proofOf(path: string | undefined): Promise<TlogProof | null> {
  if (path === undefined) return null;
  const proof = parseTlogProof(await textOf(path));
  if (!proof.ok) throw new Problem(`${path}: ${proof.error.message}`, "Give a tlog-proof.", 2);
  return proof.value;
}

function leafHashOf(given: string | undefined, items: number, call_root: Uint8Array): Uint8Array {
  if (given === undefined && items === 1) return call_root;
  const hash = given === undefined ? null : fromBase64url(given);
  if (hash?.length !== 32)
    throw new Problem(
      `The receipt is for ${items} records`,
      "Name the one that is meant: --leaf-hash, 32 bytes in base64url.",
      2,
    );
  return hash;
}

/** All leaf hashes of the tree of a checkpoint, from the log's tiles; what they are is checked under its root. */
async function leavesOf(url: string, note: string): Promise<readonly Uint8Array[]> {
  const parsed = parseNote(note);
  const checkpoint = parsed.ok ? parseCheckpoint(parsed.value.text) : null;
  if (checkpoint?.ok !== true) throw new Problem("The first checkpoint cannot be read", "Give a signed note.", 2);
  const { size } = checkpoint.value;
  const source = httpSource(url);
  const leaves: Uint8Array[] = [];
  for (let index = 0; leaves.length < size; index++) {
    const width = Math.min(TILE_WIDTH, hashesAt(0, size) - leaves.length);
    const tile = await source.tile(0, index, width);
    if (tile === null || tile.length !== width * 32)
      throw new Problem(`The log at ${url} has no tile ${index} of ${width} hashes`, "Ask the log's operator.");
    for (let at = 0; at < width; at++) leaves.push(tile.slice(at * 32, at * 32 + 32));
  }
  return leaves;
}

function readKeys(text: string, path: string): readonly JWK[] {
  try {
    const { keys } = JSON.parse(text) as { readonly keys?: unknown };
    if (Array.isArray(keys)) return keys as JWK[];
  } catch {
    // Said below.
  }
  throw new Problem(`${path} is no JWKS`, "Give the region's /.well-known/jwks.json, as you trust it.", 2);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = codeOf(cause) === "ENOENT" ? "There is no file" : `${messageOf(cause)}: cannot read`;
    throw new Problem(`${why} ${path}`, "Check the path.", 2);
  }
}
