import { AS_MANY } from "../trust/state-digest.ts";
import type { PackProbe } from "./probe.ts";

/** What a region says of the policy that decides there, signed (docs/drift.md). */
export type PolicyStatement = {
  readonly v: 1;
  /** What evaluates (`decision/engine`). */
  readonly engine: string;
  /** Version of the questions (`probe-set`). */
  readonly probes: number;
  /** Digest of the policy that the authority says is active. */
  readonly policy: string;
  /** Version of the signed bundle; `null`: the packs of the deployment. */
  readonly bundle: number | null;
  readonly packs: readonly StatedPack[];
};

/** `probe` is `null` until a shard has said what the pack answers there. */
export type StatedPack = Omit<PackProbe, "probe"> & { readonly probe: string | null };

/**
 * `content`: one version of a pack with two contents. `outcome`: one content, one engine, and other answers.
 * `selection`: a region runs other packs than the signed policy that both have gives it. `version`, `engine`: one of the
 * two is behind, which is lawful for a while. `state`: after the same events somebody holds other trust entries (or this
 * region other ones than its own changes made); `pack` is their origin then, empty for a shard's of all origins.
 */
export type DriftKind = "content" | "outcome" | "selection" | "state" | "version" | "engine";

export type Difference = {
  readonly kind: DriftKind;
  /** Name of the pack; empty where the whole region is meant. */
  readonly pack: string;
  readonly own: string;
  readonly theirs: string;
};

/** A region that is behind for longer is alarmed about; nothing is denied for it. */
export const MAX_LAG_MS = 7 * 86_400_000;

/**
 * Where two regions disagree. They may run different packs, so only packs that both have are compared, by name; and
 * answers only where what was asked and what evaluated is the same.
 */
export function differences(own: PolicyStatement, theirs: PolicyStatement): readonly Difference[] {
  const found: Difference[] = [];
  if (own.engine !== theirs.engine) found.push({ kind: "engine", pack: "", own: own.engine, theirs: theirs.engine });
  for (const [mine, other] of inBoth(own, theirs)) {
    const add = (kind: DriftKind, a: string, b: string): number =>
      found.push({ kind, pack: mine.name, own: a, theirs: b });
    if (mine.version !== other.version) add("version", mine.version, other.version);
    else if (mine.digest !== other.digest) add("content", mine.digest, other.digest);
    else if (isComparable(own, theirs, mine, other) && mine.probe !== other.probe)
      add("outcome", mine.probe!, other.probe!);
  }
  return found;
}

/** `given`: what the signed policy in force, of which both are, gives to the other region. */
function selectionOf(theirs: PolicyStatement, given: readonly string[] | null): readonly Difference[] {
  const listed = (names: readonly string[]): string => [...names].sort().join(",");
  const [own, said] = [given ?? [], theirs.packs.map(({ name }) => name)].map(listed) as [string, string];
  return given === null || own === said ? [] : [{ kind: "selection", pack: "", own, theirs: said }];
}

/** Packs of one content whose answers cannot be compared now: what was found of them before still stands. */
const undecided = (own: PolicyStatement, theirs: PolicyStatement): readonly string[] =>
  own.engine !== theirs.engine || own.probes !== theirs.probes
    ? []
    : inBoth(own, theirs)
        .filter(([a, b]) => a.digest === b.digest && (a.probe === null || b.probe === null))
        .map(([{ name }]) => name);

function inBoth(own: PolicyStatement, theirs: PolicyStatement): readonly (readonly [StatedPack, StatedPack])[] {
  const others = new Map(theirs.packs.map((pack) => [pack.name, pack]));
  return own.packs.flatMap((pack) => {
    const other = others.get(pack.name);
    return other === undefined ? [] : [[pack, other] as const];
  });
}

const isComparable = (own: PolicyStatement, theirs: PolicyStatement, a: StatedPack, b: StatedPack): boolean =>
  own.engine === theirs.engine && own.probes === theirs.probes && a.probe !== null && b.probe !== null;

/** A difference to one region, for as long as it lasts. Plain data: it is stored. */
export type Drifting = Difference & {
  readonly peer: string;
  readonly since_ms: number;
  readonly acknowledged: { readonly by: string; readonly reason: string; readonly at_ms: number } | null;
};

const isSame = (a: Drifting, peer: string, b: Difference): boolean =>
  a.peer === peer && a.kind === b.kind && a.pack === b.pack && a.own === b.own && a.theirs === b.theirs;

/**
 * What stands after one more look at `peer`: what is found anew begins now, what was known goes on as it was, and what
 * is not found any more is over.
 */
export function follow(
  before: readonly Drifting[],
  peer: string,
  own: PolicyStatement,
  theirs: PolicyStatement,
  given: readonly string[] | null,
  now_ms: number,
): readonly Drifting[] {
  const waiting = new Set(undecided(own, theirs));
  const kept = before.filter(
    (known) => known.peer !== peer || known.kind === "state" || (known.kind === "outcome" && waiting.has(known.pack)),
  );
  const found = [...differences(own, theirs), ...selectionOf(theirs, given)];
  return [...kept, ...found.map((difference) => since(before, peer, difference, now_ms))];
}

/** The same for trust entries of these origins (`null`: of all). */
export function followState(
  before: readonly Drifting[],
  peer: string,
  origins: readonly string[] | null,
  found: readonly Difference[],
  now_ms: number,
): readonly Drifting[] {
  const kept = before.filter(
    ({ kind, pack, ...known }) =>
      known.peer !== peer || kind !== "state" || (origins !== null && !origins.includes(pack)),
  );
  if (found.length === 0 && kept.length === before.length) return before;
  return [...kept, ...found.map((difference) => since(before, peer, difference, now_ms))];
}

const since = (before: readonly Drifting[], peer: string, difference: Difference, now_ms: number): Drifting =>
  before.find((known) => isSame(known, peer, difference)) ?? {
    ...difference,
    peer,
    since_ms: now_ms,
    acknowledged: null,
  };

/** Not explained by a version: nobody may let it be. */
export const isUnexplained = ({ kind }: Difference): boolean => kind !== "version" && kind !== "engine";

/** Whether somebody has to look after it: it is unexplained, or has been explained for too long. */
export const isAlarming = (drifting: Drifting, now_ms: number): boolean =>
  drifting.acknowledged === null && (isUnexplained(drifting) || now_ms - drifting.since_ms >= MAX_LAG_MS);

/** For people, in one line: regions, packs, and how they differ. `null`: nobody has to look after anything. */
export function describeDrift(standing: readonly Drifting[], now_ms: number): string | null {
  const lines = standing
    .filter((one) => isAlarming(one, now_ms))
    .map(({ peer, kind, pack, own, theirs }) =>
      kind === "state"
        ? `${peer}: trust entries of ${pack || "all regions"}, ${theirs}${theirs === AS_MANY ? ", but other ones" : " than there should be"}`
        : `${peer}: ${pack === "" ? kind : `${pack} ${kind}`} ${theirs}, here ${own}`,
    );
  if (lines.length === 0) return null;
  const more = lines.length > 3 ? ` and ${lines.length - 3} more` : "";
  return lines.slice(0, 3).join("; ") + more;
}
