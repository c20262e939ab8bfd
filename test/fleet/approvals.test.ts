import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApprovals } from "../../src/client/index.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock } from "../support/command.ts";
import { bearer, patiently, post } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import type { Question } from "../../src/client/index.ts";
import { openRun, type OpenedRun } from "../support/runs.ts";

/** S1, row 5 (SCENARIOS): a payment above 10,000 needs somebody else's approval, over HTTP and on raw workerd. */
let region: TestRegion;
let admin: AdminClient;
let desk: string;
let asker: string;

beforeAll(async () => {
  region = await startRegion({ name: "eu", packs: ["sovereign", "treasury"] });
  admin = new AdminClient(region.url, region.admin);
  // One credential asks and does not approve; the other approves and does not ask.
  ({ credential: asker } = await admin.registerPep({ id: "gateway-1", scopes: ["evaluate", "runs"], ttl_s: 3_600 }));
  ({ credential: desk } = await admin.registerPep({ id: "desk-1", scopes: ["approve"], ttl_s: 3_600 }));
});
afterAll(() => region.remove());

const ALICE = { type: "user", id: "alice@bank.example" };
const BOB = { type: "user", id: "bob@bank.example" };
const MALLORY = { type: "user", id: "mallory@bank.example" };
const agent = (id: string) => ({ type: "agent", id });
const pay = (amount: number, context: Record<string, unknown> = {}): Question => ({
  subject: agent("payer"),
  action: { name: "payment.execute", properties: { amount, currency: "EUR" } },
  resource: { type: "account", id: "ACC-EU-1" },
  context,
});
const QUOTE: Question = {
  subject: agent("fx-quoter-eu"),
  action: { name: "fx.quote", properties: { amount: 6000 } },
  resource: { type: "currency-pair", id: "EUR/USD" },
};

async function payout(): Promise<OpenedRun> {
  const expires_ms = Date.now() + 600_000;
  const run = await openRun(region, {
    principal: ALICE,
    delegations: [
      { delegate: agent("payer"), scopes: ["payment.*"], expires_ms },
      { delegate: agent("fx-quoter-eu"), scopes: ["fx.quote"], expires_ms },
    ],
  });
  expect((await run.step(QUOTE)).verdict).toBe("allow");
  return run;
}

type Context = {
  reason?: string;
  next_action?: string;
  not_requestable?: string;
  approval?: { id: string; reason?: string; approved_until?: string };
  access_request?: { endpoint: string; expires_at: string; binding_token: string };
};

async function ask(run: OpenedRun, question: Question): Promise<{ decision: boolean; context: Context; text: string }> {
  const body = { ...question, context: { ...question.context, interlock: { run: run.id } } };
  return patiently(
    async () => {
      const answer = await post(`${region.url}/access/v1/evaluation`, asker, body);
      const text = await answer.text();
      expect(answer.status).toBe(200);
      const { decision, context = {} } = JSON.parse(text) as { decision: boolean; context?: Context };
      return { decision, context, text };
    },
    ({ context: { reason } }) => reason ?? null,
  );
}

const asking = () => createApprovals({ url: region.url, credential: asker });
const approving = () => createApprovals({ url: region.url, credential: desk });

async function submit(run: OpenedRun, question: Question): Promise<string> {
  const { context } = await ask(run, question);
  const asked = await asking().submit(question, context.access_request!, { justification: "invoice is due" });
  if (!asked.ok) throw new Error(`${asked.code} ${asked.detail}`);
  return asked.value.task.id;
}

async function approved(run: OpenedRun, question: Question): Promise<string> {
  const given = await approving().approve(await submit(run, question), BOB);
  if (!given.ok) throw new Error(`${given.code} ${given.detail}`);
  return given.value.result!.approval.id;
}

