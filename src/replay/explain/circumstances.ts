import type { DecideInput } from "../../decision/decide.ts";
import type { Bearing } from "../../decision/bearing.ts";
import { subjectForm } from "../../decision/basis.ts";
import { approvalScope } from "../../runs/rows.ts";
import type {
  AttestationFacts,
  Delegation,
  HistoryFact,
  IdentityFacts,
  StepState,
  WorkloadFacts,
} from "../../vocabulary/run.ts";
import type { AttestationRule, StepRules } from "../../vocabulary/rules.ts";
import { requestFact, withValue, type Fact } from "./fact.ts";

/** Facts that are not in the request: what the run, the workload and other people could have done. */

/** A fresh run of the subject's own, without plan, budgets or members. */
export const newRun = (input: DecideInput, was: string | null, { rules }: Bearing): Fact => ({
  path: "run",
  from: was,
  to: "opened",
  distance: 0,
  stage: 1,
  apply: (asked) => {
    const subject = subjectForm(input.request);
    const step: StepState = {
      plan: null,
      node: null,
      taken: 0,
      after: [],
      parents: [],
      chains: [],
      principal: subject,
      charged: rules.budgets.map((entry) => ({ ...entry, spent: "0" })),
      labels: [],
      history: rules.history.map(({ name }) => ({ name, count: 0, sum: "0", last_ms: null })),
      approvals: [],
    };
    const { step: _step, parents: _parents, state_version: _version, ...request } = asked.request;
    const run = { id: "new", kind: "opened", status: "open", members: [subject], version: 1, step } as const;
    return { ...asked, request, run };
  },
});

const inStep = (input: DecideInput, change: (step: StepState) => Partial<StepState>): DecideInput =>
  input.run?.step === undefined
    ? input
    : { ...input, run: { ...input.run, step: { ...input.run.step, ...change(input.run.step) } } };

/** Somebody independent approves this very request. The name is nobody's: it stands for whoever may. */
export const approvedBy = (count: number, from: number): Fact => ({
  path: "approvals",
  from,
  to: count,
  distance: count - from,
  stage: 2,
  apply: (input) =>
    inStep(input, ({ approvals }) => ({
      approvals: [
        ...approvals,
        ...Array.from({ length: count - from }, (_, at) => ({
          id: `approval-${at}`,
          approver: `approver/${at}`,
          scope: approvalScope(input.request),
          expires_ms: input.t_ms + 60_000,
        })),
      ],
    })),
});

/** One more step of the kind that a history entry counts, a moment ago. */
export const doneBefore = (name: string, entry: string, from: number): Fact => ({
  path: `history/${entry}`,
  from,
  to: from + 1,
  distance: 1,
  stage: 2,
  apply: (input) =>
    inStep(input, ({ history }) => {
      const fact = history.find((one) => one.name === name) ?? { name, sum: "0" };
      return { history: [...history.filter((one) => one !== fact), { ...fact, count: from + 1, last_ms: input.t_ms }] };
    }),
});

export const nodeDone = (node: string, from: string): Fact => ({
  path: `nodes/${node}`,
  from,
  to: "allowed",
  distance: 0,
  stage: 2,
  apply: (input) =>
    inStep(input, ({ after }) => ({
      after: after.map((one) => (one.node === node ? { ...one, state: "allowed" as const } : one)),
    })),
});

/** The denied steps are not used: only what the request itself declares, since the plan's own cannot be left out. */
export function withoutParents(input: DecideInput, dropped: readonly string[]): Fact {
  const kept = (input.request.parents ?? []).filter((id) => !dropped.includes(id));
  const fact = requestFact(input.request, ["parents"], kept.length === 0 ? undefined : kept);
  return {
    ...fact,
    path: "/context/interlock/parents",
    stage: 2,
    apply: (asked) =>
      inStep(fact.apply(asked), ({ parents }) => ({ parents: parents.filter(({ id }) => !dropped.includes(id)) })),
  };
}

/** A member of `context.interlock` that the canonical request keeps at its top. */
export const optionFact = (input: DecideInput, name: "state_version" | "step", value: number | undefined): Fact => ({
  ...requestFact(input.request, [name], value),
  path: `/context/interlock/${name}`,
  apply: (asked) => ({ ...asked, request: withValue(asked.request, [name], value) }),
});

/** The run's principal lets the subject do this, without limits. */
export const delegated = (input: DecideInput, from: number): Fact => ({
  path: "delegation",
  from: from === 0 ? null : "insufficient",
  to: { scopes: [input.request.action.name] },
  distance: 0,
  stage: 2,
  apply: (asked) =>
    inStep(asked, ({ principal }) => {
      const delegation: Delegation = {
        id: "new",
        delegator: principal,
        delegate: subjectForm(asked.request),
        scopes: [asked.request.action.name],
        limits: [],
        not_before_ms: 0,
        expires_ms: asked.t_ms + 60_000,
        depth: 0,
        parent: null,
        source: "run",
      };
      return { chains: [[delegation]] };
    }),
});

const NOTHING: WorkloadFacts = { failed: [], identity: null, attestation: null };

