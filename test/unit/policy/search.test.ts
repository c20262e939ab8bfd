import { describe, expect, test } from "vitest";
import { loadPolicy } from "../../../src/policy/evaluate.ts";
import { evaluateCandidate, searchCandidates } from "../../../src/policy/search.ts";
import { buildBundle } from "../../../tools/policy/build.ts";
import { ENV, packsFolder, request, type PackFiles } from "./pack-fixture.ts";

async function policyOf(packs: Record<string, PackFiles>) {
  return loadPolicy(await buildBundle(await packsFolder(packs)), Object.keys(packs));
}

const user = (id: string, role?: string) => ({
  uid: { type: "User", id },
  attrs: role === undefined ? {} : { role },
  parents: [],
});

const ADMINS = 'permit (principal, action, resource) when { principal has role && principal.role == "admin" };';

describe("candidates", () => {
  test("come sorted from the directories of all packs that cover the question, each once", async () => {
    const policy = await policyOf({
      a: { entities: [user("zoe"), user("ann")] },
      b: { entities: [user("bob"), user("ann")] },
    });
    expect(searchCandidates(policy, "subject", request())).toEqual(["ann", "bob", "zoe"]);
    expect(searchCandidates(policy, "resource", request())).toEqual([]);
    expect(searchCandidates(policy, "action", request())).toEqual(["read"]);
  });

  test("there are none for what no pack lists", async () => {
    const policy = await policyOf({ a: { entities: [user("ann")] } });
    expect(searchCandidates(policy, "subject", request({ subject: { type: "__proto__", id: "" } }))).toEqual([]);
    expect(searchCandidates(policy, "subject", request({ action: { name: "burn" } }))).toEqual([]);
    expect(searchCandidates(policy, "action", request({ resource: { type: "moon", id: "x" } }))).toEqual([]);
  });

  test("a pack that is not searchable shows nobody", async () => {
    const policy = await policyOf({ a: { manifest: { searchable: false }, entities: [user("ann")] } });
    expect(searchCandidates(policy, "subject", request())).toEqual([]);
  });
});

describe("evaluation of a candidate", () => {
  test("describes it by the directory, whatever the request says of the searched side", async () => {
    const policy = await policyOf({ a: { policies: ADMINS, entities: [user("ann", "admin"), user("bob")] } });
    const claimed = request({ subject: { type: "user", id: "", properties: { role: "admin" } } });
    const allowed = (id: string) => evaluateCandidate(policy, "subject", claimed, id, ENV).reason === null;
    expect(["ann", "bob"].filter(allowed)).toEqual(["ann"]);
  });

  test("describes the other side by the request", async () => {
    const policy = await policyOf({
      a: {
        policies: ADMINS,
        entities: [user("ann", "admin"), { uid: { type: "Doc", id: "d-1" }, attrs: {}, parents: [] }],
      },
    });
    const ask = (properties: { role?: string }) =>
      evaluateCandidate(policy, "resource", request({ subject: { type: "user", id: "ann", properties } }), "d-1", ENV);
    expect(ask({ role: "admin" }).reason).toBeNull();
    expect(ask({}).reason).toBe("policy_denied");
  });
});
