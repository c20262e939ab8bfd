import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signAdminToken, AUDITOR_SCOPES } from "../../tools/region/admin-token.ts";
import { adminKey } from "../../tools/region/keys.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { dataDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { bearer, claimsOf, evaluate, evaluateNow, PASSING, post, READ } from "../support/http.ts";
import { until } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";

/** An audit from beginning to end: a credential, searches, what the log covers, keys that do not come from the region. */
let eu: TestRegion;
let us: TestRegion;
let auditor: string;
let run: string;
const folder = mkdtempSync(join(tmpdir(), "interlock-audit-"));
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  [eu, us] = (await startRegions(["eu", "us"], {
    packs: ["sovereign", "authzen-certification"],
    shards: 3,
    env: { INTERLOCK_LOG: "off" },
  })) as readonly [TestRegion, TestRegion];
  auditor = await tokenOf(eu);
  run = await openedRun(eu, { principal: READ.subject });
  for (let i = 0; i < 4; i++) await evaluate(eu, { ...READ, context: { interlock: { run } } });
  for (let i = 0; i < 12; i++) await evaluate(eu, READ);
  for (let i = 0; i < 5; i++) await evaluate(eu, { ...READ, subject: { type: "user", id: "mallory" } });
});

afterAll(async () => {
  await Promise.all([eu, us].map((region) => region.remove()));
  rmSync(folder, { recursive: true, force: true });
});

const tokenOf = async (region: TestRegion): Promise<string> =>
  signAdminToken(await adminKey(dataDirOf(region.base, region.name), region.name), {
    pdp: region.pdp,
    admin: "auditor:eva",
    scopes: AUDITOR_SCOPES,
    now_s: Math.floor(Date.now() / 1_000),
    lifetime_s: 3_600,
  });

const jsonOf = async <T>(answer: Response): Promise<T> => JSON.parse(await answer.text()) as T;

type Item = {
  readonly decision_id: string;
  readonly t_ms: number;
  readonly run: string | null;
  readonly decision: string;
};
type Page = { readonly decisions: readonly Item[]; readonly next_cursor: string | null };

const find = (query: string, token = auditor): Promise<Response> =>
  fetch(`${eu.url}/lineage/v1/decisions${query}`, { headers: bearer(token) });

async function findAll(query: string): Promise<readonly Item[]> {
  const all: Item[] = [];
  for (let cursor: string | null = ""; cursor !== null;) {
    const page: Page = await jsonOf<Page>(await find(`${query}${cursor === "" ? "" : `&cursor=${cursor}`}`));
    all.push(...page.decisions);
    cursor = page.next_cursor;
  }
  return all;
}

describe("an auditor", () => {
  test("searches all shards in one order, whatever the size of the page", async () => {
    const to = Date.now() + 1_000;
    const all = await findAll(`?to=${to}&limit=200`);
    expect(all.length).toBeGreaterThanOrEqual(22);
    expect(all.map(({ t_ms }) => t_ms)).toEqual(all.map(({ t_ms }) => t_ms).sort((a, b) => b - a));
    expect(await findAll(`?to=${to}&limit=3`)).toEqual(all);
    const denied = await findAll(`?to=${to}&limit=2&decision=deny&subject=user:mallory`);
    expect(denied).toHaveLength(5);
    expect(new Set(denied.map(({ decision_id }) => /\.s\d+\./.exec(decision_id)![0])).size).toBeGreaterThan(1);
    expect(await findAll(`?to=${to}&limit=2&run=${run}`)).toHaveLength(5);
  });

  test("of another region, or whose credential was revoked, finds nothing", async () => {
    expect((await find("", await tokenOf(us))).status).toBe(401);
    const left = await tokenOf(eu);
    expect((await find("?limit=1", left)).status).toBe(200);
    const key = `credential:${eu.pdp}/admin#${String(claimsOf(left)["jti"])}`;
    expect((await post(`${eu.url}/admin/v1/revocations`, eu.admin, { key, reason: "left" })).status).toBe(201);
    expect((await find("?limit=1", left)).status).toBe(401);
  });

  test("is in the list of reads with what was read, and in the log without a name", async () => {
    await find("?limit=1&reason=policy_denied");
    type Reads = readonly { reader: string; query: string; what: string; sseq: number | null }[];
    const reads = await until(async () => {
      const answer = await fetch(`${eu.url}/admin/v1/reads?limit=500`, { headers: bearer(eu.admin) });
      const { reads: listed } = await jsonOf<{ readonly reads: Reads }>(answer);
      return listed.every(({ sseq }) => sseq !== null) && listed;
    }, "every read with its leaf");
    const mine = reads.filter(({ reader }) => reader === "admin:auditor:eva");
    expect(mine.length).toBeGreaterThan(5);
    expect(mine[0]).toMatchObject({ what: "search", query: "?limit=1&reason=policy_denied" });
    expect((await fetch(`${eu.url}/admin/v1/reads`, { headers: bearer(auditor) })).status).toBe(403);
  });

  test("reading in a flood does not stop decisions, and every answer it got is on record", async () => {
    const listed = async (): Promise<number> => {
      let [count, cursor] = [0, ""];
      for (;;) {
        const answer = await fetch(`${eu.url}/admin/v1/reads?limit=500${cursor}`, { headers: bearer(eu.admin) });
        const page = await jsonOf<{
          readonly reads: readonly { id: number; what: string }[];
          next_cursor: string | null;
        }>(answer);
        count += page.reads.filter(({ what }) => what === "search").length;
        if (page.next_cursor === null) return count;
        cursor = `&cursor=${page.next_cursor}`;
      }
    };
    const before = await listed();
    const reads = Array.from({ length: 200 }, () => find("?limit=20&payload=1"));
    const decisions = await Promise.all(Array.from({ length: 60 }, () => evaluateNow(eu, READ)));
    // On a machine that has no time left a lease may run out, with or without readers; that denies, and nothing else may.
    const denied = decisions.flatMap(({ reason }) => reason ?? []);
    expect(denied.filter((reason) => !PASSING.has(reason))).toEqual([]);
    const statuses = (await Promise.all(reads)).map(({ status }) => status);
    expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
    const answered = statuses.filter((status) => status === 200).length;
    expect(answered).toBeGreaterThan(0);
    expect(await listed()).toBeGreaterThanOrEqual(before + answered);
    await until(async () => (await evaluate(eu, READ)).decision, "an allow after the flood");
  });
});

