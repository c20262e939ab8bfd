import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { createEnforcer } from "../../src/client/index.ts";
import type { PermitClaims } from "../../src/credentials/permit.ts";
import type { Evidence } from "../../src/lineage/evidence.ts";
import { parsePolicy, verifyEvidence } from "../../src/lineage/verifier.ts";
import { devPublish, devSign } from "../../tools/policy/dev-release.ts";
import { devPolicy } from "../../tools/region/policy-roots.ts";
import { listedInDocs, textsIn, unlisted } from "../support/border.ts";
import { clientOf, DELTA_MS } from "../support/federation.ts";
import { anotherCast, packsFor, ROWS, SCENARIO, type Cast } from "../support/hospital.ts";
import { bearer, claimsOf, PASSING, post } from "../support/http.ts";
import { Links } from "../support/links.ts";
import { until, verifyEd25519 } from "../support/log.ts";
import { patient } from "../support/patient.ts";
import { Heard, keep, newPep, redeemAt } from "../support/permits.ts";
import { bundleBytes } from "../support/policy-documents.ts";
import { seeded, seedOf } from "../support/random.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openRun, type Answer, type OpenedRun, type Question } from "../support/runs.ts";

/**
 * S3 (SCENARIOS) from the first row to the last, in one piece: as it is written, and again with names, limits, regions,
 * order and cuts that a seed chooses. `INTERLOCK_SEED` repeats one.
 */
const seed = seedOf();
const CASTS: readonly (readonly [string, Cast])[] = [
  ["as it is written", SCENARIO],
  [`seed ${seed}`, anotherCast(seeded(seed))],
  [`seed ${seed + 1}`, anotherCast(seeded(seed + 1))],
];
const PACKS = ["sovereign", "hospital-mcp"];
const NAMES = ["de", "fr", "us"];
/** Beyond this an emergency is not waited for. */
const WAITED_S = 60;

const TOOLS = JSON.parse(
  readFileSync(new URL("../../policies/hospital-mcp/tools.json", import.meta.url), "utf8"),
) as readonly (JsonObject & { readonly name: string })[];
/** The digest of a tool as its server describes it today. */
const digest = (name: string, change: JsonObject = {}): string =>
  digestOf(jcs({ ...TOOLS.find((tool) => tool.name === name)!, ...change }));

