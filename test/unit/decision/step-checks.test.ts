import { beforeAll, describe, expect, test } from "vitest";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import type { LoadedPolicy } from "../../../src/policy/evaluate.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { REASON_ORDER, type FailedCheck } from "../../../src/vocabulary/reasons.ts";
import type {
  AttestationFacts,
  Delegation,
  GuestState,
  IdentityFacts,
  ParentStep,
  PassFacts,
  StepState,
  WorkloadFacts,
} from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, RunState } from "../../../src/vocabulary/types.ts";
import { approvalScope } from "../../../src/runs/rows.ts";
import { sha256 } from "../../../src/base/digest.ts";
import { buildPacks } from "../../../tools/policy/build.ts";
import { writePacks } from "../policy/pack-fixture.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What `decide` makes of identity, attestation, delegation, the run's state, passes and approvals. */
const T = 1_768_478_400_000;
const REQUEST: CanonicalRequest = {
  v: 1,
  subject: { type: "agent", id: "payer" },
  action: { name: "free" },
  resource: { type: "account", id: "1" },
};
const asks = (action: string, over: Partial<CanonicalRequest> = {}): CanonicalRequest => ({
  ...REQUEST,
  action: { name: action },
  ...over,
});

let policy: LoadedPolicy;
beforeAll(async () => {
  const proven = { agent: { identity: { accept: ["wit"] } } };
  const attested = { agent: { attestation: { max_age_ms: 300_000, tiers: ["affirming"] } } };
  const type = (name: string) => ({ type: name, attributes: "request" });
  const folder = await mkdtemp(join(tmpdir(), "interlock-packs-"));
  await writePacks(folder, {
    p: {
      manifest: {
        subjects: { agent: { ...type("Agent"), identity: "pep-asserted" } },
        resources: { account: type("Account") },
        actions: {
          free: {},
          proven: { subjects: proven },
          attested: { subjects: attested },
          delegated: { delegation: { required: true, max_depth: 2 } },
          stepped: { run: "required" },
          approved: { approval: { action: "approve", ttl_s: 60 } },
          approve: {},
          paid: {},
        },
        budgets: [{ id: "each", actions: ["paid"], sum: "amount", per: "step", max: "100" }],
      },
      schema: `entity Agent = {}; entity Account = {};
        action free, proven, attested, delegated, stepped, approved, approve, paid
          appliesTo { principal: [Agent], resource: [Account], context: {} };`,
      policies: `permit (principal, action, resource);
        @step_up("approval") forbid (principal, action == Action::"approved", resource);`,
    },
  });
  const built = await buildPacks(folder);
  await rm(folder, { recursive: true });
  if (built.some(({ problems }) => problems.length > 0)) throw new Error(JSON.stringify(built));
  const bundle: Bundle = { v: 1, packs: built.map(({ pack }) => pack) };
  policy = loadPolicy(bundle, ["p"]);
});

const facts = (over: Partial<Facts> = {}): Facts => ({
  v: 1,
  material: "m",
  keys: [],
  thumbprints: [],
  pep: { id: "gateway", credential: "c", issuer: "https://x.example", scopes: ["evaluate"], exp_ms: T + 60_000 },
  ...over,
});
const identity = (over: Partial<IdentityFacts> = {}): IdentityFacts => ({
  kind: "wit",
  workload: "payer",
  issuer: "spiffe://eu.example",
  trust_domain: "eu.example",
  on_behalf_of: null,
  prior_actors: [],
  bearer: false,
  proof: null,
  keys: ["trust-domain:eu.example"],
  valid_until_ms: T + 30_000,
  ...over,
});
const attestation = (over: Partial<AttestationFacts> = {}): AttestationFacts => ({
  tier: "affirming",
  verifier: "v1",
  policies: [],
  bound: true,
  freshness: "challenge",
  iat_ms: T - 10_000,
  digest: "sha256:a",
  keys: ["image:sha256:0"],
  valid_until_ms: T + 900_000,
  ...over,
});
const workload = (over: Partial<WorkloadFacts> = {}): Facts =>
  facts({ workload: { failed: [], identity: null, attestation: null, ...over } });

