import type { Region } from "../../src/region/config.ts";
import type { Membership } from "../../src/trust/membership.ts";
import type { RegionMode } from "../../src/vocabulary/types.ts";
import type { AuthorityStore } from "./store.ts";

/** How the region stands: the membership in force, whether an administrator froze it, and the mode that follows. */
export class Standing {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  #membership: Membership | null;

  constructor(region: Region, store: AuthorityStore) {
    this.#region = region;
    this.#store = store;
    const stored = store.meta("membership");
    this.#membership = stored === null ? null : (JSON.parse(stored) as Membership);
  }

  get membership(): Membership | null {
    return this.#membership;
  }

  /** Whether `membership` rises above the one in force; then it takes its place, in the caller's transaction. */
  succeed(membership: Membership): boolean {
    if (this.#membership !== null && membership.version <= this.#membership.version) return false;
    this.#store.setMeta("membership", JSON.stringify(membership));
    this.#membership = membership;
    return true;
  }

  get frozen(): boolean {
    return this.#store.meta("frozen") === "1";
  }

  setFrozen(frozen: boolean): void {
    this.#store.setMeta("frozen", frozen ? "1" : "0");
  }

  mode(): RegionMode {
    const membership = this.#membership;
    const self = membership?.regions.find(({ region }) => region === this.#region.name);
    if (membership === null || self?.state !== "active" || membership.expires_ms <= Date.now()) return "joining";
    return this.frozen ? "frozen" : "active";
  }
}
