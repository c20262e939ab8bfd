import { expect, test } from "vitest";
import { createRuns } from "../../../src/client/index.ts";
import { alice, bob, newRegion } from "../http/region.ts";

async function connected() {
  const region = await newRegion();
  const send = (url: string | URL | Request, init?: RequestInit): Promise<Response> =>
    region.fetch(new Request(url, init));
  const options = { url: "https://eu.pdp.example/", fetch: send };
  return {
    region,
    runs: createRuns({ ...options, credential: region.pep }),
    stranger: createRuns({ ...options, credential: "x" }),
  };
}

test("a run from opening to closing, as a caller writes it", async () => {
  const { region, runs } = await connected();
  const opened = await runs.open({
    principal: alice,
    members: [bob],
    plan: {
      nodes: [
        { id: "quote", action: "fx.quote" },
        { id: "pay", action: "pay", after: ["quote"] },
      ],
    },
    budgets: [{ id: "eur", actions: ["pay"], sum: "amount", max: 100 }],
    delegations: [{ delegate: bob, scopes: ["fx.*"], expires_ms: 4_102_444_800_000 }],
  });
  if (!opened.ok) throw new Error(opened.detail);
  const { run } = opened.value;
  expect(opened.id).toMatch(/^eu\./);
  expect(opened.value.delegations).toHaveLength(1);
  expect(await runs.amend(run, { nodes: [{ id: "quote", action: "fx.quote" }] }, 1)).toMatchObject({ ok: true });
  expect(
    await runs.delegate(run, { delegator: alice, delegate: bob, scopes: ["*"], expires_ms: 4_102_444_800_000 }),
  ).toMatchObject({
    ok: true,
    value: { delegation: { delegate: "user/bob", source: "run" } },
  });
  expect(await runs.report(run, "eu.1.s0.7/2", "completed")).toMatchObject({ ok: true });
  expect(region.shards.flatMap(({ changes }) => changes).map(({ change }) => change.kind)).toEqual([
    "amend",
    "delegate",
    "outcome",
  ]);
  expect(region.shards.flatMap(({ changes }) => changes).at(-1)).toMatchObject({ change: { step: "eu.1.s0.7/2" } });
  expect(await runs.describe(run)).toMatchObject({ ok: true, value: { run, status: "open", nodes: [] } });
  expect(await runs.close(run)).toMatchObject({ ok: true, value: { status: "closed" } });
  expect(await runs.report(run, "eu.1.s0.7", "failed")).toMatchObject({ ok: false, code: "run_closed" });
});

test("what goes wrong is a value with the region's code", async () => {
  const { runs, stranger } = await connected();
  expect(await runs.open({ principal: { type: "user", id: "mallory" } })).toMatchObject({ ok: false, code: "revoked" });
  expect(await runs.open({ principal: alice, budgets: [{ id: "a b", actions: ["*"], max: 1 }] })).toMatchObject({
    ok: false,
    code: "input_invalid",
    detail: expect.stringContaining("budgets[0].id") as string,
  });
  expect(await runs.describe("eu.1.AAAAAAAAAAAAAAAAAAAAAA")).toMatchObject({ ok: false, code: "run_unknown" });
  expect(await stranger.open({ principal: alice })).toMatchObject({ ok: false, code: expect.any(String) as string });
  const dead = createRuns({ url: "http://127.0.0.1:1", credential: "x", fetch: () => Promise.reject(new Error("no")) });
  expect(await dead.close("eu.1.AAAAAAAAAAAAAAAAAAAAAA")).toMatchObject({ ok: false, code: "unreachable" });
  const odd = createRuns({
    url: "http://x",
    credential: "x",
    fetch: async () => new Response("<html>", { status: 502 }),
  });
  expect(await odd.close("r")).toEqual({ ok: false, code: "unreadable", detail: "status 502" });
});
