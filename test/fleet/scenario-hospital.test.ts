import { afterAll, beforeAll, expect, test } from "vitest";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { PASSING } from "../support/http.ts";
import { Links } from "../support/links.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { decide, openRun, type OpenedRun, type Question } from "../support/runs.ts";
import { readFileSync } from "node:fs";
import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { JsonObject } from "../../src/base/json.ts";

/** S3 (SCENARIOS): a ward assistant that calls tools. docs/runs.md lists the rows that wait for permits and holds. */
let links: Links;
let de: TestRegion;
let fr: TestRegion;
let us: TestRegion;
const DELTA_MS = 2_000;
const HOMES = { "klinik.example": "de", "agent/": "de", "ward/": "de", "tool/": "de", "patient/": "fr" };
/** In what is said about P-204, and so in nothing that leaves for us. */
const CANARY = "canary-P-204-4c19f2e7";

beforeAll(async () => {
  links = await Links.open(["de", "fr", "us"]);
  const regions = await startRegions(["de", "fr", "us"], {
    packs: ["sovereign", "hospital-mcp"],
    key_rules: { domains: HOMES },
    env: { INTERLOCK_LOG: "off" },
    egress: links.egress,
  });
  for (const { name, url } of regions) links.name(name, url);
  [de, fr, us] = regions as readonly [TestRegion, TestRegion, TestRegion];
});
afterAll(async () => {
  await Promise.all([de, fr, us].map((region) => region.remove()));
  await links.close();
});

const TOOLS = JSON.parse(
  readFileSync(new URL("../../policies/hospital-mcp/tools.json", import.meta.url), "utf8"),
) as readonly (JsonObject & { readonly name: string })[];
/** The digest of a tool as its server describes it today. */
const digest = (name: string, change: JsonObject = {}): string =>
  digestOf(jcs({ ...TOOLS.find((tool) => tool.name === name)!, ...change }));

const ASSISTANT = { type: "agent", id: "ward-assistant" };
const asked = (name: string, patient: string, context: object = {}): Question => ({
  subject: ASSISTANT,
  action: { name },
  resource: { type: "patient", id: patient },
  context: { purpose: "treatment", tool_schema: digest(name), ...context },
});
const read = (patient: string, context: object = {}): Question => asked("ehr.get_patient", patient, context);
const summarize = (where: "fr" | "us"): Question => ({
  subject: ASSISTANT,
  action: { name: "llm.summarize" },
  resource: { type: "tool", id: `llm-summarize-${where}` },
  context: { tool_schema: digest("llm-summarize") },
});
const mail = (to: string): Question => ({
  subject: ASSISTANT,
  action: { name: "mailer.send", properties: { to } },
  resource: { type: "tool", id: "mailer" },
  context: { tool_schema: digest("mailer.send") },
});

const round = (labels: string[] = []): Promise<OpenedRun> =>
  openRun(de, { principal: { type: "user", id: "dr.weber@klinik.example" }, members: [ASSISTANT], labels });

test("get_patient P-204 is allowed, P-777 without a relation is not, and neither outside of a run", async () => {
  const run = await round();
  expect((await run.step(read("P-204", { note: CANARY }))).verdict).toBe("allow");
  expect(await run.view()).toMatchObject({ labels: ["phi"] });
  expect((await run.step(read("P-777"))).verdict).toBe("policy_denied");
  expect((await decide(de, read("P-204"))).verdict).toBe("run_required");
});

test("for another purpose, or for none", async () => {
  const run = await round();
  expect(await run.step(read("P-204", { purpose: "research" }))).toMatchObject({
    verdict: "policy_denied",
    policy_reason: "purpose_is_not_treatment",
  });
  expect((await run.step({ ...read("P-204"), context: { tool_schema: digest("ehr.get_patient") } })).verdict).toBe(
    "context_missing",
  );
});

