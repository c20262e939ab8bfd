import { base64url, utf8 } from "../../src/base/bytes.ts";
import { digestOf, digestText, sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import {
  TYPES,
  type PolicyDocument,
  type RootDocument,
  type TimestampDocument,
} from "../../src/policy/bundles/documents.ts";
import type { Envelope } from "../../src/policy/bundles/envelope.ts";
import type { Role } from "../../src/policy/bundles/refusals.ts";
import type { Offer } from "../../src/policy/bundles/update.ts";
import type { RegionPacks } from "../../src/policy/regions.ts";

/** Policy documents as a test needs them: right, or wrong in one place. Runs on Node and in workerd. */

export type Signer = { readonly kid: string; readonly x: string; readonly key: CryptoKey };

export async function newSigner(kid: string): Promise<Signer> {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return { kid, x: base64url(new Uint8Array(raw)), key: pair.privateKey };
}

/** The same key under another name. */
export const renamed = (signer: Signer, kid: string): Signer => ({ ...signer, kid });

export const payloadOf = (document: object): string => base64url(utf8(jcs(document)));

export async function signature(
  payload: string,
  { kid, key }: Signer,
  typ: string,
  header: object = {},
): Promise<Envelope["signatures"][number]> {
  const head = base64url(utf8(JSON.stringify({ alg: "Ed25519", kid, typ, ...header })));
  const bytes = await crypto.subtle.sign("Ed25519", key, utf8(`${head}.${payload}`));
  return { protected: head, signature: base64url(new Uint8Array(bytes)) };
}

export async function sign(role: Role, document: object, signers: readonly Signer[]): Promise<Envelope> {
  const payload = payloadOf(document);
  const signatures: Envelope["signatures"][number][] = [];
  for (const signer of signers) signatures.push(await signature(payload, signer, TYPES[role]));
  return { payload, signatures };
}

export const DAY_MS = 86_400_000;

export type RoleKeys = Readonly<Record<Role, readonly Signer[]>>;
type Thresholds = Readonly<Record<Role, number>>;
const THRESHOLDS: Thresholds = { root: 2, policy: 2, timestamp: 1 };

export async function newRoleKeys(n = ""): Promise<RoleKeys> {
  const make = (role: Role, count: number) =>
    Promise.all(Array.from({ length: count }, (_, i) => newSigner(`${role}${n}-${i + 1}`)));
  return { root: await make("root", 3), policy: await make("policy", 3), timestamp: await make("timestamp", 1) };
}

export function rootOf(keys: RoleKeys, version: number, expires_ms: number, thresholds = THRESHOLDS): RootDocument {
  const all = [...keys.root, ...keys.policy, ...keys.timestamp];
  const role = (name: Role) => ({ kids: keys[name].map(({ kid }) => kid), threshold: thresholds[name] });
  return {
    v: 1,
    type: "interlock-root",
    version,
    expires_ms,
    keys: Object.fromEntries(all.map(({ kid, x }) => [kid, { kty: "OKP", crv: "Ed25519", x }])),
    roles: { root: role("root"), policy: role("policy"), timestamp: role("timestamp") },
  };
}

export const policyOf = (
  bundle: Uint8Array,
  version: number,
  now_ms: number,
  changes: Partial<PolicyDocument> = {},
): PolicyDocument => ({
  v: 1,
  type: "interlock-policy",
  version,
  expires_ms: now_ms + 30 * DAY_MS,
  not_before_ms: now_ms,
  bundle: { sha256: digestText(sha256(bundle)), size: bundle.length },
  engine_min: "0.1.0",
  ...changes,
});

export const timestampOf = (
  policy: object,
  version: number,
  now_ms: number,
  changes: Partial<TimestampDocument> = {},
): TimestampDocument => ({
  v: 1,
  type: "interlock-timestamp",
  version,
  issued_at_ms: now_ms,
  expires_ms: now_ms + DAY_MS,
  policy: { version: (policy as PolicyDocument).version, sha256: digestOf(jcs(policy)) },
  ...changes,
});

export const bundleBytes = (bundle: Bundle, regions: RegionPacks): Uint8Array<ArrayBuffer> =>
  utf8(
    jcs({
      v: 1,
      packs: bundle.packs,
      regions,
      sources: {},
      tests: Object.fromEntries(bundle.packs.map(({ name }) => [name, { v: 1, cases: [] }])),
    }),
  );

export const NOTHING: Offer = { roots: [], timestamp: null, policy: null, bundle: null };

/** A whole offer by `keys`: policy and timestamp of these versions over the bundle. */
export async function offerOf(
  keys: RoleKeys,
  bundle: Uint8Array,
  {
    version,
    stamp = version,
    now_ms,
    changes = {},
  }: {
    readonly version: number;
    readonly stamp?: number;
    readonly now_ms: number;
    readonly changes?: Partial<PolicyDocument>;
  },
): Promise<Offer & { readonly policy: Envelope; readonly timestamp: Envelope }> {
  const policy = policyOf(bundle, version, now_ms, changes);
  return {
    roots: [],
    policy: await sign("policy", policy, keys.policy.slice(0, 2)),
    timestamp: await sign("timestamp", timestampOf(policy, stamp, now_ms), keys.timestamp),
    bundle,
  };
}
