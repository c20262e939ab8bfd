import { expect, test } from "vitest";
import { evaluatePolicy, loadPolicy } from "../../../src/policy/evaluate.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { buildPacks, POLICIES } from "../../../tools/policy/build.ts";
import { sreV8 } from "../../support/sre-v8.ts";
import { ENV } from "./pack-fixture.ts";

const AGENT = "spiffe://prod.example/ns/ops/sa/sre-agent";
const asked = (name: string, properties: CanonicalRequest["action"]["properties"] = {}): CanonicalRequest => ({
  v: 1,
  subject: { type: "service-account", id: AGENT },
  action: { name, properties },
  resource: {
    type: "deployment",
    id: "payments/api",
    properties: { cluster: "prod-eu", namespace: "payments", replicas: 4 },
  },
});

test("version 8 scales nothing; version 7 still says what it said; everything else is as before", async () => {
  const [seven] = await buildPacks(POLICIES, ["kubernetes-sre"]);
  const v7 = loadPolicy({ v: 1, packs: [seven!.pack] }, ["kubernetes-sre"]);
  const v8 = loadPolicy({ v: 1, packs: [await sreV8()] }, ["kubernetes-sre"]);
  expect([v7.problem, v8.problem]).toEqual([null, null]);
  expect(v8.digest).not.toBe(v7.digest);
  const scale = asked("scale", { replicas: 6 });
  expect(evaluatePolicy(v7, scale, ENV).reason).toBeNull();
  expect(evaluatePolicy(v8, scale, ENV).reason).toBe("policy_denied");
  expect(evaluatePolicy(v7, scale, ENV).reason).toBeNull();
  for (const policy of [v7, v8]) expect(evaluatePolicy(policy, asked("get"), ENV).reason).toBeNull();
});
