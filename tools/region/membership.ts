import { GeneralSign, type GeneralJWS } from "jose";
import { jcs } from "../../src/base/jcs.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { Enrolment } from "../../src/objects/authority.ts";
import { MEMBERSHIP_TYP, type Membership } from "../../src/trust/membership.ts";
import type { SigningKey } from "./keys.ts";

export type MemberRegion = Membership["regions"][number];

const YEAR_MS = 365 * 86_400_000;
const DELTA_MS = 2_000;

/** A region as the membership lists it, from the public halves that it showed. */
export const memberOf = (enrolment: Enrolment, endpoint: string): MemberRegion => ({
  region: enrolment.region,
  pdp: enrolment.pdp,
  endpoint,
  log_epoch: enrolment.log_epoch,
  state: "active",
  keys: enrolment.keys.map((key) => ({ ...key })) as MemberRegion["keys"],
  ...(enrolment.key_validity === undefined ? {} : { key_validity: enrolment.key_validity.map((key) => ({ ...key })) }),
});

/**
 * What the region shows of its keys, under what the roots have said: their word stays, and what they said of a key that
 * is not listed any more goes.
 */
export function withValidity(member: MemberRegion, said: MemberRegion["key_validity"] = []): MemberRegion {
  const { key_validity: shown = [], ...rest } = member;
  const kids = new Set(member.keys.map(({ kid }) => kid));
  const names = [...new Set([...said, ...shown].map(({ kid }) => kid))].filter((kid) => kids.has(kid)).sort();
  const of = (list: typeof shown, name: string) => list.find(({ kid }) => kid === name) ?? { kid: name };
  const merged = names.map((name) => ({ ...of(shown, name), ...of(said, name) }));
  return merged.length === 0 ? rest : { ...rest, key_validity: merged };
}

/** What a membership says about keys: whose home they are, and who else may revoke them (docs/sync.md). */
export type KeyRules = Partial<Pick<Membership, "domains" | "issuers" | "may_revoke" | "delta_ms">>;

export function buildMembership(
  regions: readonly MemberRegion[],
  version: number,
  now_ms: number,
  { domains = {}, issuers = {}, may_revoke = {}, delta_ms = DELTA_MS }: KeyRules = {},
): Membership {
  return {
    v: 1,
    type: "interlock-membership",
    version,
    issued_at_ms: now_ms,
    expires_ms: now_ms + YEAR_MS,
    delta_ms,
    regions: [...regions].sort((a, b) => (a.region < b.region ? -1 : 1)),
    domains,
    issuers,
    may_revoke,
  };
}

/** Every root signs the same canonical bytes; the region counts distinct roots against its pinned threshold. */
export async function signMembership(membership: Membership, roots: readonly SigningKey[]): Promise<GeneralJWS> {
  const sign = new GeneralSign(utf8(jcs(membership)));
  for (const root of roots) {
    sign.addSignature(root.key).setProtectedHeader({ alg: "Ed25519", kid: root.kid, typ: MEMBERSHIP_TYP });
  }
  return sign.sign();
}

/** Equal but for version and times: nothing to tell anybody. */
export function sameMembers(a: Membership, b: Membership): boolean {
  const content = ({ version: _v, issued_at_ms: _i, expires_ms: _e, ...rest }: Membership): string => jcs(rest);
  return content(a) === content(b);
}
