import type { StepReceiptFacts } from "../../../src/vocabulary/run.ts";
import type { FailedCheck } from "../../../src/vocabulary/reasons.ts";
import type { RunBook } from "./book.ts";
import type { GuestStep } from "./guest-steps.ts";

/**
 * What a step receipt is to this run. `counts`: it says something new. `known`: it says what is known, or what was
 * overtaken. `refused`: it cannot count.
 */
export type Standing =
  | { readonly kind: "counts"; readonly guest: GuestStep }
  | { readonly kind: "known"; readonly guest: GuestStep }
  | { readonly kind: "refused"; readonly why: string; readonly contradicts: boolean };

const refused = (why: string, contradicts = false): Standing => ({ kind: "refused", why, contradicts });

/**
 * A pass is used by one allowed step, so a second one says that the other region has two histories. Denied attempts
 * may come before it, and be heard of after it.
 */
export function standingOf(runs: RunBook, run: string, receipt: StepReceiptFacts): Standing {
  const guest = runs.guests.ofPass(receipt.pass);
  if (guest === null || guest.run !== run) return refused(`pass ${receipt.pass} is none of this run`);
  if (guest.region !== receipt.region)
    return refused(`pass ${receipt.pass} was for ${guest.region}, not for ${receipt.region}`);
  const { said } = guest;
  const same = said !== null && said.leaf === receipt.leaf && said.decision_id === receipt.decision_id;
  if (same && said.decision === receipt.decision) return { kind: "known", guest };
  const later = said !== null && receipt.t_ms > said.t_ms;
  if (said?.decision === "allow") {
    if (receipt.decision === "deny" && !same && !later) return { kind: "known", guest };
    return refused(`pass ${receipt.pass} was used for ${said.decision_id}, and now for ${receipt.decision_id}`, true);
  }
  if (same) return refused(`${receipt.decision_id} was a deny, and now an allow`, true);
  if (receipt.decision === "allow" && said !== null && receipt.t_ms < said.t_ms)
    return refused(`pass ${receipt.pass} was used for ${receipt.decision_id}, and yet later for a deny`, true);
  if (receipt.decision === "deny" && said !== null && !later) return { kind: "known", guest };
  if (receipt.decision === "allow" && guest.state === "denied" && isFull(runs, guest))
    return refused("the plan has no room left for it: the node was taken since its first attempt was denied");
  return { kind: "counts", guest };
}

function isFull(runs: RunBook, { run, sseq }: GuestStep): boolean {
  const node = runs.step(sseq)?.node ?? null;
  const plan = runs.plan(run);
  const planned = node === null || plan === null ? undefined : runs.nodes(plan).get(node);
  return planned !== undefined && runs.tried(run, planned.id).taken >= planned.repeat;
}

/** Those that came with a step and do not count, as checks that failed. */
export const refusedReceipts = (
  runs: RunBook,
  run: string,
  receipts: readonly StepReceiptFacts[],
): readonly FailedCheck[] =>
  receipts.flatMap((receipt) => {
    const standing = standingOf(runs, run, receipt);
    if (standing.kind === "known") return [];
    // Noted before the step is decided: what still counts could not be noted.
    const detail = standing.kind === "refused" ? standing.why : `the receipt of pass ${receipt.pass} is not noted yet`;
    return [{ reason: "guest_receipt_missing", detail }];
  });
