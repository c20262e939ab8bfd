import type { Random } from "./random.ts";
import { PASSING, post } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** What a client was told, kept to be held against the disk. */
export type Acknowledged = {
  readonly what: string;
  /** One for each call to a shard that this answer rests on, with its receipt at the same place. */
  readonly ids: readonly string[];
  readonly receipts: readonly string[];
  /** Reason of each item that was answered; `null` for an allow. Empty for opening and closing a run. */
  readonly reasons: readonly (string | null)[];
  readonly keyed: Keyed | null;
};

/** A call that may be repeated: same key, same question. */
export type Keyed = { readonly key: string; readonly path: string; readonly body: object };

export type Load = {
  readonly acknowledged: Acknowledged[];
  /** Calls with a key that broke off: whether they were decided is not known. */
  readonly lost: Keyed[];
  /** Answers that a sound region does not give. */
  readonly unexpected: string[];
};

export const newLoad = (): Load => ({ acknowledged: [], lost: [], unexpected: [] });

/** `callers` at once, each one call after the other, until `stopped` or until the region does not answer any more. */
export async function runLoad(
  region: TestRegion,
  load: Load,
  random: Random,
  options: { readonly callers: number; readonly prefix: string; readonly stopped: () => boolean },
): Promise<void> {
  let keys = 0;
  const caller = async (): Promise<void> => {
    let run: string | null = null;
    while (!options.stopped()) {
      const dice = random.next();
      let went = true;
      if (run === null && dice < 0.1) {
        const opened = await send(region, load, "open", { path: "/runs/v1/runs", key: "", body: OPEN });
        if (opened !== null) run = (opened as { run?: string }).run ?? null;
        went = opened !== null;
      } else if (run !== null && dice < 0.03) {
        went = (await send(region, load, "close", { path: `/runs/v1/runs/${run}/close`, key: "", body: {} })) !== null;
        run = null;
      } else {
        const key = random.chance(0.5) ? `${options.prefix}-${keys++}` : "";
        const call = random.chance(0.4) ? batch(random, run, key) : single(random, run, key);
        went = (await send(region, load, "decide", { ...call, key })) !== null;
      }
      if (!went) return;
    }
  };
  await Promise.all(Array.from({ length: options.callers }, caller));
}

const OPEN = { principal: { type: "user", id: "alice" }, members: [{ type: "user", id: "bob" }] };

const question = (random: Random): object => ({
  subject: { type: "user", id: random.pick(["alice", "bob", "mallory"]) },
  action: { name: random.pick(["read", "read", "write", "delete"]) },
  resource: { type: "record", id: `record-${random.int(1, 9)}` },
});

function context(run: string | null, key: string): object {
  return { interlock: { ...(run === null ? {} : { run }), ...(key === "" ? {} : { idempotency_key: key }) } };
}

const single = (random: Random, run: string | null, key: string) => ({
  path: "/access/v1/evaluation",
  body: { ...question(random), context: context(run, key) },
});

const SEMANTICS = ["execute_all", "deny_on_first_deny", "permit_on_first_permit"];

const batch = (random: Random, run: string | null, key: string) => ({
  path: "/access/v1/evaluations",
  body: {
    context: context(null, key),
    options: { evaluations_semantic: random.pick(SEMANTICS) },
    // Some items are steps of the caller's run, the others share an implicit one: two shards in one batch.
    evaluations: Array.from({ length: random.int(2, 8) }, () => ({
      ...question(random),
      ...(run !== null && random.chance(0.5) ? { context: context(run, "") } : {}),
    })),
  },
});

/** A shard that never held a lease, or none that answered in time. */
const UNDECIDED: ReadonlySet<string | null> = new Set(["trust_lease_expired", "deadline", "overloaded"]);

/** `null`: the region does not answer any more. */
export async function send(region: TestRegion, load: Load, what: string, call: Keyed): Promise<unknown> {
  const keyed = call.key === "" ? null : call;
  let answer: Response;
  let text: string;
  try {
    answer = await post(region.url + call.path, region.pep, call.body);
    text = await answer.text();
  } catch (thrown) {
    // What undici says of a connection that was refused or broke off.
    if (!(thrown instanceof TypeError) || !/fetch failed|terminated/.test(thrown.message)) throw thrown;
    if (keyed !== null) load.lost.push(keyed);
    return null;
  }
  if (!answer.ok) {
    // A run that is not opened for want of a lease, which a busy machine may lose.
    if (!PASSING.has((JSON.parse(text) as { code?: string }).code ?? ""))
      load.unexpected.push(`${what}: ${answer.status} ${text}`);
  } else {
    const told = { what, keyed, ...evidenceOf(answer), reasons: reasonsOf(text) };
    // What no shard decided has no record, and acknowledges nothing.
    const undecided =
      told.ids.length === 0 && told.reasons.length > 0 && told.reasons.every((one) => UNDECIDED.has(one));
    if (!undecided) load.acknowledged.push(told);
  }
  return JSON.parse(text) as unknown;
}

/** Ids and receipts as the headers give them: lists where several shards decided. */
export function evidenceOf(answer: Response): {
  readonly ids: readonly string[];
  readonly receipts: readonly string[];
} {
  const ids = answer.headers.get("interlock-decision-id");
  const receipts = answer.headers.get("interlock-receipt");
  return {
    ids: ids === null ? [] : ids.split(", "),
    receipts:
      receipts === null ? [] : (JSON.parse(`[${receipts}]`) as object[]).map((receipt) => JSON.stringify(receipt)),
  };
}

type Decision = { readonly decision?: boolean; readonly context?: { readonly reason?: string } };

function reasonsOf(text: string): (string | null)[] {
  const body = JSON.parse(text) as Decision & { readonly evaluations?: readonly Decision[] };
  const decisions = body.evaluations ?? (body.decision === undefined ? [] : [body]);
  return decisions.map(({ decision, context }) => (decision === true ? null : (context?.reason ?? "policy_denied")));
}
