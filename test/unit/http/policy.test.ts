import { describe, expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { policyAnswer } from "../../../src/http/schemas/policy.ts";
import { refusal } from "../../../src/policy/bundles/refusals.ts";
import { adminClaims, call, jsonOf, newRegion, sign } from "./region.ts";

const PATH = "/admin/v1/policy";
const envelope = { payload: "e30", signatures: [] };

describe("signed policy over HTTP", () => {
  test("is shown as the documented answer has it", async () => {
    const region = await newRegion();
    const shown = await jsonOf(await call(region, PATH));
    expect(policyAnswer.strict().parse(shown)).toEqual(await region.authority.policyView());
  });

  test("is passed on as it came, under the name of who brought it", async () => {
    const region = await newRegion();
    const bundle = base64url(new Uint8Array([1, 2, 3]));
    const answer = await call(region, PATH, { method: "PUT", body: { roots: [envelope], policy: envelope, bundle } });
    expect([answer.status, (await jsonOf(answer))["outcome"]]).toEqual([200, "unchanged"]);
    expect(region.authority.offers).toMatchObject([
      {
        roots: [envelope],
        timestamp: null,
        policy: envelope,
        bundle: new Uint8Array([1, 2, 3]),
        actor: "admin:alice",
        dry_run: false,
      },
    ]);
  });

  test("a bundle may be larger than other bodies, and has its bound", async () => {
    const region = await newRegion();
    const put = async (bytes: number) =>
      (await call(region, PATH, { method: "PUT", body: { bundle: "A".repeat(bytes) } })).status;
    expect(await put(2_000_000)).toBe(200);
    expect(await put(2_600_000)).toBe(400);
    expect(await put(4_000_000)).toBe(413);
  });

  test("what is no offer is turned away here", async () => {
    const region = await newRegion();
    for (const body of [
      {},
      { polcy: envelope },
      { roots: envelope },
      { policy: "text" },
      { bundle: "!" },
      { dry_run: true },
      { bundle: "AA", acknowledge: "yes" },
    ])
      expect((await call(region, PATH, { method: "PUT", body })).status).toBe(400);
    expect(region.authority.offers).toEqual([]);
  });

  test("each outcome has its status and code", async () => {
    const region = await newRegion();
    const put = async () => {
      const answer = await call(region, PATH, { method: "PUT", body: { timestamp: envelope } });
      return [answer.status, (await jsonOf(answer))["code"]];
    };
    const view = await region.authority.policyView();
    region.authority.taken = { ok: true, outcome: "asked", gate: null, view };
    expect(await put()).toEqual([202, undefined]);
    region.authority.taken = { ok: false, code: "refused", refusal: refusal("rollback", "timestamp", "version 1") };
    expect(await put()).toEqual([422, "policy_rollback"]);
    // What a dry run says is no refusal: nothing was asked for.
    const why = refusal("needs_two_signatures", "policy", "treasury/payment.execute");
    region.authority.taken = { ok: true, outcome: "would_refuse", gate: null, why, view };
    expect(await put()).toEqual([200, undefined]);
    region.authority.taken = { ok: false, code: "unchecked", message: "not yet" };
    expect(await put()).toEqual([503, "unchecked"]);
    region.authority.taken = { ok: false, code: "conflict", message: "same key" };
    expect(await put()).toEqual([409, "conflict"]);
  });

  test.each([
    ["GET", "policy:read"],
    ["PUT", "policy:write"],
  ])("%s needs %s", async (method, scope) => {
    const region = await newRegion();
    const others = (adminClaims()["scope"] as string).split(" ").filter((one) => one !== scope);
    const token = await sign(region.adminSigner, adminClaims({ scope: others.join(" ") }));
    const body = method === "PUT" ? { body: { timestamp: envelope } } : {};
    expect((await call(region, PATH, { method, token, ...body })).status).toBe(403);
    expect((await call(region, PATH, { method, token: region.pep, ...body })).status).toBe(401);
  });
});
