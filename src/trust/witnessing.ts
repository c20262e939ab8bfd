import { equalBytes, fromBase64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { logOrigin, witnessName } from "../lineage/names.ts";
import { formatVerifierKey, SIGNATURE_TYPE, verifierKey, type VerifierKey } from "../lineage/note-key.ts";
import { NO_OUTSIDE_WITNESSES, type OutsideWitnesses } from "../lineage/witnesses.ts";
import { formatPolicy, type PolicyGroup, type PolicyWitness } from "../lineage/tlog-policy.ts";
import type { Membership } from "./membership.ts";

type Member = Membership["regions"][number];

/** The member's keys of a role with their log epochs; a kid is `<region>.<log_epoch>.<role>.<n>`. */
function keysOf(
  member: Member,
  role: "log" | "witness",
): readonly { readonly log_epoch: number; readonly bytes: Uint8Array }[] {
  return member.keys.flatMap(({ kid, x }) => {
    const [region, epoch, of] = kid.split(".");
    const bytes = fromBase64url(x ?? "!");
    const log_epoch = Number(epoch);
    return region === member.region && of === role && log_epoch >= 1 && bytes?.length === 32
      ? [{ log_epoch, bytes }]
      : [];
  });
}

/** The logs of a member as notes know them: every epoch that is listed, so that one that ended is still answered for. */
export const logsOf = (member: Member, sha: Sha256): readonly (VerifierKey & { readonly log_epoch: number })[] =>
  keysOf(member, "log").map(({ log_epoch, bytes }) => ({
    ...verifierKey(logOrigin(member.pdp, member.region, log_epoch), SIGNATURE_TYPE.ed25519, bytes, sha),
    log_epoch,
  }));

/** The witness outlives the epochs, and its key the one that it was made in. */
function witnessOf(member: Member, sha: Sha256): VerifierKey | null {
  const [key] = keysOf(member, "witness");
  return key === undefined ? null : verifierKey(witnessName(member.pdp), SIGNATURE_TYPE.cosignature, key.bytes, sha);
}

/** Whether the membership lists the key of the log that the region runs: before that no peer can witness it. */
export const listsLog = (member: Member, log_epoch: number, sha: Sha256): boolean =>
  logsOf(member, sha).some((log) => log.log_epoch === log_epoch);

const peersIn = (membership: Membership | null, region: string): readonly Member[] =>
  membership?.regions.filter((member) => member.region !== region && member.state !== "removed") ?? [];

const serves = ({ state }: Member): boolean => state === "active" || state === "draining";

/** Verifier keys of the logs that this region's witness serves. */
export const peerLogKeys = (membership: Membership | null, region: string, sha: Sha256): readonly string[] =>
  peersIn(membership, region).flatMap((member) => logsOf(member, sha).map(formatVerifierKey));

export type Witnessing = {
  /** Verifier keys and submission prefixes of those to ask. */
  readonly targets: readonly {
    readonly vkey: string;
    readonly url: string;
    /** Whether it is that of a region which serves, and so of one that this region's decisions wait for. */
    readonly peer: boolean;
  }[];
  readonly policy: string;
};

/**
 * Whom this region's log asks to cosign, and the quorum in the form of a tlog-policy: all peers but one, so that one
 * region's outage leaves the others anchored, and at least one; and where witnesses outside are configured, as many of
 * them as configured, since peers of one operator do not protect against that operator. A region without either asks
 * for none, and its receipts are worth what the region is. `null` while the membership does not list this region's log
 * key.
 */
export function witnessing(
  membership: Membership,
  region: string,
  log_epoch: number,
  sha: Sha256,
  outside: OutsideWitnesses = NO_OUTSIDE_WITNESSES,
): Witnessing | null {
  const self = membership.regions.find((member) => member.region === region);
  const log = self === undefined ? undefined : logsOf(self, sha).find((one) => one.log_epoch === log_epoch);
  if (log === undefined) return null;
  const peers = peersIn(membership, region).flatMap((member) => {
    const key = witnessOf(member, sha);
    return key === null
      ? []
      : [{ name: member.region, key, url: `${member.endpoint}/witness/v1`, peer: serves(member) }];
  });
  // A policy holds a key once. A peer's own witness is none outside, whatever the configuration says.
  const others = outside.witnesses.filter(
    (one) => !peers.some(({ key }) => equalBytes(key.public_key, one.key.public_key)),
  );
  const groups = [
    ...groupOf("peers", Math.max(1, peers.length - 1), peers),
    ...groupOf("outside", Math.min(outside.threshold, others.length), others),
  ];
  const both =
    groups.length < 2 ? [] : [{ name: "peers-and-outside", threshold: 2, members: groups.map(({ name }) => name) }];
  const witnesses = [...peers, ...others.map((one) => ({ ...one, peer: false }))];
  return {
    targets: witnesses.map(({ key, url, peer }) => ({ vkey: formatVerifierKey(key), url, peer })),
    policy: formatPolicy({
      logs: [{ key: log, url: `${self!.endpoint}/logs/${log_epoch}` }],
      witnesses,
      groups: [...groups, ...both],
      quorum: [...groups, ...both].at(-1)?.name ?? null,
    }),
  };
}

const groupOf = (name: string, threshold: number, witnesses: readonly PolicyWitness[]): readonly PolicyGroup[] =>
  witnesses.length === 0 ? [] : [{ name, threshold, members: witnesses.map((witness) => witness.name) }];
