import { expect } from "vitest";
import { ed25519Verify } from "../../../../durable-objects/platform.ts";
import { sha256 } from "../../../../src/base/digest.ts";
import { jcs } from "../../../../src/base/jcs.ts";
import type { Bundle } from "../../../../src/policy/bundle.ts";
import type { Envelope } from "../../../../src/policy/bundles/envelope.ts";
import type { PolicyTrust } from "../../../../src/policy/bundles/state.ts";
import { pinnedRoot, takeOffer, trustOf, type Offer, type UpdatePorts } from "../../../../src/policy/bundles/update.ts";
import bundleJson from "../../../../policies/bundle.json" with { type: "json" };
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  newSigner,
  NOTHING,
  offerOf,
  rootOf,
  sign,
  timestampOf,
  type RoleKeys,
  type Signer,
} from "../../../support/policy-documents.ts";

/** A region that was served well so far, and what others bring to it. */

export const T = Date.UTC(2026, 5, 1);
export const YEAR = 365 * DAY_MS;
const PACKS = bundleJson as unknown as Bundle;
export const BUNDLE = bundleBytes(PACKS, { "*": ["sovereign"] });
export const OTHER = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });

/** Signers 0 to 9, of whatever role a case wants. */
const numbered: readonly Signer[] = await Promise.all(Array.from({ length: 10 }, (_, n) => newSigner(`k${n}`)));
export const pick = (numbers: readonly number[]): readonly Signer[] => numbers.map((n) => numbered[n]!);
export const keys: RoleKeys = await newRoleKeys();
export const pinned: Envelope = await sign("root", rootOf(keys, 1, T + YEAR), keys.root.slice(0, 2));

const held = new Set<string>();
export const ports: UpdatePorts = {
  verify: ed25519Verify,
  sha256,
  has: (bundle) => held.has(bundle),
  region: "eu",
  engine: "0.1.0",
};

export async function rooted(root: unknown): Promise<PolicyTrust> {
  const answer = await pinnedRoot(root, ports);
  if (!answer.ok) throw new Error(answer.error.code);
  return trustOf(answer.value);
}

/** What comes of an offer, and the trust after it: what is refused leaves all as it was. */
export async function offered(
  trust: PolicyTrust,
  offer: Partial<Offer>,
  now = T,
): Promise<{ readonly said: string; readonly trust: PolicyTrust }> {
  const before = jcs(trust);
  const answer = await takeOffer(trust, { ...NOTHING, ...offer }, now, ports);
  expect(jcs(trust)).toBe(before);
  if (!answer.ok) return { said: `${answer.error.role} ${answer.error.code}`, trust };
  return { said: answer.value.changed ? "taken" : "unchanged", trust: answer.value.trust };
}

export const said = async (trust: PolicyTrust, offer: Partial<Offer>, now = T): Promise<string> =>
  (await offered(trust, offer, now)).said;

/** With root 1, timestamp 5, policy 5. */
export const served = (await offered(await rooted(pinned), await offerOf(keys, BUNDLE, { version: 5, now_ms: T })))
  .trust;
held.add(served.policy!.document.bundle.sha256);

/** A whole offer that is right. */
export const six = (changes = {}) => offerOf(keys, OTHER, { version: 6, now_ms: T, changes });
export const rootBy = (by: RoleKeys, version: number, signers: readonly Signer[], expires_ms = T + YEAR) =>
  sign("root", rootOf(by, version, expires_ms), signers);
export const stamped = (version: number, changes: object = {}, now = T) =>
  sign("timestamp", timestampOf(served.policy!.document, version, now, changes), keys.timestamp);
