import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeEvidence } from "../../../src/lineage/evidence.ts";
import { formatPolicy } from "../../../src/lineage/tlog-policy.ts";
import { interlock } from "../../support/command.ts";
import { runOf } from "./build.ts";
import { bundleOf, POLICY, randomLog } from "./evidence-build.ts";

/** `interlock verify` and `interlock evidence export`, as commands. */

const folder = mkdtempSync(join(tmpdir(), "interlock-evidence-"));
const at = (name: string): string => join(folder, name);
const RUN = runOf(1).id;
let bundle = "";
let server: Server;
let url = "";
const asked: string[] = [];

beforeAll(async () => {
  bundle = encodeEvidence(await bundleOf(randomLog(11), 1));
  writeFileSync(at("run.json"), bundle);
  writeFileSync(at("policy.txt"), formatPolicy(POLICY));
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    // The witnesses come a second later.
    if (request.headers.authorization !== "Bearer good") response.writeHead(403).end('{"code":"forbidden"}');
    else if (asked.length === 1) response.writeHead(303, { "retry-after": "1", location: request.url }).end();
    else response.writeHead(200).end(request.url!.includes("odd") ? "{}" : bundle);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

type Ended = { readonly code: number | string; readonly out: string; readonly err: string };

async function command(...args: readonly string[]): Promise<Ended> {
  const running = interlock(...args);
  const code = await running.ended;
  return { code, out: running.stdout(), err: running.stderr() };
}

describe("interlock verify", () => {
  test("prints the verdicts and ends with 0", async () => {
    const { code, out } = await command("verify", at("run.json"), "--trust", at("policy.txt"), "--run", RUN);
    expect(out).toMatch(/^VERIFIED {2}eu\.1\./);
    for (const line of [
      /integrity +ok/,
      /anchored +\d+ records \(1-\d+\): checkpoint of \d+ leaves/,
      /unanchored +none/,
    ])
      expect(out).toMatch(line);
    expect(out).toMatch(/gaps +none: the run had \d+ records at 2026-/);
    expect(out).toMatch(/cosigned by us at 2026-\S+, ap at 2026-/);
    expect(code).toBe(0);
  });

  test("names what is wrong and ends with 1", async () => {
    writeFileSync(at("edited.json"), bundle.replace('"leaf":"AXsi', '"leaf":"AXsj'));
    const { code, out } = await command("verify", at("edited.json"), "--trust", at("policy.txt"));
    expect(out).toMatch(/^FAILED/);
    expect(out).toMatch(/leaf_hash: /);
    expect(code).toBe(1);
  });

  test("gives the report as JSON", async () => {
    const since = ["--since", "2030-01-01T00:00:00Z"];
    const { code, out } = await command("verify", at("run.json"), "--trust", at("policy.txt"), "--json", ...since);
    expect(JSON.parse(out)).toMatchObject({ status: "failed", problems: [{ code: "head_stale" }] });
    expect(code).toBe(1);
  });

  test.each<[string, () => string[]]>([
    ["no policy", () => [at("run.json")]],
    ["a policy that is not there", () => [at("run.json"), "--trust", at("none")]],
    ["a policy that is none", () => [at("run.json"), "--trust", at("run.json")]],
    ["a bundle that is not there", () => [at("none"), "--trust", at("policy.txt")]],
    ["a bundle that is none", () => [at("policy.txt"), "--trust", at("policy.txt")]],
    ["a time that is none", () => [at("run.json"), "--trust", at("policy.txt"), "--since", "yesterday"]],
  ])("ends with 2 for %s", async (_, args) => {
    expect((await command("verify", ...args())).code).toBe(2);
  });
});

describe("interlock evidence export", () => {
  const target = (token: string): string[] => ["--region-url", url, "--token", token];

  test("waits for the witnesses and writes the file as it came, for its owner only", async () => {
    asked.length = 0;
    const { code, out } = await command("evidence", "export", "--run", RUN, ...target("good"), "--out", at("out.json"));
    expect(out).toMatch(/out\.json: \d+ records, \d+ bytes\n$/);
    expect(code).toBe(0);
    expect(asked).toEqual(Array.from({ length: 2 }, () => `GET /lineage/v1/runs/${RUN}/evidence Bearer good`));
    expect(readFileSync(at("out.json"), "utf8")).toBe(bundle);
    expect(statSync(at("out.json")).mode % 0o1000).toBe(0o600);
  });

  test("does not wait longer than told", async () => {
    asked.length = 0;
    const { code, err } = await command("evidence", "export", "--run", RUN, ...target("good"), "--wait", "0");
    expect(err).toMatch(/answered 303/);
    expect(code).toBe(1);
  });

  test("says who is refused, and what is no bundle", async () => {
    const refused = await command("evidence", "export", "--run", RUN, ...target("bad"));
    expect(refused.err).toMatch(/answered 403: .*forbidden.*\n.*lineage:read/);
    expect(refused.code).toBe(1);
    const odd = await command("evidence", "export", "--run", "odd", ...target("good"), "--out", at("odd.json"));
    expect(odd.err).toMatch(/no evidence bundle/);
    expect(odd.code).toBe(1);
  });
});
