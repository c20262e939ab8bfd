import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { POLICIES } from "../../../tools/policy/build.ts";
import { interlock } from "../../support/command.ts";

/** `interlock explain request`: the rule with its line and caret, what failed, what would have turned it. */

async function explain(
  content: unknown,
  ...more: readonly string[]
): Promise<{ code: unknown; out: string; err: string }> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-explain-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, "request.json");
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  const command = interlock("explain", "request", file, "--pack", "sovereign", "treasury", ...more);
  const code = await command.ended;
  return { code, out: command.stdout(), err: command.stderr() };
}

const body = {
  subject: { type: "agent", id: "payer" },
  action: { name: "payment.execute", properties: { amount: 18_400, currency: "EUR" } },
  resource: { type: "account", id: "ACC-EU-1" },
};

test("names the rule, shows its line with a caret, and what would have turned it", async () => {
  const { code, out } = await explain({ request: body, run: "opened", history: { fx_quote: { count: 1 } } });
  expect(code).toBe(0);
  const lines = out.split("\n");
  expect(lines[0]).toBe("DENY: approval_required (approval_above_10000)");
  const source = readFileSync(join(POLICIES, "treasury", "limits.cedar"), "utf8").split("\n");
  // Where the rule begins, below its annotations.
  const from = source.indexOf('@id("large-payment")');
  const line = source.findIndex((text, n) => n > from && text.startsWith("forbid")) + 1;
  const at = lines.findIndex((text) => text.includes(`treasury/limits.cedar:${line}:1`));
  expect(lines[at + 1]).toBe(`   ${line} | forbid (`);
  expect(lines[at + 2]).toBe("      | ^^^^^^");
  // And what it asks for.
  expect(lines[at + 4]).toBe(`   ${line + 2} |   action == Treasury::Action::"payment.execute",`);
  expect(lines[at + 6]).toMatch(/\| \)$/);
  expect(out).toContain("allowed with 1 changed:\n    approvals: 0 -> 1\n");
});

test("takes an evaluation request as it is sent, and says so as JSON", async () => {
  const request = {
    ...body,
    action: { name: "payment.prepare", properties: { amount: -1, currency: "EUR" } },
    context: { interlock: { explain: true } },
  };
  const { out } = await explain(request, "--json");
  expect(JSON.parse(out)).toMatchObject({
    decision: "deny",
    policy_reason: "amount_not_positive",
    explanation: { determining: [{ policy: "treasury/amount-not-positive", file: "treasury/limits.cedar" }] },
    counterfactual: { changes: [{ path: "/action/properties/amount", from: -1, to: 0.0001 }], minimal: true },
  });
});

test("names the rule of a manifest that asked for what was lacking, with its line", async () => {
  // Outside of a run.
  const { out } = await explain(body);
  const lines = out.split("\n");
  expect(out).toContain("failed   run_required");
  const at = lines.indexOf("  rule     actions.payment.execute.run");
  expect(lines[at + 1]).toMatch(/^ {4}treasury\/pack\.json:\d+:\d+$/);
  expect(lines[at + 2]!.slice(lines[at + 3]!.indexOf("^"))).toMatch(/^"run": "required"/);
  const { out: json } = await explain(body, "--json");
  expect(JSON.parse(json)).toMatchObject({
    explanation: {
      failed: expect.arrayContaining([
        expect.objectContaining({
          rules: [
            {
              pack: "treasury",
              file: "treasury/pack.json",
              line: Number(/:(\d+):/.exec(lines[at + 1]!)![1]),
              pointer: "/actions/payment.execute/run",
            },
          ],
        }),
      ]),
    },
  });
});

test.each([
  ["no JSON", "{", "is no JSON object"],
  ["no request", {}, "subject"],
  ["an unknown circumstance", { request: body, moon: "full" }, "Unrecognized key"],
])("refuses %s", async (_what, content, message) => {
  const { code, err } = await explain(content);
  expect(code).toBe(2);
  expect(err).toContain(message);
});

test("refuses unknown flags, a pack that is not there, and to guess which decision is meant", async () => {
  const surprise = await explain(body, "--surprise");
  expect(surprise.code).toBe(2);
  const unknown = interlock("explain", "request", "/dev/null", "--pack", "nobody");
  expect(await unknown.ended).toBe(2);
  const none = interlock("explain", "decision");
  expect(await none.ended).toBe(2);
  expect(none.stderr()).toContain("not said which decision");
});
