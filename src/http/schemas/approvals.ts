import { z } from "zod";
import { IRREVOCABLE, irrevocable } from "../../trust/keys.ts";

/**
 * Bodies of `/access/v1/requests` in the shape of AuthZEN's access-request draft (docs/approvals.md). Subject, action,
 * resource and context are read by the same hand as those of an evaluation.
 */
const entity = z
  .strictObject({ type: z.string().min(1).max(1_024), id: z.string().min(1).max(1_024) })
  .superRefine(({ type, id }, context) => {
    const member = irrevocable(type, id);
    if (member !== null) context.addIssue({ code: "custom", path: [member], message: IRREVOCABLE });
  });

const time = z.iso.datetime({ offset: true, message: "an RFC 3339 timestamp is required" });
const justification = z.string().min(1).max(2_000);
const object = z.record(z.string(), z.unknown());

export const submitRequestBody = z
  .strictObject({
    subject: object.describe("As it was evaluated"),
    action: object,
    resource: object,
    context: object.nullish().describe("As it was evaluated; what is added is not part of what is asked"),
    denial: z.strictObject({
      binding_token: z.string().min(1).max(8_192).describe("context.access_request.binding_token of the denial"),
      expires_at: time.describe("context.access_request.expires_at of the denial"),
      evaluation_id: z.string().max(256).nullish(),
      evaluated_at: time.nullish(),
      reason: z.string().max(128).nullish(),
      template: z.string().max(256).nullish(),
    }),
    requested_access: z
      .strictObject({
        requested_until: time.nullish().describe("The approval need not last longer"),
        justification: justification.nullish(),
      })
      .nullish(),
    client: z
      .strictObject({ id: z.string().max(256).nullish(), name: z.string().max(256).nullish() })
      .nullish()
      .describe("Taken and not kept: the credential says who asks"),
    interlock: z
      .strictObject({
        requester: entity.nullish().describe("Who asks in person, beside the subject; cannot approve it"),
      })
      .nullish(),
  })
  .meta({ id: "AccessRequest" });

export const answerRequestBody = z
  .strictObject({
    approver: entity.describe("Who approves or refuses, as the PEP asserts it"),
    justification: justification.nullish(),
    credentials: z
      .looseObject({})
      .nullish()
      .describe("The approver's own credentials, as context.interlock.credentials of an evaluation"),
  })
  .meta({ id: "AnswerAccessRequest" });

export const cancelRequestBody = z.strictObject({}).meta({ id: "CancelAccessRequest" });

export const listRequestsQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, "limit is 1 to 999")
    .transform(Number)
    .optional(),
});

const approval = z.object({ id: z.string(), approved_at: z.string(), approved_until: z.string() });

const task = z.object({
  id: z.string(),
  status: z.enum(["pending", "approved", "denied", "cancelled"]),
  status_endpoint: z.string(),
  expires_at: z.string(),
  links: z.object({ cancel: z.string() }).optional(),
});

export const taskAnswer = z
  .object({ task, result: z.object({ mode: z.literal("reevaluate"), approval }).optional() })
  .meta({ id: "AccessRequestTask" });

export const tasksAnswer = z
  .object({
    tasks: z.array(task.extend({ run: z.string(), pep: z.string(), submitted_at: z.string(), asked: z.unknown() })),
    more: z.boolean(),
  })
  .meta({ id: "AccessRequestTasks" });
