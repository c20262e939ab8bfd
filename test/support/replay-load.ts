import { setTimeout as sleep } from "node:timers/promises";
import { createApprovals, type Question } from "../../src/client/index.ts";
import { clientOf } from "./federation.ts";
import { claimsOf, post } from "./http.ts";
import { goldenCases } from "./past.ts";
import { note, openPassNow } from "./passes.ts";
import type { PepScope } from "../../src/vocabulary/types.ts";
import type { Random } from "./random.ts";
import { PACKS } from "./replay-bundles.ts";
import type { TestRegion } from "./region.ts";
import { account, ear, now_s, POD, registerAll, wit, wpt } from "./workloads.ts";
import type { Json } from "../unit/credentials/maker.ts";

/**
 * A load of everything that a region decides, for records to be decided again: questions of all packs in batches and
 * alone, runs with plans, delegations, budgets and parents, permits and holds, approvals, passes between two regions,
 * workloads that prove themselves, revocations from both sides. What is asked comes from the seed; what is answered also
 * depends on who is first.
 */
export const HOMES = {
  "bank.example": "eu",
  "agent/": "eu",
  "agent/fx-quoter": "us",
  "agent/fx-quoter-eu": "eu",
  "invoice/": "eu",
  "account/": "eu",
  "currency-pair/": "eu",
  "service-account/": "eu",
  "deployment/": "eu",
  "pod/": "eu",
};

type Body = Record<string, unknown>;
type Said = { readonly status: number; readonly body: Body; readonly headers: Headers };

const ALICE = { type: "user", id: "alice@bank.example" };
const BOB = { type: "user", id: "bob@bank.example" };
const agent = (id: string) => ({ type: "agent", id });
const PAIR = { type: "currency-pair", id: "EUR/USD" };
const AGENT = "spiffe://prod.example/ns/ops/sa/sre-agent";
const eur = { sum: "amount", unit: { property: "currency", value: "EUR" } };
const LIMITS = [
  { id: "a-step", actions: ["payment.*"], ...eur, per: "step", max: 20000 },
  { id: "a-run", actions: ["payment.execute"], ...eur, per: "run", max: 25000 },
];
const node = (id: string, action: string, after: string[], over: object = {}) => ({ id, action, after, ...over });
const planOf = (quoting: object = {}, ...more: readonly object[]) => ({
  nodes: [
    node("read", "invoice.read", []),
    node("quote", "fx.quote", ["read"], quoting),
    node("prepare", "payment.prepare", ["quote"]),
    node("execute", "payment.execute", ["prepare"], { repeat: 50 }),
    ...more,
  ],
});
const pay = (amount: number, name = "payment.execute"): Question => ({
  subject: agent("payer"),
  action: { name, properties: { amount, currency: "EUR" } },
  resource: { type: "account", id: "ACC-EU-1" },
});
const quoteBy = (quoter: string): Question => ({
  subject: agent(quoter),
  action: { name: "fx.quote", properties: { amount: 6000 } },
  resource: PAIR,
});

export class ReplayLoad {
  readonly #eu: TestRegion;
  readonly #us: TestRegion;
  readonly #random: Random;
  readonly #golden: readonly object[];
  /** Of the last answers: what a caller may ask to be at least as new as. */
  readonly #tokens: string[] = [];
  #door = "";
  #desk = "";
  #keys = 0;
  /** Calls by what they were, and how they were answered. */
  readonly calls = new Map<string, number>();
  /** Answers that a sound region does not give. */
  readonly unexpected: string[] = [];
  /** While a region is being stopped or restarted nothing is unexpected. */
  disturbed = false;

  constructor(eu: TestRegion, us: TestRegion, random: Random) {
    this.#eu = eu;
    this.#us = us;
    this.#random = random;
    this.#golden = PACKS.flatMap((pack) => goldenCases(pack).map(({ request }) => request as object));
  }

