import type { VerifiedEvent } from "../../src/sync/events.ts";
import type { Mark } from "../../src/sync/mark.ts";
import { newSyncRecord } from "../../src/sync/restart.ts";
import type { SyncRecord } from "../../src/sync/state.ts";
import type { MembershipView } from "../../src/sync/view.ts";
import { isConflict, join, type OriginEntry } from "../../src/trust/merge.ts";

/** An event of the simulation: its digest and its signature are names that nobody else can make up. */
export type SimEvent = VerifiedEvent & { readonly entry: OriginEntry };

export const entryId = (entry: Pick<OriginEntry, "key" | "origin">): string => `${entry.key}|${entry.origin}`;

export type Snapshot = { readonly mark: Mark; readonly entries: readonly OriginEntry[] };

/** What is on an authority's disk. A crash leaves it, a restore puts an old copy back. */
export class Storage {
  record: SyncRecord = newSyncRecord();
  view: MembershipView;
  revision = 0;
  /** Per origin and incarnation, `seq − 1` is the place; a snapshot leaves a hole. */
  readonly chains = new Map<string, (SimEvent | undefined)[]>();
  readonly entries = new Map<string, OriginEntry>();
  /** What each revision brought, from revision 1. */
  readonly log: (readonly OriginEntry[])[] = [];
  /** The newest snapshot of the own chain. */
  snapshot: Snapshot | null = null;
  /** Deny-ward entries that wait for a number. */
  unnumbered: OriginEntry[] = [];

  constructor(view: MembershipView) {
    this.view = view;
  }

  held(origin: string, incarnation: number, seq: number): string | null {
    return this.chains.get(chainId(origin, incarnation))?.[seq - 1]?.digest ?? null;
  }

  chain(origin: string, incarnation: number): (SimEvent | undefined)[] {
    const id = chainId(origin, incarnation);
    let chain = this.chains.get(id);
    if (chain === undefined) this.chains.set(id, (chain = []));
    return chain;
  }

  /** One transaction: events, entries, revision. */
  add(events: readonly SimEvent[]): void {
    for (const event of events) this.chain(event.origin, event.incarnation)[event.seq - 1] = event;
    this.merge(events.map(({ entry }) => entry));
  }

  merge(entries: readonly OriginEntry[]): void {
    for (const entry of entries) mergeInto(this.entries, entry);
    this.log.push(entries);
    this.revision++;
  }

  copy(): Storage {
    const copy = new Storage(this.view);
    copy.record = this.record;
    copy.revision = this.revision;
    for (const [id, chain] of this.chains) copy.chains.set(id, [...chain]);
    for (const [id, entry] of this.entries) copy.entries.set(id, entry);
    copy.log.push(...this.log);
    copy.snapshot = this.snapshot;
    copy.unnumbered = [...this.unnumbered];
    return copy;
  }
}

const chainId = (origin: string, incarnation: number): string =>
  incarnation === 1 ? origin : `${origin}.${incarnation}`;

/** Whether two entries of one generation differ: only a fork makes such. */
export function mergeInto(entries: Map<string, OriginEntry>, entry: OriginEntry): boolean {
  const id = entryId(entry);
  const old = entries.get(id);
  entries.set(id, old === undefined ? entry : join(old, entry));
  return old !== undefined && isConflict(old, entry);
}
