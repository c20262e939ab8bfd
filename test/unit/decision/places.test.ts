import { expect, test } from "vitest";
import { decide, type DecideInput } from "../../../src/decision/decide.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import type { StepState } from "../../../src/vocabulary/run.ts";
import type { CanonicalRequest, RunState } from "../../../src/vocabulary/types.ts";
import { buildPacks, POLICIES } from "../../../tools/policy/build.ts";

/** What the kernel makes of places, pins and consents, by the pack `hospital-mcp`. */
const T = 1_768_478_400_000;
const SCHEMA = "sha256:c62a8mgG-rsyvaklgA1RAuRVEO7at87kQReZ65nwO3E";
const READ: CanonicalRequest = {
  v: 1,
  subject: { type: "agent", id: "ward-assistant" },
  action: { name: "ehr.get_patient" },
  resource: { type: "patient", id: "P-204" },
  context: { purpose: "treatment", tool_schema: SCHEMA },
};
const SUMMARIZE: CanonicalRequest = {
  v: 1,
  subject: READ.subject,
  action: { name: "llm.summarize" },
  resource: { type: "tool", id: "llm-summarize-us" },
  context: { tool_schema: "sha256:changed" },
};
const CONSENT = "consent:patient/P-204#treatment";

const built = await buildPacks(POLICIES, ["hospital-mcp", "sovereign"]);
const policy = loadPolicy({ v: 1, packs: built.map(({ pack }) => pack) }, ["hospital-mcp", "sovereign"]);

const runWith = (labels: readonly string[]): RunState => {
  const step: StepState = {
    plan: null,
    node: null,
    taken: 0,
    after: [],
    parents: [],
    chains: [],
    principal: "user/dr.weber@klinik.example",
    charged: [],
    labels,
    history: [],
    approvals: [],
  };
  const members = ["agent/ward-assistant", "user/dr.weber@klinik.example"];
  return { id: "de.1.r", kind: "opened", status: "open", members, version: 1, step };
};

function ask(request: CanonicalRequest, over: { region?: string; labels?: string[]; revoked?: string[] } = {}) {
  const { region = "de", labels = [], revoked = [] } = over;
  const looked_up: string[] = [];
  const pep = { id: "gateway", credential: "c", issuer: "https://x.example", scopes: ["evaluate"] as const };
  const input: DecideInput = {
    request,
    input_digest: "sha256:i",
    facts: { v: 1, material: "m", keys: [], thumbprints: [], pep: { ...pep, exp_ms: T + 60_000 } },
    facts_digest: "sha256:f",
    policy,
    trust: {
      mode: "active",
      revision: 1,
      lease_until_ms: T + 1_000,
      origins: new Map(),
      own: { incarnation: 1, seq: 1 },
      homes: () => [],
      match: (keys) => {
        looked_up.push(...keys);
        return keys
          .filter((key) => revoked.includes(key))
          .map((key) => ({ key, origin: "fr", generation: 1, state: "revoked" }));
      },
    },
    condition: {
      halted: null,
      clock_anomaly: false,
      active_policy: policy.digest,
      unlogged_since_ms: null,
      unanchored_since_ms: null,
      witnessed: true,
    },
    run: runWith(labels),
    run_digest: "sha256:r",
    region,
    at_least: null,
    t_ms: T,
    trust_digest: (found) => `sha256:${found.length}`,
  };
  return { outcome: decide(input), looked_up };
}

const reasons = (...args: Parameters<typeof ask>): string[] =>
  ask(...args).outcome.core.failed.map(({ reason }) => reason);

test("an allowed read gives its labels to the run, and rests on the consent", () => {
  const { outcome, looked_up } = ask(READ, { labels: ["internal"] });
  expect(outcome.core.failed).toEqual([]);
  expect(outcome.effect).toMatchObject({ labels: ["internal", "phi"] });
  expect(outcome.dependencies).toContain(CONSENT);
  expect(looked_up).toContain(CONSENT);
  expect(reasons(READ, { revoked: [CONSENT] })).toEqual(["revoked"]);
  expect(reasons(READ, { revoked: ["consent:patient/P-204#research"] })).toEqual([]);
});

test("a denied read gives it nothing", () => {
  const { outcome } = ask({ ...READ, resource: { type: "patient", id: "P-777" } });
  expect(outcome).toMatchObject({ core: { decision: "deny" }, effect: null });
});

test("all that is wrong with a step is said, in the order of the registry, and no policy is asked", () => {
  const { outcome } = ask(SUMMARIZE, { labels: ["phi"], revoked: ["subject:agent/ward-assistant"] });
  expect(outcome.core.failed.map(({ reason }) => reason)).toEqual(["revoked", "residency_violation", "tool_changed"]);
  expect(outcome.determining).toEqual([]);
  expect(reasons(SUMMARIZE)).toEqual(["tool_changed"]);
  const fr: CanonicalRequest = { ...SUMMARIZE, subject: { type: "agent", id: "ward-assistant-fr" } };
  expect(reasons(fr, { labels: ["phi"] })).toEqual([
    "zone_mismatch",
    "residency_violation",
    "run_not_member",
    "tool_changed",
  ]);
  const unstated = { ...READ, context: {} };
  expect(ask(unstated).outcome.core.failed).toEqual([
    { reason: "context_missing", detail: "purpose" },
    { reason: "context_missing", detail: "tool_schema" },
  ]);
});
