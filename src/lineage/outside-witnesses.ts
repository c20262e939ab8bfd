import { z } from "zod";
import type { Sha256 } from "../base/digest.ts";
import { parseJson } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { parseVerifierKey, SIGNATURE_TYPE } from "./note-key.ts";
import { NO_OUTSIDE_WITNESSES, type OutsideWitness, type OutsideWitnesses } from "./witnesses.ts";

/** The configuration of `OutsideWitnesses`, read and held against its schema. */

/** A quorum of more is no use to a log that signs twice a second. */
const MAX_WITNESSES = 32;

const Configuration = z.strictObject({
  /** `any`: one of them; `all`; or how many. */
  threshold: z.union([z.enum(["any", "all"]), z.int().min(1).max(MAX_WITNESSES)]).default("any"),
  witnesses: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z][a-z0-9.-]{0,62}$/, "lower-case letters, digits, dots and hyphens"),
        /** C2SP verifier key, `<name>+<hash>+<base64>`. */
        vkey: z.string().max(1_024),
        url: z.string().max(1_024),
      }),
    )
    .min(1)
    .max(MAX_WITNESSES),
});

/** Reads the JSON of the variable; empty means none. The message names the variable and what is wrong. */
export function readOutsideWitnesses(text: string, sha: Sha256): Result<OutsideWitnesses, string> {
  if (text === "") return ok(NO_OUTSIDE_WITNESSES);
  const refuse = (why: string): Result<never, string> => err(`INTERLOCK_WITNESSES: ${why}`);
  const json = parseJson(text, { max_depth: 4, max_values: 1_000 });
  if (!json.ok) return refuse(json.error.message);
  const read = Configuration.safeParse(json.value);
  if (!read.success) {
    const [issue] = read.error.issues;
    return refuse(`${issue!.path.join(".")}${issue!.path.length > 0 ? ": " : ""}${issue!.message}`);
  }
  const { threshold, witnesses } = read.data;
  const out: OutsideWitness[] = [];
  for (const { name, vkey, url } of witnesses) {
    const key = parseVerifierKey(vkey, sha);
    if (!key.ok) return refuse(`${name}: ${key.error.message}`);
    if (key.value.type !== SIGNATURE_TYPE.cosignature)
      return refuse(`${name}: the key is not one of cosignature/v1 (Ed25519)`);
    if (!isPrefix(url))
      return refuse(`${name}: the url is not an https prefix (http only to this machine), without "/" at its end`);
    if (out.some((other) => other.name === `outside:${name}` || sameKey(other, key.value.public_key)))
      return refuse(`${name}: two witnesses have its name or its key`);
    out.push({ name: `outside:${name}`, key: key.value, url });
  }
  const needed = threshold === "any" ? 1 : threshold === "all" ? out.length : threshold;
  if (needed > out.length) return refuse(`threshold: ${needed} of ${out.length} witnesses`);
  return ok({ threshold: needed, witnesses: out });
}

const sameKey = ({ key }: OutsideWitness, public_key: Uint8Array): boolean =>
  key.public_key.every((byte, at) => byte === public_key[at]);

/** Loopback may go without TLS: nothing leaves the machine. */
const isPrefix = (url: string): boolean =>
  URL.canParse(url) &&
  (/^https:\/\/[^/?#@\s]+(\/[^?#\s]*[^/?#\s])?$/.test(url) ||
    /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(\/[^?#\s]*[^/?#\s])?$/.test(url));
