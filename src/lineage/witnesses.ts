import type { PolicyWitness } from "./tlog-policy.ts";

export type OutsideWitness = PolicyWitness & { readonly url: string };

/**
 * Witnesses that are no region of the membership (`INTERLOCK_WITNESSES`): a customer's, a regulator's, a public one.
 * They speak C2SP tlog-witness and know nothing of Interlock.
 */
export type OutsideWitnesses = {
  /** How many of them must cosign, beside the quorum of the peers. */
  readonly threshold: number;
  /** In the order of the configuration; `url` is the submission prefix. Names are `outside:<name>` in the policy. */
  readonly witnesses: readonly OutsideWitness[];
};

export const NO_OUTSIDE_WITNESSES: OutsideWitnesses = { threshold: 0, witnesses: [] };