describe.each(CASTS)("S3 %s", (_name, cast) => {
  let links: Links;
  let regions: readonly TestRegion[];
  let home: TestRegion;
  let ehr: string;

  const ASSISTANT = { type: "agent", id: cast.assistant };
  const asked = (name: string, of: string, context: object = {}): Question => ({
    subject: ASSISTANT,
    action: { name },
    resource: { type: "patient", id: of },
    context: { purpose: "treatment", tool_schema: digest(name), note: cast.canary, ...context },
  });
  const read = (of: string, context: object = {}): Question => asked("ehr.get_patient", of, context);
  const summarize = (model: string, tool_schema = digest("llm-summarize")): Question => ({
    subject: ASSISTANT,
    action: { name: "llm.summarize" },
    resource: { type: "tool", id: model },
    context: { tool_schema },
  });
  const EMERGENCY = { purpose: "emergency", break_glass: { reason: `cardiac arrest ${cast.canary}` } };

  const region = (name: string): TestRegion => regions.find((one) => one.name === name)!;
  const step = (run: OpenedRun, question: Question, place: object = {}): Promise<Answer> =>
    patient(() => run.step(question, place));
  const round = (): Promise<OpenedRun> =>
    openRun(home, { principal: { type: "user", id: cast.doctor }, members: [ASSISTANT] });
  const enforcer = () =>
    createEnforcer({
      url: home.url,
      credential: ehr,
      audiences: ["ehr"],
      pdp: home.pdp,
      obligations: ["notification", "review"],
    });

  beforeAll(async () => {
    links = await Links.open(NAMES);
    const near = Object.fromEntries(["klinik.example", "agent/", "ward/", "tool/"].map((of) => [of, cast.home]));
    regions = await startRegions(NAMES, {
      packs: PACKS,
      key_rules: { domains: { ...near, "patient/": cast.consents } },
      env: { INTERLOCK_LOG: "off" },
      egress: links.egress,
    });
    for (const { name, url } of regions) links.name(name, url);
    home = region(cast.home);
    if (cast !== SCENARIO) {
      const dev = await devPolicy(home.base);
      await devSign(dev, { bundle: bundleBytes(await packsFor(cast), { "*": PACKS }) }, Date.now());
      const refused = (await devPublish(dev, regions.map(clientOf))).find(({ problem }) => problem !== null);
      if (refused !== undefined) throw new Error(String(refused.problem));
    }
    ehr = await newPep(home, "ehr");
    await until(async () => {
      const run = await round().catch(() => null);
      return run !== null && (await run.step(read(cast.patient))).verdict === "allow";
    }, "regions that know each other");
  }, 180_000);
  afterAll(async () => {
    await Promise.all(regions.map((one) => one.remove()));
    await links.close();
  });

  /** An allowed step with its permit. */
  async function permitFor(run: OpenedRun, question: Question, ttl_ms?: number): Promise<string> {
    let [permit, said] = [null as string | null, ""];
    await until(async () => {
      const answer = await post(`${home.url}/access/v1/evaluation`, home.pep, {
        ...question,
        context: {
          ...question.context,
          interlock: { run: run.id, permit: { audience: "ehr", ...(ttl_ms === undefined ? {} : { ttl_ms }) } },
        },
      });
      said = await answer.text();
      permit = answer.headers.get("interlock-permit");
      return permit !== null;
    }, "a permit").catch(() => {
      throw new Error(`no permit: ${said}`);
    });
    return permit!;
  }

  async function held(permit: string): Promise<string> {
    let hold: string | undefined;
    let reason: string | undefined;
    await until(async () => {
      ({ hold, reason } = await enforcer().redeem(permit));
      return hold !== undefined || !PASSING.has(reason ?? "");
    }, "a hold");
    if (hold === undefined) throw new Error(`not redeemed: ${reason}`);
    return hold;
  }

  /** The rows about single steps; each has a run of its own, so they may come in any order. */
  const rows: readonly (readonly [string, () => Promise<void>])[] = [
    [
      "the patient in care is read, and the run then carries PHI; one without a relation is not",
      async () => {
        const run = await round();
        expect(await step(run, read(cast.patient))).toMatchObject({ verdict: "allow" });
        expect(await run.view()).toMatchObject({ labels: ["phi"] });
        expect(await step(run, read(cast.stranger))).toMatchObject({ verdict: "policy_denied" });
      },
    ],
    [
      "the model abroad after the read is denied, though a fresh run may; the near one is allowed",
      async () => {
        const run = await round();
        expect(await step(run, summarize(cast.model_abroad))).toMatchObject({ verdict: "allow" });
        expect(await step(run, read(cast.patient))).toMatchObject({ verdict: "allow" });
        expect(await step(run, summarize(cast.model_abroad))).toMatchObject({ verdict: "residency_violation" });
        expect(await step(run, summarize(cast.model_near))).toMatchObject({ verdict: "allow" });
        expect(await step(await round(), summarize(cast.model_abroad))).toMatchObject({ verdict: "allow" });
      },
    ],
    [
      "a tool whose schema digest changed",
      async () => {
        const run = await round();
        const description = `now also ${cast.canary}`;
        const changed = read(cast.patient, { tool_schema: digest("ehr.get_patient", { description }) });
        expect(await step(run, changed)).toMatchObject({ verdict: "tool_changed" });
        const model = summarize(cast.model_near, digest("llm-summarize", { description }));
        expect(await step(run, model)).toMatchObject({ verdict: "tool_changed" });
        expect(await step(run, read(cast.patient))).toMatchObject({ verdict: "allow" });
      },
    ],
    ["break-glass with a reason, two obligations, and an end", breakGlass],
    ["one more than the records of a minute, exactly, of fifty at once", rate],
    ["consent withdrawn at its home, while a hold is on", withdrawal],
  ];
  test("every row has its turn", () => {
    expect(rows).toHaveLength(ROWS);
    expect(new Set(cast.order)).toEqual(new Set(rows.keys()));
  });
  test.each(cast.order.map((at) => rows[at]!))("%s", async (_row, play) => {
    try {
      await expect(play()).resolves.toBeUndefined();
    } finally {
      links.heal();
    }
  });

  async function breakGlass(): Promise<void> {
    const run = await round();
    const emergency = read(cast.stranger, EMERGENCY);
    expect(await step(run, read(cast.stranger, { purpose: "emergency" }))).toMatchObject({ verdict: "policy_denied" });
    expect(await step(run, emergency)).toMatchObject({
      verdict: "allow",
      obligations: [
        { type: "notification", id: "privacy-officer" },
        { type: "review", id: "break-glass" },
      ],
    });
    // What was read in an emergency is no less PHI.
    expect(await step(run, summarize(cast.model_abroad))).toMatchObject({ verdict: "residency_violation" });
    const life_ms = cast.emergency_s * 1_000;
    const [used, unused] = [await permitFor(run, emergency), await permitFor(run, emergency, 900_000)];
    const [claims, longest] = [used, unused].map((permit) => claimsOf(permit) as unknown as PermitClaims);
    for (const { exp_ms, iat_ms } of [claims!, longest!]) {
      expect(exp_ms - iat_ms).toBeLessThanOrEqual(life_ms);
      expect(exp_ms - iat_ms).toBeGreaterThan(life_ms - 1_000);
    }
    const hold = await held(used);
    const keeping = keep(enforcer(), hold);
    if (cast.emergency_s > WAITED_S) {
      await sleep(1_000);
      expect(await keeping.stop()).toBeNull();
      expect(keeping.lastValid()).toBeLessThanOrEqual(claims!.exp_ms);
      expect(await enforcer().outcome(hold, "completed")).toBe(true);
      return;
    }
    const why = await keeping.done;
    // A busy machine may have lost it to a lease before.
    expect(["hold_ended", ...PASSING]).toContain(why);
    expect(keeping.lastValid()).toBeLessThanOrEqual(claims!.exp_ms);
    await sleep(Math.max(0, longest!.exp_ms - Date.now()) + 5);
    expect(await redeemAt(home, ehr, { permit: unused })).toMatchObject({ reason: "permit_expired" });
    expect((await enforcer().renew(hold)).reason).toBe("hold_ended");
  }

  async function rate(): Promise<void> {
    const run = await round();
    const answers = await Promise.all(Array.from({ length: 50 }, () => step(run, read(cast.patient))));
    const count = (verdict: string): number => answers.filter((answer) => answer.verdict === verdict).length;
    expect([count("allow"), count("rate_exceeded")]).toEqual([cast.records, 50 - cast.records]);
    expect(await step(run, read(cast.patient))).toMatchObject({ verdict: "rate_exceeded" });
    // Another run has a rate of its own.
    expect(await step(await round(), read(cast.patient))).toMatchObject({ verdict: "allow" });
  }

  async function withdrawal(): Promise<void> {
    const run = await round();
    const note = asked("notes.append", cast.patient);
    const hold = await held(await permitFor(run, read(cast.patient)));
    const keeping = keep(enforcer(), hold, 200);
    const heard = new Heard();
    const stop = enforcer().onHalt({ hold }, heard.listener);
    await heard.first("listening");
    await heard.first("renewed");
    if (cast.cut !== null) links.part(cast.home, cast.consents, cast.cut);
    const parted_ms = Date.now();
    const { id } = await clientOf(region(cast.consents)).revoke({
      key: `consent:patient/${cast.patient}#treatment`,
      from: "issue",
      reason: "withdrawn",
      wait: "accepted",
    });
    const accepted_ms = Date.now();
    const late: string[] = [];
    while (late.length < 3) {
      const sent_ms = Date.now();
      const { verdict } = await run.stepNow(note);
      if (sent_ms >= accepted_ms + DELTA_MS) late.push(verdict);
      await sleep(25);
    }
    expect(new Set(late)).toEqual(new Set([cast.cut === null ? "revoked" : "sync_stale"]));

    const reasons = cast.cut === null ? ["revoked"] : ["sync_stale", "hold_ended", "trust_lease_expired"];
    const halt = await heard.first("halt");
    const why = await keeping.done;
    // A busy machine may have lost the hold to a lease before the word came.
    expect([...reasons, "hold_ended"]).toContain(halt.reason);
    expect([...reasons, "hold_ended"]).toContain(why);
    expect(keeping.lastValid()).toBeLessThanOrEqual((cast.cut === null ? accepted_ms : parted_ms) + DELTA_MS);
    expect((await enforcer().renew(hold)).reason).toBe("hold_ended");
    stop();

    links.heal();
    expect(await step(await round(), read(cast.patient))).toMatchObject({ verdict: "revoked" });
    // What else was agreed to stands, and an emergency asks for no consent.
    expect(await step(await round(), read(cast.patient, EMERGENCY))).toMatchObject({ verdict: "allow" });
    await clientOf(region(cast.consents)).restore(id, "given again");
    await until(async () => (await run.step(note)).verdict === "allow", "consent again");
  }

  describe("the patient is erased", () => {
    let run: OpenedRun;
    let ids: readonly string[];
    const payloadOf = async (id: string): Promise<{ readonly status: string; readonly text: string }> => {
      const answer = await fetch(`${home.url}/lineage/v1/decisions/${encodeURIComponent(id)}`, {
        headers: bearer(home.admin),
      });
      const text = await answer.text();
      return { status: (JSON.parse(text) as { payload_status: string }).payload_status, text };
    };
    /** An export of which everything is under the head, and what the verifier says of it. */
    async function anchored() {
      let text = "";
      await until(async () => {
        const answer = await fetch(`${home.url}/lineage/v1/runs/${run.id}/evidence`, { headers: bearer(home.admin) });
        if (answer.status !== 200) return false;
        text = await answer.text();
        const { head, coverage } = JSON.parse(text) as Evidence;
        return head !== null && coverage.unanchored === 0;
      }, "an anchored export");
      const trust = parsePolicy(await (await fetch(`${home.url}/log/policy`)).text(), sha256);
      if (!trust.ok) throw new Error(trust.error.message);
      const crypto = { sha: sha256, verify: verifyEd25519 };
      return { text, report: await verifyEvidence(text, trust.value, crypto, { run: run.id }) };
    }

    test("what the run read is in its evidence before", async () => {
      run = await round();
      const taken = [read(cast.patient), asked("notes.append", cast.patient), summarize(cast.model_near)];
      const answers: Answer[] = [];
      for (const question of taken) answers.push(await step(run, question));
      expect(answers.map(({ verdict }) => verdict)).toEqual(["allow", "allow", "allow"]);
      ids = answers.map(({ id }) => id);
      const { text, report } = await anchored();
      expect(report).toMatchObject({ status: "verified", problems: [], erased: { records: 0 } });
      expect(text).toContain(cast.canary);
      expect(await payloadOf(ids[0]!)).toMatchObject({ status: "opened" });
    }, 60_000);

    test("the payload is gone, and chain and proofs still verify", async () => {
      const admin = clientOf(home);
      const { id } = await admin.erase({ run: run.id, ground: "subject_request", reason: "ticket 9" });
      await until(async () => (await admin.erasure(id)).status === "done", "the erasure");
      for (const one of ids) {
        const { status, text } = await payloadOf(one);
        expect(status).toBe("erased");
        for (const word of [cast.canary, cast.patient]) expect(text).not.toContain(word);
      }
      let { text, report } = await anchored();
      // The leaves that name what was erased have to be under a checkpoint as well.
      await until(async () => {
        ({ text, report } = await anchored());
        return report.erased.proven === report.erased.records;
      }, "proofs of the erasure");
      expect(report).toMatchObject({ status: "verified", problems: [], erased: { reappeared: 0 } });
      expect(report.erased.records).toBeGreaterThanOrEqual(ids.length);
      for (const word of [cast.canary, cast.patient, cast.doctor]) expect(text).not.toContain(word);
    }, 60_000);
  });

  test("nothing that was said about patients went abroad", () => {
    const across = links.crossings.filter(({ from, to }) => from === cast.abroad || to === cast.abroad);
    expect(across.filter(({ from }) => from === cast.home).length).toBeGreaterThan(10);
    // Everything as it stands, and with every signed message in it opened.
    const texts = across.flatMap(textsIn);
    for (const word of [cast.canary, cast.patient, cast.stranger, cast.assistant, cast.doctor])
      expect(texts.filter((text) => says(text, word))).toEqual([]);
    const listed = listedInDocs();
    expect(new Set(across.flatMap((crossing) => unlisted(crossing, listed)))).toEqual(new Set());
  });
});

/** Whether the word stands there by itself: three letters may be in any signature. */
function says(text: string, word: string): boolean {
  const inner = /[A-Za-z0-9_-]/;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (!inner.test(text[at - 1] ?? " ") && !inner.test(text[at + word.length] ?? " ")) return true;
  return false;
}
