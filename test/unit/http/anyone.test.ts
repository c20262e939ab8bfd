import { compactVerify, decodeJwt, importJWK } from "jose";
import { expect, test } from "vitest";
import { allowed, call, denied, newRegion, newSigner, PDP, pepKeyOf, jsonOf } from "./region.ts";

const WELL_KNOWN = "/.well-known/authzen-configuration";
type Json = Record<string, unknown>;

test("discovery: every member is https, none is empty, the signature verifies", async () => {
  const region = await newRegion();
  region.authority.issued = ["notification"];
  const response = await call(region, WELL_KNOWN, { token: null });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json");
  const { signed_metadata, ...plain } = await jsonOf(response);
  expect(plain).toEqual({
    policy_decision_point: PDP,
    obligations_supported: ["notification"],
    capabilities: ["urn:openid:authzen:capability:access-request"],
    access_request_endpoint: `${PDP}/access/v1/requests`,
    access_evaluation_endpoint: `${PDP}/access/v1/evaluation`,
    access_evaluations_endpoint: `${PDP}/access/v1/evaluations`,
    search_subject_endpoint: `${PDP}/access/v1/search/subject`,
    search_resource_endpoint: `${PDP}/access/v1/search/resource`,
    search_action_endpoint: `${PDP}/access/v1/search/action`,
    jwks_uri: `${PDP}/.well-known/jwks.json`,
  });
  const { keys } = await jsonOf<{
    keys: readonly Json[];
  }>(await call(region, "/.well-known/jwks.json", { token: null }));
  await compactVerify(signed_metadata as string, await importJWK(keys[0]!, "Ed25519"));
  const claims = decodeJwt(signed_metadata as string);
  expect(claims).toMatchObject({ ...plain, iss: PDP });
  expect(claims).not.toHaveProperty("signed_metadata");
});

test("the tenant form names itself, for this region only", async () => {
  const region = await newRegion();
  expect(await jsonOf(await call(region, `${WELL_KNOWN}/eu`))).toMatchObject({ policy_decision_point: `${PDP}/eu` });
  expect((await call(region, `${WELL_KNOWN}/us`)).status).toBe(404);
});

test("signed metadata is made once for each key material, and left out where it cannot be made", async () => {
  const region = await newRegion();
  await call(region, "/access/v1/evaluation", { body: allowed });
  for (let i = 0; i < 3; i++) await call(region, WELL_KNOWN);
  expect(region.authority.signatures).toBe(1);
  region.authority.keys = [pepKeyOf(region.signer), pepKeyOf(await newSigner("eu.1.authority.2"))];
  await call(region, "/access/v1/evaluation", { body: allowed });
  await call(region, WELL_KNOWN);
  expect(region.authority.signatures).toBe(2);

  const silent = await newRegion();
  silent.authority.signMetadata = () => Promise.reject(new Error("gone"));
  const response = await call(silent, WELL_KNOWN);
  expect(response.status).toBe(200);
  expect(await jsonOf(response)).not.toHaveProperty("signed_metadata");
});

test("health is 200 where it can decide, and honest about what is not built", async () => {
  const region = await newRegion();
  const response = await call(region, "/health", { token: null });
  expect(response.status).toBe(200);
  const body = await jsonOf(response);
  expect(body).toMatchObject({ status: "ok", region: "eu", mode: "active", problems: [], open: false });
  expect(body["continuity"]).toMatchObject({
    trust: { state: "current", age_ms: 300 },
    orchestration: { state: "consistent" },
    policy: { state: "current" },
    cryptographic: { state: "signed", age_ms: 100 },
    synchronization: { state: "region_only" },
    replay: { state: "verified", age_ms: 100 },
    witnessing: { state: "unreachable" },
  });
});

test("health is 503 with the reason where it cannot", async () => {
  const region = await newRegion();
  const problems = async (): Promise<unknown> => {
    region.clock.now_ms += 1_000;
    const response = await call(region, "/health");
    expect(response.status).toBe(503);
    return (await jsonOf(response))["problems"];
  };
  region.authority.mode = "frozen";
  expect(await problems()).toEqual(["the region is frozen by an operator"]);
  region.authority.mode = "joining";
  expect(await problems()).toEqual([expect.stringContaining("interlock region enrol")]);
  region.authority.mode = "active";
  region.authority.policy_problem = "treasury: unexpected token";
  expect(await problems()).toEqual([
    expect.stringContaining("treasury: unexpected token"),
    expect.stringContaining("pack treasury"),
  ]);
  region.authority.policy_problem = null;
  region.shards[2]!.denies = "lineage_halted";
  expect(await problems()).toEqual(["shard 2 is halted: lineage_halted"]);
  region.shards[2]!.denies = "policy_stale";
  expect(await problems()).toEqual(["shard 2 denies: policy_stale"]);
  region.shards[2]!.denies = null;
  region.shards[1]!.status = () => Promise.reject(new Error("gone"));
  expect(await problems()).toEqual(["shard 1 of 4 does not answer"]);
  region.authority.status = () => Promise.reject(new Error("gone"));
  expect(await problems()).toContainEqual(expect.stringContaining("the trust authority does not answer"));
});

