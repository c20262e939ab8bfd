import type { Membership } from "./membership.ts";

type Member = Membership["regions"][number];

/** What the roots say of one key of a region. */
export type KeyValidity = {
  /** First event that it may sign. */
  readonly from_seq: number;
  /** Last event that counts under it; then it signs no head, no pull and no snapshot any more. `null`: no last one. */
  readonly last_seq: number | null;
  /** It is in other hands: besides, no credential that it signed counts. */
  readonly distrusted: boolean;
};

export function validityOf(member: Member, kid: string): KeyValidity {
  const said = member.key_validity?.find((key) => key.kid === kid);
  const { from_seq = 1, until_seq, distrust_after } = said ?? {};
  const ends = [until_seq, distrust_after].filter((seq) => seq !== undefined);
  return {
    from_seq,
    last_seq: ends.length === 0 ? null : Math.min(...ends),
    distrusted: distrust_after !== undefined,
  };
}

/** What the roots say of that very key: a `kid` that another key goes by is not listed. */
export function listedKey(member: Member | undefined, kid: string, x: string | undefined): KeyValidity | null {
  const listed = member?.keys.some((key) => key.kid === kid && key["x"] === x) ?? false;
  return listed ? validityOf(member!, kid) : null;
}

/** Whether the roots let it sign now. */
export const speaks = (key: KeyValidity | null): key is KeyValidity & { readonly last_seq: null } =>
  key !== null && key.last_seq === null;
