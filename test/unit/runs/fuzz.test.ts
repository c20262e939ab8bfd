import { expect, test } from "vitest";
import { loadPolicy } from "../../../src/policy/load.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import type { LoadedPolicy } from "../../../src/policy/evaluate.ts";
import type { Delegation } from "../../../src/vocabulary/run.ts";
import { REASON_ORDER } from "../../../src/vocabulary/reasons.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { seeded, seedOf, type Random } from "../../support/random.ts";
import { packsFolder } from "../policy/pack-fixture.ts";
import {
  amountIn,
  expected,
  history,
  mayAmend,
  mayDelegate,
  spentOn,
  type ModelAsk,
  type ModelRun,
  type PackRules,
  type Revoked,
} from "./model.ts";
import { Real } from "./real.ts";
import * as world from "./world.ts";

/**
 * The run state of a shard (its rows in SQLite, the pure core, the kernel) against a naive model, over random runs.
 * `INTERLOCK_RUN_OPERATIONS` for more; a failing seed is in the message, and `INTERLOCK_SEED` repeats it.
 */
const OPERATIONS = Number(process.env["INTERLOCK_RUN_OPERATIONS"] ?? 100_000);
const PER_EPISODE = 200;

const RATE = { id: "rate", actions: ["pay.*"], per: "subject", window_ms: 1_000, max: "4" } as const;
const RULES: PackRules = {
  required: (action) => action === "pay.big",
  max_depth: (action) => ({ "pay.big": 2, "read.doc": 1 })[action] ?? 8,
  budgets: [{ owner: "pack/p", budget: { ...RATE, sum: null, unit: null } }],
};
const HISTORY = {
  all: { action: "quote" },
  recent: { action: "pay.execute", sum: "amount", within_ms: 1_500 },
} as const;
const ABOVE = { action: "pay.prepare", sum: "amount", among: "ancestors" } as const;

async function permissive(): Promise<LoadedPolicy> {
  const entries = { all: HISTORY.all, recent: HISTORY.recent, above: ABOVE };
  const actions = Object.fromEntries(
    world.ACTIONS.map((name) => [
      name,
      { delegation: { required: RULES.required(name), max_depth: RULES.max_depth(name) } },
    ]),
  );
  const types = (name: string) => ({ type: name, attributes: "request" });
  const folder = await packsFolder({
    p: {
      manifest: {
        subjects: { agent: { ...types("Agent"), identity: "pep-asserted" } },
        resources: { thing: types("Thing"), other: types("Other") },
        actions,
        budgets: [RATE],
        history: entries,
      },
      schema: `entity Agent = {}; entity Thing = {}; entity Other = {};
        action ${world.ACTIONS.map((name) => JSON.stringify(name)).join(", ")}
          appliesTo { principal: [Agent], resource: [Thing, Other], context: { interlock: { history: {
            all: { any: Bool, count: Long, sum: decimal, last_ms?: Long, age_ms?: Long },
            recent: { any: Bool, count: Long, sum: decimal, last_ms?: Long, age_ms?: Long },
            above: { any: Bool, count: Long, sum: decimal, last_ms?: Long, age_ms?: Long } } } } };`,
    },
  });
  const built = await buildPacks(folder);
  expect(built.flatMap(({ problems }) => problems)).toEqual([]);
  const bundle: Bundle = { v: 1, packs: built.map(({ pack }) => pack) };
  return loadPolicy(bundle, ["p"]);
}

type Counts = Record<string, number>;

/** As `toEqual`, which would take longer than all else here. */
function same(got: unknown, want: unknown): void {
  if (JSON.stringify(got) !== JSON.stringify(want)) expect(got).toEqual(want);
}

class Episode {
  readonly #random: Random;
  readonly #real: Real;
  #runs: ModelRun[] = [];
  readonly #revoked: Revoked = new Map();
  readonly #counts: Counts;
  /** The runs as they were when the turn began, where it is going to be rolled back. */
  #undo: ModelRun[] | null = null;
  #ids = 0;

