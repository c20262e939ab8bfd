import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import {
  authorizeStrict,
  buildEntityStore,
  compilePolicySet,
  type EntityJson,
  type ExprJson,
  entityFromJson,
  overlay,
  type PolicyJson,
  record,
} from "../../src/cedar/index.ts";

export type CedarBench = {
  readonly policies: number;
  readonly interlock_us: number;
  readonly cedar_wasm_us: number | null;
};

const SIZES = [10, 100, 1_000, 10_000] as const;
const WINDOWS = 7;
/** Beyond this the reference takes tens of milliseconds a call and only slows the benchmark down. */
const REFERENCE_MAX_POLICIES = 1_000;

const uid = (type: string, id: string) => ({ type, id });
const variable = (name: string) => ({ Var: name });
const attribute = (of: string, attr: string) => ({ ".": { left: variable(of), attr } });
const value = (literal: unknown) => ({ Value: literal });
const both = (left: ExprJson, right: ExprJson) => ({ "&&": { left, right } });

/**
 * A mix as an operator would write it: rules per team and folder, rules for one document, rules by type, a few that
 * hold for everybody, and forbids that everybody meets. Only their number grows, not how many a request falls under.
 */
function policyAt(i: number): PolicyJson {
  const all = { op: "All" };
  const act = (name: string) => ({ op: "==", entity: uid("Action", name) });
  const when = (body: ExprJson) => [{ kind: "when" as const, body }];
  switch (i % 5) {
    case 0:
      return {
        effect: "permit",
        principal: { op: "in", entity: uid("Team", `t${i}`) },
        action: { op: "in", entities: [uid("Action", "read"), uid("Action", "list")] },
        resource: { op: "in", entity: uid("Folder", `f${i}`) },
        conditions: when(
          both(
            { "==": { left: attribute("resource", "region"), right: attribute("principal", "region") } },
            { ">=": { left: attribute("principal", "level"), right: value(3) } },
          ),
        ),
      };
    case 1:
      return {
        effect: "permit",
        principal: { op: "==", entity: uid("Agent", `a${i}`) },
        action: act("read"),
        resource: { op: "==", entity: uid("Document", `d${i}`) },
        conditions: [],
      };
    case 2:
      return {
        effect: "permit",
        principal: { op: "is", entity_type: "Agent", in: { entity: uid("Team", `t${i}`) } },
        action: act("write"),
        resource: { op: "is", entity_type: "Document" },
        conditions: when({
          contains: { left: { Set: [value("low"), value("medium")] }, right: attribute("resource", "sensitivity") },
        }),
      };
    case 3:
      return {
        effect: "forbid",
        principal: all,
        action: all,
        resource: { op: "in", entity: uid("Folder", `f${i}`) },
        conditions: when({ "!": { arg: { isInRange: [attribute("context", "ip"), { ip: [value("10.0.0.0/8")] }] } } }),
      };
    default:
      return i === 4
        ? {
            effect: "forbid",
            principal: all,
            action: all,
            resource: all,
            conditions: when(
              both({ has: { left: variable("principal"), attr: "revoked" } }, attribute("principal", "revoked")),
            ),
          }
        : {
            effect: "permit",
            principal: { op: "is", entity_type: `Robot${i}` },
            action: act("read"),
            resource: all,
            conditions: when({
              like: { left: attribute("resource", "region"), pattern: [{ Literal: "eu-" }, "Wildcard"] },
            }),
          };
  }
}

const principal = uid("Agent", "me");
const resource = uid("Document", "doc");
const action = uid("Action", "read");
const contextJson = { ip: { __extn: { fn: "ip", arg: "10.1.2.3" } } };
/** Groups other than those a policy names, as real hierarchies have. */
const ENTITIES: EntityJson[] = [
  {
    uid: principal,
    attrs: { region: "eu-west", level: 4, revoked: false },
    parents: [uid("Team", "t0"), uid("Team", "t2"), uid("Team", "x")],
  },
  { uid: resource, attrs: { region: "eu-west", sensitivity: "low" }, parents: [uid("Folder", "f0")] },
  { uid: uid("Folder", "f0"), attrs: {}, parents: [uid("Folder", "f3"), uid("Folder", "top")] },
  { uid: uid("Team", "t0"), attrs: {}, parents: [uid("Team", "everyone")] },
  { uid: action, attrs: {}, parents: [uid("Action", "any")] },
];

function must<T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

/** Microseconds a call, in the best of several windows: the machine's noise only ever adds. */
function microseconds(run: () => void, window_ms: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let window = 0; window < WINDOWS; window++) {
    const start = performance.now();
    let calls = 0;
    let elapsed = 0;
    for (; elapsed < window_ms; elapsed = performance.now() - start) {
      for (let i = 0; i < 16; i++) run();
      calls += 16;
    }
    best = Math.min(best, (elapsed * 1000) / calls);
  }
  return Math.round(best * 100) / 100;
}

/**
 * Time of one decision against sets of 10 to 10,000 policies: ours with the store built beforehand and a per-request
 * overlay of principal and resource, cedar-wasm with the policy set parsed beforehand (it takes entities per call).
 */
export async function benchCedar(): Promise<CedarBench[]> {
  const store = must(buildEntityStore(ENTITIES));
  const mine = ENTITIES.slice(0, 2).map((json) => must(entityFromJson(json)));
  const rows: CedarBench[] = [];
  for (const policies of SIZES) {
    const list = Array.from({ length: policies }, (_, i) => ({ id: `p${i}`, json: policyAt(i) }));
    const set = must(compilePolicySet(list));
    const ip = must(entityFromJson({ uid: principal, attrs: contextJson, parents: [] })).attributes.attributes.get(
      "ip",
    )!;
    const decide = () =>
      authorizeStrict(set, must(overlay(store, mine)), { principal, action, resource, context: record([["ip", ip]]) });
    if (decide().decision !== "allow") throw new Error("the benchmark's request should be allowed");
    const interlock_us = microseconds(decide, 60);
    rows.push({ policies, interlock_us, cedar_wasm_us: policies > REFERENCE_MAX_POLICIES ? null : reference(list) });
  }
  return rows;
}

function reference(list: readonly { id: string; json: PolicyJson }[]): number {
  const staticPolicies = Object.fromEntries(list.map(({ id, json }) => [id, json as unknown as cedar.PolicyJson]));
  const preparsedPolicySetId = `bench${list.length}`;
  cedar.preparsePolicySet(preparsedPolicySetId, { staticPolicies });
  const entities = ENTITIES as unknown as cedar.Entities;
  const decide = () =>
    cedar.statefulIsAuthorized({ principal, action, resource, context: contextJson, preparsedPolicySetId, entities });
  const answer = decide();
  if (answer.type !== "success" || answer.response.decision !== "allow") throw new Error("the reference should allow");
  return microseconds(decide, 60);
}

if (import.meta.main) console.table(await benchCedar());
