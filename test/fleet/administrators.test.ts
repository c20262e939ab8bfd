import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { calculateJwkThumbprint } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { signAdminToken } from "../../tools/region/admin-token.ts";
import { adminKey } from "../../tools/region/keys.ts";
import { dataDirOf } from "../../tools/workerd/data-dir.ts";
import { interlock } from "../support/command.ts";
import { bearer, claimsOf, evaluate, post, READ } from "../support/http.ts";
import { startRegion, type TestRegion } from "../support/region.ts";

/** What can be done about an administrator whose credential or key is stolen. */
let region: TestRegion;
let admin: AdminClient;

beforeAll(async () => {
  region = await startRegion({ packs: ["sovereign", "authzen-certification"], env: { INTERLOCK_LOG: "off" } });
  admin = new AdminClient(region.url, region.admin);
});
afterAll(() => region.remove());

const key = () => adminKey(dataDirOf(region.base, region.name), region.name);
const newAdmin = async (): Promise<string> =>
  signAdminToken(await key(), {
    pdp: region.pdp,
    admin: "ana",
    scopes: ["status:read", "freeze:write", "revocations:write", "lineage:read"],
    now_s: Math.floor(Date.now() / 1_000),
  });
const revoke = (what: string) => admin.revoke({ key: what, from: "issue", reason: "stolen", wait: "local" });

/** A write, a read, and a read of what a shard holds. */
async function statuses(token: string): Promise<readonly number[]> {
  const { id } = await evaluate(region, READ);
  const answers = [
    await post(`${region.url}/admin/v1/unfreeze`, token, { reason: "test" }),
    await fetch(`${region.url}/admin/v1/status`, { headers: bearer(token) }),
    await fetch(`${region.url}/lineage/v1/decisions/${id}`, { headers: bearer(token) }),
  ];
  return answers.map(({ status }) => status);
}

test("a revoked admin credential does nothing, and does again when it is restored", async () => {
  const stolen = await newAdmin();
  expect(await statuses(stolen)).toEqual([200, 200, 200]);
  const revoked = await revoke(`credential:${region.pdp}/admin#${String(claimsOf(stolen)["jti"])}`);
  expect(revoked).toMatchObject({ effect: "denies", status: { [region.name]: "confirmed" } });
  expect(await statuses(stolen)).toEqual([401, 401, 401]);
  const answer = await post(`${region.url}/admin/v1/freeze`, stolen, { reason: "test" });
  expect(answer.headers.get("www-authenticate")).toContain('error="invalid_token"');
  expect(await answer.json()).toMatchObject({ detail: "the credential is revoked" });
  expect(await evaluate(region, READ)).toMatchObject({ decision: true });
  await admin.restore(revoked.id, "found");
  expect(await statuses(stolen)).toEqual([200, 200, 200]);
});

test("the command says plainly that a revocation of a kind in no use denies nothing", async () => {
  const told = async (revoked: string): Promise<{ out: string; err: string }> => {
    const target = ["--region-url", region.url, "--token", region.admin];
    const command = interlock("revoke", revoked, "--reason", "test", ...target);
    expect(await command.ended).toBe(0);
    return { out: command.stdout(), err: command.stderr() };
  };
  const image = await told(`image:sha256:${"0".repeat(64)}`);
  expect(JSON.parse(image.out)).toMatchObject({ state: "revoked", effect: "recorded" });
  expect(image.err).toContain("no decision rests on keys of kind image yet");
  const subject = await told("subject:user/mallory");
  expect(JSON.parse(subject.out)).toMatchObject({ effect: "denies" });
  expect(subject.err).toBe("");
});

test("a revoked admin key shuts out every credential it signed, and no PEP; a new key lets in again", async () => {
  const other = await newAdmin();
  await revoke(`key:${await calculateJwkThumbprint((await key()).publicJwk)}`);
  for (const token of [other, region.admin]) expect(await statuses(token)).toEqual([401, 401, 401]);
  // As docs/operations/revoke.md says.
  const { keys } = dataDirOf(region.base, region.name);
  await region.stop();
  for (const file of ["admin.jwk", "admin.jwt"]) rmSync(join(keys, file));
  await region.restart();
  expect(await statuses(readFileSync(join(keys, "admin.jwt"), "utf8").trim())).toEqual([200, 200, 200]);
  expect(await statuses(other)).toEqual([401, 401, 401]);
});