describe("S1 5", () => {
  test("alice approves her own request: still denied; bob approves: asked again, allowed", async () => {
    const run = await payout();
    const first = await ask(run, pay(18_400));
    expect(first).toMatchObject({ decision: false, context: { reason: "approval_required" } });
    const metadata = await (
      await fetch(`${region.url}/.well-known/authzen-configuration`)
    ).json<Record<string, unknown>>();
    expect(first.context.access_request!.endpoint).toBe(metadata["access_request_endpoint"]);
    // The same words for the same question, until the next ten minutes begin.
    const again = await ask(run, pay(18_400));
    const next = again.context.access_request!.expires_at !== first.context.access_request!.expires_at;
    expect(next ? (await ask(run, pay(18_400))).text : first.text).toBe(again.text);

    const task = await submit(run, pay(18_400));
    const waiting = await approving().list();
    if (!waiting.ok) throw new Error(waiting.code);
    expect(waiting.value.tasks.find(({ id }) => id === task)).toMatchObject({
      run: run.id,
      pep: "gateway-1",
      asked: { request: { action: { properties: { amount: 18_400 } } }, justification: "invoice is due" },
    });

    expect(await approving().approve(task, ALICE)).toMatchObject({ ok: false, code: "approver_not_independent" });
    expect((await ask(run, pay(18_400))).context.reason).toBe("approval_required");
    expect(await approving().approve(task, MALLORY)).toMatchObject({ ok: false, code: "policy_denied" });
    expect((await ask(run, pay(18_400))).decision).toBe(false);

    const given = await approving().approve(task, BOB, "seen");
    if (!given.ok) throw new Error(given.code);
    const { approval } = given.value.result!;
    expect(await asking().read(task)).toMatchObject({
      ok: true,
      value: { task: { status: "approved" }, result: { approval } },
    });
    expect(await ask(run, pay(18_400, { approval }))).toMatchObject({
      decision: true,
      context: { approval: { id: approval.id, approved_until: approval.approved_until } },
    });
    expect((await ask(run, pay(18_400))).decision).toBe(true);
    // Another amount is another question.
    expect(await ask(run, pay(18_401, { approval }))).toMatchObject({
      decision: false,
      context: { reason: "approval_required", next_action: "request", approval: { reason: "out_of_scope" } },
    });
    // And the run of somebody else another run.
    expect((await ask(await payout(), pay(18_400, { approval }))).context.approval!.reason).toBe(
      "approval_unverifiable",
    );

    // All of it is in the run's evidence.
    const lineage = await fetch(`${region.url}/lineage/v1/runs/${run.id}`, { headers: bearer(region.pep) });
    const { records } = await lineage.json<{
      records: readonly { record: { kind: string; decision: string } }[];
    }>();
    const kinds = records.map(({ record }) => `${record.kind} ${record.decision}`);
    expect(kinds.filter((kind) => kind.startsWith("approval."))).toEqual([
      "approval.request allow",
      "approval.grant deny",
      "approval.grant deny",
      "approval.grant allow",
    ]);
  });

  test("a refused request ends, and a cancelled one", async () => {
    const run = await payout();
    const refused = await submit(run, pay(18_400));
    expect(await approving().refuse(refused, BOB)).toMatchObject({ ok: true, value: { task: { status: "denied" } } });
    expect(await approving().approve(refused, BOB)).toMatchObject({ ok: false, code: "invalid_task_state" });
    const cancelled = await submit(run, pay(18_400));
    expect(await approving().cancel(cancelled)).toMatchObject({ ok: false, code: "insufficient_scope" });
    expect(await asking().cancel(cancelled)).toMatchObject({ ok: true });
    expect((await ask(run, pay(18_400))).decision).toBe(false);
  });
});

test("fifty parallel uses are one approval's; a revocation of it or of its approver ends them all", async () => {
  const run = await payout();
  const id = await approved(run, pay(18_400));
  const told = await Promise.all(Array.from({ length: 50 }, () => ask(run, pay(18_400))));
  expect(told.every(({ decision }) => decision)).toBe(true);
  for (const key of [`approval:${id}`, "subject:user/bob@bank.example"]) {
    const revoked = await admin.revoke({ key, from: "issue", reason: "test", wait: "local" });
    const after = await Promise.all(Array.from({ length: 20 }, () => ask(run, pay(18_400, { approval: { id } }))));
    for (const { decision, context } of after) {
      expect(decision).toBe(false);
      expect(context).toMatchObject({ reason: "approval_required", approval: { reason: "approval_expired" } });
    }
    await admin.restore(revoked.id, "test");
    expect((await ask(run, pay(18_400))).decision).toBe(true);
  }
});

