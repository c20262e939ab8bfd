import { base64url, utf8 } from "../base/bytes.ts";
import { jcs } from "../base/jcs.ts";
import type { JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Towards } from "../credentials/sources/compile.ts";
import { sourceName } from "../credentials/sources/material.ts";
import {
  NOTHING_CLAIMED,
  settled,
  verifyCredentials,
  type Claimed,
  type Credentials,
  type VerifiedWorkload,
} from "../credentials/workload-facts.ts";
import type { ClaimMessage } from "../objects/shard.ts";
import type { DecideItem } from "../objects/decide.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { Facts } from "../vocabulary/types.ts";
import { withBetween } from "./between.ts";
import type { Between } from "./between-option.ts";
import { callShard } from "./call-shard.ts";
import type { CallerState } from "./caller-state.ts";
import type { Arrival, Room } from "./deps.ts";

/** An item as it is to be asked, with what came along. */
export type AskedItem = DecideItem & { readonly credentials?: Credentials; readonly between?: Between };

/** A challenge has no key of its own; no thumbprint looks like this. */
const CHALLENGE = "challenge";

/**
 * Names a request with an idempotency key to whoever records what it uses once: by what is asked under it, so that a
 * retry of the same request is the same use.
 */
export function ownerOf(
  room: Room,
  pep: string,
  key: string,
  { texts, dry_run }: { readonly texts: readonly string[]; readonly dry_run: boolean },
): string {
  return base64url(room.sha256(utf8(JSON.stringify([pep, key, dry_run, texts]))));
}

/**
 * The items with the facts about their workloads. Each set of credentials is verified once and its uses are recorded
 * before anything is decided on them. The error is why nothing can be decided at all.
 */
export async function withFacts(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  items: readonly AskedItem[],
  deadline_ms: number,
): Promise<Result<readonly DecideItem[], ReasonCode>> {
  const { self = null } = state;
  if (self === null && items.every(isPlain)) return ok(items);
  const made = new Map<Credentials | undefined, Map<Between | undefined, Promise<Result<string, ReasonCode>>>>();
  const out: DecideItem[] = [];
  for (const { credentials, between, ...item } of items) {
    if (isPlain({ credentials, between }) && self === null) {
      out.push(item);
      continue;
    }
    const beside = made.get(credentials) ?? new Map<Between | undefined, Promise<Result<string, ReasonCode>>>();
    made.set(credentials, beside);
    let facts = beside.get(between);
    if (facts === undefined) {
      facts = carriedFacts(room, arrival, state, { credentials, between }, deadline_ms);
      beside.set(between, facts);
    }
    const text = await facts;
    if (!text.ok) return text;
    out.push({ ...item, facts: text.value });
  }
  return ok(out);
}

type CameAlong = { readonly credentials?: Credentials | undefined; readonly between?: Between | undefined };

const isPlain = ({ credentials, between }: CameAlong): boolean => credentials === undefined && between === undefined;

async function carriedFacts(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  { credentials, between }: CameAlong,
  deadline_ms: number,
): Promise<Result<string, ReasonCode>> {
  const { caller, self = null } = state;
  const known =
    credentials === undefined && self === null
      ? ok(JSON.parse(caller.facts) as Facts)
      : await factsOf(room, arrival, state, { ...credentials, ...self?.presented }, deadline_ms);
  if (!known.ok) return known;
  const facts = between === undefined ? known.value : await withBetween(room, known.value, between);
  return facts === null ? err("internal") : ok(jcs(facts as unknown as JsonValue));
}

