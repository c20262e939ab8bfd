import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CedarRecord, CedarSet, type Value } from "../../../src/cedar/index.ts";
import { approvalScope } from "../../../src/runs/rows.ts";
import { mapSovereign } from "../../../src/policy/cedar-request.ts";
import { interlockContext, interlockRecord, type PolicyEnv } from "../../../src/policy/interlock-context.ts";
import { interlockShape, SOVEREIGN } from "../../../src/policy/contract.ts";
import type { Shape } from "../../../src/policy/schema.ts";
import type { Approval } from "../../../src/vocabulary/run.ts";
import { ENV, request } from "./pack-fixture.ts";
import { runVector, type Vector, type VectorPack } from "./request-vectors.ts";

const { pack, vectors } = JSON.parse(
  readFileSync(new URL("../../../docs/vectors/request-to-cedar.json", import.meta.url), "utf8"),
) as { pack: VectorPack; vectors: readonly (Vector & { cedar: unknown })[] };

describe("docs/vectors/request-to-cedar.json", () => {
  // Compared as text: an own member called __proto__ counts too.
  test.each(vectors)("$name", (vector) => {
    expect(JSON.stringify(runVector(pack, vector))).toBe(JSON.stringify(vector.cedar));
  });
});

const approval = (approver: string, scope: string, expires_ms: number): Approval => ({
  id: `eu.1.${approver}`,
  approver,
  scope,
  expires_ms,
});

const KNOWN: PolicyEnv = {
  ...ENV,
  labels: ["pii:eu"],
  history: [{ name: "p/quotes", count: 2, sum: "123.45", last_ms: ENV.t_ms - 5_000 }],
  identity: {
    kind: "wit",
    workload: "spiffe://x/w",
    issuer: "spiffe://x",
    trust_domain: "x",
    on_behalf_of: "user/ann",
    prior_actors: [],
    bearer: false,
    proof: null,
    keys: [],
    valid_until_ms: ENV.t_ms,
  },
  attestation: {
    tier: "warning",
    verifier: "v",
    policies: [],
    bound: true,
    freshness: "epoch",
    iat_ms: ENV.t_ms - 60_000,
    digest: "",
    keys: [],
    valid_until_ms: ENV.t_ms,
  },
  delegation_depth: 2,
  approvals: [
    approval("user/bob", approvalScope(request()), ENV.t_ms + 1),
    approval("user/bob", approvalScope(request({ run: "eu.1.x", step: "pay", state_version: 3 })), ENV.t_ms + 9),
    approval("user/carol", approvalScope(request()), ENV.t_ms),
    approval("user/dave", approvalScope(request({ action: { name: "read", properties: { n: 1 } } })), ENV.t_ms + 9),
  ],
};

/** The shape that a value has, as a contract would declare it. */
function shapeOf(value: Value): Shape["kind"] {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "object") return value.kind;
  return "long";
}

/** Where a record departs from a contract: members that are missing, undeclared or of another type. */
function departures(value: CedarRecord, shape: Extract<Shape, { kind: "record" }>): string[] {
  const required = [...shape.attributes].filter(([, { required }]) => required).map(([name]) => name);
  return [
    ...required.filter((name) => !value.attributes.has(name)).map((name) => `${name} is missing`),
    ...[...value.attributes].flatMap(([name, member]) => {
      const declared = shape.attributes.get(name)?.shape;
      if (member instanceof CedarRecord && declared?.kind === "record") return departures(member, declared);
      return shapeOf(member) === declared?.kind ? [] : [`${name} is a ${shapeOf(member)}`];
    }),
  ];
}

describe("what every evaluation is given is what packs may declare", () => {
  test("context.interlock, of which nothing or everything is known", () => {
    const shape = interlockShape(["never", "quotes"]);
    const declared = ["never", "quotes"].map((name) => [name, `p/${name}`] as const);
    const of = (env: PolicyEnv) => interlockRecord(interlockContext(env, request()), declared);
    expect(departures(of({ ...ENV, labels: ["pii:eu"] }), shape)).toEqual([]);
    const full = of(KNOWN);
    expect(departures(full, shape)).toEqual([]);
    const members = (record: CedarRecord, declares: Extract<Shape, { kind: "record" }>): string[] =>
      [...declares.attributes].flatMap(([name, { shape: inner }]) => {
        const value = record.attributes.get(name);
        if (value === undefined) return [`no ${name}`];
        return value instanceof CedarRecord && inner.kind === "record" ? members(value, inner) : [];
      });
    // The run has never seen a `never`, so that one has no last time.
    expect(members(full, shape)).toEqual(["no last_ms", "no age_ms"]);
  });

  test("history, approvals, identity and attestation as policies see them", () => {
    const { attributes } = interlockRecord(interlockContext(KNOWN, request()), [["quotes", "p/quotes"]]);
    const plain = (value: Value | undefined): unknown =>
      value instanceof CedarRecord
        ? Object.fromEntries([...value.attributes].map(([name, member]) => [name, plain(member)]))
        : value instanceof CedarSet
          ? value.members.map(plain)
          : typeof value === "object"
            ? (value as { ten_thousandths?: unknown }).ten_thousandths
            : value;
    expect(plain(attributes.get("history"))).toEqual({
      quotes: { any: true, count: 2, sum: 1_234_500, last_ms: ENV.t_ms - 5_000, age_ms: 5_000 },
    });
    // One was for another request, one is over at this very millisecond, and who approves twice is one approver.
    expect(plain(attributes.get("approvals"))).toEqual({ count: 1, approvers: ["user/bob"] });
    expect(plain(attributes.get("attestation"))).toEqual({ tier: "warning", bound: true, age_ms: 60_000 });
    expect(plain(attributes.get("delegation"))).toEqual({ depth: 2 });
    expect(plain(attributes.get("identity"))).toMatchObject({ kind: "wit", bearer: false, workload: "spiffe://x/w" });
  });

  test("who is only asserted is the weakest there is", () => {
    const { members } = interlockContext(ENV, request());
    expect((members.get("identity") as CedarRecord).attributes.get("bearer")).toBe(true);
    expect((members.get("attestation") as CedarRecord).attributes.get("tier")).toBe("none");
  });

  test("the sovereign form", () => {
    const call = mapSovereign(request(), ENV);
    expect(departures(call.request.context, SOVEREIGN.context)).toEqual([]);
    expect(departures(call.subject.attributes, SOVEREIGN.entity)).toEqual([]);
    expect(departures(call.resource.attributes, SOVEREIGN.entity)).toEqual([]);
  });

  test("a home is read from the front of an id, and only there", () => {
    const homeOf = (id: string): Value | undefined =>
      mapSovereign(request({ subject: { type: "agent", id } }), ENV).subject.attributes.attributes.get("home");
    expect(homeOf("region:us:payer")).toBe("us");
    expect(homeOf("region:us-gov/agents/payer")).toBe("us-gov");
    for (const id of ["us:payer", "x region:us:payer", "region:us", "region::payer", "region:US:payer", ""]) {
      expect(homeOf(id)).toBeUndefined();
    }
  });

  test("only labels with a region bind data to one", () => {
    const { context } = mapSovereign(request(), { ...ENV, labels: ["internal", "pii:eu", "a:b:us"] }).request;
    const regions = context.attributes.get("label_regions");
    expect(regions).toMatchObject({ members: ["eu", "us"] });
  });
});