test("a permit is redeemed, and its hold renewed, only while the approval stands", async () => {
  const run = await payout();
  const id = await approved(run, pay(18_400));
  const permit = async (): Promise<string> => {
    const interlock = { run: run.id, permit: { audience: "gateway-1" } };
    const body = { ...pay(18_400), context: { interlock } };
    const ask = async () => (await post(`${region.url}/access/v1/evaluation`, asker, body)).headers;
    return until(async () => (await ask()).get("interlock-permit"), "a permit");
  };
  const redeem = async (text: string) => {
    const answer = await post(`${region.url}/access/v1/permits/redeem`, asker, { permit: text });
    const { decision, context } = await answer.json<{ decision: boolean; context?: Context }>();
    return { decision, reason: context?.reason ?? null, hold: answer.headers.get("interlock-hold") };
  };
  const renew = async (hold: string) => {
    const answer = await post(`${region.url}/access/v1/holds/${hold}/renew`, asker, {});
    const { decision, context } = await answer.json<{ decision: boolean; context?: Context }>();
    return { decision, reason: context?.reason ?? null };
  };
  const [held, waiting] = [await permit(), await permit()];
  const { decision, hold } = await redeem(held);
  expect(decision).toBe(true);
  expect(await renew(hold!)).toMatchObject({ decision: true });
  const revoked = await admin.revoke({ key: `approval:${id}`, from: "issue", reason: "test", wait: "local" });
  expect(await redeem(waiting)).toMatchObject({ decision: false, reason: "approval_required", hold: null });
  expect((await renew(hold!)).decision).toBe(false);
  await admin.restore(revoked.id, "test");
  // What was not used up is good again; a hold that ended is not.
  expect(await redeem(waiting)).toMatchObject({ decision: true });
  expect(await renew(hold!)).toMatchObject({ decision: false, reason: "hold_ended" });
});

test("interlock approvals: list, refuse, approve", async () => {
  const run = await payout();
  const at = ["--region", "eu", "--data", region.base];
  const told = async (...args: readonly string[]) => {
    const command = interlock("approvals", ...args);
    return { code: await command.ended, out: command.stdout(), err: command.stderr() };
  };
  const id = await submit(run, pay(18_400));
  const listed = await told("list", ...at);
  expect(listed).toMatchObject({ code: 0 });
  const { tasks } = JSON.parse(listed.out) as { tasks: readonly { id: string }[] };
  expect(tasks.map((task) => task.id)).toContain(id);
  const own = await told("approve", id, "--approver", "user:alice@bank.example", ...at);
  expect(own.code).toBe(1);
  expect(own.err).toContain("approver_not_independent");
  expect((await told("approve", id, "--approver", "bob", ...at)).code).toBe(2);
  expect((await told("approve", id, ...at)).code).toBe(2);
  const approve = ["approve", id, "--approver", "user:bob@bank.example", "--because", "seen"];
  expect((await told(...approve, "--region-url", region.url)).err).toContain("There is no PEP credential");
  expect(JSON.parse((await told(...approve, ...at)).out)).toMatchObject({ task: { status: "approved" } });
  expect((await ask(run, pay(18_400))).decision).toBe(true);
  const other = await submit(run, pay(18_401));
  const refused = await told("refuse", other, "--approver", "user:bob@bank.example", ...at);
  expect(JSON.parse(refused.out)).toMatchObject({ task: { status: "denied" } });
});

test("requests and approvals outlive kill -9", async () => {
  const run = await payout();
  const task = await submit(run, pay(18_400));
  await region.kill("SIGKILL");
  await region.restart();
  const given = await approving().approve(task, BOB);
  if (!given.ok) throw new Error(`${given.code} ${given.detail}`);
  await region.kill("SIGKILL");
  await region.restart();
  expect(await asking().read(task)).toMatchObject({ ok: true, value: { task: { status: "approved" } } });
  const { id } = given.value.result!.approval;
  expect(await ask(run, pay(18_400, { approval: { id } }))).toMatchObject({
    decision: true,
    context: { approval: { id } },
  });
  expect((await ask(run, pay(18_402))).decision).toBe(false);
});
