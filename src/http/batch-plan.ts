import type { ReasonCode } from "../vocabulary/reasons.ts";
import type { BatchSemantic, DecideAnswer, ItemAnswer } from "../objects/decide.ts";
import type { Problem } from "./reply.ts";
import type { Asked } from "./ask-shard.ts";
import type { AskedItem } from "./workload.ts";

/** One item as it will be executed. */
export type Planned =
  | { readonly kind: "ask"; readonly shard: number; readonly item: AskedItem }
  /** Answered here, a deny without a record: it never goes to a shard. */
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "deny"; readonly reason: ReasonCode };

/** What became of one item. `index` is its place in the shard's own call. */
export type Done =
  | { readonly kind: "answered"; readonly item: ItemAnswer; readonly answer: DecideAnswer; readonly index: number }
  | Exclude<Planned, { kind: "ask" }>;

export type Executed =
  | { readonly ok: true; readonly done: readonly Done[]; readonly answers: readonly DecideAnswer[] }
  | { readonly ok: false; readonly problem: Problem };

/** A call to one shard: items that stand at `places` in the request. `call` counts the calls of this request. */
export type Group = {
  readonly shard: number;
  readonly places: number[];
  readonly items: AskedItem[];
  readonly call: number;
};

export type AskGroup = (group: Group) => Promise<Asked>;

/** Executes a batch: order is kept, and an item that is not executed leaves no record. */
export function execute(plan: readonly Planned[], semantic: BatchSemantic, ask: AskGroup): Promise<Executed> {
  return semantic === "execute_all" ? executeAll(plan, ask) : shortCircuit(plan, semantic, ask);
}

/** One call for each shard touched, all at once. */
async function executeAll(plan: readonly Planned[], ask: AskGroup): Promise<Executed> {
  const groups = new Map<number, Group>();
  const done: Done[] = plan.map(() => MISSING);
  for (let place = 0; place < plan.length; place++) {
    const planned = plan[place]!;
    if (planned.kind !== "ask") {
      done[place] = planned;
      continue;
    }
    let group = groups.get(planned.shard);
    // Each shard sees one call of this request, so each may have the caller's idempotency key as it is: call 0.
    if (group === undefined)
      groups.set(planned.shard, (group = { shard: planned.shard, places: [], items: [], call: 0 }));
    group.places.push(place);
    group.items.push(planned.item);
  }
  const answers: DecideAnswer[] = [];
  const all = [...groups.values()];
  const asked = await Promise.all(all.map(ask));
  for (let g = 0; g < all.length; g++) {
    const outcome = asked[g]!;
    if (outcome.kind === "refuse") return { ok: false, problem: outcome.problem };
    if (outcome.kind === "answered") answers.push(outcome.answer);
    place(all[g]!, outcome, done);
  }
  return { ok: true, done, answers };
}

const MISSING: Done = { kind: "deny", reason: "internal" };

function place(group: Group, outcome: Exclude<Asked, { kind: "refuse" }>, done: Done[]): void {
  for (let index = 0; index < group.places.length; index++) {
    const item = outcome.kind === "answered" ? outcome.answer.items[index] : undefined;
    const at = group.places[index]!;
    if (item !== undefined && outcome.kind === "answered")
      done[at] = { kind: "answered", item, answer: outcome.answer, index };
    else done[at] = outcome.kind === "deny" ? outcome : MISSING;
  }
}

/**
 * In item order: neighbours of one shard go together, and nothing after the deciding item is sent. An item that is
 * answered here counts as the deny it is.
 */
async function shortCircuit(plan: readonly Planned[], semantic: BatchSemantic, ask: AskGroup): Promise<Executed> {
  const deciding = semantic === "permit_on_first_permit";
  const done: Done[] = [];
  const answers: DecideAnswer[] = [];
  let call = 0;
  for (let at = 0; at < plan.length;) {
    const planned = plan[at]!;
    if (planned.kind !== "ask") {
      done.push(planned);
      at++;
      if (!deciding) break;
      continue;
    }
    const group: Group = { shard: planned.shard, places: [], items: [], call: call++ };
    for (let next = plan[at]; next?.kind === "ask" && next.shard === planned.shard; next = plan[at]) {
      group.places.push(at++);
      group.items.push(next.item);
    }
    const outcome = await ask(group);
    if (outcome.kind === "refuse") return { ok: false, problem: outcome.problem };
    if (outcome.kind === "answered") answers.push(outcome.answer);
    if (placeUntil(group, outcome, done, deciding)) break;
  }
  return { ok: true, done, answers };
}

/**
 * Appends what was executed of the group; true where the batch ends in it. The shard says how far it went: where the
 * allow that decided was withheld, the last item that it answers is a deny and yet the deciding one.
 */
function placeUntil(
  group: Group,
  outcome: Exclude<Asked, { kind: "refuse" }>,
  done: Done[],
  deciding: boolean,
): boolean {
  const results: Done[] = [];
  place({ ...group, places: group.items.map((_, index) => index) }, outcome, results);
  const executed = outcome.kind === "answered" ? Math.max(outcome.answer.items.length, 1) : results.length;
  for (const result of results.slice(0, executed)) {
    done.push(result);
    if ((result.kind === "answered" && result.item.decision) === deciding) return true;
  }
  return executed < results.length;
}