const IMPLICIT: RunState = { id: "r", kind: "implicit", status: "open", members: [], version: 0 };
const state = (over: Partial<StepState> = {}): StepState => ({
  plan: null,
  node: null,
  taken: 0,
  after: [],
  parents: [],
  chains: [],
  principal: "agent/boss",
  charged: [],
  labels: [],
  history: [],
  approvals: [],
  ...over,
});
const opened = (over: Partial<StepState> = {}, members = ["agent/boss", "agent/payer"]): RunState => ({
  ...IMPLICIT,
  kind: "opened",
  members,
  version: 7,
  step: state(over),
});
const link = (over: Partial<Delegation> = {}): Delegation => ({
  id: "eu.1.d",
  delegator: "agent/boss",
  delegate: "agent/payer",
  scopes: ["*"],
  limits: [],
  not_before_ms: T - 1,
  expires_ms: T + 20_000,
  depth: 3,
  parent: null,
  source: "run",
  ...over,
});
const parent = (over: Partial<ParentStep> = {}): ParentStep => ({
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

type World = { revoked?: readonly string[]; homes?: Readonly<Record<string, number>> };
function ask(over: Partial<DecideInput>, { revoked = [], homes = {} }: World = {}) {
  const origin = (fresh_until_ms: number) => ({ fresh_until_ms, incarnation: 1, seq: 1, problem: null });
  return decide({
    request: REQUEST,
    input_digest: "sha256:i",
    facts: facts(),
    facts_digest: "sha256:f",
    policy,
    trust: {
      mode: "active",
      revision: 1,
      lease_until_ms: T + 100_000,
      origins: new Map(Object.entries(homes).map(([name, until]) => [name, origin(until)])),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: (keys) =>
        keys
          .filter((key) => revoked.includes(key))
          .map((key) => ({ key, origin: "eu", generation: 1, state: "revoked" })),
    },
    condition: {
      halted: null,
      clock_anomaly: false,
      active_policy: policy.digest,
      unlogged_since_ms: null,
      unanchored_since_ms: null,
      witnessed: true,
    },
    run: IMPLICIT,
    run_digest: "sha256:r",
    region: "eu",
    at_least: null,
    t_ms: T,
    trust_digest: () => "sha256:t",
    ...over,
  });
}
const reasons = (over: Partial<DecideInput>, world?: World) => ask(over, world).core.failed.map(({ reason }) => reason);

describe("identity", () => {
  const of = (over: Partial<IdentityFacts>) =>
    reasons({ request: asks("proven"), facts: workload({ identity: identity(over) }) });

  test("is needed where a pack says so, and only there", () => {
    expect(reasons({})).toEqual([]);
    expect(reasons({ request: asks("proven") })).toEqual(["identity_missing"]);
    expect(of({})).toEqual([]);
  });

  test.each([
    [{ kind: "jwt-svid" }, "identity_missing"],
    [{ workload: "other" }, "identity_mismatch"],
    [{ bearer: true }, "identity_bearer_not_allowed"],
    [{ valid_until_ms: T }, "identity_expired"],
    [{ valid_until_ms: T + 1 }, undefined],
  ] satisfies [Partial<IdentityFacts>, string | undefined][])("with %j is %s", (over, reason) =>
    expect(of(over)[0]).toBe(reason),
  );

  test("that does not verify denies by what is wrong with it, where it is needed", () => {
    const failed: FailedCheck[] = [
      { reason: "identity_proof_reused", detail: "jti" },
      { reason: "attestation_invalid" },
    ];
    expect(ask({ request: asks("proven"), facts: workload({ failed }) }).core.failed).toEqual([failed[0]]);
    expect(reasons({ facts: workload({ failed }) })).toEqual([]);
  });

  test("of somebody else, or of yesterday, denies also where none is needed", () => {
    expect(reasons({ facts: workload({ identity: identity({ workload: "other" }) }) })).toEqual(["identity_mismatch"]);
    expect(reasons({ facts: workload({ identity: identity({ valid_until_ms: T }) }) })).toEqual(["identity_expired"]);
  });

  test("rests on its keys, and its prior actors can only deny", () => {
    const told = workload({ identity: identity({ prior_actors: ["before"] }) });
    expect(ask({ facts: told }).core.decision).toBe("allow");
    for (const key of ["trust-domain:eu.example", "subject:agent/before"])
      expect(reasons({ facts: told }, { revoked: [key] })).toEqual(["revoked"]);
    const behalf = workload({ identity: identity({ on_behalf_of: "somebody" }) });
    expect(ask({ facts: behalf }).core.decision).toBe("allow");
    expect(reasons({ facts: behalf }, { revoked: ["subject:agent/somebody"] })).toEqual(["revoked"]);
    expect(reasons({ request: asks("proven"), facts: told }, { revoked: [] })).toEqual([]);
  });

  test("bounds how long an allow may be kept", () => {
    expect(ask({ facts: workload({ identity: identity() }) })).toMatchObject({
      valid_until_ms: T + 30_000,
      expires_ms: T + 30_000,
    });
    expect(ask({}).valid_until_ms).toBe(T + 60_000);
  });
});

describe("an attestation", () => {
  const of = (over: Partial<AttestationFacts>, action = "attested") =>
    reasons({ request: asks(action), facts: workload({ attestation: attestation(over) }) });

  test.each([
    [{}, []],
    [{ tier: "warning" }, ["attestation_invalid"]],
    [{ tier: "contraindicated" }, ["attestation_contraindicated"]],
    [{ bound: false }, ["attestation_unbound"]],
    [{ iat_ms: T - 299_999 }, []],
    [{ iat_ms: T - 300_000 }, ["attestation_stale"]],
    [{ valid_until_ms: T }, ["attestation_stale"]],
    [{ iat_ms: T - 360_000, bound: false }, ["attestation_stale", "attestation_unbound"]],
  ] satisfies [Partial<AttestationFacts>, string[]][])("with %j: %j", (over, found) => expect(of(over)).toEqual(found));

  test("is missing where a pack asks for it, and a bad word of it counts where none does", () => {
    expect(reasons({ request: asks("attested") })).toEqual(["attestation_missing"]);
    expect(of({ tier: "warning", bound: false }, "free")).toEqual([]);
    expect(of({ tier: "contraindicated" }, "free")).toEqual(["attestation_contraindicated"]);
  });

  test("takes the allow along when it ends, by the pack's age or by itself", () => {
    const until = (over: Partial<AttestationFacts>) =>
      ask({ request: asks("attested"), facts: workload({ attestation: attestation(over) }) }).valid_until_ms;
    expect(until({ iat_ms: T - 290_000 })).toBe(T + 10_000);
    expect(until({ valid_until_ms: T + 5_000 })).toBe(T + 5_000);
    expect(reasons({ facts: workload({ attestation: attestation() }) }, { revoked: ["image:sha256:0"] })).toEqual([
      "revoked",
    ]);
  });
});

describe("a delegation", () => {
  const chain = [
    link({ delegate: "agent/mid", id: "eu.1.a" }),
    link({ delegator: "agent/mid", id: "eu.1.b", parent: "eu.1.a", depth: 2 }),
  ];

  test("admits whoever is nobody's member", () => {
    expect(reasons({ run: opened({}, ["agent/boss"]) })).toEqual(["run_not_member"]);
    expect(reasons({ run: opened({ chains: [[link()]] }, ["agent/boss"]) })).toEqual([]);
  });

  test("is needed of members too where a pack says so, and never of the principal", () => {
    const request = asks("delegated");
    expect(reasons({ request, run: opened() })).toEqual(["delegation_missing"]);
    expect(reasons({ request })).toEqual(["delegation_missing"]);
    expect(reasons({ request, run: opened({ chains: [[link()]] }) })).toEqual([]);
    expect(reasons({ request, run: opened({ principal: "agent/payer" }) })).toEqual([]);
    const three = [...chain.slice(0, 1), link({ id: "eu.1.m", depth: 2 }), link({ id: "eu.1.n", depth: 1 })];
    expect(reasons({ request, run: opened({ chains: [three] }) })).toEqual(["delegation_depth"]);
  });

  test.each([
    "delegation:eu.1.a",
    "delegation:eu.1.b",
    "subject:agent/mid",
    "subject:agent/boss",
    "subject:agent/payer",
  ])("falls with %s", (key) => {
    const run = opened({ chains: [chain] }, ["agent/boss"]);
    expect(reasons({ run })).toEqual([]);
    expect(reasons({ run }, { revoked: [key] })).toEqual(["revoked"]);
    expect(ask({ run }).dependencies).toContain(key);
  });

  test("that ends takes the allow along", () => {
    expect(ask({ run: opened({ chains: [[link()]] }, []) }).valid_until_ms).toBe(T + 20_000);
    expect(reasons({ run: opened({ chains: [[link({ expires_ms: T })]] }, []) })).toEqual(["delegation_expired"]);
    expect(reasons({ run: opened({ chains: [[link({ not_before_ms: T + 1 })]] }, []) })).toEqual([
      "delegation_expired",
    ]);
  });

  test("is charged link by link, with the run and the pack, and nobody else's", () => {
    const budget = { id: "n", actions: ["*"], sum: null, unit: null, per: "run", window_ms: null, max: "3" } as const;
    const charged = ["run", "pack/p", "eu.1.a", "eu.1.b", "eu.1.other"].map((owner) => ({ owner, budget, spent: "2" }));
    const allowed = ask({ run: opened({ chains: [chain], charged }, []) });
    expect(allowed.effect!.charges.map(({ owner, amount }) => [owner, amount])).toEqual([
      ["run", "1"],
      ["pack/p", "1"],
      ["eu.1.a", "1"],
      ["eu.1.b", "1"],
    ]);
    const full = charged.map((one) => (one.owner === "eu.1.a" || one.owner === "run" ? { ...one, spent: "3" } : one));
    expect(ask({ run: opened({ chains: [chain], charged: full }, []) }).core).toMatchObject({
      decision: "deny",
      failed: [
        { reason: "delegation_exceeded", detail: "budget n of eu.1.a: spent 3, this step 1, max 3 per run" },
        { reason: "budget_exceeded", detail: "budget n of run: spent 3, this step 1, max 3 per run" },
      ],
    });
    const redeemed = ask({ run: opened({ chains: [chain], charged: full }, []), purpose: "redeem" });
    expect(redeemed).toMatchObject({ core: { decision: "allow" }, effect: { charges: [] } });
  });
});

describe("an opened run", () => {
  test("moves on, is closed, and is required", () => {
    expect(ask({ run: opened(), request: { ...REQUEST, state_version: 6 } }).core.failed).toEqual([
      { reason: "state_conflict", detail: "the run is at 7" },
    ]);
    expect(reasons({ run: opened(), request: { ...REQUEST, state_version: 7 } })).toEqual([]);
    expect(reasons({ run: { ...opened(), status: "closed" } })).toEqual(["run_closed"]);
    expect(reasons({ request: asks("stepped") })).toEqual(["run_required"]);
    expect(reasons({ run: null })).toEqual(["run_unknown"]);
  });

  test("absorbs: what rests on a denied, failed, unknown or revoked step is denied", () => {
    const of = (over: Partial<ParentStep>) =>
      ask({ run: opened({ parents: [parent(), parent({ id: "x", ...over })] }) }).core.failed;
    expect(of({})).toEqual([]);
    expect(of({ outcome: "completed" })).toEqual([]);
    expect(of({ decision: "deny" })[0]?.reason).toBe("parent_denied");
    expect(of({ outcome: "failed" })[0]?.reason).toBe("parent_denied");
    expect(of({ decision: null, leaf: null })[0]?.reason).toBe("parent_denied");
    expect(of({ guest: { region: "us", receipt: false } })[0]?.reason).toBe("guest_receipt_missing");
    expect(of({ guest: { region: "us", receipt: true } })).toEqual([]);
    expect(of({ revoked: { step: "eu.1.s0.1", key: "subject:agent/q" } })).toEqual([
      { reason: "ancestor_revoked", detail: "step eu.1.s0.1 rests on subject:agent/q" },
    ]);
  });

  test("needs the word of every region that its parents rest on", () => {
    const run = opened({ parents: [parent({ homes: ["us", "eu"] })] });
    expect(ask({ run }, { homes: { us: T + 500 } })).toMatchObject({ homes: ["us"], valid_until_ms: T + 500 });
    expect(ask({ run }, { homes: { us: T + 500 } }).effect!.homes).toEqual(["us"]);
    expect(reasons({ run }, { homes: { us: T } })).toEqual(["sync_stale"]);
    expect(reasons({ run })).toEqual(["sync_stale"]);
    expect(reasons({ run }, { homes: { us: T + 500 }, revoked: ["region:us"] })).toEqual(["revoked"]);
  });

  test("says everything that is wrong, in the registry's order, and what the shard found among it", () => {
    const failed = reasons({
      request: { ...asks("proven"), state_version: 1, step: "a" },
      run: opened({ plan: "sha256:p", parents: [parent({ decision: "deny" })], chains: [[link({ scopes: ["x"] })]] }, [
        "agent/boss",
      ]),
      found: [{ reason: "permit_expired" }],
    });
    expect(failed).toEqual([
      "identity_missing",
      "delegation_exceeded",
      "state_conflict",
      "plan_violation",
      "parent_denied",
      "permit_expired",
    ]);
    const order = failed.map((reason) => REASON_ORDER.indexOf(reason));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  test("looks at a redeemed or renewed step again, but for its place and its price", () => {
    const run = opened({ plan: "sha256:p", after: [{ node: "a", state: "none" }] });
    const request = { ...REQUEST, state_version: 1 };
    expect(reasons({ run, request })).toEqual(["state_conflict", "sequence_violation", "plan_violation"]);
    for (const purpose of ["redeem", "renew"] as const) {
      expect(reasons({ run, request, purpose })).toEqual([]);
      expect(reasons({ run: { ...run, status: "closed" }, request, purpose })).toEqual(["run_closed"]);
      expect(reasons({ run, request, purpose }, { revoked: ["subject:agent/payer"] })).toEqual(["revoked"]);
    }
    expect(reasons({ run, request, purpose: "run" })).toEqual(["state_conflict"]);
  });
});

describe("a budget of a pack", () => {
  test("counts in a run of one step too, to the last place", () => {
    const of = (amount: unknown) =>
      reasons({ request: asks("paid", { action: { name: "paid", properties: { amount: amount as number } } }) });
    expect(of(100)).toEqual([]);
    expect(of("100.0000")).toEqual([]);
    for (const amount of ["100.0001", 100.0001, 101, -1, "1e1", "x"]) expect(of(amount)).toEqual(["budget_exceeded"]);
    expect(reasons({ request: asks("paid") })).toEqual(["budget_exceeded"]);
  });
});

describe("a guest step", () => {
  const pass: PassFacts = {
    id: "us.1.p",
    home: "us",
    run: "pseudonym",
    node: "quote",
    subject: "open.payer",
    action: "stepped",
    labels: [],
    parents: ["leaf"],
    dependencies: [`open.${"A".repeat(43)}`],
    homes: ["us", "in"],
    expires_ms: T + 5_000,
    digest: "sha256:p",
    keys: ["key:us-shard"],
    resource: null,
    ancestors: [],
  };
  const of = (
    over: Partial<PassFacts>,
    world: World = { homes: { us: T + 900, in: T + 900 } },
    guest: GuestState = { used: null, lost: [] },
  ) =>
    ask(
      {
        request: asks("stepped"),
        facts: facts({ pass: { ...pass, ...over } }),
        names,
        run: { ...IMPLICIT, guest },
      },
      world,
    );
  const names = (key: string): readonly string[] =>
    key === "subject:agent/payer" ? ["open.old", "open.payer"] : key === "resource:account/1" ? ["open.account"] : [];

  test("is a step of a run, by its pass", () =>
    expect(of({})).toMatchObject({ core: { decision: "allow" }, homes: ["in", "us"], valid_until_ms: T + 900 }));

  test.each([
    [{ subject: "open.other" }, "permit_invalid"],
    [{ action: "free" }, "permit_invalid"],
    [{ expires_ms: T }, "permit_expired"],
    [{ resource: { type: "invoice", key: null } }, "permit_invalid"],
    [{ resource: { type: "account", key: "open.other" } }, "permit_invalid"],
  ] satisfies [Partial<PassFacts>, string][])("with a pass for %j is %s", (over, reason) =>
    expect(of(over).core.reason).toBe(reason),
  );

  test("is taken on what the plan names", () => {
    expect(of({ resource: { type: "account", key: null } }).core.decision).toBe("allow");
    expect(of({ resource: { type: "account", key: "open.account" } }).core.decision).toBe("allow");
  });

  test("is taken once, in its own run, and not over what was lost at home", () => {
    const homes = { us: T + 900, in: T + 900 };
    expect(of({}, { homes }, { used: "us.1.s0.9", lost: [] }).core.failed).toEqual([
      { reason: "permit_reused", detail: "pass us.1.p was used for us.1.s0.9" },
    ]);
    expect(of({}, { homes }, { used: null, lost: ["f1.x"] }).core.reason).toBe("ancestor_revoked");
    const nothing = ask({ request: asks("stepped"), facts: facts({ pass }), names, run: IMPLICIT }, { homes });
    expect(nothing.core.reason).toBe("permit_invalid");
  });

  test("is taken only where its receipt can name everything that it rests on", () => {
    const homes = { us: T + 900, in: T + 900 };
    const with_keys = (count: number) => {
      const thumbprints = Array.from({ length: count }, (_, at) => `thumbprint-${at}`);
      return ask({ request: asks("stepped"), facts: facts({ pass, thumbprints }), names, run }, { homes });
    };
    const run = { ...IMPLICIT, guest: { used: null, lost: [] } };
    const others = with_keys(0).dependencies.filter((key) => key.includes(":") && key !== "key:us-shard").length;
    // Two secrets: two names for each key.
    expect(with_keys(512 - others).core.decision).toBe("allow");
    expect(with_keys(513 - others).core.failed).toEqual([
      { reason: "input_invalid", detail: "the step rests on 1026 names of keys, and a step receipt holds 1024" },
    ]);
  });

  test("with a pass that does not verify says why", () => {
    const unverified = [{ reason: "permit_expired", detail: "the pass has expired" }] as const;
    expect(ask({ request: asks("free"), facts: facts({ unverified }) }).core.failed).toEqual(unverified);
  });

  test("that came back with a receipt that does not count denies what it came with", () => {
    const refused = [{ reason: "guest_receipt_missing", detail: "pass eu.1.p is none of this run" }] as const;
    expect(reasons({ run: opened({ refused }) })).toEqual(["guest_receipt_missing"]);
  });

  test("falls with what the pass rests on, and with the word of their regions", () => {
    expect(of({}, { homes: { us: T + 900, in: T + 900 }, revoked: pass.dependencies }).core.reason).toBe("revoked");
    expect(of({}, { homes: { us: T + 900, in: T + 900 }, revoked: pass.keys }).core.reason).toBe("revoked");
    expect(of({}, { homes: { us: T + 900 } }).core.reason).toBe("sync_stale");
  });
});

describe("an approval", () => {
  const request = asks("approved");
  const approval = (approver: string, over: object = {}) => ({
    id: `eu.1.${approver}`,
    approver,
    scope: approvalScope(request, sha256),
    expires_ms: T + 9_000,
    ...over,
  });
  const run = (...approvals: StepState["approvals"]) =>
    opened({ approvals, chains: [[link({ delegator: "agent/boss" })]] }, []);

  test("lifts the step-up, until it ends or is revoked", () => {
    expect(reasons({ request, run: run() })).toEqual(["approval_required"]);
    expect(ask({ request, run: run(approval("agent/bob")) })).toMatchObject({
      core: { decision: "allow" },
      valid_until_ms: T + 9_000,
    });
    expect(reasons({ request, run: run(approval("agent/bob", { expires_ms: T })) })).toEqual(["approval_required"]);
    for (const revoked of ["approval:eu.1.agent/bob", "subject:agent/bob"]) {
      expect(ask({ request, run: run(approval("agent/bob")) }).dependencies).toContain(revoked);
      expect(reasons({ request, run: run(approval("agent/bob")) }, { revoked: [revoked] })).toEqual([
        "approval_required",
      ]);
    }
  });

  test("by whoever asks, or stands behind the asking, is none", () => {
    for (const approver of ["agent/payer", "agent/boss"])
      expect(reasons({ request, run: run(approval(approver)) })).toEqual([
        "approval_required",
        "approver_not_independent",
      ]);
    const known = workload({ identity: identity({ on_behalf_of: "alice" }) });
    expect(reasons({ request, facts: known, run: run(approval("user/alice")) })).toEqual([
      "approval_required",
      "approver_not_independent",
    ]);
    expect(reasons({ request, run: run(approval("agent/boss"), approval("agent/bob")) })).toEqual([]);
  });
});
