import { fromUtf8, concat } from "../../src/base/bytes.ts";

const FETCH_MS = 8_000;
const MAX_BYTES = 1_048_576;

export type Fetched =
  | { readonly ok: true; readonly text: string; /** When the request left. */ readonly sent_ms: number }
  | { readonly ok: false; readonly problem: string };

/**
 * Fetches a published key document: https (the loopback without it), no redirect, a megabyte at most, and within eight
 * seconds. Called by alarm or by an administrator, never while a decision waits.
 */
export async function fetchDocument(send: typeof fetch, uri: string): Promise<Fetched> {
  const sent_ms = Date.now();
  const failed = (problem: string): Fetched => ({ ok: false, problem });
  try {
    const answer = await send(uri, {
      headers: { Accept: "application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(FETCH_MS),
    });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      return failed(`the publisher answers ${answer.status}`);
    }
    const text = await bounded(answer);
    return text === null
      ? failed("the document is larger than a megabyte or is not UTF-8")
      : { ok: true, text, sent_ms };
  } catch {
    return failed("the publisher does not answer");
  }
}

async function bounded(answer: Response): Promise<string | null> {
  if (answer.body === null) return "";
  const reader = answer.body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return fromUtf8(concat(...parts));
    length += value.byteLength;
    if (length > MAX_BYTES) {
      await reader.cancel();
      return null;
    }
    parts.push(value);
  }
}
