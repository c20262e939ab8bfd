/**
 * Checks a recorded history of revocations and decisions: per key and region, is there an order in which every decision
 * saw what the writes before it had made, with every write in force by the time that it must be? All times are of one
 * clock. Exact where the writes on a key come one after the other, which is how the recorder makes them.
 */

/** A revocation or restoration. */
export type Write = {
  readonly key: string;
  readonly origin: string;
  readonly value: "revoked" | "restored";
  readonly sent_ms: number;
  /** When its origin had said that it is durable. */
  readonly accepted_ms: number;
  /** Regions that were said to have it in force, and when they were. */
  readonly effective: Readonly<Record<string, number>>;
};

/** A decision that rests on one key that anybody writes. */
export type Read = {
  readonly key: string;
  readonly region: string;
  /** `unknown`: a deny for another reason, which is never wrong and says nothing of the key. */
  readonly saw: "allow" | "revoked" | "unknown";
  readonly sent_ms: number;
  readonly answered_ms: number;
};

export type Violation = {
  readonly why: "stale" | "flicker" | "early";
  readonly read: Read;
  readonly writes: readonly Write[];
};

/** What no order explains; empty where the history is sound. `delta_ms`: by when a revocation counts everywhere. */
export function checkHistory(
  writes: readonly Write[],
  reads: readonly Read[],
  { delta_ms }: { readonly delta_ms: number },
): readonly Violation[] {
  const writesOf = Map.groupBy(writes, ({ key }) => key);
  for (const list of writesOf.values()) list.sort((a, b) => a.sent_ms - b.sent_ms);
  for (const [key, list] of writesOf) {
    const overlapping = list.find((write, i) => i > 0 && write.sent_ms < list[i - 1]!.accepted_ms);
    if (overlapping !== undefined) throw new Error(`two writes on ${key} at once: this checker cannot order them`);
  }
  const groups = Map.groupBy(reads, ({ key, region }) => `${region} ${key}`);
  return [...groups.values()].flatMap((group) => check(writesOf.get(group[0]!.key) ?? [], group, delta_ms));
}

function check(writes: readonly Write[], group: readonly Read[], delta_ms: number): Violation[] {
  const { region } = group[0]!;
  const by = deadlines(writes, region, delta_ms);
  const reads = group.filter(({ saw }) => saw !== "unknown").sort((a, b) => a.sent_ms - b.sent_ms);
  const violations: Violation[] = [];
  // Version n is what stands after n writes. Those that ended, in the order in which they ended, set the least version.
  const ended: { readonly answered_ms: number; readonly version: number }[] = [];
  for (const read of reads) {
    // Due when the read left: no later read may see less. Seen by a read that had ended: the same.
    const due = writes.findLastIndex((_, i) => by[i]! < read.sent_ms) + 1;
    const seen = ended.reduce((max, one) => (one.answered_ms < read.sent_ms ? Math.max(max, one.version) : max), 0);
    const last = writes.findLastIndex(({ sent_ms }) => sent_ms <= read.answered_ms) + 1;
    const version = earliest(writes, Math.max(due, seen), last, read);
    if (version !== null) {
      ended.push({ answered_ms: read.answered_ms, version });
      continue;
    }
    const fits = (from: number): boolean => earliest(writes, from, last, read) !== null;
    violations.push({ why: fits(due) ? "flicker" : fits(0) ? "stale" : "early", read, writes });
  }
  return violations;
}

/** The first version from `from` to `last` in which the read could have seen what it saw. */
function earliest(writes: readonly Write[], from: number, last: number, { saw }: Read): number | null {
  for (let version = from; version <= last; version++) {
    const revoked = version > 0 && writes[version - 1]!.value === "revoked";
    if (revoked === (saw === "revoked")) return version;
  }
  return null;
}

/** By when each write counts in the region. A region applies an origin's events in order, so never after a later one. */
function deadlines(writes: readonly Write[], region: string, delta_ms: number): readonly number[] {
  const by = writes.map(({ value, accepted_ms, effective }) => {
    const known = effective[region] ?? Number.POSITIVE_INFINITY;
    // Giving back late harms nobody: no bound is promised for it.
    return value === "revoked" ? Math.min(known, accepted_ms + delta_ms) : known;
  });
  for (let i = by.length - 2; i >= 0; i--) by[i] = Math.min(by[i]!, by[i + 1]!);
  return by;
}