  constructor(random: Random, policy: LoadedPolicy, counts: Counts) {
    this.#random = random;
    this.#real = new Real(policy);
    this.#counts = counts;
    for (const id of ["eu.1.run-1", "eu.1.run-2"]) {
      const plan = random.chance(0.7) ? { nodes: world.randomPlan(random) } : null;
      const budgets = ["b1", "b2", "b3"].slice(random.int(0, 3)).map((name) => world.randomBudget(random, name));
      const run = { id, principal: world.PRINCIPAL, members: [world.PRINCIPAL, world.MEMBER], plan, budgets };
      this.#real.open(id, run.principal, run.members, plan, budgets);
      this.#runs.push({ ...run, delegations: [], steps: [], open: true });
    }
    this.#real.commit();
  }

  end(): void {
    this.#real.close();
  }

  operate(): void {
    const random = this.#random;
    const run = random.pick(this.#runs);
    const dice = random.int(0, 99);
    if (dice < 55) this.#step(run);
    else if (dice < 60) this.#look(run, "step");
    else if (dice < 64) this.#look(run, "redeem");
    else if (dice < 74) this.#turn();
    else if (dice < 80) this.#report(run);
    else if (dice < 83) this.#withhold(run);
    else if (dice < 88) this.#delegate(run);
    else if (dice < 92) this.#amend(run);
    else if (dice < 96) this.#trust(run);
    else if (dice < 99) this.#real.t_ms += random.int(0, 900);
    else if (random.chance(0.05)) this.#close(run);
    else this.#count("wait");
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  #ask(run: ModelRun): { ask: ModelAsk; request: CanonicalRequest } {
    const random = this.#random;
    const free = run.plan?.nodes.filter(
      ({ id, repeat }) => run.steps.filter((one) => one.node === id && one.allowed).length < repeat,
    );
    const nodes = free !== undefined && free.length > 0 && random.chance(0.8) ? free : (run.plan?.nodes ?? []);
    const planned = nodes.length > 0 && random.chance(0.95) ? random.pick(nodes) : null;
    const wanted = planned?.subject ?? null;
    const subject = wanted !== null && random.chance(0.95) ? wanted : world.randomSubject(random);
    const action = planned !== null && random.chance(0.96) ? planned.action : random.pick(world.ACTIONS);
    const target = world.RESOURCES.filter(
      (name) => !planned?.resource || name === `${planned.resource.type}/${planned.resource.id ?? name.split("/")[1]}`,
    );
    const resource = random.chance(0.9) ? random.pick(target) : random.pick(world.RESOURCES);
    const node = planned?.id ?? (run.plan !== null && random.chance(0.5) ? "zz" : undefined);
    const good = run.steps.filter(({ allowed }) => allowed);
    const from = random.chance(0.9) ? good : run.steps;
    const declared = random.chance(0.25) && from.length > 0 ? [random.pick(from.slice(-8)).id] : [];
    if (random.chance(0.02)) declared.push("eu.1.s0.999999");
    if (random.chance(0.02)) declared.push(random.pick(this.#runs).steps.at(-1)?.id ?? "none");
    const version = random.chance(0.06) ? run.steps.length + random.int(-1, 1) : undefined;
    const properties = world.randomProperties(random);
    const ask: ModelAsk = {
      subject,
      action,
      resource,
      properties,
      node,
      parents: declared,
      version,
      t: this.#real.t_ms,
      purpose: "step",
    };
    const entity = (form: string) => ({ type: form.split("/")[0]!, id: form.split("/")[1]! });
    const request: CanonicalRequest = {
      v: 1,
      subject: entity(subject),
      action: { name: action, properties: properties as Record<string, never> },
      resource: entity(resource),
      run: run.id,
      ...(node === undefined ? {} : { step: node }),
      ...(declared.length === 0 ? {} : { parents: declared }),
      ...(version === undefined ? {} : { state_version: version }),
    };
    return { ask, request };
  }

  #step(run: ModelRun): void {
    const { ask, request } = this.#ask(run);
    const want = expected(run, ask, RULES, this.#revoked);
    const got = this.#real.step(request);
    this.#compare(run, ask, want, got);
    const allowed = want.reasons.size === 0;
    const amounts: Record<string, number> = {};
    const amount = amountIn("amount", ask.properties);
    if (amount !== null) amounts["amount"] = amount;
    run.steps.push({
      id: got.id,
      no: got.sseq,
      run: run.id,
      node: ask.node ?? null,
      action: ask.action,
      subject: ask.subject,
      t: ask.t,
      allowed,
      withheld: false,
      outcome: null,
      parents: allowed ? want.parents : [],
      keys: allowed ? want.keys : [],
      chain: want.chain.map(({ id }) => id),
      amounts,
    });
    this.#count(allowed ? "allow" : "deny");
    for (const reason of want.reasons) this.#count(reason);
  }

  #look(run: ModelRun, purpose: "step" | "redeem"): void {
    const { ask, request } = this.#ask(run);
    const want = expected(run, { ...ask, purpose }, RULES, this.#revoked);
    this.#compare(run, { ...ask, purpose }, want, this.#real.ask(request, purpose));
    this.#count(purpose === "redeem" ? "redeem" : "dry run");
  }

  #compare(
    run: ModelRun,
    ask: ModelAsk,
    want: ReturnType<typeof expected>,
    got: ReturnType<Real["ask"]> | ReturnType<Real["step"]>,
  ): void {
    const { core, effect } = got.outcome;
    const step = got.state.step!;
    const limits = new Map(
      step.chains.flat().flatMap(({ id, limits }) => limits.map((one) => [`${id}/${one.id}`, one])),
    );
    same(
      {
        decision: core.decision,
        reasons: [...new Set(core.failed.map(({ reason }) => reason))],
        spent: step.charged.map(({ owner, budget, spent }) => [owner, budget.id, Number(spent)]),
        history: step.history.map(({ name, count, sum, last_ms }) => [name, count, Number(sum), last_ms]),
      },
      {
        decision: want.reasons.size === 0 ? "allow" : "deny",
        reasons: REASON_ORDER.filter((reason) => want.reasons.has(reason)),
        spent: step.charged.map(({ owner, budget }) => [
          owner,
          budget.id,
          spentOn(run, owner, limits.get(`${owner}/${budget.id}`) ?? budget, ask),
        ]),
        history: [
          ["p/above", history(run, "pay.prepare", "amount", null, want.parents, ask.t)],
          ["p/all", history(run, "quote", null, null, null, ask.t)],
          ["p/recent", history(run, "pay.execute", "amount", 1_500, null, ask.t)],
        ].map(([name, found]) => [name, ...Object.values(found!)]),
      },
    );
    if (effect === null) return;
    const charged = [...new Set(effect.charges.map(({ owner, budget }) => `${owner}/${budget}`))].sort();
    same(charged, ask.purpose === "redeem" ? [] : [...want.charged].sort());
  }

  #turn(): void {
    if (this.#undo === null) this.#real.commit();
    else {
      this.#real.rollBack();
      this.#runs = this.#undo;
      this.#count("roll back");
    }
    this.#undo = this.#random.chance(0.06) ? structuredClone(this.#runs) : null;
    this.#count("turn");
  }

  #report(run: ModelRun): void {
    const open = run.steps.filter((step) => step.allowed && !step.withheld && step.outcome === null);
    if (open.length === 0) return this.#count("nothing to report");
    const step = this.#random.pick(open);
    step.outcome = this.#random.chance(0.5) ? "failed" : "completed";
    this.#real.report(step.no, step.outcome);
    this.#count(`report ${step.outcome}`);
  }

  #withhold(run: ModelRun): void {
    const last = run.steps.slice(-3).filter((step) => step.allowed && !step.withheld && step.outcome === null);
    if (last.length === 0) return this.#count("nothing to withhold");
    const step = this.#random.pick(last);
    step.withheld = true;
    this.#real.withhold(step.no);
    this.#count("withhold");
  }