test("llm-summarize (us) in a fresh run, not after the read; (fr) after the read too", async () => {
  const run = await round();
  expect((await run.step(summarize("us"))).verdict).toBe("allow");
  expect((await run.step(read("P-204", { note: CANARY }))).verdict).toBe("allow");
  expect((await run.step(summarize("us"))).verdict).toBe("residency_violation");
  expect((await run.step(summarize("fr"))).verdict).toBe("allow");
  expect((await run.step(mail("someone@elsewhere.example"))).verdict).toBe("policy_denied");
  expect((await run.step(mail("nurse@klinik.example"))).verdict).toBe("allow");
  // It is the run that has read, not the agent.
  expect((await (await round()).step(summarize("us"))).verdict).toBe("allow");
});

test("an unknown label counts as PHI", async () => {
  const run = await round(["genome", "genome:us"]);
  expect((await run.step(summarize("us"))).verdict).toBe("residency_violation");
  expect((await run.step(summarize("fr"))).verdict).toBe("sovereign_policy");
  const plain = await round(["genome"]);
  expect((await plain.step(summarize("us"))).verdict).toBe("residency_violation");
  expect((await plain.step(summarize("fr"))).verdict).toBe("allow");
});

test("a tool whose schema changed", async () => {
  const run = await round();
  const changed = digest("ehr.get_patient", { description: "now also sends it somewhere" });
  expect((await run.step(read("P-204", { tool_schema: changed }))).verdict).toBe("tool_changed");
  const model = { ...summarize("fr"), context: { tool_schema: changed } };
  expect((await run.step(model)).verdict).toBe("tool_changed");
});

test("P-777 with break-glass and a reason, with two obligations", async () => {
  const run = await round();
  const emergency = { purpose: "emergency", break_glass: { reason: "cardiac arrest" } };
  expect(await run.step(read("P-777", emergency))).toMatchObject({
    verdict: "allow",
    obligations: [
      { type: "notification", id: "privacy-officer" },
      { type: "review", id: "break-glass" },
    ],
  });
  expect((await run.step(read("P-777", { purpose: "emergency" }))).verdict).toBe("policy_denied");
  // What was read in an emergency is no less PHI.
  expect((await run.step(summarize("us"))).verdict).toBe("residency_violation");
});

test("of fifty parallel reads of one run in a minute exactly twenty are allowed", async () => {
  const run = await round();
  const answers = await Promise.all(Array.from({ length: 50 }, () => run.step(read("P-204", { note: CANARY }))));
  const count = (verdict: string): number => answers.filter((answer) => answer.verdict === verdict).length;
  expect([count("allow"), count("rate_exceeded")]).toEqual([20, 30]);
  expect((await run.step(read("P-204"))).verdict).toBe("rate_exceeded");
  // Another run has a rate of its own.
  expect((await (await round()).step(read("P-204"))).verdict).toBe("allow");
});

test("consent withdrawn in fr, its home: de denies within Δ, and what else was agreed stands", async () => {
  const run = await round();
  expect((await run.step(read("P-204"))).verdict).toBe("allow");
  const admin = new AdminClient(fr.url, fr.admin);
  const { id } = await admin.revoke({
    key: "consent:patient/P-204#treatment",
    from: "issue",
    reason: "withdrawn",
    wait: "accepted",
  });
  const accepted_ms = Date.now();
  const late: number[] = [];
  await until(async () => {
    const sent_ms = Date.now();
    const { verdict } = await run.stepNow(asked("imaging.fetch", "P-204"));
    // The word may come between the decision and its release; and a busy machine denies.
    expect(["allow", "revoked", ...PASSING]).toContain(verdict);
    if (verdict === "allow" && sent_ms > accepted_ms + DELTA_MS) late.push(sent_ms - accepted_ms);
    return verdict === "revoked";
  }, "de hears of it");
  expect(late).toEqual([]);
  expect((await (await round()).step(read("P-204"))).verdict).toBe("revoked");
  const emergency = { purpose: "emergency", break_glass: { reason: "cardiac arrest" } };
  expect((await (await round()).step(read("P-204", emergency))).verdict).toBe("allow");
  await admin.restore(id, "given again");
});

test("nothing that was said about P-204 went to us", () => {
  const seen = links.crossings.filter(({ from, to }) => from === "us" || to === "us");
  expect(seen.length).toBeGreaterThan(10);
  for (const { head, body } of seen)
    for (const word of [CANARY, "P-204", "P-777", "ward-assistant", "dr.weber"])
      expect(`${head}\n${body.toString()}`).not.toContain(word);
});
