import { join } from "node:path";
import type { GeneralJWS } from "jose";
import { fromBase64url, fromUtf8 } from "../../src/base/bytes.ts";
import type { Enrolment } from "../../src/objects/authority.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { readSecretJson, rootsDirOf, writeSecret } from "../workerd/data-dir.ts";
import type { AdminClient } from "./admin-client.ts";
import {
  buildMembership,
  memberOf,
  sameMembers,
  signMembership,
  withValidity,
  type KeyRules,
  type MemberRegion,
} from "./membership.ts";
import type { DevRoots } from "./roots.ts";

export type Running = { readonly client: AdminClient; readonly endpoint: string };

const RENEW_BEFORE_MS = 30 * 86_400_000;

/**
 * Makes the running regions of a local fleet `active`: reads their public halves, signs one membership that lists
 * them all with the throw-away roots, and hands it to each. Regions that an earlier membership listed and that do
 * not run now stay listed. Nothing is signed where nothing changed.
 */
export async function enrolWithDevRoots(
  base: string,
  roots: DevRoots,
  running: readonly Running[],
): Promise<Membership> {
  const path = join(rootsDirOf(base), "membership.json");
  const kept = readSecretJson(path) as GeneralJWS | null;
  const before = kept === null ? null : payloadOf(kept);
  const enrolments = await Promise.all(running.map(({ client }) => client.enrolment()));
  const shown = enrolments.map((enrolment, i) => {
    const known = before?.regions.find(({ region }) => region === enrolment.region);
    const member = { ...memberOf(enrolment, running[i]!.endpoint), ...decided(known) };
    return withValidity(member, known?.key_validity);
  });
  const others = (before?.regions ?? []).filter(({ region }) => shown.every((member) => member.region !== region));
  const now_ms = Date.now();
  const highest = Math.max(before?.version ?? 0, ...enrolments.map((enrolment) => enrolment.membership_version ?? 0));
  const listed = [...shown, ...others];
  let membership = buildMembership(listed, highest + 1, now_ms, keyRules(base, listed));
  let jws: GeneralJWS;
  if (
    kept !== null &&
    before?.version === highest &&
    before.expires_ms - now_ms > RENEW_BEFORE_MS &&
    sameMembers(before, membership)
  ) {
    membership = before;
    jws = kept;
  } else {
    jws = await signMembership(membership, roots.keys);
    writeSecret(path, JSON.stringify(jws) + "\n");
  }
  await Promise.all(
    running.map(async ({ client }, i) => {
      if (!holds(enrolments[i]!, membership)) await client.putMembership(jws);
    }),
  );
  return membership;
}

/**
 * `key-rules.json` beside the development roots, where somebody put one; else ids that begin with a region's name and a
 * hyphen are at home there (`account/eu-7`), and everything else is everybody's.
 */
function keyRules(base: string, regions: readonly MemberRegion[]): KeyRules {
  const own = readSecretJson(join(rootsDirOf(base), "key-rules.json")) as KeyRules | null;
  return own ?? { domains: Object.fromEntries(regions.map(({ region }) => [`*/${region}-`, region])) };
}

/** What the roots decided about a member, and no start of a region undoes. */
function decided(member: MemberRegion | undefined): Partial<MemberRegion> {
  if (member === undefined) return {};
  const { state, incarnation } = member;
  return { state, ...(incarnation === undefined ? {} : { incarnation }) };
}

const holds = (enrolment: Enrolment, membership: Membership): boolean =>
  enrolment.mode !== "joining" && enrolment.membership_version === membership.version;

/** The document inside, unverified: for what we signed ourselves, or before verifying. */
export function payloadOf(jws: GeneralJWS): Membership | null {
  const bytes = fromBase64url(jws.payload);
  const text = bytes === null ? null : fromUtf8(bytes);
  try {
    return text === null ? null : (JSON.parse(text) as Membership);
  } catch {
    return null;
  }
}