  #delegate(run: ModelRun): void {
    const id = `eu.1.delegation-${++this.#ids}`;
    const delegation: Delegation = world.randomDelegation(this.#random, id, run.delegations, this.#real.t_ms);
    const may = mayDelegate(run, delegation);
    same(this.#real.delegate(run.id, delegation), may);
    if (may) run.delegations.push(delegation);
    this.#count(may ? "delegate" : "delegation refused");
  }

  #amend(run: ModelRun): void {
    const random = this.#random;
    const nodes = structuredClone([...(run.plan?.nodes ?? [])]);
    const ids = nodes.map(({ id }) => id);
    const how = random.int(0, 5);
    const at = nodes.length === 0 ? -1 : random.int(0, nodes.length - 1);
    if (how <= 1 || at < 0)
      nodes.push(world.randomNode(random, nodes.length < 12 ? `n${++this.#ids}` : "a", ids.slice(-4)));
    else if (how === 2) nodes.splice(at, 1);
    else if (how === 3) nodes[at] = { ...nodes[at]!, repeat: nodes[at]!.repeat + 1 };
    else nodes[at] = { ...nodes[at]!, after: [...nodes[at]!.after, random.pick(ids)].sort() };
    const may = nodes.length > 0 && mayAmend(run, nodes);
    same(this.#real.amend(run.id, world.written(nodes)), may);
    if (may) run.plan = { nodes };
    this.#count(may ? "amend" : "amendment refused");
  }

  #trust(run: ModelRun): void {
    // Trust state changes between turns.
    this.#turn();
    const random = this.#random;
    const known = this.#runs.find(({ id }) => id === run.id)!;
    const keys = [
      ...world.DELEGATES.map((delegate) => `subject:${delegate}`),
      "resource:thing/b",
      ...known.delegations.slice(-4).map(({ id }) => `delegation:${id}`),
    ];
    const restored = random.chance(0.75) ? [...this.#revoked.keys()] : [];
    if (restored.length > 0) {
      const key = random.pick(restored);
      this.#revoked.delete(key);
      this.#real.tell(key, "restored", "issue");
      this.#count("restore");
    } else {
      const key = random.pick(keys);
      const from = random.chance(0.6) ? "beginning" : "issue";
      this.#revoked.set(key, from);
      this.#real.tell(key, "revoked", from);
      this.#count(`revoke ${from}`);
    }
  }

  #close(run: ModelRun): void {
    run.open = false;
    this.#real.closeRun(run.id);
    this.#count("close");
  }
}

