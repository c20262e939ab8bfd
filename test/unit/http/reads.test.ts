import { describe, expect, test } from "vitest";
import { ROUTES } from "../../../src/http/routes.ts";
import { AUDITOR_SCOPES } from "../../../tools/region/admin-token.ts";
import { adminClaims, allowed, call, jsonOf, newRegion, sign, type TestRegion } from "./region.ts";

/** An auditor reads and does nothing else, and nobody reads unrecorded. */
const auditorOf = (region: TestRegion, over: object = {}): Promise<string> =>
  sign(
    region.adminSigner,
    adminClaims({ sub: "auditor:eva", jti: "audit-1", scope: AUDITOR_SCOPES.join(" "), ...over }),
  );

async function decided(region: TestRegion): Promise<string> {
  const answer = await call(region, "/access/v1/evaluation", { body: allowed });
  return answer.headers.get("interlock-decision-id")!;
}

const PARTS: Readonly<Record<string, string>> = { id: "eu.1", run: "eu.1.AAAAAAAAAAAAAAAAAAAAAA", region: "eu" };
const pathOf = (path: string): string => path.replace(/\{([a-z]+)\}/g, (_, name: string) => PARTS[name] ?? "0");

describe("an auditor's credential", () => {
  const others = ROUTES.filter(({ audience }) => audience === "PEP" || audience === "admin");
  test.each(others.map(({ method, path }) => [method, path]))("is refused on %s %s", async (method, path) => {
    const region = await newRegion();
    const body = method === "GET" ? {} : { body: {} };
    const answer = await call(region, pathOf(path), { method, token: await auditorOf(region), ...body });
    expect([401, 403]).toContain(answer.status);
    expect(region.reads.recorded).toEqual([]);
  });

  test("reads, under its own name", async () => {
    const region = await newRegion();
    const id = await decided(region);
    const answer = await call(region, `/lineage/v1/decisions/${id}`, { token: await auditorOf(region) });
    expect(answer.status).toBe(200);
    expect(region.reads.recorded).toEqual([
      {
        v: 1,
        what: "decision",
        reader: "admin:auditor:eva",
        credential: "audit-1",
        query: id,
        count: 1,
        ranges: [{ source: `shard/${/s(\d+)/.exec(id)![1]}`, first: 1, last: 1 }],
      },
    ]);
  });

  test.each([
    ["of another region", { aud: "https://us.pdp.example", iss: "https://us.pdp.example/admin" }],
    ["that has ended", { exp: 1_899_999_999 }],
    ["signed for longer than 31 days", { exp: 1_900_000_000 + 32 * 86_400 }],
  ])("%s reads nothing", async (_, over) => {
    const region = await newRegion();
    const id = await decided(region);
    const token = await auditorOf(region, over);
    expect((await call(region, `/lineage/v1/decisions/${id}`, { token })).status).toBe(401);
    expect(region.reads.recorded).toEqual([]);
  });

  test("that is revoked reads nothing", async () => {
    const region = await newRegion();
    const id = await decided(region);
    const key = "credential:https://eu.pdp.example/admin#audit-1";
    await call(region, "/admin/v1/revocations", { body: { key, reason: "left" } });
    expect((await call(region, `/lineage/v1/decisions/${id}`, { token: await auditorOf(region) })).status).toBe(401);
  });

  test("without log:read takes no entry bundles", async () => {
    const region = await newRegion();
    const token = await auditorOf(region, { scope: "lineage:read" });
    const answer = await call(region, "/log/tile/entries/000.p/1", { token });
    expect(answer.status).toBe(403);
    expect(answer.headers.get("www-authenticate")).toContain('scope="log:read"');
  });
});

