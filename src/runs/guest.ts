import { base64url, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { mintRunId } from "../base/ids.ts";
import { resourceKey, subjectKey } from "../trust/keys.ts";
import { secretOf } from "../trust/pseudonym.ts";
import type { GuestState, PassFacts } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";

/** Every pseudonym that a canonical key has here. */
export type NamesOf = (key: string) => readonly string[];

/**
 * Whether the pass of another region is for this step: a pass opens one node for one subject, and nothing else. It
 * names the subject by a pseudonym of the federation; a region that cannot say its own names takes no pass. `guest`:
 * what this region knows of the pass; without that nobody can say that it is unused.
 */
export function passHolds(
  pass: PassFacts,
  guest: GuestState | undefined,
  request: CanonicalRequest,
  names: NamesOf | undefined,
  t_ms: number,
): readonly FailedCheck[] {
  const failed: FailedCheck[] = [];
  if (guest !== undefined && guest.lost.length > 0)
    failed.push({ reason: "ancestor_revoked", detail: `what pass ${pass.id} uses rests on ${guest.lost.join(", ")}` });
  const wrong = guest === undefined ? "a run that this is not" : otherStep(pass, request, names);
  if (wrong !== null) failed.push({ reason: "permit_invalid", detail: `pass ${pass.id} is for ${wrong}` });
  if (t_ms >= pass.expires_ms) failed.push({ reason: "permit_expired", detail: `pass ${pass.id}` });
  if (guest !== undefined && guest.used !== null)
    failed.push({ reason: "permit_reused", detail: `pass ${pass.id} was used for ${guest.used}` });
  return failed;
}

/** So many keys a step receipt can name. */
export const MAX_RECEIPT_KEYS = 1_024;

/** What a step rests on here and the pass does not: what its receipt has to name. */
export const receiptKeys = (pass: Pick<PassFacts, "keys">, dependencies: readonly string[]): readonly string[] =>
  dependencies.filter((key) => secretOf(key) === null && !pass.keys.includes(key));

/**
 * Home learns what a step rests on from its receipt alone: a key that is not named there could be revoked and home would
 * go on. So a step that rests on more than a receipt names is not taken. Every key has as many names as the subject's.
 */
export function receiptFits(
  pass: PassFacts,
  dependencies: readonly string[],
  { subject }: CanonicalRequest,
  names: NamesOf | undefined,
): FailedCheck | null {
  const each = Math.max(1, names?.(subjectKey(subject.type, subject.id)).length ?? 1);
  const named = receiptKeys(pass, dependencies).length * each;
  if (named <= MAX_RECEIPT_KEYS) return null;
  return {
    reason: "input_invalid",
    detail: `the step rests on ${named} names of keys, and a step receipt holds ${MAX_RECEIPT_KEYS}`,
  };
}

function otherStep(
  pass: PassFacts,
  { subject, action, resource, step }: CanonicalRequest,
  names: NamesOf | undefined,
): string | null {
  const isNamed = (key: string, name: string): boolean => names?.(key).includes(name) === true;
  if (!isNamed(subjectKey(subject.type, subject.id), pass.subject)) return "another subject";
  if (pass.action !== action.name) return `another action, ${pass.action}`;
  if (step !== undefined && step !== pass.node) return `another node, ${pass.node}`;
  const target = pass.resource;
  if (target === null) return null;
  if (target.type !== resource.type) return "another type of resource";
  return target.key === null || isNamed(resourceKey(resource.type, resource.id), target.key)
    ? null
    : "another resource";
}

/**
 * How a run is called in another region's passes: nobody who does not know the salt can tell the run, or that two
 * regions speak of one. base64url of a hash over a text that nothing else hashes with that salt.
 */
export const runPseudonym = (run: string, salt: Uint8Array, region: string, hash: Sha256): string =>
  base64url(hash(utf8(`interlock-guest-run\0${base64url(salt)}\0${run}\0${region}`)));

/** The run in whose chain a guest region records the steps of one foreign run. */
export const guestRunId = (
  region: string,
  log_epoch: number,
  { home, run }: Pick<PassFacts, "home" | "run">,
  hash: Sha256,
): string => mintRunId(region, log_epoch, hash(utf8(`interlock-guest\0${home}\0${run}`)));
