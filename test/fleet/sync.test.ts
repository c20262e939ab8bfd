import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  allowsAfter,
  asking,
  askFor,
  becomes,
  clientOf,
  DELTA_MS,
  flickers,
  LEASE_MS,
  MARK,
  revoke,
  startFederation,
  subjectOf,
  tooEarly,
  Watch,
  type Federation,
} from "../support/federation.ts";
import { borderProblems, listedInDocs, textsIn, unlisted } from "../support/border.ts";
import { claimsOf, post } from "../support/http.ts";
import { until } from "../support/log.ts";
import { openedRun } from "../support/runs.ts";

/**
 * Trust between three real regions (G3, G4, G10): what is revoked in one is denied in all, within Δ, whatever the
 * wires between them do. All clocks are this machine's; it may be busy, so nothing here says how fast things go, only
 * what must never be seen.
 */
let fed: Federation;

beforeAll(async () => {
  fed = await startFederation();
}, 120_000);
afterAll(() => fed.close());

/** A machine that is too busy lets leases run out, and that is a deny too; what may never be seen is an allow. */
const DENIED = ["revoked", "sync_stale", "trust_lease_expired", "withheld"];

/** Nobody there allows on less. */
const IN_FORCE = ["confirmed", "lease_expired"];

/** Every region hears every other. */
beforeEach(async () => {
  fed.links.heal();
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
}, 60_000);

describe("a revocation in us", () => {
  test.each([
    ["of a key at home in us", "us-ann"],
    ["of a key at home everywhere", "ben"],
  ])("%s is effective everywhere when the barrier says confirmed", async (_, id) => {
    const resource = "eu-r1";
    for (const region of fed.all) await becomes(region, [id, resource], "allow");
    const watches = fed.all.map((region) => new Watch(region, id, resource));
    await until(async () => watches.every(({ answers }) => answers.length > 5), "callers");
    const { view, answered_ms } = await revoke(fed.us, subjectOf(id), "barrier");
    expect(Object.keys(view.status).sort()).toEqual(["ap", "eu", "us"]);
    // A machine that stands still for Δ lets a lease end instead; the word comes later then.
    expect(IN_FORCE).toEqual(expect.arrayContaining(Object.values(view.status)));
    await until(async () => {
      const status = await statusOf(fed.us, view.id);
      return Object.values(status).every((one) => one === "confirmed");
    }, "all confirm");
    for (const region of fed.all) {
      expect(DENIED).toContain(await askFor(region, id, resource));
      await becomes(region, [id, resource], "revoked");
    }
    for (const watch of watches) {
      const answers = await watch.stop();
      expect(allowsAfter(answers, answered_ms)).toEqual([]);
      expect(flickers(answers, "revoked")).toEqual([]);
    }
    // Only the region that revoked can give it back.
    await clientOf(fed.us).restore(view.id, MARK);
    for (const region of fed.all) await becomes(region, [id, resource], "allow");
  });

  test("of a key at home in eu does not bind there", async () => {
    const { view } = await revoke(fed.us, subjectOf("eu-cleo"), "local");
    expect(view).toMatchObject({ home: ["eu"], binds: ["us"] });
    await becomes(fed.us, ["eu-cleo", "us-r1"], "revoked");
    await until(async () => (await statusOf(fed.us, view.id))["us"] === "confirmed", "us has it");
    await becomes(fed.eu, ["eu-cleo", "us-r1"], "allow");
  });
});

