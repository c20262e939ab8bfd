import { sha256 } from "../../src/base/digest.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import { replay, type Replayed, type ReplayPorts } from "../../src/replay/replay.ts";

import { recordedOfItem, type Recorded, type RecordedPayload } from "../../src/replay/recorded.ts";

/** Records as the tests of replay take them apart. */

export const portsOf = (...policies: readonly LoadedPolicy[]): ReplayPorts => ({
  sha: sha256,
  policy: (digest) => policies.find((policy) => policy.digest === digest) ?? null,
});

export function recordedItem(item: object): Recorded {
  const recorded = recordedOfItem(item as JsonObject);
  if (recorded === null) throw new Error("no record");
  return recorded;
}

export type Flip = { readonly where: string; readonly recorded: Recorded };

const flipByte = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

/** Another character in its place, so that the text stays as long. */
const flipChar = (text: string, at: number): string =>
  text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);

type Texts = "facts" | "input" | "run_state";

/** One bit changed in one place, everywhere there is one: each character of each text, each byte of leaf and salts. */
export function* flips({ leaf, leaf_hash, payload }: Recorded, every = 1): Generator<Flip> {
  for (let at = 0; at < leaf.length; at += every)
    yield { where: `leaf ${at}`, recorded: { leaf: flipByte(leaf, at), leaf_hash, payload } };
  if (typeof payload === "string") return;
  const put = (changes: Partial<RecordedPayload>): Recorded => ({
    leaf,
    leaf_hash,
    payload: { ...payload, ...changes },
  });
  for (let at = 0; at < payload.core.length; at += every)
    yield { where: `core ${at}`, recorded: put({ core: flipChar(payload.core, at) }) };
  for (const name of ["facts", "input", "run_state"] as readonly Texts[]) {
    const { text, salt } = payload[name];
    for (let at = 0; at < text.length; at += every)
      yield { where: `${name} ${at}`, recorded: put({ [name]: { salt, text: flipChar(text, at) } }) };
    for (let at = 0; at < salt.length; at += every)
      yield { where: `${name} salt ${at}`, recorded: put({ [name]: { salt: flipByte(salt, at), text } }) };
  }
  const { seen, run } = payload;
  for (let at = 0; at < (seen?.length ?? 0); at += every)
    yield { where: `seen ${at}`, recorded: put({ seen: flipChar(seen!, at) }) };
  if (seen !== null) yield { where: "seen taken away", recorded: put({ seen: null }) };
  if (run === null) return;
  yield { where: "run id", recorded: put({ run: { ...run, id: flipChar(run.id, run.id.length - 1) } }) };
  yield { where: "run salt", recorded: put({ run: { ...run, salt: flipByte(run.salt, 0) } }) };
}

export const judge = (recorded: Recorded, policy: LoadedPolicy): Replayed => replay(recorded, portsOf(policy));
