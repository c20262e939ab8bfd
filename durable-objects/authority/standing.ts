import { thumbprintOf } from "../../src/credentials/thumbprint.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { Region } from "../../src/region/config.ts";
import type { FederationView } from "../../src/trust/federation.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { listsLog } from "../../src/trust/witnessing.ts";
import type { RegionMode } from "../../src/vocabulary/types.ts";
import { nodeSha256 } from "../platform.ts";
import type { AuthorityStore } from "./store.ts";

/** How the region stands: the membership in force, whether an administrator froze it, and the mode that follows. */
export class Standing {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  /** The stored text and what it says: storage is the truth, also after a transaction that was rolled back. */
  #view: FederationView | null = null;
  #known: { readonly text: string; readonly membership: Membership } | null = null;

  constructor(region: Region, store: AuthorityStore) {
    this.#region = region;
    this.#store = store;
  }

  get membership(): Membership | null {
    const text = this.#store.meta("membership");
    if (text === null) return null;
    if (this.#known?.text !== text) this.#known = { text, membership: JSON.parse(text) as Membership };
    return this.#known.membership;
  }

  /** Which of this region's histories it writes now; membership raises it after one that nobody could heal. */
  get incarnation(): number {
    return this.membership?.regions.find(({ region }) => region === this.#region.name)?.incarnation ?? 1;
  }

  /** What the membership says about keys and homes; `null` before there is one. */
  federation(): FederationView | null {
    const { membership } = this;
    if (membership === null) return null;
    if (this.#view?.version !== membership.version) this.#view = federationOf(membership, this.#region.name);
    return this.#view;
  }

  /** Whether `membership` rises above the one in force; then it takes its place, in the caller's transaction. */
  succeed(membership: Membership, jws: unknown): boolean {
    const current = this.membership;
    if (current !== null && membership.version <= current.version) return false;
    this.#store.setMeta("membership", JSON.stringify(membership));
    this.keep(membership, jws);
    return true;
  }

  /** Keeps the membership as it was signed: who audits the region follows its keys through all of them. */
  keep({ version }: Membership, jws: unknown): void {
    this.#store.addMembership(version, JSON.stringify(jws), Date.now());
  }

  get frozen(): boolean {
    return this.#store.meta("frozen") === "1";
  }

  setFrozen(frozen: boolean): void {
    this.#store.setMeta("frozen", frozen ? "1" : "0");
  }

  mode(): RegionMode {
    const membership = this.membership;
    const self = membership?.regions.find(({ region }) => region === this.#region.name);
    // In a new log epoch too: until the peers know its log, nobody witnesses what is decided.
    if (self !== undefined && !listsLog(self, this.#region.log_epoch, nodeSha256)) return "joining";
    if (membership === null || self?.state !== "active" || membership.expires_ms <= Date.now()) return "joining";
    return this.frozen ? "frozen" : "active";
  }
}

/** Issuers are those listed and the PDPs themselves; keys are those that the members show. */
function federationOf(membership: Membership, self: string): FederationView {
  const { version, regions, domains, issuers, may_revoke } = membership;
  return {
    version,
    self,
    regions: regions.map(({ region, state }) => ({ region, state })),
    domains,
    issuers: { ...Object.fromEntries(regions.map(({ pdp, region }) => [pdp, region])), ...issuers },
    keys: Object.fromEntries(
      regions.flatMap(({ keys, region }) =>
        keys.map((jwk) => [thumbprintOf(jwk as unknown as PublicJwk, nodeSha256), region]),
      ),
    ),
    may_revoke,
  };
}
