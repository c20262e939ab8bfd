import { z } from "zod";
import { MAX_PERMIT_MS } from "../../credentials/permit-life.ts";
import { AUDIENCE } from "../permit-options.ts";
import { MAX_STATEMENT_CHARS } from "../../credentials/between/statement.ts";
import { MAX_STEP_RECEIPTS } from "../between-option.ts";
import { parseDecisionId, parseRunId } from "../../base/ids.ts";
import { MAX_PARENTS, STEP_ID } from "../step-options.ts";

/**
 * The AuthZEN bodies as OpenAPI shows them. The evaluation path reads them by hand (`canonical-request`,
 * `interlock-options`), without these objects; `test/unit/http/schemas.test.ts` holds the two against each other.
 */
const name = z.string().min(1).max(1_024);
const properties = z.record(z.string(), z.unknown()).nullish();

const subject = z.looseObject({ type: name, id: name, properties }).meta({ id: "Subject" });
const resource = z.looseObject({ type: name, id: name, properties }).meta({ id: "Resource" });
const action = z.looseObject({ name, properties }).meta({ id: "Action" });

const jwt = z.string().min(1).max(16_384).nullish();
const statement = z.string().min(1).max(MAX_STATEMENT_CHARS);

const credentials = z
  .strictObject({
    wit: jwt.describe("Workload Identity Token; needs wpt"),
    wpt: jwt.describe("Workload Proof Token for one of the PEP's registered audiences"),
    jwt_svid: jwt,
    service_account: jwt.describe("Kubernetes projected token"),
    access_token: jwt,
    dpop: jwt.describe("For one of the PEP's registered targets"),
    txn_token: jwt.describe("Covered by the wpt; only its hash is compared"),
    attestation: z
      .array(
        z.union([
          z.string().min(1).max(16_384),
          z.strictObject({ result: z.string().min(1).max(16_384), challenge: z.string().min(1).max(128).nullish() }),
        ]),
      )
      .max(4)
      .nullish(),
    delegations: z.array(z.string().min(1).max(16_384)).max(16).nullish(),
  })
  .meta({ id: "WorkloadCredentials" });

const interlock = z
  .strictObject({
    run: name.nullish().describe("Id of the run that this step belongs to"),
    step: z.string().regex(STEP_ID).nullish().describe("Node of the run's plan"),
    parents: z
      .array(z.string().refine((id) => parseDecisionId(id) !== null || parseRunId(id) !== null))
      .max(MAX_PARENTS)
      .refine((ids) => new Set(ids).size === ids.length)
      .nullish()
      .describe("Decision ids of this run's steps whose results this one uses; of a step elsewhere that of its pass"),
    state_version: z.int().min(1).nullish().describe("Denied with state_conflict where the run has another version"),
    consistency: z
      .strictObject({ at_least: name.nullish() })
      .nullish()
      .describe("Decide on trust state at least as new as this token's"),
    idempotency_key: z
      .string()
      .regex(/^[!-~]{1,128}$/)
      .nullish(),
    deadline_ms: z.int().min(1).max(30_000).nullish(),
    dry_run: z.boolean().nullish().describe("Decide, but record nothing"),
    explain: z
      .union([z.boolean(), z.literal("counterfactual")])
      .nullish()
      .describe(
        "Say which checks failed, which policies decided and where they are written; `counterfactual`: also the " +
          "smallest change of facts that would have turned a denial",
      ),
    evidence: z.literal("inline").nullish(),
    credentials: credentials.nullish().describe("What came along about the workload that is asked about"),
    permit: z
      .strictObject({
        audience: z.string().regex(AUDIENCE).describe("Id or audience of the PEP that may redeem it"),
        ttl_ms: z.int().min(1).max(MAX_PERMIT_MS).nullish(),
        offline: z.literal(true).nullish().describe("To be accepted without redeeming: lives no longer than Δ"),
      })
      .nullish()
      .describe("An allow comes with a permit; of a single evaluation in an opened run"),
    pass: statement
      .nullish()
      .describe("Of a run that is at home in another region; without run, step, parents and state_version"),
    step_receipts: z
      .array(statement)
      .max(MAX_STEP_RECEIPTS)
      .nullish()
      .describe("What other regions said of steps of this run"),
  })
  .refine(({ run, step, parents, state_version, permit }) => {
    const about = [step, parents?.length === 0 ? null : parents, state_version, permit];
    return (run ?? null) !== null || about.every((member) => (member ?? null) === null);
  }, "step, parents, state_version and permit need run")
  .meta({ id: "InterlockOptions", description: "Strict: an unknown member is an error" });

const context = z.looseObject({ interlock: interlock.nullish() }).nullish();

export const evaluationBody = z.looseObject({ subject, action, resource, context }).meta({ id: "EvaluationRequest" });

export const evaluationsBody = z
  .looseObject({
    subject: subject.nullish(),
    action: action.nullish(),
    resource: resource.nullish(),
    context,
    options: z
      .looseObject({
        evaluations_semantic: z.enum(["execute_all", "deny_on_first_deny", "permit_on_first_permit"]).nullish(),
      })
      .nullish(),
    evaluations: z.array(z.looseObject({})).max(1_000).nullish(),
  })
  .meta({ id: "EvaluationsRequest" });

const page = z.looseObject({ token: z.string().max(4_096).nullish(), limit: z.int().min(1).nullish() }).nullish();
const anySubject = z.looseObject({ type: name, properties });

export const searchSubjectBody = z.looseObject({ subject: anySubject, action, resource, context, page });
export const searchResourceBody = z.looseObject({ subject, action, resource: anySubject, context, page });
export const searchActionBody = z.looseObject({ subject, resource, context, page });

const decision = z
  .object({ decision: z.boolean(), context: z.record(z.string(), z.unknown()).optional() })
  .meta({ id: "Decision" });

export const evaluationAnswer = decision;
export const evaluationsAnswer = z.union([z.object({ evaluations: z.array(decision) }), decision]);
export const searchAnswer = z
  .object({
    page: z.object({ next_token: z.string(), count: z.int(), total: z.int() }).optional(),
    results: z.array(z.union([z.object({ type: z.string(), id: z.string() }), z.object({ name: z.string() })])),
  })
  .meta({ id: "SearchResult" });

export const problem = z
  .object({ type: z.string(), title: z.string(), status: z.int(), code: z.string(), detail: z.string() })
  .meta({ id: "Problem" });
