import type { z } from "zod";
import { err, ok, type Result } from "../base/result.ts";
import { readJsonObject } from "./body.ts";
import { bad, type Problem } from "./reply.ts";

/** A body that fits `schema`, or a problem that names the member and what to do. */
export async function readBody<S extends z.ZodType>(
  request: Request,
  max_bytes: number,
  schema: S,
): Promise<Result<z.output<S>, Problem>> {
  const body = await readJsonObject(request, max_bytes);
  return body.ok ? fit(body.value, schema) : body;
}

/** Query parameters as an object of texts; one that stands twice is refused. */
export function readQuery<S extends z.ZodType>(request: Request, schema: S): Result<z.output<S>, Problem> {
  const query = new Map<string, string>();
  for (const [name, value] of new URL(request.url).searchParams) {
    if (query.has(name)) return err(bad(`query parameter ${name.slice(0, 64)}: stands twice`));
    query.set(name, value);
  }
  return fit(Object.fromEntries(query), schema);
}

function fit<S extends z.ZodType>(value: unknown, schema: S): Result<z.output<S>, Problem> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  return err(bad(parsed.error.issues.slice(0, 5).map(issueText).join("; ")));
}

function issueText(issue: z.core.$ZodIssue): string {
  const path = issue.path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("")
    .slice(1);
  if (issue.code === "unrecognized_keys") {
    const names = issue.keys.map((key) => (path === "" ? key : `${path}.${key}`).slice(0, 128));
    return `${names.join(", ")}: not a known member; remove it`;
  }
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}
