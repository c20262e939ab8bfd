import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, test } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import type { JsonObject } from "../../../src/base/json.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { seenIn } from "../../../src/replay/read-seen.ts";
import { wordOf } from "../../../src/replay/tally.ts";
import { recordsOfFile } from "../../../tools/replay/records.ts";
import { replayAll, replayText, type ReplayReport } from "../../../tools/replay/replay.ts";
import { interlock } from "../../support/command.ts";
import { goldenCases, pastOfGolden } from "../../support/past.ts";
import { erased, itemOfPast } from "../../support/record-item.ts";
import { judge, recordedItem } from "../../support/replayed.ts";

/** Files of records as they come back from other hands and other systems. */

const bundle = bundleJson as unknown as Bundle;
const policy = loadPolicy(bundle, ["sovereign", "treasury"]);
// Of a degraded one the history has the entry by key, and no record of the very look; nor has it the errors.
const cases = goldenCases("treasury").filter(({ trust }) => trust !== "degraded");
const history = cases
  .map((golden, at) => pastOfGolden(policy, "treasury", golden, at))
  .filter(({ core }) => core.reason !== "policy_error");
const items = history.map((past, at) => itemOfPast(past, at + 1));
const [deny] = items.filter((_, at) => history[at]!.core.decision === "deny");
const folder = mkdtempSync(join(tmpdir(), "interlock-files-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function fileOf(lines: readonly (JsonObject | string)[], end = "\n", start = ""): string {
  const path = join(folder, `${++files}.ndjson`);
  const texts = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line)));
  writeFileSync(path, start + texts.map((line) => line + end).join(""));
  return path;
}
const replayed = (path: string): Promise<ReplayReport> => replayAll(recordsOfFile(path), []);
const word = (item: JsonObject): string => wordOf(judge(recordedItem(item), policy));

async function told(...args: readonly string[]): Promise<{ code: unknown; out: string; err: string }> {
  const command = interlock(...args);
  const code = await command.ended;
  return { code, out: command.stdout(), err: command.stderr() };
}

describe("a file of records", () => {
  const all = { verdict: "identical", records: items.length };

  it("is the same with other line ends, blank lines, and the mark that some systems begin a text with", async () => {
    expect(await replayed(fileOf(items))).toMatchObject(all);
    expect(await replayed(fileOf(items, "\r\n"))).toMatchObject(all);
    expect(await replayed(fileOf(items, "\n\n \n"))).toMatchObject(all);
    expect(await replayed(fileOf(items, "\n", "\ufeff"))).toMatchObject(all);
  });

  it("that ends within a record, or lost something of one, is different", async () => {
    const whole = items.map((item) => JSON.stringify(item));
    const cut = [...whole.slice(0, -1), whole.at(-1)!.slice(0, -20)];
    expect(await replayed(fileOf(cut))).toMatchObject({ verdict: "different", records: items.length });
  });

  it("of erased payloads only is not called identical: nothing was decided again", async () => {
    const report = await replayed(fileOf(items.map(erased)));
    expect(replayText(report)).toMatch(/^NOTHING/);
    expect((await told("replay", fileOf(items.map(erased)))).code).toBe(1);
    expect(await replayed(fileOf([erased(items[0]!), ...items.slice(1)]))).toMatchObject(all);
  });
});

describe("a record whose line was edited", () => {
  it("does not hide what it shows behind a word for its absence", () => {
    expect(word(deny!)).toBe("identical");
    const payload = { ...(deny!["payload"] as JsonObject), run: "another" };
    for (const payload_status of ["erased", "unreadable"]) {
      expect(word({ ...deny!, payload_status })).toBe("different commitment_mismatch");
      expect(word({ ...deny!, payload, payload_status })).toBe("different commitment_mismatch");
    }
    expect(word(erased(deny!))).toBe("redacted");
  });

  it("is not whole without the policies that are said to have made the decision", () => {
    const { determining: _determining, errors: _errors, ...payload } = deny!["payload"] as JsonObject;
    expect(word({ ...deny!, payload })).toBe("different explanation_differs");
  });

  it("has the payload of its own leaf: exchanged with another one it is none", () => {
    const [a, b] = items as [JsonObject, JsonObject];
    for (const part of ["payload", "salts", "leaf", "leaf_hash"])
      expect(word({ ...a, [part]: b[part]! })).toMatch(/^different/);
  });
});

