import type { Membership } from "../../src/trust/membership.ts";
import { Problem } from "../problem.ts";
import { withValidity, type MemberRegion } from "./membership.ts";

/** The regions of the membership before, those that are shown anew in their place or beside them. */
export function mergeMembers(before: readonly MemberRegion[], shown: readonly MemberRegion[]): readonly MemberRegion[] {
  const kept = before.filter(({ region }) => shown.every((member) => member.region !== region));
  const again = shown.map((member) => {
    const known = before.find(({ region }) => region === member.region);
    // What the roots said of the region stays: only its keys and addresses are its own to show.
    if (known === undefined) return withValidity(member);
    return withValidity({ ...known, ...member, state: known.state }, known.key_validity);
  });
  return [...kept, ...again];
}

const STATE =
  /^([a-z][a-z0-9-]{0,30})=(joining|active|draining|removed)(?::([0-9]{1,15}):(sha256:[A-Za-z0-9_-]{43}|none))?$/;

/** `eu=draining`, or `eu=removed:120:sha256:…` with the region's last event, which everybody must have. */
export function withState(members: readonly MemberRegion[], text: string): readonly MemberRegion[] {
  const match = STATE.exec(text);
  const name = match?.[1];
  if (match === null || members.every(({ region }) => region !== name)) {
    throw new Problem(
      `--state ${text} says nothing of a region of this membership`,
      "Give REGION=joining, active, draining, or removed:SEQ:HASH with its last event as `GET /admin/v1/peers` has it.",
      2,
    );
  }
  const [, , state, seq, hash] = match;
  if ((state === "removed") !== (seq !== undefined)) {
    throw new Problem(
      `--state ${text}: a region is removed with its last event, and with nothing else`,
      "Give removed:SEQ:HASH (`GET /admin/v1/peers` of any other region: applied.seq and applied.hash), or removed:0:none.",
      2,
    );
  }
  return members.map((member) => {
    if (member.region !== name) return member;
    const { final: _, ...rest } = member;
    const next = { ...rest, state: state as MemberRegion["state"] };
    return seq === undefined ? next : { ...next, final: { seq: Number(seq), hash: hash === "none" ? null : hash! } };
  });
}

/** `eu.1.authority.1:120`: events above 120, and all credentials, under that key count no more. */
export function withDistrust(members: readonly MemberRegion[], text: string): readonly MemberRegion[] {
  const [, kid = "", seq = ""] = /^([^:]+):(0|[1-9][0-9]{0,14})$/.exec(text) ?? [];
  if (members.every(({ keys }) => keys.every((key) => key.kid !== kid))) {
    throw new Problem(
      `--distrust ${text} names no key of this membership`,
      "Give KID:SEQ with the last event of the region that is known to be its own (`applied.seq` in `interlock peers` of the others).",
      2,
    );
  }
  return members.map((member) => {
    if (member.keys.every((key) => key.kid !== kid)) return member;
    const others = (member.key_validity ?? []).filter((said) => said.kid !== kid);
    const { from_seq } = member.key_validity?.find((said) => said.kid === kid) ?? {};
    const said = { kid, ...(from_seq === undefined ? {} : { from_seq }), distrust_after: Number(seq) };
    return { ...member, key_validity: [...others, said] };
  });
}

/** What no region would take is not signed. */
export async function membershipDocument(document: unknown): Promise<Membership> {
  const { readMembership } = await import("../../src/trust/membership.ts");
  const read = readMembership(document);
  if (!read.ok) throw new Problem(`The membership is not valid: ${read.error}`, "Correct it; nothing was signed.", 2);
  return read.value;
}
