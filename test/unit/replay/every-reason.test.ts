import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { decide, denyInternal, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { explanationOf, type Explanation } from "../../../src/replay/explain/explanation.ts";
import { REASON_ORDER, REASONS, type ReasonCode, type FailedCheck } from "../../../src/vocabulary/reasons.ts";
import type { Charged, ParentStep, PassFacts, StepState } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, TrustMatch } from "../../../src/vocabulary/types.ts";
import { openedFor, questionOf } from "../../../tools/explain/question.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { allowed, call, newRegion } from "../http/region.ts";
import { SOVEREIGN_SCHEMA, writePacks } from "../policy/pack-fixture.ts";

/**
 * Every code of the registry, really provoked, and what its explanation names: the rule (policy, `@reason`, file and
 * line; of a manifest file, line and pointer) or the check, with what it means and what to do.
 */
const T = Date.UTC(2026, 0, 15, 12);

/** As people write it, so that lines are worth something. */
const MANIFEST = JSON.stringify(
  {
    v: 1,
    name: "p",
    version: "1",
    layer: "application",
    description: "for a test",
    max_unanchored_ms: 10_000,
    subjects: {
      agent: {
        type: "Agent",
        attributes: "request",
        identity: "pep-asserted",
        zone: "zone",
      },
      worker: {
        type: "Worker",
        attributes: "request",
        identity: { accept: ["wit"] },
        attestation: { max_age_ms: 300_000, tiers: ["affirming"] },
      },
    },
    resources: {
      account: { type: "Account", attributes: "request", zone: "zone", labels: ["pii:eu"] },
      tool: { type: "Tool", attributes: "pack", pinned: { attribute: "digest", context: "tool_digest" } },
    },
    actions: {
      free: { data: "none" },
      read: { data: "out" },
      forbidden: { data: "none" },
      large: { data: "none" },
      broken: { data: "none" },
      stepped: { data: "none", run: "required" },
      delegated: { data: "none", delegation: { required: true, max_depth: 1 } },
      approved: { data: "none", approval: { action: "approve", ttl_s: 60 } },
      approve: { data: "none" },
      paid: { data: "none" },
      often: { data: "none" },
      attested: { data: "none", subjects: { agent: { attestation: { max_age_ms: 60_000, tiers: ["affirming"] } } } },
    },
    zones: { eu: { region: "eu" }, us: { region: "us" } },
    edges: [{ from: "us", to: "eu" }],
    labels: { pii: { may_flow_to: "own" } },
    budgets: [
      { id: "each", actions: ["paid"], sum: "amount", per: "step", max: "100" },
      { id: "rate", actions: ["often"], per: "subject", window_ms: 60_000, max: "1" },
    ],
  },
  null,
  2,
);
const SCHEMA = `entity Agent = { zone: String };
entity Worker;
entity Account = { zone: String };
entity Tool = { digest: String };
action free, read, forbidden, large, broken, stepped, delegated, approved, approve, paid, often, attested appliesTo {
  principal: [Agent, Worker],
  resource: [Account, Tool],
  context: { action: { amount?: Long } },
};`;
const POLICIES = `@id("all")
permit (principal, action, resource)
unless { action == Action::"large" };

@id("never")
@reason("never_done")
forbid (principal, action == Action::"forbidden", resource);

@id("small-only")
permit (principal, action == Action::"large", resource)
when { context.action has amount && context.action.amount < 10 };

@id("approval")
@reason("four_eyes")
@step_up("approval")
forbid (principal, action == Action::"approved", resource);

@id("breaks")
forbid (principal, action == Action::"broken", resource)
when { context.action has amount && context.action.amount * 9007199254740991 > 0 };
`;
const ENTITIES = [{ uid: { type: "Tool", id: "t" }, attrs: { digest: "reviewed" }, parents: [] }];
const SOVEREIGN = `@id("no-abroad")
@reason("abroad")
forbid (principal, action, resource)
when { resource.id == "abroad" };
`;

