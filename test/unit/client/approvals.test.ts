import { expect, test } from "vitest";
import { nodeHmacSha256, nodeSha256 } from "../../../durable-objects/platform.ts";
import { createApprovals } from "../../../src/client/index.ts";
import { bindingEnds, mintBinding, timeText } from "../../../src/runs/binding.ts";
import { newRegion, PDP, pepClaims, sign, START_MS } from "../http/region.ts";

const question = {
  subject: { type: "agent", id: "payer" },
  action: { name: "pay", properties: { amount: 5 } },
  resource: { type: "account", id: "1" },
  context: { memo: "m" },
};
const endpoint = `${PDP}/access/v1/requests`;
const denied = {
  pdp: PDP,
  endpoint,
  run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA",
  request: { v: 1, ...question },
  t_ms: START_MS,
} as const;

async function connected() {
  const region = await newRegion();
  const claims = pepClaims({ client_id: "pep:eu/desk", sub: "pep:eu/desk", jti: "cred-2", scope: "approve" });
  region.authority.peps.push({ ...region.authority.peps[0]!, id: "desk", key: "pep:eu/desk" });
  const options = {
    url: `${PDP}/`,
    fetch: (url: string | URL | Request, init?: RequestInit) => region.fetch(new Request(url, init)),
  };
  return {
    region,
    asker: createApprovals({ ...options, credential: region.pep }),
    desk: createApprovals({ ...options, credential: await sign(region.signer, claims) }),
  };
}

test("from the denial to the approval, as asker and desk write it", async () => {
  const { region, asker, desk } = await connected();
  const token = mintBinding(denied, { key: new Uint8Array(32), hmac: nodeHmacSha256, hash: nodeSha256 });
  const access_request = { binding_token: token, expires_at: timeText(bindingEnds(START_MS)) };
  const asked = await asker.submit(question, access_request, {
    justification: "due",
    requester: { type: "user", id: "carol" },
    idempotency_key: "k",
  });
  if (!asked.ok) throw new Error(asked.detail);
  const { id } = asked.value.task;
  expect(region.shards.flatMap(({ approvals }) => approvals.submitted)[0]).toMatchObject({
    binding_token: token,
    idempotency_key: "k",
    justification: "due",
    requester: "user/carol",
  });
  expect(await asker.read(id)).toMatchObject({ ok: true, value: { task: { id, status: "pending" } } });
  expect(await desk.list()).toMatchObject({ ok: true, value: { tasks: [{ id, pep: "gateway" }], more: false } });
  expect(await asker.list()).toMatchObject({ ok: false, code: "insufficient_scope" });
  expect(await asker.approve(id, { type: "user", id: "bob" })).toMatchObject({ ok: false, code: "insufficient_scope" });
  expect(await desk.approve(id, { type: "user", id: "bob" }, "seen")).toMatchObject({
    ok: true,
    value: { task: { status: "approved" }, result: { mode: "reevaluate" } },
  });
  expect(region.shards.flatMap(({ approvals }) => approvals.answered)[0]).toMatchObject({ justification: "seen" });
});

test("refusing, cancelling, and what goes wrong", async () => {
  const { asker, desk } = await connected();
  const token = mintBinding(denied, { key: new Uint8Array(32), hmac: nodeHmacSha256, hash: nodeSha256 });
  const access_request = { binding_token: token, expires_at: timeText(bindingEnds(START_MS)) };
  const submit = async (): Promise<string> => {
    const asked = await asker.submit(question, access_request);
    if (!asked.ok) throw new Error(asked.detail);
    return asked.value.task.id;
  };
  expect(await desk.refuse(await submit(), { type: "user", id: "bob" })).toMatchObject({
    value: { task: { status: "denied" } },
  });
  expect(await asker.cancel(await submit())).toMatchObject({ value: { task: { status: "cancelled" } } });
  expect(await asker.read("eu.1.BBBBBBBBBBBBBBBBBBBBBB")).toMatchObject({ ok: false, code: "unknown_task" });
  expect(await asker.submit(question, { ...access_request, binding_token: "x" })).toMatchObject({
    ok: false,
    code: "invalid_denial_binding",
  });
  const nowhere = createApprovals({ url: PDP, credential: "x", fetch: () => Promise.reject(new Error("down")) });
  expect(await nowhere.list()).toMatchObject({ ok: false, code: "unreachable" });
});
