import { env as bindings } from "cloudflare:test";
import { GeneralSign, importJWK, type JWK } from "jose";
import { utf8 } from "../../src/base/bytes.ts";
import { jcs } from "../../src/base/jcs.ts";
import { mintRunId } from "../../src/base/ids.ts";
import type { CanonicalRequest, Facts } from "../../src/vocabulary/types.ts";
import { authority, shardAt, type Env } from "../../src/objects/address.ts";
import type { AuthorityRpc, Enrolment } from "../../src/objects/authority.ts";
import type { DecideAnswer, DecideMessage } from "../../src/objects/decide.ts";
import type { ShardRpc } from "../../src/objects/shard.ts";
import { readRegion, type Region } from "../../src/region/config.ts";
import { Pseudonyms } from "../../durable-objects/pseudonyms.ts";
import { MEMBERSHIP_TYP } from "../../src/trust/membership.ts";

export const env = bindings as unknown as Env & { readonly TEST_ROOT: string };

const read = readRegion(env);
if (!read.ok) throw new Error(read.error);
export const region: Region = read.value;

const pseudonyms = new Pseudonyms(region.secrets);
/** How a canonical key stands in entries and events. */
export const named = (key: string): string => pseudonyms.current(key);

export const trust = (): AuthorityRpc => authority(env, region);
export const shard = (k = 0): ShardRpc => shardAt(env, region, k);

/** Signs the region's membership with the test root, as an operator's ceremony does. */
export async function signMembership(enrolment: Enrolment, version = 1, changes: object = {}): Promise<unknown> {
  const jwk = JSON.parse(env.TEST_ROOT) as JWK;
  const membership = {
    v: 1,
    type: "interlock-membership",
    version,
    issued_at_ms: Date.now(),
    expires_ms: Date.now() + 86_400_000,
    delta_ms: 2_000,
    regions: [
      { region: "eu", pdp: region.pdp, endpoint: region.pdp, log_epoch: 1, state: "active", keys: enrolment.keys },
    ],
    domains: {},
    issuers: {},
    may_revoke: {},
    ...changes,
  };
  return new GeneralSign(utf8(JSON.stringify(membership)))
    .addSignature(await importJWK(jwk, "Ed25519"))
    .setProtectedHeader({ alg: "Ed25519", kid: "root-1", typ: MEMBERSHIP_TYP })
    .sign();
}

export async function activate(): Promise<void> {
  const enrolment = await trust().enrolment();
  if (enrolment.mode !== "joining") return;
  const stored = await trust().putMembership(await signMembership(enrolment), "test");
  if (!stored.ok) throw new Error(stored.message);
}

export const read1: CanonicalRequest = {
  v: 1,
  subject: { type: "user", id: "alice" },
  action: { name: "read" },
  resource: { type: "record", id: "record-1" },
};

/** Of a run that declares nothing but its principal and members. */
export const undeclared = { plan: null, budgets: [], labels: [], delegations: [], above: null } as const;

export async function factsOf(pep = "gateway"): Promise<string> {
  const material = await trust().material();
  const facts: Facts = {
    v: 1,
    material: material.digest,
    keys: [material.keys[0]!.jwk.kid],
    thumbprints: [material.keys[0]!.thumbprint],
    pep: {
      id: pep,
      credential: `jti-${pep}`,
      issuer: region.pdp,
      scopes: ["evaluate"],
      // Constant: the same question has the same facts, whenever it is asked.
      exp_ms: 4_102_444_800_000,
    },
  };
  return jcs(facts);
}

export async function ask(
  requests: readonly CanonicalRequest[],
  changes: Partial<DecideMessage> = {},
): Promise<DecideMessage> {
  const implicit = mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
  return {
    v: 1,
    items: requests.map((request) => ({ request: jcs(request), run: request.run ?? implicit })),
    semantic: "execute_all",
    implicit_run: implicit,
    facts: await factsOf(),
    traceparent: null,
    deadline_ms: 5_000,
    idempotency_key: null,
    dry_run: false,
    explain: false,
    at_least: null,
    inline_evidence: false,
    ...changes,
  };
}

/**
 * What makes the shard ready, from inside of its object: its policy was looked at, and its lease is as young as it can be.
 * The next decision then has its turn at once, in the call itself, before anything that is sent after it.
 */
export async function readying(): Promise<(object: ShardRpc) => Promise<void>> {
  const plain = await ask([read1]);
  // Facts by a key that nobody knows: the shard asks the authority before it says so.
  const strange = { ...(JSON.parse(plain.facts) as Facts), material: "sha256:x", keys: ["nobody"] };
  const unknown = await ask([read1], { facts: jcs(strange) });
  return async (object) => {
    await object.decide(plain);
    const refused = await object.decide(unknown);
    if (refused.ok || refused.code !== "stale_facts") throw new Error("facts of nobody were taken");
  };
}

/**
 * Asks again where a machine that is busy with something else let the shard's lease run out: what has not been said under
 * an idempotency key, or as of a certain record.
 */
export async function decide(
  requests: readonly CanonicalRequest[],
  changes: Partial<DecideMessage> = {},
  k = 0,
): Promise<DecideAnswer> {
  for (let tries = 0; ; tries++) {
    const answer = await decideNow(requests, changes, k);
    const lost = answer.items.some(({ reason }) => reason === "trust_lease_expired");
    if (!lost || tries === 20 || (changes.idempotency_key ?? null) !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function decideNow(
  requests: readonly CanonicalRequest[],
  changes: Partial<DecideMessage> = {},
  k = 0,
): Promise<DecideAnswer> {
  const answer = await shard(k).decide(await ask(requests, changes));
  if (!answer.ok) throw new Error(answer.code);
  return answer;
}
