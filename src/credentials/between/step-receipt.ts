import { z } from "zod";
import { err, ok, type Result } from "../../base/result.ts";
import { parseDecisionId, parseRunId } from "../../base/ids.ts";
import { MAX_RECEIPT_KEYS } from "../../runs/guest.ts";
import type { StepReceiptFacts } from "../../vocabulary/run.ts";
import { FUTURE_SKEW_MS } from "../claims.ts";
import type { RegionKeys } from "./certificate.ts";
import { hash, homes, labels, pseudonym, region } from "./claim-forms.ts";
import { verifyStatement, type Statement } from "./statement.ts";

/**
 * A step receipt: what a guest region says to a run's home of the step that it decided under a pass. Home counts the
 * step only when it sees this; it does not expire, since a step that was taken stays taken.
 */
export const STEP_RECEIPT_TYPE = "interlock-step-receipt+jwt";

const Claims = z.strictObject({
  v: z.literal(1),
  iss: region,
  /** The run's home. */
  aud: region,
  pass: z.string().refine((id) => parseRunId(id) !== null),
  run: hash,
  decision: z.enum(["allow", "deny"]),
  decision_id: z.string().refine((id) => parseDecisionId(id) !== null),
  /** Leaf hash of the record there. */
  leaf: hash,
  t_ms: z.int().min(0),
  /** Labels that the step touched. */
  labels,
  dependencies: z.array(pseudonym).max(MAX_RECEIPT_KEYS),
  homes,
});
export type StepReceiptClaims = z.infer<typeof Claims>;

export async function verifyStepReceipt(
  text: string,
  self: string,
  keysOf: RegionKeys,
  now_ms: number,
): Promise<Result<{ readonly receipt: StepReceiptFacts; readonly statement: Statement }, string>> {
  const said = await verifyStatement(text, { what: "step receipt", typ: STEP_RECEIPT_TYPE }, keysOf, now_ms);
  if (!said.ok) return said;
  const read = Claims.safeParse(said.value.claims);
  if (!read.success) return err("the step receipt's claims are not of the form that one has");
  const { iss, aud, pass, decision, decision_id, leaf, t_ms, labels, dependencies, homes } = read.data;
  if (iss !== said.value.region) return err("the step receipt is not issued by the region that signed it");
  if (parseDecisionId(decision_id)?.region !== iss) return err("the step receipt names a decision of another region");
  if (aud !== self) return err(`the step receipt is for another region than ${self}`);
  if (parseRunId(pass)?.region !== self) return err("the step receipt answers a pass of another region");
  if (t_ms > now_ms + FUTURE_SKEW_MS) return err("the step receipt is of a time to come");
  return ok({
    statement: said.value,
    receipt: {
      pass,
      region: iss,
      decision,
      decision_id,
      leaf,
      t_ms,
      labels,
      dependencies,
      homes: [...new Set([iss, ...homes])].filter((home) => home !== self).sort(),
      keys: said.value.keys,
      digest: said.value.digest,
    },
  });
}
