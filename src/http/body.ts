import { concat, fromUtf8 } from "../base/bytes.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { bad, type Problem } from "./reply.ts";

/** The JSON object of a request, or why it is refused (G12): content type, size, UTF-8, I-JSON, top level. */
export async function readJsonObject(request: Request, max_bytes: number): Promise<Result<JsonObject, Problem>> {
  if (!isJson(request.headers.get("content-type"))) {
    return err(bad("Content-Type: application/json is required", "content_type"));
  }
  const coding = request.headers.get("content-encoding");
  if (coding !== null && coding !== "identity")
    return err(bad("Content-Encoding: only identity is accepted", "content_encoding"));
  const bytes = await readBounded(request, max_bytes);
  if (!bytes.ok) return bytes;
  if (bytes.value.length === 0) return err(bad("the body is empty; a JSON object is required"));
  const text = fromUtf8(bytes.value);
  if (text === null) return err(bad("the body is not well-formed UTF-8"));
  const parsed = parseJson(text);
  if (!parsed.ok) return err(bad(`the body: ${parsed.error.message}`));
  return isObject(parsed.value) ? ok(parsed.value) : err(bad("the body must be a JSON object"));
}

/** `application/json`, with parameters or without. */
function isJson(header: string | null): boolean {
  if (header === "application/json") return true;
  return header !== null && /^application\/json\s*(;.*)?$/i.test(header);
}

const tooLarge = (max_bytes: number): Problem => ({
  status: 413,
  code: "too_large",
  detail: `the body is larger than ${max_bytes} bytes; send less, or split the batch`,
});

/**
 * A stated length is refused before a byte is read, and HTTP framing then holds the sender to it; without one the
 * stream is counted while it arrives and dropped at the first byte too many.
 */
export async function readBounded(request: Request, max_bytes: number): Promise<Result<Uint8Array, Problem>> {
  const stated = request.headers.get("content-length");
  if (stated !== null) {
    if (!/^[0-9]{1,15}$/.test(stated)) return err(bad("Content-Length is not a number"));
    if (Number(stated) > max_bytes) return err(tooLarge(max_bytes));
    try {
      const bytes = new Uint8Array(await request.arrayBuffer());
      return bytes.length > max_bytes ? err(tooLarge(max_bytes)) : ok(bytes);
    } catch {
      return err(bad("the body broke off"));
    }
  }
  return request.body === null ? ok(new Uint8Array(0)) : readStream(request.body, max_bytes);
}

async function readStream(body: NonNullable<Request["body"]>, max_bytes: number): Promise<Result<Uint8Array, Problem>> {
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const chunk = value as Uint8Array;
      length += chunk.length;
      if (length > max_bytes) {
        await reader.cancel().catch(() => undefined);
        return err(tooLarge(max_bytes));
      }
      chunks.push(chunk);
    }
  } catch {
    return err(bad("the body broke off"));
  }
  return ok(chunks.length === 1 ? chunks[0]! : concat(...chunks));
}
