import { PASS_EXPIRED, verifyPass } from "../credentials/between/pass.ts";
import type { Statement } from "../credentials/between/statement.ts";
import { verifyStepReceipt } from "../credentials/between/step-receipt.ts";
import type { KeySet } from "../credentials/material.ts";
import { guestRunId } from "../runs/guest.ts";
import type { PassFacts, StepReceiptFacts } from "../vocabulary/run.ts";
import type { Facts } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import type { Between } from "./between-option.ts";
import type { Room } from "./deps.ts";

/** What was carried here from other regions, verified under one set of keys. */
type Verified = {
  readonly material: string;
  readonly pass: PassFacts | null;
  readonly step_receipts: readonly StepReceiptFacts[];
  readonly failed: readonly FailedCheck[];
  readonly signers: readonly Statement["signer"][];
};

/** For as long as the request lives: items of a batch share what stands in its defaults. */
const verified = new WeakMap<Between, Promise<Verified>>();

/**
 * Verified under the keys in use. A statement that does not verify may be of a region that changed its key a moment
 * ago, so newer keys are asked for, if none were just now.
 */
export async function verifyBetween(room: Room, between: Between): Promise<Verified | null> {
  const keys = room.peps.keys;
  if (keys === null) return null;
  const known = await verified.get(between);
  if (known?.material === keys.digest) return known;
  let found = await verify(room, between, keys);
  if (found.failed.length > 0) {
    const newer = await room.peps.newerIfDue(room.now());
    if (newer !== null && newer.digest !== keys.digest) found = await verify(room, between, newer);
  }
  verified.set(between, Promise.resolve(found));
  return found;
}

async function verify(room: Room, { pass, step_receipts }: Between, keys: KeySet): Promise<Verified> {
  const { name } = room.region;
  const now_ms = room.now();
  const failed: FailedCheck[] = [];
  const signers: Statement["signer"][] = [];
  let passed: PassFacts | null = null;
  if (pass !== null) {
    const read = await verifyPass(pass, name, keys.regionKeys, now_ms);
    if (read.ok) {
      passed = read.value.pass;
      signers.push(read.value.statement.signer);
    } else
      failed.push({ reason: read.error === PASS_EXPIRED ? "permit_expired" : "permit_invalid", detail: read.error });
  }
  const receipts: StepReceiptFacts[] = [];
  for (const text of new Set(step_receipts)) {
    const read = await verifyStepReceipt(text, name, keys.regionKeys, now_ms);
    if (read.ok) {
      receipts.push(read.value.receipt);
      signers.push(read.value.statement.signer);
    } else failed.push({ reason: "guest_receipt_missing", detail: read.error });
  }
  return { material: keys.digest, pass: passed, step_receipts: receipts, failed, signers };
}

/** The run in whose chain the step is recorded; `null`: what came along is no pass for this region. */
export async function guestRunOf(room: Room, between: Between): Promise<string | null> {
  if (between.pass === null) return null;
  const pass = (await verifyBetween(room, between))?.pass ?? null;
  return pass === null ? null : guestRunId(room.region.name, room.region.log_epoch, pass, room.sha256);
}

/** The facts with what was carried here, and with the keys that vouch for it. */
export async function withBetween(room: Room, facts: Facts, between: Between): Promise<Facts | null> {
  const found = await verifyBetween(room, between);
  if (found === null) return null;
  const known = new Set(facts.keys);
  const signers = [...new Map(found.signers.map((signer) => [signer.kid, signer])).values()].filter(
    ({ kid }) => !known.has(kid),
  );
  return {
    ...facts,
    keys: [...facts.keys, ...signers.map(({ kid }) => kid)],
    thumbprints: [...facts.thumbprints, ...signers.map(({ thumbprint }) => thumbprint)],
    ...(found.pass === null ? {} : { pass: found.pass }),
    ...(found.step_receipts.length === 0 ? {} : { step_receipts: found.step_receipts }),
    ...(found.failed.length === 0 ? {} : { unverified: found.failed }),
  };
}
