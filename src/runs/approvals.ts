import { approvalKey } from "../trust/keys.ts";
import type { Approval, Delegation, EntityForm } from "../vocabulary/run.ts";

/** Who stands behind a step and so cannot approve it. */
export type Involved = {
  readonly subject: EntityForm;
  readonly principal: EntityForm;
  readonly chain: readonly Delegation[];
  /** Told by the credential: the bare id of somebody; `null`: nobody. */
  readonly on_behalf_of: string | null;
};

export function isIndependent(approver: EntityForm, { subject, principal, chain, on_behalf_of }: Involved): boolean {
  if (approver === subject || approver === principal) return false;
  if (on_behalf_of !== null && approver.slice(approver.indexOf("/") + 1) === on_behalf_of) return false;
  return !chain.some(({ delegator, delegate }) => approver === delegator || approver === delegate);
}

/** Canonical keys whose revocation takes an approval away. */
export const approvalKeys = ({ id, approver }: Approval): readonly string[] => [approvalKey(id), `subject:${approver}`];

/** Those that count now. One that was revoked does not, and denies nothing by itself: another may take its place. */
export const countingApprovals = (
  approvals: readonly Approval[],
  involved: Involved,
  t_ms: number,
  dead: (keys: readonly string[]) => boolean,
): readonly Approval[] =>
  approvals.filter(
    (approval) =>
      t_ms < approval.expires_ms && isIndependent(approval.approver, involved) && !dead(approvalKeys(approval)),
  );
