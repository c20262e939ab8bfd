import { equalBytes, fromBase64url } from "../../src/base/bytes.ts";
import { logOrigin, witnessName } from "../../src/lineage/names.ts";
import { formatVerifierKey, SIGNATURE_TYPE, verifierKey, type VerifierKey } from "../../src/lineage/note-key.ts";
import { NO_OUTSIDE_WITNESSES, type OutsideWitnesses } from "../../src/lineage/witnesses.ts";
import { formatPolicy, type PolicyGroup, type PolicyWitness } from "../../src/lineage/tlog-policy.ts";
import type { WitnessTarget } from "../../src/objects/log.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { nodeSha256 } from "../platform.ts";

type Member = Membership["regions"][number];

/** The member's key of a role (`<region>.<log_epoch>.<role>.<n>`), as notes know it; `null` where none is listed. */
function keyOf(member: Member, role: "log" | "witness"): VerifierKey | null {
  const jwk = member.keys.find(({ kid }) => kid.startsWith(`${member.region}.${member.log_epoch}.${role}.`));
  const bytes = fromBase64url(jwk?.["x"] ?? "!");
  if (bytes?.length !== 32) return null;
  return role === "log"
    ? verifierKey(logOrigin(member.pdp, member.region, member.log_epoch), SIGNATURE_TYPE.ed25519, bytes, nodeSha256)
    : verifierKey(witnessName(member.pdp), SIGNATURE_TYPE.cosignature, bytes, nodeSha256);
}

const peersIn = (membership: Membership | null, region: string): readonly Member[] =>
  membership?.regions.filter((member) => member.region !== region && member.state !== "removed") ?? [];

/** Verifier keys of the logs that this region's witness serves. */
export const peerLogKeys = (membership: Membership | null, region: string): readonly string[] =>
  peersIn(membership, region).flatMap((member) => {
    const key = keyOf(member, "log");
    return key === null ? [] : [formatVerifierKey(key)];
  });

export type Witnessing = { readonly targets: readonly WitnessTarget[]; readonly policy: string };

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
  outside: OutsideWitnesses = NO_OUTSIDE_WITNESSES,
): Witnessing | null {
  const self = membership.regions.find((member) => member.region === region);
  const log = self === undefined ? null : keyOf(self, "log");
  if (log === null) return null;
  const peers = peersIn(membership, region).flatMap((member) => {
    const key = keyOf(member, "witness");
    return key === null ? [] : [{ name: member.region, key, url: `${member.endpoint}/witness/v1` }];
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
  const witnesses = [...peers, ...others];
  return {
    targets: witnesses.map(({ key, url }) => ({ vkey: formatVerifierKey(key), url })),
    policy: formatPolicy({
      logs: [{ key: log, url: `${self!.endpoint}/log` }],
      witnesses,
      groups: [...groups, ...both],
      quorum: [...groups, ...both].at(-1)?.name ?? null,
    }),
  };
}

const groupOf = (name: string, threshold: number, witnesses: readonly PolicyWitness[]): readonly PolicyGroup[] =>
  witnesses.length === 0 ? [] : [{ name, threshold, members: witnesses.map((witness) => witness.name) }];
