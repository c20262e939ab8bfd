import { expect, test } from "vitest";
import { ROUTES } from "../../../src/http/routes.ts";
import { adminClaims, allowed, call, newRegion, pepClaims, PDP, sign } from "./region.ts";

/** Every route of the table, called without a body: whatever else is wrong, who asks comes first. */
const guarded = ROUTES.filter(({ audience }) => audience !== "anyone" && audience !== "region").map((route) => ({
  ...route,
  at: route.path.replace("{run}", "eu.1.AAAAAAAAAAAAAAAAAAAAAA").replace("{id}", "eu.1.s0.1"),
}));

test.each(guarded)("$method $path without a credential: 401 without an error code", async ({ method, at }) => {
  const region = await newRegion();
  const response = await call(region, at, { method, token: null });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toBe(`Bearer realm="${PDP}"`);
  await wellFormed(at, response);
});

test.each(guarded)("$method $path with a bad credential: 401 invalid_token", async ({ method, at }) => {
  const region = await newRegion();
  const response = await call(region, at, { method, token: `${region.pep.slice(0, -8)}AAAAAAAA` });
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toMatch(
    /^Bearer realm="[^"]+", error="invalid_token", error_description="[^"]+"$/,
  );
  await wellFormed(at, response);
});

test.each(guarded)("$method $path with a credential that has no scope: 403", async ({ method, at, audience }) => {
  const region = await newRegion();
  const token =
    audience === "admin"
      ? await sign(region.adminSigner, adminClaims({ scope: "other:read" }))
      : await sign(region.signer, pepClaims({ scope: "" }));
  const response = await call(region, at, { method, token });
  expect(response.status).toBe(403);
  expect(response.headers.get("www-authenticate")).toContain('error="insufficient_scope"');
  await wellFormed(at, response);
});

async function wellFormed(path: string, response: Response): Promise<void> {
  const text = await response.text();
  const isText = path.startsWith("/access/") && !path.startsWith("/access/v1/requests");
  expect(response.headers.get("content-type")).toBe(isText ? "text/plain; charset=utf-8" : "application/problem+json");
  const problem = isText ? null : (JSON.parse(text) as Record<string, unknown>);
  expect(Object.keys(problem ?? {}).toSorted()).toEqual(isText ? [] : ["code", "detail", "status", "title", "type"]);
  expect(problem?.["status"] ?? response.status).toBe(response.status);
}

test("a PEP's credential is no admin's, and an admin's no PEP's", async () => {
  const region = await newRegion();
  expect((await call(region, "/admin/v1/status", { token: region.pep })).status).toBe(401);
  expect((await call(region, "/access/v1/evaluation", { body: allowed, token: region.admin })).status).toBe(401);
});

test("who asks is found out before the body is read", async () => {
  const region = await newRegion();
  const response = await call(region, "/access/v1/evaluation", { raw: "x".repeat(100_000), token: null });
  expect(response.status).toBe(401);
});
