import { isRegionName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { readFederationSecrets, type FederationSecrets } from "./federation-secrets.ts";

/** Bindings of one region: the same names on Cloudflare (`wrangler.toml`) and on raw workerd (`tools/workerd`). */
export type RegionVars = {
  /** Name of this region, e.g. `eu`. */
  readonly INTERLOCK_REGION: string;
  /** The PDP identifier (https URL without path, query or fragment): `iss`, `aud` and discovery rest on it. */
  readonly INTERLOCK_PDP: string;
  readonly INTERLOCK_LOG_EPOCH: string;
  /** Number of LineageShards, fixed per log epoch. */
  readonly INTERLOCK_SHARDS: string;
  /** Durable Object jurisdiction; empty outside Cloudflare, where `jurisdiction()` throws. */
  readonly INTERLOCK_JURISDICTION: string;
  /** Comma-separated packs; empty: what `policies/regions.json` lists for the region. */
  readonly INTERLOCK_PACKS: string;
  /** `1`: answer PEPs that do not authenticate. For conformance runs only. */
  readonly INTERLOCK_OPEN: string;
  /** JSON `{threshold, keys: JWK[]}`: who may sign the membership. Pinned at deployment. */
  readonly INTERLOCK_ROOTS: string;
  /** JSON JWKS of the region's admin issuer. */
  readonly INTERLOCK_ADMIN_JWKS: string;
  /** base64url, 32 bytes: wraps the keys of sealed payloads. Empty: the shard makes and keeps its own. */
  readonly INTERLOCK_REGION_KEY: string;
  /**
   * JSON `[{id, secret}]`, the current one first: what all regions of the federation share, so that a key has one
   * pseudonym in all of them. Empty: a region without peers. A secret.
   */
  readonly INTERLOCK_FEDERATION_SECRETS: string;
  /** JSON `{threshold, witnesses: [{name, vkey, url}]}`: who cosigns beside the peers (`lineage/outside-witnesses`). */
  readonly INTERLOCK_WITNESSES?: string;
  /** Days for which payloads are kept; optional, empty: for good. Leaves stay in any case. */
  readonly INTERLOCK_RETENTION_DAYS?: string;
  /**
   * Where it is set, a log that starts asks its witnesses before it takes anything: for a peer as long as it takes, and
   * for these seconds where no peer can answer. Optional; empty or 0: it does not ask. Set where a whole region can be
   * put back: on raw workerd.
   */
  readonly INTERLOCK_ASK_PEERS_S?: string;
  /**
   * How many peers must have said, after each start, that none of this region's events is missing before it numbers or
   * allows anything: `one` (also where it is empty), or `all` that serve. `all` where this whole region may be put back.
   */
  readonly INTERLOCK_AMNESIA_ASK?: string;
  /** The pinned policy root: JSON of its signed document (docs/policy.md). Empty: no signed policy is taken. */
  readonly INTERLOCK_POLICY_ROOT?: string;
  /** How many administrators must bring a policy or root: 1 (also where it is empty) or 2. */
  readonly INTERLOCK_POLICY_APPROVALS?: string;
  /**
   * What follows where a policy is offered that may newly allow something: `report` (also where it is empty), or `deny`
   * unless the request acknowledges the report by its digest.
   */
  readonly INTERLOCK_POLICY_GATE?: string;
  /**
   * What follows where another region's policy differs from this one's and no version explains it: `alarm` (also where
   * it is empty), or `deny` until that is over or an administrator acknowledges it.
   */
  readonly INTERLOCK_ON_DRIFT?: string;
  /**
   * What follows where a record of this region is decided again and comes out otherwise: `alarm` (also where it is
   * empty), or `freeze` until two administrators lift it.
   */
  readonly INTERLOCK_ON_DIVERGENCE?: string;
};

export type Region = {
  readonly name: string;
  readonly pdp: string;
  readonly log_epoch: number;
  readonly shards: number;
  readonly jurisdiction: string | null;
  readonly packs: readonly string[] | null;
  readonly open: boolean;
  readonly secrets: FederationSecrets;
  /** `null`: payloads are kept until they are erased. */
  readonly retention_days: number | null;
  /** Whose word the amnesia check needs (`sync/amnesia`). */
  readonly amnesia_ask: "one" | "all";
  /** What follows where regions disagree about the policy (docs/drift.md); absent: `alarm`. */
  readonly on_drift?: "alarm" | "deny";
  /** What follows where a record comes out otherwise (docs/replay.md); absent: `alarm`. */
  readonly on_divergence?: "alarm" | "freeze";
};

/** The freshness budget (DESIGN section 5): L = Δ − ε. */
export const FRESHNESS = {
  delta_ms: 2_000,
  epsilon_ms: 500,
  lease_ms: 1_500,
  poll_ms: 375,
  refresh_wait_ms: 800,
} as const;

export function readRegion(vars: RegionVars): Result<Region, string> {
  const name = vars.INTERLOCK_REGION;
  if (!isRegionName(name ?? "")) return err("INTERLOCK_REGION: a lower-case region name is required, e.g. eu");
  const pdp = vars.INTERLOCK_PDP ?? "";
  if (!/^https:\/\/[^/?#\s]+$/.test(pdp))
    return err("INTERLOCK_PDP: an https origin without path, query or fragment is required");
  const epoch = Number(vars.INTERLOCK_LOG_EPOCH || "1");
  if (!Number.isInteger(epoch) || epoch < 1) return err("INTERLOCK_LOG_EPOCH: a whole number from 1 is required");
  const shards = Number(vars.INTERLOCK_SHARDS || "8");
  if (!Number.isInteger(shards) || shards < 1 || shards > 256) return err("INTERLOCK_SHARDS: 1 to 256 is required");
  const packs = (vars.INTERLOCK_PACKS ?? "")
    .split(",")
    .map((pack) => pack.trim())
    .filter((pack) => pack !== "");
  const secrets = readFederationSecrets(vars.INTERLOCK_FEDERATION_SECRETS ?? "");
  if (!secrets.ok) return secrets;
  const retention = vars.INTERLOCK_RETENTION_DAYS || null;
  if (retention !== null && !/^[1-9][0-9]{0,4}$/.test(retention))
    return err("INTERLOCK_RETENTION_DAYS: a whole number of days from 1, or nothing, is required");
  if (!/^(?:[0-9]{1,5})?$/.test(vars.INTERLOCK_ASK_PEERS_S ?? ""))
    return err("INTERLOCK_ASK_PEERS_S: a whole number of seconds, or nothing, is required");
  const amnesia_ask = vars.INTERLOCK_AMNESIA_ASK || "one";
  if (amnesia_ask !== "one" && amnesia_ask !== "all") return err("INTERLOCK_AMNESIA_ASK: one or all is required");
  if (!/^[12]?$/.test(vars.INTERLOCK_POLICY_APPROVALS ?? ""))
    return err("INTERLOCK_POLICY_APPROVALS: 1 or 2 is required");
  if (!/^(?:report|deny)?$/.test(vars.INTERLOCK_POLICY_GATE ?? ""))
    return err("INTERLOCK_POLICY_GATE: report or deny is required");
  const on_drift = vars.INTERLOCK_ON_DRIFT || "alarm";
  if (on_drift !== "alarm" && on_drift !== "deny") return err("INTERLOCK_ON_DRIFT: alarm or deny is required");
  const on_divergence = vars.INTERLOCK_ON_DIVERGENCE || "alarm";
  if (on_divergence !== "alarm" && on_divergence !== "freeze")
    return err("INTERLOCK_ON_DIVERGENCE: alarm or freeze is required");
  return ok({
    name,
    pdp,
    log_epoch: epoch,
    shards,
    jurisdiction: vars.INTERLOCK_JURISDICTION || null,
    packs: packs.length > 0 ? packs : null,
    open: vars.INTERLOCK_OPEN === "1",
    secrets: secrets.value,
    retention_days: retention === null ? null : Number(retention),
    amnesia_ask,
    on_drift,
    on_divergence,
  });
}

/** `INTERLOCK_ASK_PEERS_S` in milliseconds; 0: not asked. */
export const askPeersMs = (vars: RegionVars): number => Number(vars.INTERLOCK_ASK_PEERS_S || "0") * 1_000;