const folder = await mkdtemp(join(tmpdir(), "interlock-reasons-"));
afterAll(() => rm(folder, { recursive: true }));
await writePacks(folder, {
  p: { manifest: MANIFEST, schema: SCHEMA, policies: POLICIES, entities: ENTITIES },
  s: {
    manifest: JSON.stringify({ v: 1, name: "s", version: "1", layer: "sovereign", description: "for a test" }),
    schema: SOVEREIGN_SCHEMA,
    policies: SOVEREIGN,
  },
});
const built = await buildPacks(folder);
const policy = loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["p", "s"]);
if (policy.problem !== null) throw new Error(JSON.stringify(built.flatMap(({ problems }) => problems)));

const asks = (action: string, over: Partial<CanonicalRequest> = {}, properties: object = {}): CanonicalRequest => ({
  v: 1,
  subject: { type: "agent", id: "payer", properties: { zone: "eu" } },
  action: { name: action, properties: properties as Record<string, never> },
  resource: { type: "account", id: "1", properties: { zone: "eu" } },
  ...over,
});
const FREE = asks("free");
const WORKER = asks("free", { subject: { type: "worker", id: "payer" } });
const ask = (request: CanonicalRequest, over: Partial<DecideInput> = {}): DecideInput =>
  questionOf(policy, request, { t_ms: T, ...over });
const region = (over: Partial<DecideInput["condition"]>): DecideInput =>
  ask(FREE, { condition: { ...ask(FREE).condition, ...over } });
const trust = (over: Partial<DecideInput["trust"]>, request = FREE): DecideInput =>
  ask(request, { trust: { ...ask(FREE).trust, ...over } });
const origin = (problem: "sync_unsupported" | "sync_equivocation" | null) =>
  trust({
    homes: () => ["us"],
    origins: new Map([["us", { fresh_until_ms: T + 1, incarnation: 1, seq: 1, problem }]]),
  });
const matched = (state: string) =>
  trust({
    match: (keys): TrustMatch[] =>
      keys.includes("subject:agent/payer") ? [{ key: "subject:agent/payer", origin: "eu", generation: 1, state }] : [],
  });
const proven = (over: object, request = WORKER): DecideInput => {
  const question = ask(request);
  const workload = { failed: [], identity: IDENTITY, attestation: ATTESTATION, ...over };
  return { ...question, facts: { ...question.facts, workload } };
};
const IDENTITY = {
  kind: "wit",
  workload: "payer",
  issuer: "spiffe://eu.example",
  trust_domain: "eu.example",
  on_behalf_of: null,
  prior_actors: [],
  bearer: false,
  proof: null,
  keys: [],
  valid_until_ms: T + 1,
} as const;
const ATTESTATION = {
  tier: "affirming",
  verifier: "v1",
  policies: [],
  bound: true,
  freshness: "challenge",
  iat_ms: T - 1,
  digest: "sha256:a",
  keys: [],
  valid_until_ms: T + 60_000,
} as const;
const unverified = (reason: ReasonCode): DecideInput => proven({ identity: null, failed: [{ reason }] });
const unattested = (reason: ReasonCode): DecideInput => proven({ attestation: null, failed: [{ reason }] });
const inRun = (step: Partial<StepState>, request = FREE, over: object = {}): DecideInput =>
  ask(request, { run: { ...openedFor(request, step), ...over } });
const parent = (over: Partial<ParentStep>): ParentStep => ({
  id: "eu.1.s0.3",
  leaf: "l",
  node: null,
  decision: "allow",
  outcome: null,
  revoked: null,
  guest: null,
  homes: [],
  ...over,
});
const under = (over: object): Partial<StepState> => ({
  principal: "agent/boss",
  chains: [
    [
      {
        id: "eu.1.d",
        delegator: "agent/boss",
        delegate: "agent/payer",
        scopes: ["*"],
        limits: [],
        not_before_ms: 0,
        expires_ms: T + 1,
        depth: 3,
        parent: null,
        source: "run",
        ...over,
      },
    ],
  ],
});
const LINK = under({}).chains![0]![0]!;
const PASS: PassFacts = {
  id: "us.1.p",
  home: "us",
  run: "r",
  node: "n",
  subject: "pseudonym",
  action: "free",
  resource: null,
  labels: [],
  parents: [],
  dependencies: [],
  ancestors: [],
  homes: [],
  keys: [],
  expires_ms: T + 1,
  digest: "sha256:p",
};
const guest = (over: Partial<PassFacts>, used: string | null = null): DecideInput => {
  const homes = new Map([["us", { fresh_until_ms: T + 1, incarnation: 1, seq: 1, problem: null }]]);
  const question = ask(FREE, { names: () => ["pseudonym"], trust: { ...ask(FREE).trust, origins: homes } });
  return {
    ...question,
    facts: { ...question.facts, pass: { ...PASS, ...over } },
    run: { ...question.run!, guest: { used, lost: [] } },
  };
};
const spent = (at: number): readonly Charged[] => {
  const { budgets } = JSON.parse(MANIFEST) as { readonly budgets: readonly { readonly [name: string]: unknown }[] };
  const budget = { sum: null, unit: null, window_ms: null, ...budgets[at] } as unknown as Charged["budget"];
  return [{ owner: "pack/p", budget, spent: "1" }];
};
const tool = (context: Record<string, string>): DecideInput =>
  ask(asks("free", { resource: { type: "tool", id: "t" }, context }));