  async prepare(): Promise<void> {
    const pep = String(claimsOf(this.#eu.pep)["sub"]).split("/")[1]!;
    const accounts = [{ namespace: "ops", service_account: "sre-agent", workload: AGENT }];
    await registerAll(this.#eu, pep, { cluster: { accounts } });
    // As long as the longest load.
    const register = async (id: string, scope: PepScope): Promise<string> =>
      (await clientOf(this.#eu).registerPep({ id, scopes: [scope], ttl_s: 7_200 })).credential;
    this.#door = await register("door", "evaluate");
    this.#desk = await register("desk", "approve");
  }

  /** Callers at once, each one act after the other, until `stopped`. */
  async run(callers: number, stopped: () => boolean): Promise<void> {
    const caller = async (): Promise<void> => {
      while (!stopped()) {
        try {
          await this.#act();
        } catch (cause) {
          if (!(cause instanceof Error)) throw cause;
          // A region that is being killed breaks connections off.
          if (!this.disturbed) this.unexpected.push(cause.message);
          await sleep(50);
        }
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  async #act(): Promise<void> {
    const dice = this.#random.next();
    if (dice < 0.45) return this.#batch();
    if (dice < 0.65) return this.#single();
    if (dice < 0.77) return this.#payout();
    if (dice < 0.82) return this.#abroad();
    if (dice < 0.9) return this.#cluster();
    if (dice < 0.95) return this.#ward();
    return this.#revocation();
  }

  async #call(what: string, path: string, body: object, region = this.#eu, token = region.pep): Promise<Said> {
    const answer = await post(`${region.url}${path}`, token, body);
    const text = await answer.text();
    // The door says what is wrong with a request in plain text.
    const read = answer.headers.get("content-type")?.includes("json") === true ? (JSON.parse(text) as Body) : {};
    const context = read["context"] as Body | undefined;
    const why = context?.["reason"] ?? read["code"];
    const said = read["decision"] === true ? "allow" : typeof why === "string" ? why : String(answer.status);
    const word = `${what}: ${Array.isArray(read["evaluations"]) ? "batch" : said}`;
    this.calls.set(word, (this.calls.get(word) ?? 0) + 1);
    if ((answer.status >= 500 && answer.status !== 503) || answer.status === 400 || answer.status === 401)
      this.unexpected.push(`${what}: ${answer.status} ${text.slice(0, 300)}`);
    const consistency = answer.headers.get("interlock-consistency");
    if (consistency !== null) {
      this.#tokens.push(consistency);
      if (this.#tokens.length > 20) this.#tokens.shift();
    }
    return { status: answer.status, body: read, headers: answer.headers };
  }

  readonly #key = (): string => `load-${this.#random.seed}-${this.#keys++}`;

  #question(): object {
    const random = this.#random;
    if (random.chance(0.7)) return random.pick(this.#golden);
    return {
      subject: { type: "user", id: random.pick(["alice", "bob", `guest-${random.int(1, 9)}`, "mällory \u{1F511}"]) },
      action: { name: random.pick(["read", "read", "write", "delete", "never-heard-of"]) },
      resource: {
        type: "record",
        id: `record-${random.int(1, 9)}`,
        properties: { status: random.pick(["active", "archived"]) },
      },
      context: {
        note: random.pick(["", "ünïcode", "\u2028"]),
        amount: random.int(-5, 5),
        deep: { list: [1, "x", true] },
      },
    };
  }

  async #batch(): Promise<void> {
    const random = this.#random;
    const evaluations = Array.from({ length: random.int(2, 40) }, () => this.#question());
    const body = {
      evaluations,
      context: {
        interlock: {
          ...(random.chance(0.2) ? { idempotency_key: this.#key() } : {}),
          ...(random.chance(0.1) ? { explain: true } : {}),
        },
      },
      options: {
        evaluations_semantic: random.chance(0.8)
          ? "execute_all"
          : random.pick(["deny_on_first_deny", "permit_on_first_permit"]),
      },
    };
    await this.#call("batch", "/access/v1/evaluations", body);
    if ("idempotency_key" in body.context.interlock) await this.#call("repeated", "/access/v1/evaluations", body);
  }

  async #single(): Promise<void> {
    const random = this.#random;
    const question = this.#question() as { readonly context?: object };
    const interlock = random.pick<() => object>([
      () => ({}),
      () => ({ explain: true }),
      () => ({ explain: "counterfactual" }),
      () => ({ idempotency_key: this.#key() }),
      () => (this.#tokens.length === 0 ? {} : { consistency: { at_least: random.pick(this.#tokens) } }),
      () => ({ dry_run: true }),
      () => ({ run: `eu.1.${"A".repeat(22)}` }),
      () => ({ consistency: { at_least: "no token" } }),
    ])();
    const body = { ...question, context: { ...question.context, interlock } };
    await this.#call("single", "/access/v1/evaluation", body);
    if ("idempotency_key" in interlock) await this.#call("repeated", "/access/v1/evaluation", body);
  }

  async #opened(what: string, body: object): Promise<string | null> {
    const said = await this.#call(what, "/runs/v1/runs", body);
    return typeof said.body["run"] === "string" ? said.body["run"] : null;
  }

  readonly #step = async (
    run: string,
    question: Question,
    place: object = {},
  ): Promise<Said & { readonly id: string }> => {
    const body = { ...question, context: { ...question.context, interlock: { ...place, run } } };
    const said = await this.#call("step", "/access/v1/evaluation", body);
    return { ...said, id: said.headers.get("interlock-decision-id") ?? "" };
  };

  async #openPayout(quoter: string, quoting: object = {}): Promise<string | null> {
    const expires_ms = Date.now() + 600_000;
    const run = await this.#opened("payout", {
      principal: ALICE,
      plan: planOf(quoting),
      delegations: [
        {
          delegate: agent("treasury-orchestrator"),
          scopes: ["invoice.read", "fx.quote", "payment.*"],
          limits: LIMITS,
          expires_ms,
          depth: 1,
        },
      ],
    });
    if (run === null) return null;
    const opened = await fetch(`${this.#eu.url}/runs/v1/runs/${run}`, {
      headers: { authorization: `Bearer ${this.#eu.pep}` },
    });
    const view = await opened.json<{ readonly delegations?: readonly { readonly id: string }[] }>();
    const parent = view.delegations?.[0]?.id;
    if (parent === undefined) return null;
    for (const [delegate, scopes, limits] of [
      ["invoice-reader", ["invoice.read"], []],
      [quoter, ["fx.quote"], []],
      ["payer", ["payment.prepare", "payment.execute"], LIMITS],
      // More than was given.
      ["nobody", ["everything"], []],
    ] as const)
      await this.#call("delegate", `/runs/v1/runs/${run}/delegations`, {
        delegator: agent("treasury-orchestrator"),
        delegate: agent(delegate),
        scopes,
        limits,
        expires_ms,
        parent,
      });
    return run;
  }

  readonly #read = (run: string): Promise<Said & { readonly id: string }> =>
    this.#step(
      run,
      {
        subject: agent("invoice-reader"),
        action: { name: "invoice.read" },
        resource: { type: "invoice", id: "INV-881" },
      },
      { step: "read" },
    );

  async #payout(): Promise<void> {
    const random = this.#random;
    const run = await this.#openPayout("fx-quoter-eu");
    if (run === null) return;
    if (random.chance(0.2)) await this.#step(run, pay(100), { step: "execute" });
    await this.#read(run);
    const quoted = await this.#step(run, quoteBy("fx-quoter-eu"), { step: "quote" });
    await this.#step(run, pay(6_000, "payment.prepare"), { step: "prepare" });
    for (let n = random.int(1, 6); n > 0; n--) {
      const amount = random.pick([1, 99.5, 2_400, 6_000, 9_000.01, 18_400, 20_000.01, -1]);
      await this.#step(run, pay(amount), {
        step: random.chance(0.95) ? "execute" : "elsewhere",
        ...(random.chance(0.4) ? { parents: [quoted.id] } : {}),
        ...(random.chance(0.1) ? { state_version: random.int(1, 9) } : {}),
      });
    }
    const at = `/runs/v1/runs/${run}`;
    if (random.chance(0.4)) await this.#permit(run);
    if (random.chance(0.4)) await this.#approval(run);
    if (random.chance(0.3))
      await this.#call("amend", `${at}/amend`, {
        plan: random.chance(0.7)
          ? planOf({}, node("again", "payment.execute", ["execute"]))
          : { nodes: [node("read", "invoice.read", [])] },
      });
    if (random.chance(0.3))
      await this.#call("outcome", `${at}/steps/${encodeURIComponent(quoted.id)}/outcome`, {
        outcome: random.pick(["completed", "failed"]),
      });
    if (random.chance(0.3)) await this.#step(run, pay(10), { step: "execute", parents: [quoted.id] });
    if (random.chance(0.1)) await clientOf(this.#eu).stopRun(run, { reason: "load", wait: "accepted" });
    if (random.chance(0.5)) await this.#call("close", `${at}/close`, {});
    if (random.chance(0.3)) await this.#step(run, pay(10), { step: "execute" });
  }

  async #permit(run: string): Promise<void> {
    const random = this.#random;
    const said = await this.#step(run, pay(50), { step: "execute", permit: { audience: "door" } });
    const permit = said.headers.get("interlock-permit");
    if (permit === null) return;
    if (random.chance(0.2))
      await clientOf(this.#eu).revoke({
        key: `permit:${String(claimsOf(permit)["jti"])}`,
        from: "issue",
        reason: "load",
        wait: "local",
      });
    const redeemed = await this.#call("redeem", "/access/v1/permits/redeem", { permit }, this.#eu, this.#door);
    await this.#call("redeem", "/access/v1/permits/redeem", { permit }, this.#eu, this.#door);
    const hold = redeemed.headers.get("interlock-hold");
    if (hold === null) return;
    const at = `/access/v1/holds/${encodeURIComponent(hold)}`;
    for (let n = random.int(0, 3); n > 0; n--) await this.#call("renew", `${at}/renew`, {}, this.#eu, this.#door);
    if (random.chance(0.7)) await this.#call("report", `${at}/outcome`, { outcome: "completed" }, this.#eu, this.#door);
  }

  async #approval(run: string): Promise<void> {
    const random = this.#random;
    const question = pay(random.pick([12_000, 18_400]));
    const denied = await this.#step(run, question, { step: "execute" });
    const context = denied.body["context"] as
      { readonly access_request?: { readonly binding_token: string; readonly expires_at: string } } | undefined;
    if (context?.access_request === undefined) return;
    const asking = createApprovals({ url: this.#eu.url, credential: this.#eu.pep });
    const approving = createApprovals({ url: this.#eu.url, credential: this.#desk });
    const task = await asking.submit(question, context.access_request, { justification: "invoice is due" });
    if (!task.ok) return;
    const { id } = task.value.task;
    if (random.chance(0.2)) await approving.approve(id, ALICE);
    const end = random.next();
    if (end < 0.6) await approving.approve(id, BOB, "seen");
    else if (end < 0.8) await approving.refuse(id, BOB);
    else await asking.cancel(id);
    await this.#step(run, question, { step: "execute" });
  }

  /** The quote is taken in the other region, under a pass. */
  async #abroad(): Promise<void> {
    const run = await this.#openPayout("fx-quoter", { region: "us", resource: PAIR, repeat: 2 });
    if (run === null) return;
    await this.#read(run);
    const asked = { step: "quote", region: "us", subject: agent("fx-quoter"), action: "fx.quote" };
    const given = await openPassNow(this.#eu, run, asked);
    if (given.pass === "") return;
    const there = async (properties: object): Promise<string | null> => {
      const question = { ...quoteBy("fx-quoter"), action: { name: "fx.quote", properties } };
      const body = { ...question, context: { interlock: { pass: given.pass } } };
      const said = await this.#call("abroad", "/access/v1/evaluation", body, this.#us);
      return said.headers.get("interlock-step-receipt");
    };
    const receipts: string[] = [];
    for (const properties of this.#random.chance(0.3)
      ? [{ amount: 6_000, payee: "Jane" }, { amount: 6_000 }]
      : [{ amount: 6_000 }]) {
      const receipt = await there(properties);
      if (receipt !== null) receipts.push(receipt);
    }
    if (this.#random.chance(0.5)) await note(this.#eu, run, receipts);
    const more = receipts.length === 0 ? {} : { step_receipts: receipts.slice(-1) };
    await this.#step(run, pay(6_000, "payment.prepare"), { step: "prepare", ...more });
    await this.#step(run, pay(1_000), { step: "execute", parents: [given.id] });
  }

  /** A workload that proves its key, is attested, or is not. */
  async #cluster(): Promise<void> {
    const random = this.#random;
    const pod: Json = { name: "sre-agent-0", uid: POD };
    const reading = (): Json => ({
      service_account: account({
        claims: {
          sub: "system:serviceaccount:ops:sre-agent",
          "kubernetes.io": { namespace: "ops", pod, serviceaccount: { name: "sre-agent", uid: POD } },
        },
      }),
    });
    const changing = (): Json => {
      const text = wit({ claims: { sub: AGENT } });
      const proof = { wit: text, wpt: wpt(text) };
      return random.chance(0.8)
        ? { ...proof, attestation: [ear({ claims: { iat: now_s() - random.pick([5, 400]) } })] }
        : proof;
    };
    const asked = (name: string, type: string, id: string, properties: object = {}, of: object = {}): Question => ({
      subject: { type: "service-account", id: AGENT },
      action: { name, properties: { ...properties } },
      resource: { type, id, properties: { cluster: "prod-eu", namespace: "payments", ...of } },
    });
    await this.#call("pods", "/access/v1/evaluation", {
      ...asked("get", "pod", "payments/api-1"),
      context: { interlock: { credentials: reading() } },
    });
    const principal = { type: "user", id: random.pick(["carol", "dan", "erin"]) };
    const run = await this.#opened("cluster", { principal, members: [{ type: "service-account", id: AGENT }] });
    if (run === null) return;
    for (let n = random.int(1, 5); n > 0; n--) {
      const question = random.chance(0.6)
        ? asked("scale", "deployment", "payments/api", { replicas: random.pick([1, 5, 6, 40]) }, { replicas: 4 })
        : asked(
            "set-image",
            "deployment",
            "payments/api",
            { image: random.pick(["app:latest", `registry.example/payments@sha256:${"9".repeat(64)}`]) },
            { replicas: 4 },
          );
      await this.#step(run, question, { credentials: changing(), ...(random.chance(0.2) ? { explain: true } : {}) });
    }
  }

  /** A run with budgets of its own, and the ward's questions in it. */
  async #ward(): Promise<void> {
    const random = this.#random;
    const members = [agent("ward-assistant"), { type: "user", id: "bob" }];
    const run = await this.#opened("ward", {
      principal: { type: "user", id: random.pick(["alice", "dr.weber@klinik.example"]) },
      members,
      budgets: [{ id: "steps", actions: ["*"], max: random.int(2, 30) }],
      ...(random.chance(0.3) ? { labels: ["phi"] } : {}),
    });
    if (run === null) return;
    const ward = goldenCases("hospital-mcp").map(({ request }) => request as object);
    const evaluations = Array.from({ length: random.int(3, 20) }, () => {
      const question = random.chance(0.7) ? random.pick(ward) : this.#question();
      return { ...question, context: { ...(question as { context?: object }).context, interlock: { run } } };
    });
    await this.#call("ward", "/access/v1/evaluations", { evaluations });
  }

  /** Of somebody that others ask about, in either region; given back after a moment. */
  async #revocation(): Promise<void> {
    const random = this.#random;
    const region = random.chance(0.5) ? this.#eu : this.#us;
    const key = random.pick([
      `subject:user/guest-${random.int(1, 9)}`,
      `resource:record/record-${random.int(1, 9)}`,
      "subject:agent/fx-quoter",
      "subject:user/dan",
    ]);
    const level = key.startsWith("resource:") && random.chance(0.5) ? { level: "degraded" } : {};
    const from = "level" in level || random.chance(0.6) ? "issue" : "beginning";
    const revoked = await clientOf(region)
      .revoke({ key, from, reason: "load", wait: random.pick(["accepted", "local"]), ...level })
      .catch(() => null);
    this.calls.set("revoke", (this.calls.get("revoke") ?? 0) + 1);
    if (revoked === null) return;
    await sleep(random.int(50, 400));
    await clientOf(region)
      .restore(revoked.id, "load")
      .catch(() => null);
  }
}
