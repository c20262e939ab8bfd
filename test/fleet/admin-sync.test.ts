import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RevocationView } from "../../src/objects/revocations.ts";
import type { FreezeView } from "../../src/objects/freeze.ts";
import type { RequestView } from "../../src/objects/requests.ts";
import type { ClockResetView, PeersView } from "../../src/objects/peers.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { interlock, type RunningCommand } from "../support/command.ts";
import {
  askFor,
  settledFor,
  becomes,
  DELTA_MS,
  startFederation,
  subjectOf,
  type Federation,
} from "../support/federation.ts";
import { evaluate, post } from "../support/http.ts";
import { until } from "../support/log.ts";
import type { TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { unfreeze } from "../support/unfreeze.ts";

/** What an administrator sees and does while regions exchange trust events, over HTTP and by command. */
let fleet: Federation;
let eu: TestRegion;
let admin: AdminClient;

beforeAll(async () => {
  fleet = await startFederation({ packs: ["sovereign", "authzen-certification", "treasury"] });
  ({ eu } = fleet);
  admin = new AdminClient(eu.url, eu.admin);
  for (const region of fleet.all) await becomes(region, ["alice", "record-1"], "allow");
});
afterAll(() => fleet.close());

const command = (...args: readonly string[]): RunningCommand => interlock(...args, "--region", "eu", "--data", eu.base);

/** Standard output as JSON, and what stood beside it. */
async function done(running: RunningCommand): Promise<{ readonly answer: unknown; readonly beside: string }> {
  const code = await running.ended;
  if (code !== 0) throw new Error(`ended with ${code}: ${running.stderr()}`);
  return { answer: JSON.parse(running.stdout()) as unknown, beside: running.stderr() };
}

const READ_INVOICE = {
  subject: { type: "agent", id: "invoice-reader" },
  action: { name: "invoice.read" },
  resource: { type: "invoice", id: "INV-881" },
};

type Alarm = { readonly event: string; readonly region: string; readonly peer: string; readonly why?: string };

/** Lines that the authority of eu wrote about its peers. */
const alarms = (): readonly Alarm[] =>
  eu.log
    .filter((line) => line.includes('"sync_'))
    .map((line): Alarm => JSON.parse(line) as Alarm)
    .filter(({ event, region }) => region === "eu" && (event === "sync_alarm" || event === "sync_well"));

type Health = { continuity: { synchronization: { state: string; peers: { region: string; state: string }[] } } };
const syncOf = async (): Promise<Health["continuity"]["synchronization"]> => {
  const answer = await fetch(`${eu.url}/health`);
  const health = JSON.parse(await answer.text()) as Health;
  return health.continuity.synchronization;
};

describe("while all is well", () => {
  test("peers, health and the answers' own word agree; an alarm was said for nobody", async () => {
    await until(async () => {
      const answer = await post(`${eu.url}/access/v1/evaluation`, eu.pep, READ_INVOICE);
      return (answer.headers.get("interlock-continuity") ?? "").includes("synchronization=current");
    }, "a current word beside an answer");
    const view = (await done(command("peers", "--json"))).answer as PeersView;
    expect(view.peers.map(({ region, member }) => [region, member])).toEqual([
      ["ap", "active"],
      ["us", "active"],
    ]);
    // An idle region lets go of its peers, and a busy machine loses them for a moment.
    const { self } = await until(async () => {
      await evaluate(eu, READ_INVOICE);
      const view = await admin.peers();
      return view.word === "current" && view.peers.every(({ stale }) => stale === null) && view;
    }, "a current word of eu, and no stale peer");
    expect(self).toMatchObject({ stale: null, check: "passed", unnumbered: 0 });
    // `/health` keeps what it saw for a second.
    await until(async () => {
      await evaluate(eu, READ_INVOICE);
      return (await syncOf()).state === "current";
    }, "a current word in /health");
    const told = command("peers");
    expect(await told.ended).toBe(0);
    expect(told.stdout()).toMatch(/^eu: (current|idle).*\nregion +member +state/);
  });

  test("a barrier is waited for in sight, and reaches every region", async () => {
    const made = await done(command("revoke", subjectOf("eu-mallory"), "--reason", "test", "--wait", "barrier"));
    const [answer, beside] = [made.answer as RevocationView, made.beside];
    expect(answer.home).toEqual(["eu"]);
    expect(Object.keys(answer.status).sort()).toEqual(["ap", "eu", "us"]);
    expect(Object.values(answer.status)).not.toContain("unconfirmed");
    expect(beside).toMatch(/barrier: .*eu \w+.*us \w+/);
    for (const region of fleet.all) expect(await settledFor(region, "eu-mallory", "eu-1")).toBe("revoked");
  });

  test("a restoration waits for all; a barrier is refused, with why", async () => {
    const made = await admin.revoke({ key: subjectOf("eu-back"), from: "issue", reason: "test", wait: "all" });
    for (const region of fleet.all) expect(await settledFor(region, "eu-back", "eu-1")).toBe("revoked");
    const back = await done(command("restore", made.id, "--reason", "closed", "--wait", "all"));
    expect((back.answer as RevocationView).status).toEqual({ ap: "confirmed", eu: "confirmed", us: "confirmed" });
    for (const region of fleet.all) expect(await settledFor(region, "eu-back", "eu-1")).toBe("allow");
    await expect(admin.restore(made.id, "again", "barrier")).rejects.toThrow("a barrier is about what is taken away");
  });

  test("a barrier on a key at home elsewhere is watched for Δ and no longer", async () => {
    const asked_ms = Date.now();
    const made = await done(command("revoke", subjectOf("us-slow"), "--reason", "test", "--wait", "barrier"));
    expect((made.answer as RevocationView).status).toMatchObject({ ap: "unconfirmed", us: "unconfirmed" });
    expect(made.beside).toContain(`Not reached within ${DELTA_MS / 1_000} s`);
    expect(Date.now() - asked_ms).toBeLessThan(12_000);
  });

  test("a key that is at home elsewhere is reported as what it is", async () => {
    const made = await done(command("revoke", subjectOf("us-7"), "--reason", "test", "--json"));
    const [answer, beside] = [made.answer as RevocationView, made.beside];
    expect(answer).toMatchObject({ home: ["us"], binds: ["eu"], status: { ap: "unconfirmed", us: "unconfirmed" } });
    // Nobody asks eu just now, so its shard may have let its lease end instead of confirming.
    expect(answer.status["eu"]).not.toBe("unconfirmed");
    expect(beside).toContain("HOMED ELSEWHERE: the key is at home in us. It does not count in ap, us.");
    expect(await settledFor(eu, "us-7", "eu-1")).toBe("revoked");
    expect(await settledFor(fleet.us, "us-7", "us-1")).toBe("allow");
  });

  test("its home is asked for the same, and an administrator there decides, by command", async () => {
    const made = await done(command("revoke", subjectOf("us-9"), "--reason", "test", "--json"));
    expect(made.answer).toMatchObject({ forwarded: { us: "pending" } });
    expect(made.beside).toContain("us was asked for the same and has it, and one of its administrators decides");
    const there = (...args: readonly string[]) => done(interlock(...args, "--region", "us", "--data", eu.base));
    const { answer } = await there("requests", "--key", subjectOf("us-9"));
    const [request, ...others] = (answer as { requests: readonly RequestView[] }).requests;
    expect(others).toEqual([]);
    expect(request).toMatchObject({ from_region: "eu", state: "pending", kind: "subject", matches: subjectOf("us-9") });
    const wrong = interlock(
      "requests",
      "accept",
      request!.id,
      "--key",
      subjectOf("us-10"),
      "--reason",
      "test",
      "--region",
      "us",
      "--data",
      eu.base,
    );
    expect(await wrong.ended).toBe(1);
    expect(wrong.stderr()).toContain("is about another key");
    expect(await settledFor(fleet.us, "us-9", "us-1")).toBe("allow");
    await there(
      "requests",
      "accept",
      request!.id,
      "--key",
      subjectOf("us-9"),
      "--reason",
      "by phone",
      "--wait",
      "barrier",
    );
    for (const region of fleet.all) expect(await settledFor(region, "us-9", "us-1")).toBe("revoked");
    const { id } = made.answer as RevocationView;
    await until(async () => (await admin.revocation(id)).forwarded["us"] === "accepted", "the home's last word");
    const second = (await done(command("quarantine", subjectOf("us-11"), "--reason", "test"))).answer as RevocationView;
    const refused = await admin.revocation(second.id, "local");
    expect(refused.forwarded).toEqual({ us: "pending" });
    const next = (await there("requests", "--key", subjectOf("us-11"))).answer as { requests: readonly RequestView[] };
    await there("requests", "refuse", next.requests[0]!.id, "--reason", "is needed");
    await until(async () => (await admin.revocation(second.id)).forwarded["us"] === "refused", "the refusal");
    expect(await settledFor(fleet.us, "us-11", "us-1")).toBe("allow");
  });
});

describe("levels of trust", () => {
  const ask = async (): Promise<string> => {
    const { decision, reason } = await evaluate(eu, READ_INVOICE);
    return decision ? "allow" : reason!;
  };
  const key = "subject:agent/invoice-reader";

  test("degraded: what the pack admits is allowed, also when it is repeated; quarantined: nothing", async () => {
    expect(await ask()).toBe("allow");
    await done(command("degrade", key, "--reason", "odd calls"));
    expect(await ask()).toBe("allow");
    const repeated = { ...READ_INVOICE, context: { interlock: { idempotency_key: "degraded-read" } } };
    for (let i = 0; i < 3; i++) expect(await evaluate(eu, repeated)).toMatchObject({ decision: true });
    await done(command("quarantine", key, "--reason", "odder calls"));
    expect(await ask()).toBe("trust_degraded");
    expect(await evaluate(eu, repeated)).toMatchObject({ decision: false, reason: "withheld" });
    await done(command("trust", key, "--reason", "looked into"));
    expect(await ask()).toBe("allow");
  });

  test("an answer that was given to a trusted one is not repeated to a degraded one", async () => {
    const repeated = { ...READ_INVOICE, context: { interlock: { idempotency_key: "trusted-read" } } };
    expect(await evaluate(eu, repeated)).toMatchObject({ decision: true });
    await done(command("degrade", key, "--reason", "odd calls"));
    expect(await evaluate(eu, repeated)).toMatchObject({ decision: false, reason: "withheld" });
    expect(await ask()).toBe("allow");
    await done(command("trust", key, "--reason", "looked into"));
  });
});

test("a run is stopped: revoked from its beginning, and closed", async () => {
  const run = await openedRun(eu, { principal: { type: "user", id: "eu-alice" } });
  const { answer } = await done(command("stop", run, "--reason", "loops"));
  expect(answer).toMatchObject({ key: `run:${run}`, from: "beginning", home: ["eu"], run: { status: "closed" } });
  const closed = await fetch(`${eu.url}/runs/v1/runs/${run}`, { headers: { authorization: `Bearer ${eu.pep}` } });
  expect(await closed.json()).toMatchObject({ status: "closed" });
});

test("a freeze is waited for in every region, and denies there what is at home in the frozen one alone", async () => {
  for (const subject of ["us-8", "eu-8", "alice"]) expect(await settledFor(eu, subject, "eu-1")).toBe("allow");
  const running = interlock("freeze", "--region", "us", "--data", eu.base, "--reason", "drill", "--wait", "barrier");
  const { answer, beside } = await done(running);
  const { mode, status } = answer as FreezeView;
  expect(mode).toBe("frozen");
  expect(Object.keys(status).sort()).toEqual(["ap", "eu", "us"]);
  expect(Object.values(status)).not.toContain("unconfirmed");
  expect(beside).toMatch(/barrier: .*eu \w+/);
  expect(await settledFor(eu, "us-8", "eu-1")).toBe("region_frozen");
  expect(await settledFor(eu, "eu-8", "us-1")).toBe("region_frozen");
  for (const subject of ["eu-8", "alice"]) expect(await settledFor(eu, subject, "eu-1")).toBe("allow");
  expect(await settledFor(fleet.us, "alice", "us-1")).toBe("region_frozen");
  const known = (await new AdminClient(fleet.us.url, fleet.us.admin).status()) as unknown as FreezeView;
  expect(known.freeze?.status).toEqual(status);
  await unfreeze(fleet.us, "drill over");
  for (const region of fleet.all) await becomes(region, ["us-8", "eu-1"], "allow");
});

describe("a peer goes unheard", () => {
  test("one alarm, one word when it is well; a barrier returns, and says that its lease has ended", async () => {
    const before = alarms().length;
    await fleet.us.kill("SIGKILL");
    // Somebody has to ask: an idle region polls nobody.
    await until(async () => {
      await askFor(eu, "us-8", "eu-1");
      return alarms()
        .slice(before)
        .some(({ event, peer }) => event === "sync_alarm" && peer === "us");
    }, "the alarm for us");
    await becomes(eu, ["us-8", "eu-1"], "sync_stale");
    for (let i = 0; i < 10; i++)
      expect(["sync_stale", "trust_lease_expired"]).toContain(await askFor(eu, "us-8", "eu-1"));
    // What is purely eu goes on.
    expect(await settledFor(eu, "eu-8", "eu-1")).toBe("allow");
    expect((await admin.peers()).peers.find(({ region }) => region === "us")).toMatchObject({
      stale: "lease",
      fresh_for_ms: 0,
    });
    await until(
      async () => (await syncOf()).peers.some((peer) => peer.region === "us" && peer.state === "lease"),
      "us",
    );

    const asked_ms = Date.now();
    const view = await admin.revoke({ key: subjectOf("eu-9"), from: "issue", reason: "cut", wait: "barrier" });
    // By Δ, and not after the eight seconds for which `all` waits.
    expect(Date.now() - asked_ms).toBeLessThan(DELTA_MS + 5_000);
    expect(["confirmed", "lease_expired"]).toContain(view.status["eu"]);
    expect(view.status).toMatchObject({ us: "lease_expired" });

    await fleet.us.restart();
    await becomes(eu, ["us-8", "eu-1"], "allow");
    await until(
      async () =>
        alarms()
          .slice(before)
          .some(({ event, peer }) => event === "sync_well" && peer === "us"),
      "all well",
    );
    const said = alarms()
      .slice(before)
      .filter(({ peer }) => peer === "us")
      .map(({ event }) => event);
    // One alarm until it is well; a machine that stands still may lose us once more.
    expect(said).toEqual(said.map((_, at) => (at % 2 === 0 ? "sync_alarm" : "sync_well")));
    expect(said.slice(0, 2)).toEqual(["sync_alarm", "sync_well"]);
  });
});

test("the membership in force, and no proof where nobody showed two histories", async () => {
  const shown = (await done(command("membership", "show"))).answer as { regions: { region: string }[] };
  expect(shown.regions.map(({ region }) => region)).toEqual(["ap", "eu", "us"]);
  const proof = command("peers", "proof", "us");
  expect(await proof.ended).toBe(1);
  expect(proof.stderr()).toContain("no equivocation of region us is known here");
  const reset = (await done(command("clock", "reset", "--reason", "drill"))).answer as ClockResetView;
  expect(reset.self.clock.behind_ms).toBe(0);
  // Every shard was reached, and no record is dated ahead.
  expect(reset.shards.length).toBeGreaterThan(0);
  expect(reset.shards.filter(({ ahead_ms }) => ahead_ms !== 0)).toEqual([]);
  await becomes(eu, ["alice", "record-1"], "allow");
});