describe("from the roots to a verdict", () => {
  const told = async (...args: readonly string[]) => {
    const command = interlock(...args);
    return { code: await command.ended, out: command.stdout(), err: command.stderr() };
  };

  test("the policy comes from the memberships, whoever serves them, and the log is held to it", async () => {
    writeFileSync(file("roots.json"), (await devRoots(eu.base)).pinned);
    // us is asked about eu: the roots' signatures are what counts.
    const made = await told(
      "region",
      "trust",
      "--membership",
      us.url,
      "--roots",
      file("roots.json"),
      "--region",
      "eu",
      "--peers",
      "all",
      "--out",
      file("eu.policy"),
    );
    expect(made).toMatchObject({ code: 0 });
    expect(made.err).toContain("eu.1.log.1");
    expect(readFileSync(file("eu.policy"), "utf8")).toContain("group peers all us");

    await until(async () => {
      const { code } = await told(
        "log",
        "coverage",
        eu.url,
        "--trust",
        file("eu.policy"),
        "--token",
        auditor,
        "--out",
        file("eu.coverage"),
      );
      return code === 0;
    }, "a coverage statement that verifies");
    const verdict = await told("verify", file("eu.coverage"), "--trust", file("eu.policy"));
    expect(verdict).toMatchObject({ code: 0 });
    expect(verdict.out).toMatch(/VERIFIED[^]*anchored[^]*unanchored[^]*gaps +none[^]*erased +none[^]*shard\/2/);

    const [header, payload, signature] = readFileSync(file("eu.coverage"), "utf8").trim().split(".") as [
      string,
      string,
      string,
    ];
    const statement = JSON.parse(Buffer.from(payload, "base64url").toString()) as { erased: number };
    const forged = Buffer.from(JSON.stringify({ ...statement, erased: 7 })).toString("base64url");
    writeFileSync(file("forged"), `${header}.${forged}.${signature}\n`);
    const caught = await told("verify", file("forged"), "--trust", file("eu.policy"));
    expect(caught).toMatchObject({ code: 1 });
    expect(caught.out).toContain("bad_signature");
  });

  test("with roots that did not sign there is no policy", async () => {
    const others = mkdtempSync(join(folder, "roots-"));
    writeFileSync(file("others.json"), (await devRoots(others)).pinned);
    const made = await told(
      "region",
      "trust",
      "--membership",
      eu.url,
      "--roots",
      file("others.json"),
      "--region",
      "eu",
      "--out",
      file("never.policy"),
    );
    expect(made.code).toBe(1);
    expect(existsSync(file("never.policy"))).toBe(false);
  });

  test("a search on the command line says what was found and how much was looked at", async () => {
    const found = await told(
      "lineage",
      "search",
      "--region-url",
      eu.url,
      "--token",
      auditor,
      "--subject",
      "user:mallory",
    );
    expect(found.code).toBe(0);
    expect(found.out.split("\n").filter((line) => line.includes(" deny "))).toHaveLength(5);
    expect(found.err).toMatch(/5 records, \d+ looked at; no more/);
    const asJson = await told(
      "lineage",
      "search",
      "--region-url",
      eu.url,
      "--token",
      auditor,
      "--run",
      run,
      "--json",
      "--limit",
      "2",
    );
    expect(
      asJson.out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as Item).run),
    ).toEqual([run, run]);
    expect(asJson.err).toContain("there is more");
    const wrong = await told("lineage", "search", "--region-url", eu.url, "--token", auditor, "--from", "yesterday");
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain("from is Unix milliseconds or ISO 8601");
  });

  test("a token made on the command line reads, and can be ended as it says", async () => {
    const made = await told(
      "region",
      "auditor-token",
      "--auditor",
      "max",
      "--region",
      "eu",
      "--data",
      eu.base,
      "--hours",
      "1",
    );
    expect(made.code).toBe(0);
    const token = made.out.trim();
    expect(claimsOf(token)).toMatchObject({ sub: "auditor:max", scope: "lineage:read log:read" });
    expect((await find("?limit=1", token)).status).toBe(200);
    const key = /'(credential:[^']+)'/.exec(made.err)![1]!;
    await post(`${eu.url}/admin/v1/revocations`, eu.admin, { key, reason: "over" });
    expect((await find("?limit=1", token)).status).toBe(401);
    expect(
      (await told("region", "auditor-token", "--auditor", "max", "--region", "eu", "--data", eu.base, "--hours", "999"))
        .code,
    ).toBe(2);
  });
});
