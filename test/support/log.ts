import { webcrypto } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { sha256 } from "../../src/base/digest.ts";
import { parseCheckpoint, type ParsedCheckpoint } from "../../src/lineage/checkpoint.ts";
import { parseNote, type Verify } from "../../src/lineage/note.ts";
import { bundlePath, tilePath } from "../../src/lineage/tile-path.ts";
import type { ReadBundle } from "../../src/lineage/log-check.ts";
import type { ReadTile } from "../../src/lineage/tile-reader.ts";
import { parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { bearer } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** A region's log as any reader sees it, over HTTP. */

export const verifyEd25519: Verify = async (raw, message, signature) => {
  const key = await webcrypto.subtle.importKey("raw", raw as BufferSource, "Ed25519", false, ["verify"]);
  return webcrypto.subtle.verify("Ed25519", key, signature, message);
};

const bytesAt = async (url: string, headers: Record<string, string> = {}): Promise<Uint8Array | null> => {
  const answer = await fetch(url, { headers });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
};

/** `prefix`: `log` for the current log, `logs/<epoch>` for that of an epoch. */
export const tilesOf =
  (region: TestRegion, prefix = "log"): ReadTile =>
  (level, index, width) =>
    bytesAt(`${region.url}/${prefix}/${tilePath({ level, index, width })}`);

export const bundlesOf =
  (region: TestRegion, token = region.admin, prefix = "log"): ReadBundle =>
  (index, width) =>
    bytesAt(`${region.url}/${prefix}/${bundlePath({ index, width })}`, bearer(token));

export async function noteOf(region: TestRegion, prefix = "log"): Promise<string> {
  const answer = await fetch(`${region.url}/${prefix}/checkpoint`);
  if (answer.status !== 200) throw new Error(`checkpoint: ${answer.status}`);
  return answer.text();
}

/** What the note says, not verified. */
export function checkpointIn(note: string): ParsedCheckpoint {
  const parsed = parseNote(note);
  const checkpoint = parsed.ok ? parseCheckpoint(parsed.value.text) : parsed;
  if (!checkpoint.ok) throw new Error(checkpoint.error.message);
  return checkpoint.value;
}

/** The region's own policy file, and one that asks for every peer. */
export async function policiesOf(
  region: TestRegion,
): Promise<{ readonly served: TlogPolicy; readonly everyPeer: TlogPolicy; readonly text: string }> {
  const text = await (await fetch(`${region.url}/log/policy`)).text();
  const read = (source: string): TlogPolicy => {
    const policy = parsePolicy(source, sha256);
    if (!policy.ok) throw new Error(`line ${policy.error.line}: ${policy.error.message}`);
    return policy.value;
  };
  return { text, served: read(text), everyPeer: read(text.replace(/^(group peers) \S+/m, "$1 all")) };
}

export const proofUrl = (region: TestRegion, id: string): string => `${region.url}/lineage/v1/decisions/${id}/proof`;

/** Asks until there is a proof; `null` where there is none in time. */
export async function proofOf(region: TestRegion, id: string, patience_ms: number): Promise<string | null> {
  for (const end = Date.now() + patience_ms; ;) {
    const answer = await fetch(proofUrl(region, id), { headers: bearer(region.admin), redirect: "manual" });
    if (answer.status === 200) return answer.text();
    if (answer.status !== 303) throw new Error(`proof of ${id}: ${answer.status} ${await answer.text()}`);
    if (Date.now() > end) return null;
    await sleep(50);
  }
}

/** Runs `check` until it gives something; fails with the last answer after `patience_ms`. */
export async function until<T>(check: () => Promise<T | null | false>, what: string, patience_ms = 30_000): Promise<T> {
  for (const end = Date.now() + patience_ms; ;) {
    const found = await check();
    if (found !== null && found !== false) return found;
    if (Date.now() > end) throw new Error(`not in ${patience_ms} ms: ${what}`);
    await sleep(100);
  }
}
