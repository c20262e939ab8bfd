import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { Seen } from "../../src/decision/seen.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { GoldenCase } from "../../src/policy/golden-format.ts";
import { rulesFor } from "../../src/policy/step-rules.ts";
import type { Rerun } from "../../src/replay/rerun.ts";
import { goldenEnv } from "../../src/replay/golden.ts";
import type { Delegation } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, RunState } from "../../src/vocabulary/types.ts";

const FAR = 4_102_444_800_000;

/** A request under the circumstances of a golden case, as a decision takes it. Reads no file: it also runs in browsers. */
export function rerunOfGolden(
  policy: LoadedPolicy,
  pack: string,
  golden: GoldenCase,
  request: CanonicalRequest,
  text = jcs(request),
): Rerun & { readonly run: RunState } {
  const env = goldenEnv(pack, golden);
  const { identity, attestation } = env;
  const subject = `${request.subject.type}/${request.subject.id}`;
  const seen: Seen = {
    asked: { ...(env.trust === "degraded" ? degraded(subject) : {}) },
    turn: {
      anchoring: {
        unanchored_since_ms: typeof golden.unanchored_ms === "number" ? env.t_ms - golden.unanchored_ms : null,
        unlogged_since_ms: null,
        witnessed: golden.unanchored_ms !== "no_witness",
      },
      lease_until_ms: FAR,
      mode: "active",
      origins: {},
      own: { incarnation: 1, seq: 0 },
      revision: 1,
    },
    v: 1,
  };
  const facts: Facts = {
    v: 1,
    material: "sha256:m",
    keys: [],
    thumbprints: [],
    pep: { id: env.pep, credential: "c", issuer: "https://eu.pdp.example", scopes: ["evaluate"], exp_ms: FAR },
    ...(identity === null && attestation === null ? {} : { workload: { failed: [], identity, attestation } }),
  };
  const run: RunState =
    env.run.kind === "implicit"
      ? { id: "", kind: "implicit", status: "open", members: [], version: 0 }
      : openedRun(policy, request, env, subject);
  return {
    request,
    input_digest: digestOf(text),
    facts,
    facts_digest: digestOf(jcs(facts)),
    run,
    run_digest: digestOf(jcs(run)),
    seen,
    region: env.region,
    t_ms: env.t_ms,
    recorded_policy: policy.digest,
  };
}

const degraded = (subject: string): Seen["asked"] => ({
  matched: [{ keys: [], matches: [{ generation: 1, key: `subject:${subject}`, origin: "eu", state: "degraded" }] }],
});

function openedRun(
  policy: LoadedPolicy,
  request: CanonicalRequest,
  env: ReturnType<typeof goldenEnv>,
  subject: string,
): RunState {
  const { id, kind } = env.run;
  const { delegation_depth: depth } = env;
  const names = Array.from({ length: depth }, (_, link) => (link === depth - 1 ? subject : `user/d${link}`));
  const principal = depth === 0 ? subject : "user/principal";
  const chain = names.map((delegate, link): Delegation => ({
    id: `eu.1.d${link}`,
    delegator: link === 0 ? principal : names[link - 1]!,
    delegate,
    scopes: ["*"],
    limits: [],
    not_before_ms: 0,
    expires_ms: FAR,
    depth: depth - link,
    parent: link === 0 ? null : `eu.1.d${link - 1}`,
    source: "run",
  }));
  const rules = rulesFor(policy, request);
  return {
    id,
    kind,
    status: "open",
    members: depth === 0 ? [subject] : [principal],
    version: 0,
    step: {
      plan: null,
      node: null,
      taken: 0,
      after: [],
      parents: [],
      chains: depth === 0 ? [] : [chain],
      principal,
      charged: rules.budgets.map(({ owner, budget }) => ({ owner, budget, spent: "0" })),
      labels: env.labels,
      history: rules.history.map(
        ({ name }) => env.history.find((fact) => fact.name === name) ?? { count: 0, last_ms: null, name, sum: "0" },
      ),
      approvals: env.approvals,
    },
  };
}