const between = (from: string, to: string, action = "free"): DecideInput =>
  ask(
    asks(action, {
      subject: { type: "agent", id: "payer", properties: { zone: from } },
      resource: { type: "account", id: "1", properties: { zone: to } },
    }),
  );

/**
 * What names it. `check`: no law is behind it. `manifest`: pointers in `p/pack.json`. `policy`: ids of the policies that
 * decided, could not be evaluated, or would have had to hold.
 */
type Named =
  | { readonly by: "check" }
  | { readonly by: "manifest"; readonly pointers: readonly string[] }
  | { readonly by: "policy"; readonly ids: readonly string[]; readonly pointers: readonly string[] };
const CHECK: Named = { by: "check" };
const manifest = (...pointers: string[]): Named => ({ by: "manifest", pointers });
const policies = (id: string, ...pointers: string[]): Named => ({ by: "policy", ids: [id], pointers });

type Case = { readonly question: DecideInput; readonly named: Named; readonly outcome?: typeof denyInternal };
const of = (question: DecideInput, named: Named = CHECK): Case => ({ question, named });

const IDENTITY_RULE = manifest("/subjects/worker/identity");
const ATTESTATION_RULE = manifest("/subjects/worker/attestation");

/** Denials that `decide` makes. */
const DECIDED = {
  internal: { ...of(ask(FREE)), outcome: denyInternal },
  region_joining: of(trust({ mode: "joining" })),
  region_frozen: of(trust({ mode: "frozen" })),
  lineage_halted: of(region({ halted: "the log has ended" })),
  trust_lease_expired: of(trust({ lease_until_ms: T })),
  policy_stale: of(region({ policy_problem: "it has expired" })),
  policy_drift: of(region({ policy_drift: { detail: "content of p differs from us", denies: true } })),
  sync_stale: of(trust({ homes: () => ["us"] })),
  sync_unsupported: of(origin("sync_unsupported")),
  sync_equivocation: of(origin("sync_equivocation")),
  clock_anomaly: of(region({ clock_anomaly: true })),
  consistency_unsatisfied: of(ask(FREE, { at_least: "malformed" })),
  identity_missing: of(ask(WORKER), IDENTITY_RULE),
  identity_invalid: of(unverified("identity_invalid"), IDENTITY_RULE),
  identity_expired: of(proven({ identity: { ...IDENTITY, valid_until_ms: T } }), IDENTITY_RULE),
  identity_mismatch: of(proven({ identity: { ...IDENTITY, workload: "other" } }), IDENTITY_RULE),
  identity_bearer_not_allowed: of(proven({ identity: { ...IDENTITY, bearer: true } }), IDENTITY_RULE),
  identity_proof_invalid: of(unverified("identity_proof_invalid"), IDENTITY_RULE),
  identity_proof_reused: of(unverified("identity_proof_reused"), IDENTITY_RULE),
  revoked: of(matched("revoked")),
  ancestor_revoked: of(inRun({ parents: [parent({ revoked: { step: "eu.1.s0.1", key: "subject:agent/q" } })] })),
  trust_degraded: of(matched("quarantined")),
  attestation_missing: of(ask(asks("attested")), manifest("/actions/attested/subjects/agent/attestation")),
  attestation_invalid: of(proven({ attestation: { ...ATTESTATION, tier: "warning" } }), ATTESTATION_RULE),
  attestation_stale: of(unattested("attestation_stale"), ATTESTATION_RULE),
  attestation_unbound: of(proven({ attestation: { ...ATTESTATION, bound: false } }), ATTESTATION_RULE),
  attestation_contraindicated: of(proven({ attestation: { ...ATTESTATION, tier: "contraindicated" } })),
  delegation_missing: of(ask(asks("delegated")), manifest("/actions/delegated/delegation")),
  delegation_exceeded: of(inRun(under({ scopes: ["other"] }), FREE, { members: [] })),
  delegation_expired: of(inRun(under({ expires_ms: T }), FREE, { members: [] })),
  delegation_depth: of(
    inRun({ principal: "agent/boss", chains: [[LINK, { ...LINK, id: "eu.1.e" }]] }, asks("delegated"), { members: [] }),
    manifest("/actions/delegated/delegation"),
  ),
  zone_mismatch: of(between("eu", "us"), manifest("/edges")),
  residency_violation: of(ask(asks("read"), { region: "us" }), manifest("/labels/pii")),
  run_required: of(ask(asks("stepped")), manifest("/actions/stepped/run")),
  run_unknown: of(ask(FREE, { run: null })),
  run_closed: of(inRun({}, FREE, { status: "closed" })),
  run_not_member: of(inRun({ principal: "agent/boss" }, FREE, { members: ["agent/boss"] })),
  state_conflict: of(inRun({}, { ...FREE, state_version: 9 })),
  sequence_violation: of(inRun({ after: [{ node: "first", state: "none" }] })),
  plan_violation: of(inRun({ plan: "sha256:plan" })),
  parent_denied: of(inRun({ parents: [parent({ decision: "deny" })] })),
  guest_receipt_missing: of(inRun({ parents: [parent({ guest: { region: "us", receipt: false } })] })),
  permit_invalid: of(guest({ action: "other" })),
  permit_expired: of(guest({ expires_ms: T })),
  permit_reused: of(guest({}, "eu.1.s0.4")),
  hold_ended: of(ask(FREE, { purpose: "renew", found: [{ reason: "hold_ended" }] })),
  context_missing: of(tool({}), manifest("/resources/tool/pinned")),
  tool_changed: of(tool({ tool_digest: "another" }), manifest("/resources/tool/pinned")),
  budget_exceeded: of(ask(asks("paid", {}, { amount: 101 })), manifest("/budgets/0")),
  rate_exceeded: of(inRun({ charged: spent(1) }, asks("often")), manifest("/budgets/1")),
  sovereign_policy: of(
    ask(asks("free", { resource: { type: "account", id: "abroad", properties: { zone: "eu" } } })),
    policies("s/no-abroad"),
  ),
  policy_denied: of(ask(asks("forbidden")), policies("p/never")),
  policy_error: of(ask(asks("broken", {}, { amount: 2_000 })), policies("p/breaks")),
  approval_required: of(ask(asks("approved")), policies("p/approval", "/actions/approved/approval")),
  approver_not_independent: of(
    inRun({ approvals: [{ id: "a", approver: "agent/payer", scope: "s", expires_ms: T + 1 }] }, asks("approved")),
    manifest("/actions/approved/approval"),
  ),
  // The policies permit it; the limit is looked at after them.
  lineage_unavailable: of(region({ witnessed: false }), policies("p/all", "/max_unanchored_ms")),
} satisfies Partial<Record<ReasonCode, Case>>;

