/**
 * What the core knows of the membership in force (`trust/membership`). The driver makes it from the verified document.
 */
export type MembershipView = {
  readonly version: number;
  readonly regions: Readonly<Record<string, RegionView>>;
};

export type RegionView = {
  /** `joining` is served and serves nobody; `draining` serves and is served; `removed` leaves its events behind. */
  readonly state: "joining" | "active" | "draining" | "removed";
  /** Raised by the roots to let an origin begin a new chain after a fork or a loss. */
  readonly incarnation: number;
  /** Of a removed region: its last event. Who lacks events up to it denies what depends on that region. */
  readonly final: { readonly seq: number; readonly hash: string | null } | null;
  /** The keys that sign this region's events and heads. */
  readonly keys: readonly KeyView[];
};

export type KeyView = {
  readonly kid: string;
  /** First seq that this key may sign. */
  readonly from_seq: number;
  /** Emergency: nothing above this seq counts by this key, and it signs no head any more. */
  readonly distrust_after: number | null;
};

/** Whether `kid` may sign the event `seq` of `region`. */
export function signsEvent(region: RegionView, kid: string, seq: number): boolean {
  const key = region.keys.find((key) => key.kid === kid);
  return key !== undefined && seq >= key.from_seq && (key.distrust_after === null || seq <= key.distrust_after);
}

/** Whether `kid` may sign heads and pulls of `region`: what is said now, so a distrusted key says nothing. */
export function speaksFor(region: RegionView, kid: string): boolean {
  const key = region.keys.find((key) => key.kid === kid);
  return key !== undefined && key.distrust_after === null;
}

/** The regions whose events count here, without `self`. */
export const peersOf = (view: MembershipView, self: string): readonly string[] =>
  Object.keys(view.regions).filter((region) => region !== self && serves(view.regions[region]!));

export const serves = (region: RegionView): boolean => region.state === "active" || region.state === "draining";

/** Who may ask: also a joining region, which needs everything before it may answer anything. */
export const isServed = (region: RegionView | undefined): boolean => region !== undefined && region.state !== "removed";