describe("a read", () => {
  test("that cannot be recorded is not answered", async () => {
    const region = await newRegion();
    const id = await decided(region);
    region.reads.fails = true;
    const answer = await call(region, `/lineage/v1/decisions/${id}`);
    expect(answer.status).toBe(503);
    const text = await answer.text();
    expect(text).toContain("cannot be recorded");
    expect(text).not.toContain("secret");
    expect(text).not.toContain("leaf");
  });

  test("of a run says which records were shown", async () => {
    const region = await newRegion();
    const opened = await call(region, "/runs/v1/runs", { body: { principal: allowed.subject } });
    const { run } = await jsonOf<{ run: string }>(opened);
    await call(region, "/access/v1/evaluation", { body: { ...allowed, context: { interlock: { run } } } });
    const answer = await call(region, `/lineage/v1/runs/${run}`);
    const { records } = await jsonOf<{ records: readonly unknown[] }>(answer);
    expect(region.reads.recorded).toMatchObject([
      { what: "run", reader: "pep:eu/gateway", credential: "cred-1", query: run, count: records.length },
    ]);
  });

  test("of what is not there is none", async () => {
    const region = await newRegion();
    expect((await call(region, "/lineage/v1/decisions/eu.1.s0.99")).status).toBe(404);
    expect(region.reads.recorded).toEqual([]);
  });

  test("of the reads is one, and only one", async () => {
    const region = await newRegion();
    const id = await decided(region);
    await call(region, `/lineage/v1/decisions/${id}`);
    const first = await jsonOf<{ reads: readonly unknown[] }>(await call(region, "/admin/v1/reads"));
    expect(first.reads).toHaveLength(1);
    const second = await jsonOf<{ reads: readonly { what: string; reader: string }[] }>(
      await call(region, "/admin/v1/reads?limit=1"),
    );
    expect(second.reads).toMatchObject([{ what: "reads", reader: "admin:admin:alice" }]);
    expect(region.reads.recorded).toHaveLength(3);
  });

  test("beyond 8 at once is turned away, and the next are served again", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const region = await newRegion();
    const id = await decided(region);
    const record = region.reads.recordRead.bind(region.reads);
    region.reads.recordRead = async (message) => {
      await held;
      return record(message);
    };
    const reads = Array.from({ length: 40 }, () => call(region, `/lineage/v1/decisions/${id}`));
    const refused: Response[] = [];
    const watched = reads.map(async (read) => {
      const answer = await read;
      if (answer.status === 503) refused.push(answer);
      if (refused.length === 32) release();
      return answer.status;
    });
    const statuses = await Promise.all(watched);
    expect(statuses.filter((status) => status === 200)).toHaveLength(8);
    expect(await jsonOf(refused[0]!)).toMatchObject({ code: "overloaded" });
    expect(refused[0]!.headers.get("retry-after")).toBe("1");
    expect((await call(region, `/lineage/v1/decisions/${id}`)).status).toBe(200);
  });

  test.each(["/admin/v1/reads", "/lineage/v1/decisions/ID/proof", "/log/tile/entries/000.p/1"])(
    "of %s takes its turn before the authority looks at the credential",
    async (path) => {
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      let looks = 0;
      const region = await newRegion({
        wrapAuthority: (authority) =>
          Object.assign(Object.create(authority) as typeof authority, {
            anyRevoked: async (keys: readonly string[]) => {
              looks++;
              await held;
              return authority.anyRevoked(keys);
            },
          }),
      });
      const id = await decided(region);
      const at = path.replace("ID", encodeURIComponent(id));
      const token = await auditorOf(region, { scope: `${AUDITOR_SCOPES.join(" ")} reads:read` });
      const reads = Array.from({ length: 40 }, () => call(region, at, { token }));
      const first = await Promise.race(reads);
      expect([first.status, await jsonOf(first)]).toMatchObject([503, { code: "overloaded" }]);
      expect(looks).toBeLessThanOrEqual(8);
      release();
      const statuses = (await Promise.all(reads)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 503).length).toBeGreaterThanOrEqual(32);
      expect(looks).toBe(8);
    },
  );

  test("of a proof says erasing, not unknown, while a shard that was put back erases again", async () => {
    const region = await newRegion();
    const id = await decided(region);
    for (const shard of region.shards) shard.readDecision = async () => ({ ok: false, code: "erasing" });
    expect((await call(region, `/lineage/v1/decisions/${id}/proof`)).status).toBe(503);
  });

  test.each([
    "?limit=0",
    "?limit=501",
    "?cursor=x",
    "?cursor=1.2.3",
    "?cursor=1.1&cursor=1.1",
    "?cursor=2.1",
    "?after=1",
    "?reader=eva",
  ])("GET /admin/v1/reads%s is refused", async (query) => {
    const region = await newRegion();
    expect((await call(region, `/admin/v1/reads${query}`)).status).toBe(400);
    expect(region.reads.recorded).toEqual([]);
  });
});
