import { fromBase64url } from "../../src/base/bytes.ts";
import { logOrigin, witnessName } from "../../src/lineage/names.ts";
import { formatVerifierKey, SIGNATURE_TYPE, verifierKey, type VerifierKey } from "../../src/lineage/note-key.ts";
import { formatPolicy } from "../../src/lineage/tlog-policy.ts";
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
 * region's outage leaves the others anchored, and at least one. A region without peers asks for none, and its receipts
 * are worth what the region is. `null` while the membership does not list this region's log key.
 */
export function witnessing(membership: Membership, region: string): Witnessing | null {
  const self = membership.regions.find((member) => member.region === region);
  const log = self === undefined ? null : keyOf(self, "log");
  if (log === null) return null;
  const witnesses = peersIn(membership, region).flatMap((member) => {
    const key = keyOf(member, "witness");
    return key === null ? [] : [{ name: member.region, key, url: `${member.endpoint}/witness/v1` }];
  });
  const peers = {
    name: "peers",
    threshold: Math.max(1, witnesses.length - 1),
    members: witnesses.map(({ name }) => name),
  };
  return {
    targets: witnesses.map(({ key, url }) => ({ vkey: formatVerifierKey(key), url })),
    policy: formatPolicy({
      logs: [{ key: log, url: `${self!.endpoint}/log` }],
      witnesses,
      groups: witnesses.length === 0 ? [] : [peers],
      quorum: witnesses.length === 0 ? null : peers.name,
    }),
  };
}