test("health asks the objects at most once a second", async () => {
  const region = await newRegion();
  let asked = 0;
  const status = region.authority.status.bind(region.authority);
  region.authority.status = () => (asked++, status());
  for (let i = 0; i < 5; i++) await call(region, "/health");
  await call(region, "/metrics");
  expect(asked).toBe(1);
});

test("metrics are Prometheus text", async () => {
  const region = await newRegion();
  await call(region, "/access/v1/evaluation", { body: allowed });
  await call(region, "/access/v1/evaluations", { body: { ...denied, evaluations: [{}, {}, 5] } });
  const response = await call(region, "/metrics", { token: null });
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).split("\n");
  expect(lines).toContain('interlock_decisions_total{outcome="allow",reason="none"} 1');
  expect(lines).toContain('interlock_decisions_total{outcome="deny",reason="policy_denied"} 2');
  expect(lines).toContain('interlock_decisions_total{outcome="deny",reason="input_invalid"} 1');
  expect(lines).toContain('interlock_batch_items_bucket{le="5"} 1');
  expect(lines).toContain("interlock_batch_items_count 1");
  expect(lines).toContain('interlock_shard_lease_remaining_seconds{region="eu",shard="0"} 1.2');
  expect(lines).toContain('interlock_up{region="eu",object="authority"} 1');
  expect(lines).toContain('interlock_http_requests_total{route="evaluate",status="200"} 1');
  expect(lines.at(-1)).toBe("");
  const sample = /^[a-z_]+(\{([a-z_]+="[^"\n]*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)$/;
  expect(lines.slice(0, -1).filter((line) => !line.startsWith("# ") && !sample.test(line))).toEqual([]);
});

test("OpenAPI lists every route with the schemas in use", async () => {
  const region = await newRegion();
  const document = await jsonOf<{
    openapi: string;
    paths: Record<string, Record<string, { operationId: string; requestBody?: unknown }>>;
    components: { schemas: Record<string, { additionalProperties?: boolean }> };
  }>(await call(region, "/openapi.json", { token: null }));
  expect(document.openapi).toBe("3.1.1");
  expect(document.paths["/admin/v1/revocations"]!["post"]!.operationId).toBe("revoke");
  expect(document.paths["/access/v1/evaluation"]!["post"]!.requestBody).toBeDefined();
  expect(document.components.schemas["Revoke"]!.additionalProperties).toBe(false);
  expect(document.components.schemas["InterlockOptions"]!.additionalProperties).toBe(false);
});

test("health and metrics count promises that were not kept, and say that receipts are unanchored", async () => {
  const region = await newRegion();
  const logged = { counts: [3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], sum_ms: 4_500 };
  region.shards[0]!.anchoring = {
    ...region.shards[0]!.anchoring,
    unanchored_ms: 61_000,
    unlogged_ms: 2_500,
    merge_by_broken: 2,
    anchored_late: 7,
    logged,
  };
  const body = await jsonOf(await call(region, "/health", { token: null }));
  expect(body["status"]).toBe("ok");
  expect(body["continuity"]).toMatchObject({
    cryptographic: {
      state: "unanchored",
      detail: expect.stringContaining(
        "2 records were not in the log by merge_by; the oldest one that is not has waited",
      ),
    },
  });
  expect((body["shards"] as unknown[])[0]).toMatchObject({ merge_by_broken: 2, unlogged_ms: 2_500 });
  const text = await (await call(region, "/metrics", { token: null })).text();
  for (const line of [
    "# TYPE interlock_merge_by_broken_total counter",
    'interlock_merge_by_broken_total{region="eu",shard="0"} 2',
    'interlock_anchored_late_total{region="eu",shard="0"} 7',
    'interlock_shard_unanchored_seconds{region="eu",shard="0"} 61',
    'interlock_integration_delay_seconds_bucket{region="eu",shard="0",le="0.25"} 3',
    'interlock_integration_delay_seconds_bucket{region="eu",shard="0",le="5"} 4',
    'interlock_integration_delay_seconds_sum{region="eu",shard="0"} 4.5',
    'interlock_integration_delay_seconds_count{region="eu",shard="0"} 4',
  ])
    expect(text.split("\n")).toContain(line);
});