test(`${OPERATIONS} random operations on runs end as the model says`, { timeout: 600_000 }, async () => {
  const policy = await permissive();
  const first = seedOf();
  const counts: Counts = {};
  let done = 0;
  for (let seed = first; done < OPERATIONS; seed++) {
    const episode = new Episode(seeded(seed), policy, counts);
    for (let i = 0; i < PER_EPISODE; i++, done++) {
      try {
        episode.operate();
      } catch (cause) {
        throw new Error(`seed ${seed}, operation ${i}: ${(cause as Error).message}`, { cause });
      }
    }
    episode.end();
  }
  expect(done).toBeGreaterThanOrEqual(OPERATIONS);
  if (process.env["INTERLOCK_RUN_COUNTS"]) console.log(counts);
  // The run saw what it is about, and not only denials.
  const share = OPERATIONS / 100_000;
  const least = {
    allow: 5_000,
    ancestor_revoked: 300,
    budget_exceeded: 300,
    rate_exceeded: 100,
    delegation_exceeded: 300,
    delegation_expired: 200,
    delegation_depth: 50,
    delegation_missing: 100,
    parent_denied: 500,
    plan_violation: 500,
    sequence_violation: 500,
    state_conflict: 500,
    run_not_member: 500,
    withhold: 300,
    amend: 300,
    redeem: 1_000,
    "roll back": 200,
    "report failed": 300,
    "revoke beginning": 300,
    restore: 300,
  };
  const scarce = Object.entries(least).filter(([what, n]) => (counts[what] ?? 0) < n * share);
  expect(scarce).toEqual([]);
});
