import { z } from "zod";
import { digestOf, type Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Plan, PlanNode } from "../vocabulary/run.ts";
import { byText, entity, read, region, smallName, twice } from "./input.ts";

export const MAX_NODES = 256;

/** A node as callers write it. */
const NodeInput = z.strictObject({
  id: smallName,
  action: z.string().min(1).max(256),
  subject: entity.nullish(),
  resource: z.strictObject({ type: z.string().min(1).max(256), id: z.string().min(1).max(1_024).nullish() }).nullish(),
  after: z.array(smallName).max(64).optional(),
  region: region.nullish(),
  repeat: z.int().min(1).max(1_000).optional(),
});

export const PlanInput = z.strictObject({ nodes: z.array(NodeInput).min(1).max(MAX_NODES) });

/**
 * Reads a declared plan: a directed acyclic graph of at most 256 nodes whose edges lead to nodes that exist. What
 * comes back is canonical (nodes by id, edges by text, every member present), so equal plans have one text.
 */
export function readPlan(value: unknown): Result<Plan, string> {
  const input = read(PlanInput, value);
  return input.ok ? planOf(input.value) : input;
}

/** The same of a plan whose form was read already, as part of a larger body. */
export function planOf(input: z.output<typeof PlanInput>): Result<Plan, string> {
  const nodes = input.nodes.map((node): PlanNode => ({
    action: node.action,
    after: [...(node.after ?? [])].sort(byText),
    id: node.id,
    region: node.region ?? null,
    repeat: node.repeat ?? 1,
    resource: node.resource ? { id: node.resource.id ?? null, type: node.resource.type } : null,
    subject: node.subject ?? null,
  }));
  nodes.sort((a, b) => byText(a.id, b.id));
  const problem = problemOf(nodes);
  return problem === null ? ok({ nodes }) : err(problem);
}

function problemOf(nodes: readonly PlanNode[]): string | null {
  const double = twice(nodes.map(({ id }) => id));
  if (double !== null) return `node ${double} stands twice`;
  const known = new Set(nodes.map(({ id }) => id));
  for (const { id, after } of nodes) {
    const edge = twice(after);
    if (edge !== null) return `node ${id} names ${edge} twice in after`;
    const missing = after.find((name) => !known.has(name));
    if (missing !== undefined) return `node ${id} comes after ${missing}, which is not in the plan`;
  }
  const circle = circleIn(nodes);
  return circle === null ? null : `the plan goes in a circle through ${circle}`;
}

/** A node from which no order can start: nodes are taken away while nothing they come after is left. */
function circleIn(nodes: readonly PlanNode[]): string | null {
  const waits = new Map(nodes.map(({ id, after }) => [id, after.length]));
  const followers = new Map<string, string[]>(nodes.map(({ id }) => [id, []]));
  for (const { id, after } of nodes) for (const name of after) followers.get(name)!.push(id);
  const free = nodes.filter(({ after }) => after.length === 0).map(({ id }) => id);
  for (let id = free.pop(); id !== undefined; id = free.pop()) {
    waits.delete(id);
    for (const follower of followers.get(id)!) {
      const left = waits.get(follower)! - 1;
      waits.set(follower, left);
      if (left === 0) free.push(follower);
    }
  }
  return waits.keys().next().value ?? null;
}

/** JCS of a plan from `readPlan`, whose members stand in sorted order. */
export const planText = (plan: Plan): string =>
  JSON.stringify({
    nodes: plan.nodes.map(({ action, after, id, region, repeat, resource, subject }) => ({
      action,
      after,
      id,
      region,
      repeat,
      resource: resource === null ? null : { id: resource.id, type: resource.type },
      subject,
    })),
  });

export const planDigest = (plan: Plan, hash: Sha256): string => digestOf(planText(plan), hash);

/**
 * What an amendment may do: add nodes, and give a node that nobody has taken more to come after. Nothing that stood
 * is taken away or changed, or an amendment would be a way around the plan. `taken`: nodes with an allowed step.
 */
export function amendPlan(old: Plan, next: Plan, taken: ReadonlySet<string>): Result<Plan, string> {
  const nodes = new Map(next.nodes.map((node) => [node.id, node]));
  for (const before of old.nodes) {
    const now = nodes.get(before.id);
    if (now === undefined) return err(`node ${before.id} may not be taken away`);
    const extended = { ...now, after: before.after };
    if (planText({ nodes: [extended] }) !== planText({ nodes: [before] }))
      return err(`node ${before.id} may not be changed`);
    const lost = before.after.find((name) => !now.after.includes(name));
    if (lost !== undefined) return err(`node ${before.id} has to stay after ${lost}`);
    if (now.after.length > before.after.length && taken.has(before.id))
      return err(`node ${before.id} has been taken; it may not come after anything more`);
  }
  return ok(next);
}