describe("eu and us cut off from each other", () => {
  test.each([
    ["both ways, silently", ["both", "silent"]],
    ["both ways, connections refused", ["both", "refused"]],
    ["what us says does not reach eu", ["us eu", "silent"]],
    ["what eu says does not reach us", ["eu us", "silent"]],
  ] as const)("%s", async (_, [way, how]) => {
    const { links, eu, us, ap } = fed;
    const id = `us-dora-${way.replace(" ", "-")}-${how}`;
    const ofUs = new Watch(eu, id, "eu-r2");
    const ofEu = new Watch(eu, "eu-emil", "eu-r2");
    await until(async () => ofUs.answers.some(({ decision }) => decision), "an allow before the cut");

    if (way === "both") links.part("eu", "us", how);
    else links.cut(...(way.split(" ") as [string, string]), how);
    const cut_ms = Date.now();
    // Taking away works on both sides of the cut.
    const { view, answered_ms } = await revoke(us, subjectOf(id), "accepted");
    expect(view.state).toBe("revoked");
    // What us pushes may still arrive where only eu's own words are lost.
    await becomes(eu, [id, "eu-r2"], way === "eu us" ? "revoked" : "sync_stale");
    await becomes(ap, [id, "eu-r2"], "revoked");
    expect(DENIED).toContain(await askFor(us, id, "us-r2"));
    await becomes(us, [id, "us-r2"], "revoked");
    // What rests on eu alone is allowed when every lease of before the cut has ended.
    await until(async () => ofEu.answers.some((one) => one.decision && one.sent_ms > cut_ms + LEASE_MS), "eu goes on");

    links.heal();
    await becomes(eu, [id, "eu-r2"], "revoked");
    const answers = await ofUs.stop();
    expect(answers.filter(({ decision }) => decision).length).toBeGreaterThan(0);
    expect(allowsAfter(answers, answered_ms + DELTA_MS)).toEqual([]);
    // An answer of us that was under way may still have come; none can have been asked for after the cut.
    expect(allowsAfter(answers, cut_ms + LEASE_MS)).toEqual([]);
    expect(tooEarly(answers)).toEqual([]);
    expect(flickers(answers, "revoked")).toEqual([]);

    const own = await ofEu.stop();
    expect(own.filter(({ reason }) => reason === "sync_stale")).toEqual([]);
  });

  test("a slow wire is heard over, and one that is slower than a lease is not", async () => {
    const { links, eu, us } = fed;
    const watch = new Watch(eu, "us-lou", "eu-r8");
    links.delay("eu", "us", 200);
    links.delay("us", "eu", 200);
    await becomes(eu, ["us-lou", "eu-r8"], "allow");
    links.delay("us", "eu", LEASE_MS);
    const slow_ms = Date.now();
    await becomes(eu, ["us-lou", "eu-r8"], "sync_stale");
    await until(async () => watch.answers.some(({ sent_ms }) => sent_ms > slow_ms + 2 * LEASE_MS), "answers");
    // What was on its way with the shorter delay may still have brought a lease, from when it was asked for.
    expect(allowsAfter(watch.answers, slow_ms + LEASE_MS)).toEqual([]);
    const { view } = await revoke(us, subjectOf("us-lou"), "barrier");
    // By its lease, or by its own word that came late; never before nobody there can allow on less.
    expect(["lease_expired", "confirmed"]).toContain(view.status["eu"]);
    links.heal();
    await becomes(eu, ["us-lou", "eu-r8"], "revoked");
    expect(flickers(await watch.stop(), "revoked")).toEqual([]);
  });

  test("the barrier ends with the leases where the key's home is here, and then nobody allows", async () => {
    const { links, eu, us } = fed;
    const id = "eu-finn";
    const watch = new Watch(us, id, "us-r3");
    await until(async () => watch.answers.some(({ decision }) => decision), "an allow before the cut");
    links.part("eu", "us");
    const { view, answered_ms } = await revoke(eu, subjectOf(id), "barrier");
    expect(view.status).toMatchObject({ us: "lease_expired" });
    for (const name of ["eu", "ap"]) expect(IN_FORCE).toContain(view.status[name]);
    await becomes(us, [id, "us-r3"], "sync_stale");
    links.heal();
    await becomes(us, [id, "us-r3"], "revoked");
    const answers = await watch.stop();
    expect(allowsAfter(answers, answered_ms)).toEqual([]);
    // What us could not confirm then it confirms now.
    await until(
      async () =>
        (await clientOf(eu).revocations("?limit=1000")) !== null && (await statusOf(eu, view.id))["us"] === "confirmed",
      "us confirms",
    );
  });

  test("the barrier says unconfirmed where the key's home is away", async () => {
    const { links, eu } = fed;
    links.part("eu", "us");
    const { view } = await revoke(eu, subjectOf("us-gina"), "barrier");
    expect(view).toMatchObject({ home: ["us"], status: { us: "unconfirmed", ap: "unconfirmed" } });
    expect(IN_FORCE).toContain(view.status["eu"]);
    // Here it counts at once.
    links.heal();
    await becomes(eu, ["us-gina", "eu-r4"], "revoked");
  });

  test("revoking works in a region that was killed during the cut and has just come back", async () => {
    const { links, eu, us, ap } = fed;
    const id = "us-hugo";
    const watch = new Watch(eu, id, "eu-r5");
    await until(async () => watch.answers.some(({ decision }) => decision), "an allow before the cut");
    links.part("eu", "us");
    links.part("us", "ap");
    const cut_ms = Date.now();
    await us.kill("SIGKILL");
    await us.restart();
    // Nobody has told us yet that none of its events is missing.
    const { view, answered_ms } = await revoke(us, subjectOf(id), "local");
    expect(view.id).toMatch(/^us\.waiting\.[0-9]+$/);
    expect(view.status).not.toMatchObject({ us: "unconfirmed" });
    expect([view.status["eu"], view.status["ap"]]).not.toContain("confirmed");
    expect(DENIED).toContain(await askFor(us, id, "us-r5"));
    links.heal();
    const done = await until(async () => {
      const status = await statusOf(us, view.id);
      return Object.values(status).every((one) => one === "confirmed") && status;
    }, "the revocation is numbered, and confirmed by all");
    expect(Object.keys(done).sort()).toEqual(["ap", "eu", "us"]);
    for (const region of [eu, us, ap]) await becomes(region, [id, "us-r5"], "revoked");
    const answers = await watch.stop();
    expect(allowsAfter(answers, answered_ms + DELTA_MS)).toEqual([]);
    expect(allowsAfter(answers, cut_ms + LEASE_MS).filter(({ sent_ms }) => sent_ms < answered_ms)).toEqual([]);
    expect(flickers(answers, "revoked")).toEqual([]);
  });
});

