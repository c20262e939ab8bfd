import { tilePath, TILE_WIDTH } from "../../src/lineage/tile-path.ts";
import { messageOf } from "../problem.ts";
import type { Source } from "./monitor.ts";

const TIMEOUT_MS = 10_000;
/** A full hash tile is 8 KiB, a checkpoint with many cosignatures less than this. */
const MAX_BYTES = 256 * 1_024;

/** A log behind a URL prefix, as C2SP tlog-tiles has it: `<prefix>/checkpoint`, `<prefix>/tile/…`. */
export function httpSource(prefix: string): Source {
  const base = prefix.replace(/\/+$/, "");
  const read = async (name: string): Promise<Uint8Array | null> => {
    const url = `${base}/${name}`;
    let answer: Response;
    try {
      answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
    } catch (cause) {
      const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
      throw new Error(`${url} cannot be reached (${messageOf(inner)})`, { cause });
    }
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of answer.body ?? []) {
      const bytes = chunk as Uint8Array;
      length += bytes.length;
      if (length > MAX_BYTES) throw new Error(`${url} answered more than ${MAX_BYTES} bytes`);
      chunks.push(bytes);
    }
    return new Uint8Array(Buffer.concat(chunks));
  };
  const full = new Map<string, Uint8Array>();
  return {
    async text(name) {
      const bytes = await read(name);
      return bytes === null ? null : new TextDecoder().decode(bytes);
    },
    async tile(level, index, width) {
      const name = tilePath({ level, index, width });
      const known = full.get(name);
      if (known !== undefined) return known;
      const bytes = await read(name);
      // Full tiles never change, and the upper ones are asked for again and again.
      if (bytes !== null && width === TILE_WIDTH && level > 0) full.set(name, bytes);
      return bytes;
    },
  };
}
