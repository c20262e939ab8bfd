import { z } from "zod";
import { err, ok, type Result } from "../../base/result.ts";
import { parseRunId } from "../../base/ids.ts";
import type { PassFacts } from "../../vocabulary/run.ts";
import { FUTURE_SKEW_MS } from "../claims.ts";
import type { RegionKeys } from "./certificate.ts";
import { hash, homes, labels, pseudonym, region } from "./claim-forms.ts";
import { verifyStatement, type Statement } from "./statement.ts";

/**
 * A pass: a run's home lets one of its steps be taken in another region (DESIGN section 6). It carries no name and no
 * data: the run goes by a pseudonym that only this pair of regions uses, the subject and what the step rests on by
 * pseudonymous keys (`trust/pseudonym`).
 */
export const PASS_TYPE = "interlock-pass+jwt";
/** Longest `exp − iat`, in milliseconds. */
export const MAX_PASS_MS = 900_000;
/** So many keys a pass can name; a step whose parents rest on more is taken at home. */
export const MAX_ANCESTOR_KEYS = 1_024;

const MAX_DEPENDENCY_KEYS = 256;
const MAX_PARENTS = 64;

export const PASS_EXPIRED = "the pass has expired";

const Claims = z.strictObject({
  v: z.literal(1),
  iss: region,
  /** The one region where it counts. */
  aud: region,
  jti: z.string().refine((id) => parseRunId(id) !== null),
  run: hash,
  node: z.string().min(1).max(64),
  subject: pseudonym,
  action: z.string().min(1).max(256),
  resource: z.strictObject({ type: z.string().min(1).max(1_024), key: pseudonym.nullable() }).nullable(),
  labels,
  parents: z.array(hash).max(MAX_PARENTS),
  /** What the pass rests on, and what the parents rest on: `PassFacts`. */
  dependencies: z.array(pseudonym).max(MAX_DEPENDENCY_KEYS),
  ancestors: z.array(pseudonym).max(MAX_ANCESTOR_KEYS),
  homes,
  iat_ms: z.int().min(0),
  exp_ms: z.int().min(0),
});
export type PassClaims = z.infer<typeof Claims>;

/** Why a pass cannot say all that the step rests on: home gives none that leaves something out. */
export function passOverflow({
  ancestors,
  dependencies,
  parents,
}: Pick<PassClaims, "ancestors" | "dependencies" | "parents">): readonly string[] {
  const over: string[] = [];
  if (ancestors.length >= MAX_ANCESTOR_KEYS) over.push(`the step rests on ${MAX_ANCESTOR_KEYS} keys or more`);
  if (dependencies.length > MAX_DEPENDENCY_KEYS)
    over.push(`the pass itself rests on more than ${MAX_DEPENDENCY_KEYS} keys`);
  if (parents.length > MAX_PARENTS) over.push(`the step uses more than ${MAX_PARENTS} others`);
  return over;
}

/** The pass, where it is for `self` and in force. What it says is knowledge; whether the step fits it is the kernel's. */
export async function verifyPass(
  text: string,
  self: string,
  keysOf: RegionKeys,
  now_ms: number,
): Promise<Result<{ readonly pass: PassFacts; readonly statement: Statement }, string>> {
  const said = await verifyStatement(text, { what: "pass", typ: PASS_TYPE }, keysOf, now_ms);
  if (!said.ok) return said;
  const read = Claims.safeParse(said.value.claims);
  if (!read.success) return err("the pass's claims are not of the form that a pass has");
  const { v: _v, iss, aud, jti, iat_ms, exp_ms, homes, ...said_of_step } = read.data;
  if (iss !== said.value.region) return err("the pass is not issued by the region that signed it");
  if (parseRunId(jti)?.region !== iss) return err("the pass's id is of another region");
  if (aud !== self) return err(`the pass is for another region than ${self}`);
  if (iss === self) return err("the pass is of this region itself: name the run instead");
  if (exp_ms <= iat_ms || exp_ms - iat_ms > MAX_PASS_MS) return err("the pass's lifetime is not acceptable");
  if (now_ms >= exp_ms) return err(PASS_EXPIRED);
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return err("the pass was issued in the future");
  return ok({
    statement: said.value,
    pass: {
      ...said_of_step,
      id: jti,
      home: iss,
      homes: [...new Set([iss, ...homes])].filter((home) => home !== self).sort(),
      keys: said.value.keys,
      expires_ms: exp_ms,
      digest: said.value.digest,
    },
  });
}