describe("interlock explain decision --file", () => {
  it("goes on after a record that cannot be explained, and says which", async () => {
    const denials = items.filter((_, at) => history[at]!.core.decision === "deny").slice(0, 3);
    const path = fileOf([erased(denials[0]!), denials[1]!, `{"leaf":"AQ","leaf_hash":"AQ"}`, denials[2]!]);
    const { code, out, err } = await told("explain", "decision", "--file", path);
    expect(out.match(/DENY: /g)).toHaveLength(2);
    expect(err).toContain(`${denials[0]!["decision_id"] as string}: What was decided with is erased`);
    expect(code).toBe(1);
  });

  it("explains a denial for an exception as what it was", async () => {
    const at = history.findIndex(({ core }) => core.decision === "allow");
    const past = history[at]!;
    const seen = { ...past.seen, asked: { ...past.seen.asked, bug: true as const } };
    const core = { ...past.core, decision: "deny" as const, reason: "internal" as const };
    const bug = itemOfPast({ ...past, seen, core: { ...core, failed: [{ reason: "internal" }], obligations: [] } }, 1);
    const { out } = await told("explain", "decision", "--file", fileOf([bug]));
    expect(out).toMatch(/DENY: internal\n {2}decided again: identical/);
  });
});

test("a record of before, with one list of all names, is read as it was", () => {
  const { seen } = history[0]!;
  const namesIn = (names: object): unknown => seenIn({ ...seen, asked: { ...seen.asked, names } })?.asked.names;
  const list = ["s1.a", "s1.b"];
  expect(namesIn(list)).toEqual(list);
  expect(namesIn({ "subject:user/alice": list })).toEqual({ "subject:user/alice": list });
  expect(namesIn({ "subject:user/alice": "s1.a" })).toBeUndefined();
});

test("whoever reads only the first lines of what a command says ends it quietly", async () => {
  const many = Array.from({ length: 40 }, () => items).flat();
  const child = spawn(process.execPath, ["tools/interlock.ts", "replay", fileOf(many), "--each"]);
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  child.stdout.once("data", () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect([code, err]).toEqual([141, ""]);
});

describe("what is no record", () => {
  it("is counted by a backtest and does not end it", async () => {
    const { payload } = items[0] as { readonly payload: JsonObject };
    const broken = [
      { ...payload, seen: { v: 1 } },
      { ...payload, input: {} },
      { ...payload, core: {} },
      { ...payload, core: { ...(payload["core"] as JsonObject), t_ms: 1e300 } },
      { ...payload, run_state: { step: 1 } },
    ].map((one) => ({ ...items[0]!, payload: one }));
    const path = fileOf([...broken, ...items]);
    const { code, out, err } = await told("policy", "backtest", "policies/bundle.json", path);
    expect(err).not.toContain("Error");
    expect(out).toContain(`${items.length} decisions`);
    expect(out).toContain(`not decided: ${broken.length} unreadable`);
    expect(code).toBe(0);
  });

  it("is refused as a policy bundle too", async () => {
    const odd = fileOf([`{"v":1,"packs":[null]}`]);
    const { code, err } = await told("replay", fileOf(items), "--policy", odd);
    expect([code, err.split("\n")[0]]).toEqual([2, `interlock: ${odd} is no policy bundle.`]);
  });

  it("is refused in one line", async () => {
    const { code, err } = await told("replay", fileOf(["not json", "at all"]));
    expect(code).toBe(1);
    expect(err).toBe("");
    const one = await told("replay", fileOf(["not json"]));
    expect(one.code).toBe(2);
    expect(one.err.split("\n")[0]).toMatch(/^interlock: \S+ is neither: not valid JSON: .*\.$/);
  });
});