const workloadWith = (input: DecideInput, change: Partial<WorkloadFacts>, mended: string): DecideInput => {
  const { workload = NOTHING } = input.facts;
  const failed = workload.failed.filter(({ reason }) => !reason.startsWith(mended));
  return { ...input, facts: { ...input.facts, workload: { ...workload, failed, ...change } } };
};

/** A credential of a kind that is accepted, for the subject that is asked about. */
function identified(input: DecideInput, kind: IdentityFacts["kind"], bearer: boolean): Fact {
  const now = input.facts.workload?.identity ?? null;
  return {
    path: "credentials/identity",
    from: now === null ? null : { kind: now.kind, bearer: now.bearer },
    to: { kind, bearer },
    distance: 0,
    stage: 1,
    apply: (asked) => {
      const identity: IdentityFacts = {
        kind,
        workload: asked.request.subject.id,
        issuer: now?.issuer ?? "",
        trust_domain: now?.trust_domain ?? null,
        on_behalf_of: now?.on_behalf_of ?? null,
        prior_actors: [],
        bearer,
        proof: null,
        keys: now?.keys ?? [],
        valid_until_ms: asked.t_ms + 60_000,
      };
      return workloadWith(asked, { identity }, "identity_");
    },
  };
}

export const unidentified = (input: DecideInput): Fact => ({
  path: "credentials/identity",
  from: input.facts.workload?.identity?.kind ?? null,
  to: null,
  distance: 0,
  stage: 1,
  apply: (asked) => workloadWith(asked, { identity: null }, "identity_"),
});

const BEARERS: ReadonlySet<string> = new Set(["jwt-svid", "service-account"]);

/** What the packs accept, each as it would be sent. */
export const acceptedIdentities = (input: DecideInput, rule: NonNullable<StepRules["identity"]>): Fact[] =>
  rule.accept
    .filter((kind) => rule.allow_bearer || !BEARERS.has(kind))
    .map((kind) => identified(input, kind, BEARERS.has(kind)));

export function attested(input: DecideInput, tier: AttestationRule["tiers"][number], bound: boolean): Fact {
  const now = input.facts.workload?.attestation ?? null;
  return {
    path: "credentials/attestation",
    from: now === null ? null : { tier: now.tier, bound: now.bound, age_ms: input.t_ms - now.iat_ms },
    to: { tier, bound, age_ms: 0 },
    distance: 0,
    stage: 1,
    apply: (asked) => {
      const attestation: AttestationFacts = {
        tier,
        verifier: now?.verifier ?? "",
        policies: now?.policies ?? [],
        bound,
        freshness: "timestamp",
        iat_ms: asked.t_ms,
        digest: "",
        keys: now?.keys ?? [],
        valid_until_ms: asked.t_ms + 60_000,
      };
      return workloadWith(asked, { attestation }, "attestation_");
    },
  };
}

/**
 * The same circumstances at a later time: leases and credentials are renewed and so move along, artefacts with an end
 * of their own (delegations, approvals) do not. A window of history or of a budget is empty where all of what it could
 * hold has passed out of it; what would be left in one that has passed in part is not known here, and stays.
 */
export const later = (input: DecideInput, { rules }: Bearing, t_ms: number): Fact => ({
  path: "time",
  from: new Date(input.t_ms).toISOString(),
  to: new Date(t_ms).toISOString(),
  distance: t_ms - input.t_ms,
  stage: 1,
  apply: (asked) => {
    const by = t_ms - input.t_ms;
    const { facts, trust, condition } = asked;
    const moved = <T extends { valid_until_ms: number }>(one: T | null): T | null =>
      one === null ? null : { ...one, valid_until_ms: one.valid_until_ms + by };
    const attestation = moved(facts.workload?.attestation ?? null);
    const since = (ms: number | null): number | null => (ms === null ? null : ms + by);
    const within = new Map(rules.history.map(({ name, within_ms }) => [name, within_ms]));
    const empty = ({ name, last_ms }: HistoryFact): boolean => {
      const window_ms = within.get(name) ?? null;
      return window_ms !== null && last_ms !== null && last_ms < t_ms - window_ms;
    };
    const shifted: DecideInput = {
      ...asked,
      t_ms,
      trust: {
        ...trust,
        lease_until_ms: trust.lease_until_ms + by,
        origins: new Map(
          [...trust.origins].map(([name, origin]) => [name, { ...origin, fresh_until_ms: origin.fresh_until_ms + by }]),
        ),
      },
      condition: {
        ...condition,
        unlogged_since_ms: since(condition.unlogged_since_ms),
        unanchored_since_ms: since(condition.unanchored_since_ms),
      },
      facts: {
        ...facts,
        pep: { ...facts.pep, exp_ms: facts.pep.exp_ms + by },
        ...(facts.workload === undefined
          ? {}
          : {
              workload: {
                ...facts.workload,
                identity: moved(facts.workload.identity),
                attestation: attestation === null ? null : { ...attestation, iat_ms: attestation.iat_ms + by },
              },
            }),
      },
    };
    return inStep(shifted, ({ history, charged }) => ({
      history: history.map((fact) => (empty(fact) ? { ...fact, count: 0, sum: "0", last_ms: null } : fact)),
      charged: charged.map((entry) =>
        entry.budget.window_ms !== null && entry.budget.window_ms <= by ? { ...entry, spent: "0" } : entry,
      ),
    }));
  },
});