/** Denials that are made before or after `decide`, by the Worker or the shard: as the caller is answered. */
const ANSWERED = {
  input_invalid: { status: 400, explained: false },
  idempotency_conflict: { status: 409, explained: false },
  overloaded: { status: 200, explained: true },
  deadline: { status: 200, explained: true },
  withheld: { status: 200, explained: true },
} satisfies Partial<Record<ReasonCode, { readonly status: number; readonly explained: boolean }>>;

/** A code that is in none of the two fails here, by its type and by this test. */
const COVERED: Record<ReasonCode, unknown> = { ...DECIDED, ...ANSWERED };

test("every code of the registry is provoked below, and says what it means and what to do", () => {
  expect(Object.keys(COVERED).sort()).toEqual([...REASON_ORDER].sort());
  const texts = REASON_ORDER.map((code) => REASONS[code].text);
  expect(new Set(texts).size).toBe(texts.length);
  for (const code of REASON_ORDER) {
    for (const said of [REASONS[code].text, REASONS[code].todo]) {
      expect(said).toMatch(/^[A-Z].{8,}\.(?: [A-Z].+\.)?$|^[A-Z].{8,}\.\)?\.?$/);
      expect(said).not.toMatch(/todo|tbd|xxx|unknown reason|undefined|\$\{|lorem/i);
    }
  }
});

