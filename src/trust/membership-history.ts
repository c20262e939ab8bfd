import type { Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { err, ok, type Result } from "../base/result.ts";
import { formatVerifierKey } from "../lineage/note-key.ts";
import { verifyMembership, type Membership, type Roots } from "./membership.ts";
import { logsOf, witnessing } from "./witnessing.ts";

/**
 * What somebody who holds the roots, and nothing else, gets out of signed memberships: the keys of a region, since when,
 * and a tlog-policy to trust (docs/operations/audit.md). Where the texts came from does not matter.
 */

/**
 * Verifies each membership under the roots and that they succeed one another; gives them oldest first. One that stands
 * twice is one; two texts under one version are refused, since the roots must never sign both.
 */
export async function verifyHistory(
  signed: readonly unknown[],
  roots: Roots,
): Promise<Result<readonly Membership[], string>> {
  const byVersion = new Map<number, Membership>();
  for (const [index, jws] of signed.entries()) {
    const verified = await verifyMembership(jws, roots);
    if (!verified.ok) return err(`membership ${index + 1}: ${verified.error}`);
    const membership = verified.value;
    const known = byVersion.get(membership.version);
    if (known !== undefined && jcs(known) !== jcs(membership))
      return err(`the roots have signed two memberships of version ${membership.version}: ask their holders`);
    byVersion.set(membership.version, membership);
  }
  const history = [...byVersion.values()].sort((a, b) => a.version - b.version);
  const back = history.findIndex((one, at) => at > 0 && one.issued_at_ms < history[at - 1]!.issued_at_ms);
  if (back > 0) return err(`version ${history[back]!.version} was issued before version ${history[back - 1]!.version}`);
  return ok(history);
}

/** One key of a region: the memberships that list it, from the first to the last. */
export type KeyHistory = {
  readonly kid: string;
  readonly log_epoch: number;
  readonly x: string;
  readonly from_version: number;
  readonly from_ms: number;
  /** The newest membership still lists it. */
  readonly current: boolean;
};

/** Keys of the region's log, witness and authority in order of appearance. The same `kid` with another key is another key. */
function keyHistory(history: readonly Membership[], region: string): readonly KeyHistory[] {
  const seen = new Map<string, KeyHistory>();
  const newest = history.at(-1);
  for (const membership of history) {
    const member = membership.regions.find((one) => one.region === region);
    for (const { kid, x } of member?.keys ?? []) {
      const id = `${kid} ${x}`;
      const { version, issued_at_ms } = membership;
      const first = seen.get(id) ?? {
        kid,
        log_epoch: member!.log_epoch,
        x: x ?? "",
        from_version: version,
        from_ms: issued_at_ms,
        current: false,
      };
      seen.set(id, { ...first, current: membership === newest });
    }
  }
  return [...seen.values()];
}

export type TrustOptions = {
  readonly region: string;
  /** As of this version; the newest where none is given. */
  readonly version?: number;
  /** How many of the peers must have cosigned, instead of what the region itself asks for. */
  readonly peers?: number | "all";
  readonly now_ms: number;
};

export type Trust = {
  /** tlog-policy text. */
  readonly policy: string;
  readonly membership: Membership;
  readonly keys: readonly KeyHistory[];
};

/**
 * The policy to verify a region's evidence under: the log's key of the membership and of every log epoch before it, so
 * that old bundles verify with the same file, and the peers as witnesses.
 */
export function trustOf(
  history: readonly Membership[],
  { region, version, peers, now_ms }: TrustOptions,
  sha: Sha256,
): Result<Trust, string> {
  const upTo = version === undefined ? history : history.filter((one) => one.version <= version);
  const membership = upTo.at(-1);
  if (membership === undefined || (version !== undefined && membership.version !== version))
    return err(version === undefined ? "there is no membership" : `there is no membership of version ${version}`);
  if (version === undefined && membership.expires_ms <= now_ms)
    return err(`version ${membership.version} has expired: get a newer one, or ask for this one by its version`);
  const self = membership.regions.find((one) => one.region === region);
  const told = self === undefined ? null : witnessing(membership, region, self.log_epoch, sha);
  if (self === undefined || told === null)
    return err(`version ${membership.version} lists no log of a region ${region}`);
  // Logs of other epochs, of this membership and of those before it, newest membership first.
  const others = upTo.toReversed().flatMap((one) => {
    const member = one.regions.find((listed) => listed.region === region);
    return member === undefined ? [] : logsOf(member, sha).map(formatVerifierKey);
  });
  const asked = quorumLine(told.policy, peers);
  if (!asked.ok) return asked;
  const older = [...new Set(others)].filter((key) => !told.policy.includes(key)).map((key) => `log ${key}\n`);
  const head = `# region ${region}, membership version ${membership.version}, log epoch ${self.log_epoch}\n`;
  return ok({ policy: head + asked.value + older.join(""), membership, keys: keyHistory(upTo, region) });
}

/** The policy with another threshold of its group of peers. */
function quorumLine(policy: string, peers: TrustOptions["peers"]): Result<string, string> {
  if (peers === undefined) return ok(policy);
  const line = /^group peers \S+((?: \S+)+)$/m.exec(policy);
  const count = line?.[1]!.trim().split(" ").length ?? 0;
  if (peers !== "all" && peers > count) return err(`the membership has ${count} peers that witness`);
  if (count === 0) return err("the membership has no peers that witness: nobody outside vouches for this log");
  return ok(policy.replace(/^group peers \S+/m, `group peers ${peers}`));
}

/** What a region's route or a file holds: one signed membership, a list of them, or the route's answer. */
export function membershipsIn(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value.flatMap((one) => membershipsIn(one));
  if (typeof value !== "object" || value === null) return [value];
  const { memberships, jws } = value as { readonly memberships?: unknown; readonly jws?: unknown };
  if (memberships !== undefined) return membershipsIn(memberships);
  return [jws ?? value];
}

/** The region names that a history lists, for a message that helps. */
export const regionsIn = (history: readonly Membership[]): readonly string[] =>
  [...new Set(history.flatMap(({ regions }) => regions.map(({ region }) => region)))].sort();
