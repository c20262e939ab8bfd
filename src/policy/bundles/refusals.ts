/**
 * Why an offer of policy documents is not taken, in full: one code, one meaning (docs/policy.md has the same table, and
 * a test compares them). A refused offer changes nothing.
 */
export const REFUSALS = {
  no_pinned_root: "the region has no INTERLOCK_POLICY_ROOT, so it takes no signed policy",
  too_large: "a document, the bundle, or their number is over its bound",
  malformed: "not a JWS in general JSON form, or a payload that its schema refuses: unknown, missing or wrong members",
  unsigned: "no signature at all, whatever the document says",
  wrong_role: "signed for another role: the typ of the signature or the type of the payload is another one",
  unknown_key: "signatures by keys that the root does not name for the role, where they would be needed",
  duplicate_signer:
    "one name signed twice; or one key under several names, which counts once, where more would be needed",
  bad_signature: "signatures that do not verify, where they would be needed",
  under_threshold: "fewer keys of the role signed than its threshold",
  root_skipped: "a root that is not exactly the next version",
  root_not_endorsed: "a root that the threshold of the root before has not signed",
  root_not_self_signed: "a root that its own threshold has not signed",
  rollback: "a version below the highest one that was accepted for the role",
  equivocation: "a version that was accepted already, with other content",
  expired: "it has expired",
  from_the_future: "issued later than the region's clock allows",
  mix_and_match: "not the document or bundle that its parent names by version, size and digest",
  missing: "a document or bundle that the offer needs and neither it nor the region has",
  other_region: "no packs in it for this region",
  engine_too_old: "it asks for a newer engine than this region runs",
  bundle_invalid:
    "a pack of this region is missing in the bundle, invalid, has a rule that the region does not know, or does not compile",
  golden_failed:
    "a pack of this region has no golden decisions in the bundle, or one of them does not come out as written",
  needs_two_signatures: "it may newly allow what cannot be undone, and fewer than two keys of the role signed it",
  needs_acknowledgement: "it may newly allow something, and the request does not acknowledge the report by its digest",
} as const;

export type RefusalCode = keyof typeof REFUSALS;

export type Role = "root" | "policy" | "timestamp";

export type Refusal = {
  readonly code: RefusalCode;
  readonly role: Role | "bundle";
  /** For people: which document, which number. */
  readonly detail: string;
};

export const refusal = (code: RefusalCode, role: Refusal["role"], detail: string): Refusal => ({ code, role, detail });