const statusOf = async (region: Federation["eu"], id: string): Promise<Readonly<Record<string, string>>> => {
  const answer = await fetch(`${region.url}/admin/v1/revocations/${id}`, {
    headers: { authorization: `Bearer ${region.admin}` },
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status} ${text}`);
  return (JSON.parse(text) as { status: Record<string, string> }).status;
};

describe("us is dead and ap was started again", () => {
  test("eu goes on with what is eu's, and ap has its check from eu", async () => {
    const { eu, us, ap } = fed;
    const own = new Watch(eu, "eu-ida", "eu-r6");
    const both = new Watch(eu, "eu-ida", "ap-r6");
    await us.kill("SIGKILL");
    await ap.kill("SIGKILL");
    await ap.restart();
    await becomes(ap, ["ap-jon", "ap-r6"], "allow");
    // Numbered, so eu has said that none of ap's events is missing; it is the only one that can have.
    const { view } = await revoke(ap, subjectOf("ap-jon"), "local");
    expect(view.id).toMatch(/^ap\.1\.[0-9]+$/);
    expect(DENIED).toContain(await askFor(ap, "ap-jon", "ap-r6"));
    await becomes(eu, ["ap-jon", "ap-r6"], "revoked");
    await becomes(eu, ["us-kim", "eu-r6"], "sync_stale");
    const stale_ms = Date.now();
    await until(async () => own.answers.some(({ sent_ms }) => sent_ms > stale_ms + DELTA_MS), "eu goes on");
    const answers = await own.stop();
    expect(answers.filter(({ decision, sent_ms }) => decision && sent_ms > stale_ms).length).toBeGreaterThan(0);
    expect(answers.filter(({ reason }) => reason === "sync_stale")).toEqual([]);
    expect(new Set((await both.stop()).map(({ reason }) => reason ?? "allow"))).toContain("allow");
    await us.restart();
    await becomes(us, ["ap-jon", "us-r6"], "revoked");
    await becomes(eu, ["us-kim", "eu-r6"], "allow");
  });
});

describe("of all that left a region meanwhile", () => {
  test("nothing names anybody, and all of it is listed in docs/sync.md", async () => {
    const { links, eu, us } = fed;
    // What is not of sync: a run, an idempotency key, a trace.
    const question = asking("us-lea", "eu-r7");
    const { type, id: name } = question.subject;
    const run = await openedRun(eu, { principal: { type, id: name }, members: [] });
    const answer = await post(
      `${eu.url}/access/v1/evaluation`,
      eu.pep,
      { ...question, context: { note: MARK, interlock: { run, idempotency_key: MARK } } },
      { traceparent: "00-4c19f2e74c19f2e74c19f2e74c19f2e7-4c19f2e74c19f2e7-01" },
    );
    const id = answer.headers.get("interlock-decision-id")!;
    await revoke(us, subjectOf("us-lea"), "barrier");

    const names = [MARK, "4c19f2e7", "local-admin", run, id, "eu.1.s0", "shard/", "record", "user/", "archived"];
    for (const region of fed.all) names.push(claimsOf(region.pep)["sub"] as string);
    const listed = listedInDocs();
    expect(borderProblems(links.crossings, names)).toEqual([]);
    const crossed = new Set(links.crossings.map(({ head }) => head.split("\n")[0]!));
    expect([...crossed]).toEqual(
      expect.arrayContaining([
        "POST /sync/v1/pull",
        "POST /sync/v1/push",
        "POST /sync/v1/request",
        "POST /witness/v1/add-checkpoint",
      ]),
    );
    // It looks into messages and the events in them.
    const pushed = links.crossings.findLast(({ head }) => head.startsWith("POST /sync/v1/push"))!;
    expect(textsIn(pushed).join("\n")).toContain("urn:interlock:trust:revoke");
    const without = new Map([...listed, ["event", new Set(["v"])]]);
    expect(unlisted(pushed, without)).toContain("event: reason_code");
    const odd = { ...pushed, body: Buffer.from(JSON.stringify({ subject: MARK })) };
    expect(unlisted(odd, listed)).toEqual(["a request that is no signed message"]);
  });
});
