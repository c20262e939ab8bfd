import { z } from "zod";
import { IRREVOCABLE, irrevocable } from "../../trust/keys.ts";

const entity = z
  .strictObject({ type: z.string().min(1).max(1_024), id: z.string().min(1).max(1_024) })
  .superRefine(({ type, id }, context) => {
    const member = irrevocable(type, id);
    if (member !== null) context.addIssue({ code: "custom", path: [member], message: IRREVOCABLE });
  });

export const openRunBody = z
  .strictObject({
    principal: entity.describe("Who the run is for"),
    members: z.array(entity).max(100).default([]).describe("Subjects that may step in it besides the principal"),
  })
  .meta({ id: "OpenRun" });

/** Closing takes no input; an empty object is as good as no body. */
export const closeRunBody = z.strictObject({}).meta({ id: "CloseRun" });

const counter = (name: string, min: number, max: number) =>
  z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, `${name} is a whole number`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `${name} is ${min} to ${max}`);

export const readRunQuery = z.strictObject({
  limit: counter("limit", 1, 500).optional(),
  before: counter("before", 1, Number.MAX_SAFE_INTEGER).optional(),
});