async function factsOf(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  credentials: Credentials,
  deadline_ms: number,
): Promise<Result<Facts, ReasonCode>> {
  const { caller, self = null } = state;
  const sources = room.peps.keys?.identity(room.region.name);
  // The caller was authenticated with these keys.
  if (sources === undefined) return err("internal");
  const registered = sources.caller(caller.pep);
  const verified = await verifyCredentials(
    credentials,
    {
      sources,
      caller: registered === null ? null : sourceName(registered),
      towards: self?.towards ?? towardsOf(registered?.rules),
      pdp: room.region.pdp,
    },
    room.now(),
  );
  const claimed = await claim(room, arrival, state, verified, deadline_ms);
  if (!claimed.ok) return claimed;
  const workload = settled(verified, claimed.value);
  countAnomalies(room, verified, claimed.value);
  // Who asks for itself is nobody without its proof.
  if (self !== null && workload.identity === null) return err(workload.failed[0]?.reason ?? "identity_missing");
  return ok({
    ...(JSON.parse(caller.facts) as Facts),
    sources: verified.sources,
    workload,
    ...(verified.delegations.length === 0 ? {} : { delegations: verified.delegations }),
  });
}

/** What a PEP's workloads prove themselves to; nothing where the PEP has registered nothing. */
const towardsOf = (rules: Pick<Towards, "audiences" | "targets" | "legacy_wpt"> | undefined): Towards => ({
  audiences: rules?.audiences ?? [],
  targets: rules?.targets ?? [],
  legacy_wpt: rules?.legacy_wpt ?? false,
  // Whether a bearer is enough is for the packs: the facts say that it is one.
  allow_bearer: true,
});

type Group = { readonly uses: ClaimMessage["uses"][number][]; attested: ClaimMessage["attested"] };

/** Records what may be used once: a proof where its key has its home, and with it what was said of that key. */
async function claim(
  room: Room,
  arrival: Arrival,
  state: CallerState,
  { proof, nonces, attested }: VerifiedWorkload,
  deadline_ms: number,
): Promise<Result<Claimed, ReasonCode>> {
  if (proof === null && nonces.length === 0) return ok(NOTHING_CLAIMED);
  const groups = new Map<number, Group>();
  const groupOf = (name: string): Group => {
    const shard = room.homeOf(name);
    const group = groups.get(shard) ?? { uses: [], attested: [] };
    groups.set(shard, group);
    return group;
  };
  if (proof !== null) {
    const group = groupOf(proof.jkt);
    group.uses.push(proof);
    group.attested = attested;
  }
  for (const { nonce, exp_ms } of nonces) groupOf(nonce).uses.push({ jkt: CHALLENGE, jti: nonce, exp_ms });
  const left = deadline_ms - (room.now() - arrival.started_ms);
  // Without a key it is a request like no other.
  const owner = (state.owner ??= base64url(room.random(16)));
  const answers = await Promise.all(
    [...groups].map(async ([shard, { uses, attested: said }]) => ({
      uses,
      called: await callShard(room, arrival, shard, left, (stub) => stub.claim({ v: 1, uses, owner, attested: said })),
    })),
  );
  let claimed = NOTHING_CLAIMED;
  for (const { uses, called } of answers) {
    if (!called.ok) return err(called.reason);
    if (!called.value.ok) return err(called.value.code === "lineage_halted" ? "lineage_halted" : "internal");
    const { reused, superseded } = called.value;
    const wasUsed = (challenge: boolean): boolean =>
      uses.some(({ jkt }, at) => (jkt === CHALLENGE) === challenge && reused[at] !== false);
    claimed = {
      proof_reused: claimed.proof_reused || wasUsed(false),
      nonce_reused: claimed.nonce_reused || wasUsed(true),
      superseded: claimed.superseded || superseded,
    };
  }
  return ok(claimed);
}

/** What should not happen in a sound fleet: somebody watches these. */
function countAnomalies({ metrics }: Room, { contraindicated }: VerifiedWorkload, claimed: Claimed): void {
  if (claimed.proof_reused) metrics.anomalies.add("proof_reused");
  if (claimed.nonce_reused) metrics.anomalies.add("challenge_reused");
  if (claimed.superseded) metrics.anomalies.add("attestation_superseded");
  if (contraindicated) metrics.anomalies.add("attestation_contraindicated");
}
