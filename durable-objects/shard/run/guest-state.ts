import { base64url } from "../../../src/base/bytes.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { STEP_RECEIPT_TYPE } from "../../../src/credentials/between/step-receipt.ts";
import { guestRunId, receiptKeys } from "../../../src/runs/guest.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { GuestState, PassFacts } from "../../../src/vocabulary/run.ts";
import type { Outcome } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { Turn } from "../turn.ts";
import type { Appended } from "../writer.ts";

/** What this region knows of a step under that pass; `null`: `run` is not the one that its steps are recorded in. */
export function guestStateOf(turn: Turn, run: string, pass: PassFacts): GuestState | null {
  if (run !== guestRunId(turn.region, turn.log_epoch, pass, nodeSha256)) return null;
  const { runs } = turn.writer;
  const before = runs.passes.of(pass.id);
  return {
    used: before?.allowed === true ? before.claims.decision_id : null,
    lost: runs.marks.lost(pass.ancestors),
  };
}

/** A pass that is none, or no more, for this step: nothing was attempted under it. */
const NO_ATTEMPT: ReadonlySet<ReasonCode> = new Set(["permit_invalid", "permit_expired", "permit_reused"]);

/** Notes what was decided under a pass: an allow uses it up, and either is what its step receipt says. */
export function keepGuestStep(
  turn: Turn,
  pass: PassFacts,
  outcome: Outcome,
  appended: Appended,
  id: { readonly first: number; readonly alone: boolean },
): void {
  const { core, dependencies, homes, effect } = outcome;
  if (core.failed.some(({ reason }) => NO_ATTEMPT.has(reason))) return;
  const named = decisionId(turn.region, turn.log_epoch, turn.shard, id.first);
  const allowed = core.decision === "allow";
  // Home knows what the pass rests on, and told it.
  const own = allowed ? receiptKeys(pass, dependencies) : [];
  turn.writer.runs.passes.put({
    pass: pass.id,
    sseq: appended.sseq,
    allowed,
    claims: {
      v: 1,
      iss: turn.region,
      aud: pass.home,
      pass: pass.id,
      run: pass.run,
      decision: core.decision,
      decision_id: id.alone ? named : `${named}/${appended.sseq - id.first}`,
      leaf: base64url(appended.leaf_hash),
      t_ms: core.t_ms,
      labels: [...(effect?.labels ?? [])],
      dependencies: [...new Set(own.flatMap((key) => turn.toldNames(key)))].sort(),
      homes: allowed ? [...new Set([turn.region, ...homes])].sort() : [turn.region],
    },
  });
}

/** What is said of the step at `sseq`; `null`: nothing is, or this shard cannot speak for its region just now. */
export async function stepReceiptOf(turn: Turn, pass: string, sseq: number): Promise<string | null> {
  const found = turn.writer.runs.passes.stored(pass);
  if (found === null || found.sseq !== sseq) return null;
  return turn.statement(STEP_RECEIPT_TYPE, found.claims).catch(() => null);
}