function explain({ question, outcome = decide }: Case): { readonly failed: readonly FailedCheck[]; said: Explanation } {
  const { core, determining, policy_reason, errors } = outcome(question);
  expect(core.decision).toBe("deny");
  const decided = { ...core, determining, policy_reason, errors: errors.map((one) => one.policy) };
  return { failed: core.failed, said: explanationOf(question.policy, question.request, decided) };
}

/** The line of a policy's first annotation, or of a member of the manifest. */
const lineOf = (file: string, line: number): string => readFileSync(join(folder, file), "utf8").split("\n")[line - 1]!;

describe("a denial with", () => {
  test.each(Object.entries(DECIDED) as [ReasonCode, Case][])("%s names its rule or its check", (reason, one) => {
    const { failed, said } = explain(one);
    // The primary reason, but for who was turned down as approver: what is still required stands before it.
    const at = reason === "approver_not_independent" ? 1 : 0;
    expect(failed[at]?.reason).toBe(reason);
    const check = said.failed[at]!;
    expect(check).toMatchObject({ ...failed[at], text: REASONS[reason].text, todo: REASONS[reason].todo });
    const { named } = one;
    const pointers = named.by === "check" ? [] : named.pointers;
    expect((check.rules ?? []).map(({ pointer }) => pointer)).toEqual(pointers);
    for (const rule of check.rules ?? []) {
      expect(rule).toMatchObject({ pack: "p", file: "p/pack.json", line: expect.any(Number) });
      const last = rule.pointer.split("/").at(-1)!;
      expect(lineOf(rule.file, rule.line!).trim()).toMatch(/^\d+$/.test(last) ? /^\{/ : new RegExp(`^"${last}":`));
    }
    const found = [...said.determining, ...said.errors, ...said.unmatched];
    expect(found.map((rule) => rule.policy)).toEqual(
      named.by === "policy" ? named.ids : at === 1 ? ["p/approval"] : [],
    );
    for (const rule of found) {
      expect(lineOf(rule.file!, rule.line!)).toBe(`@id("${rule.policy.split("/")[1]}")`);
      const written = /^@reason\("(.*)"\)$/.exec(lineOf(rule.file!, rule.line! + 1))?.[1] ?? null;
      expect("reason" in rule ? rule.reason : written).toBe(written);
    }
  });

  test("no permit names those that would have had to hold", () => {
    const { said } = explain(of(ask(asks("large", {}, { amount: 11 }))));
    expect(said.failed.map(({ reason }) => reason)).toEqual(["policy_denied"]);
    expect(said.unmatched.map(({ policy: name, line }) => [name, lineOf("p/policies.cedar", line!)])).toEqual([
      ["p/all", '@id("all")'],
      ["p/small-only", '@id("small-only")'],
    ]);
  });

  test("what no manifest asks for names no rule of one", () => {
    const rules = (one: DecideInput): unknown => explain(of(one)).said.failed[0]!.rules;
    const question = ask(FREE);
    // Both have rules in this very manifest, and none of them is behind these.
    const { facts } = question;
    expect(rules({ ...question, facts: { ...facts, pep: { ...facts.pep, exp_ms: T } } })).toBeUndefined();
    expect(rules(proven({ identity: { ...IDENTITY, workload: "other" }, attestation: null }, FREE))).toBeUndefined();
    expect(rules(between("eu", "mars"))).toEqual([
      expect.objectContaining({ pointer: "/subjects/agent/zone" }),
      expect.objectContaining({ pointer: "/resources/account/zone" }),
    ]);
    const own = [{ ...spent(0)[0]!, owner: "run", spent: "100" }];
    expect(rules(inRun({ charged: own }, asks("paid", {}, { amount: 1 })))).toBeUndefined();
    const late = { ...question.condition, unlogged_since_ms: T - 20_000 };
    expect(rules({ ...question, condition: late })).toBeUndefined();
  });

  test("what the directory knows is not told", () => {
    const { said } = explain(of(tool({ tool_digest: "another" })));
    expect(JSON.stringify(said)).not.toContain('"reviewed"');
    expect(JSON.stringify(explain(DECIDED.policy_error).said)).not.toMatch(/overflow|2000/);
  });

  test("a bundle from before lines were kept is explained without them", () => {
    const packs = built.map(({ pack }) => {
      if (pack.status === "invalid") throw new Error(pack.name);
      const { rule_lines: _, ...old } = pack;
      return old;
    });
    const question = ask(asks("stepped"));
    const old = { ...policy, parts: policy.parts.map((part, at) => ({ ...part, source: packs[at]! })) };
    const { failed } = explanationOf(old, question.request, {
      reason: "run_required",
      policy_reason: null,
      failed: [{ reason: "run_required" }],
      determining: [],
    });
    expect(failed[0]!.rules).toEqual([{ pack: "p", file: "p/pack.json", line: null, pointer: "/actions/stepped/run" }]);
  });
});

const EVALUATION = "/access/v1/evaluation";
const BATCH = "/access/v1/evaluations";
const EXPLAIN = { ...allowed, context: { interlock: { explain: true } } };

describe("an answer without a decision of the shard", () => {
  const explained = (reason: ReasonCode) => ({
    decision: false,
    context: {
      reason,
      failed: [{ reason, text: REASONS[reason].text, todo: REASONS[reason].todo }],
      determining: [],
    },
  });

  test("overloaded and deadline say what they mean, alone and in a batch", async () => {
    const faults: readonly [ReasonCode, () => Promise<never>][] = [
      ["overloaded", () => Promise.reject(Object.assign(new Error("queue is full"), { overloaded: true }))],
      ["deadline", () => new Promise<never>(() => undefined)],
    ];
    for (const [reason, decided] of faults) {
      const region = await newRegion({
        wrapShard: (shard) => Object.assign(Object.create(shard), { decide: decided }),
      });
      const context = { interlock: { explain: true, deadline_ms: 20 } };
      const single = await call(region, EVALUATION, { body: { ...allowed, context } });
      expect([single.status, await single.json()]).toEqual([ANSWERED[reason as "deadline"].status, explained(reason)]);
      const batch = await call(region, BATCH, { body: { evaluations: [allowed], context } });
      expect(await batch.json()).toEqual({ evaluations: [explained(reason)] });
    }
  });

  test("withheld says what it means", async () => {
    const turned = { decision: false, reason: "withheld", policy_reason: null, obligations: [], valid_until_ms: 0 };
    const region = await newRegion({
      wrapShard: (shard) =>
        Object.assign(Object.create(shard), {
          decide: async (message: Parameters<typeof shard.decide>[0]) => ({
            ...(await shard.decide(message)),
            items: [turned],
          }),
        }),
    });
    expect(await (await call(region, EVALUATION, { body: EXPLAIN })).json()).toEqual(explained("withheld"));
  });

  test("what is no request, and a key that was used, are told as problems that say what is wrong", async () => {
    const region = await newRegion();
    const bad = await call(region, EVALUATION, { body: { ...EXPLAIN, action: { name: 7 } } });
    expect([bad.status, await bad.text()]).toEqual([ANSWERED.input_invalid.status, expect.stringContaining("action")]);
    const keyed = { interlock: { explain: true, idempotency_key: "k" } };
    await call(region, EVALUATION, { body: { ...allowed, context: keyed } });
    const other = { ...allowed, resource: { ...allowed.resource, id: "another" }, context: keyed };
    const conflict = await call(region, EVALUATION, { body: other });
    expect([conflict.status, await conflict.text()]).toEqual([
      ANSWERED.idempotency_conflict.status,
      expect.stringContaining("idempotency_key"),
    ]);
  });
});
