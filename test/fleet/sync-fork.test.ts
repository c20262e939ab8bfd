import { cpSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { compactVerify, importJWK, type GeneralJWS, type JWK } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EquivocationProof } from "../../src/objects/peers.ts";
import { payloadOf } from "../../tools/region/enrol.ts";
import { signMembership } from "../../tools/region/membership.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { borderProblems } from "../support/border.ts";
import {
  askFor,
  settledFor,
  becomes,
  clientOf,
  revoke,
  secretsOf,
  startFederation,
  subjectOf,
  Watch,
  type Federation,
} from "../support/federation.ts";
import { bearer } from "../support/http.ts";
import { until } from "../support/log.ts";

/**
 * A region whose storage was copied and started twice: us shows eu one history of its events and ap another. That is
 * what a split brain, a wrong restore, or a thief with the disk looks like to its peers.
 */
let fed: Federation;
let purelyEu: Watch;

beforeAll(async () => {
  fed = await startFederation();
  const { eu, us, ap, links } = fed;
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
  purelyEu = new Watch(eu, "eu-own", "eu-r", 100);
  await us.stop();
  const copy = `${us.dataDir}-copy`;
  cpSync(us.dataDir, copy, { recursive: true });

  // One history, which only eu sees.
  links.part("us", "ap");
  links.part("eu", "ap");
  await us.restart();
  await revoke(us, subjectOf("us-ann"), "local");
  await becomes(eu, ["us-ann", "eu-r"], "revoked");
  await us.stop();

  // The other, which only ap sees.
  renameSync(us.dataDir, `${us.dataDir}-first`);
  renameSync(copy, us.dataDir);
  links.heal();
  links.part("us", "eu");
  links.part("eu", "ap");
  await us.restart();
  await revoke(us, subjectOf("us-ben"), "local");
  await becomes(ap, ["us-ben", "ap-r"], "revoked");
}, 120_000);
afterAll(() => fed.close());

/** The membership in force, changed and signed again by the roots. */
async function putMembership(change: { readonly incarnation?: number }): Promise<void> {
  const path = join(rootsDirOf(fed.eu.base), "membership.json");
  const before = payloadOf(JSON.parse(readFileSync(path, "utf8")) as GeneralJWS)!;
  const next = {
    ...before,
    version: before.version + 1,
    regions: before.regions.map((member) => (member.region === "us" ? { ...member, ...change } : member)),
  };
  const signed = await signMembership(next, (await devRoots(fed.eu.base)).keys);
  writeSecret(path, JSON.stringify(signed) + "\n");
  for (const region of fed.all) await clientOf(region).putMembership(signed);
}

async function proofIn(region: Federation["eu"]): Promise<EquivocationProof | null> {
  const answer = await fetch(`${region.url}/admin/v1/peers/us/proof`, { headers: bearer(region.admin) });
  if (answer.status === 404) return null;
  return JSON.parse(await answer.text()) as EquivocationProof;
}

describe("a region that shows two histories", () => {
  test("is found when its peers compare: they deny what rests on it, and nothing else", async () => {
    const { eu, us, ap, links } = fed;
    expect(await proofIn(eu)).toBeNull();
    links.heal();
    await becomes(eu, ["us-any", "eu-r"], "sync_equivocation");
    await becomes(ap, ["us-any", "ap-r"], "sync_equivocation");
    for (const id of ["us-ann", "us-ben", "anybody"]) {
      expect(await settledFor(eu, id, "eu-r")).toBe("sync_equivocation");
    }
    // Its own peers show us what it signed: it allows nothing any more.
    await until(async () => (await askFor(us, "us-any", "us-r")) !== "allow", "us stops");
    // Taking away still works there.
    expect((await revoke(us, subjectOf("us-cid"), "accepted")).view.state).toBe("revoked");
    await becomes(ap, ["eu-own", "ap-r"], "allow");
  });

  test("leaves a proof that anybody can verify", async () => {
    for (const region of [fed.eu, fed.ap]) {
      const proof = await until(async () => proofIn(region), "a proof");
      expect(proof).toMatchObject({
        type: "interlock-equivocation",
        origin: "us",
        found_by: region.name,
        reason: "fork",
      });
      const statements = [proof.held, proof.shown];
      const said = await Promise.all(
        statements.map(async ({ jws }) => {
          const kid = (JSON.parse(Buffer.from(jws!.split(".")[0]!, "base64url").toString()) as { kid: string }).kid;
          const key = proof.keys.find((listed) => listed.kid === kid) as JWK;
          const { payload } = await compactVerify(jws!, await importJWK(key, "Ed25519"));
          return Buffer.from(payload).toString();
        }),
      );
      expect(said[0]).not.toEqual(said[1]);
      expect(statements[0]!.incarnation).toBe(statements[1]!.incarnation);
    }
  });

  test("is not forgotten by a restart, nor by a membership that does not speak of it", async () => {
    await fed.eu.kill("SIGKILL");
    await fed.eu.restart();
    await becomes(fed.eu, ["us-any", "eu-r"], "sync_equivocation");
    await putMembership({});
    await becomes(fed.eu, ["us-any", "eu-r"], "sync_equivocation");
    await becomes(fed.ap, ["us-any", "ap-r"], "sync_equivocation");
    expect(await proofIn(fed.eu)).not.toBeNull();
  });

  test("is heard again when the roots raise its incarnation, and what was revoked stays revoked", async () => {
    const { eu, ap } = fed;
    await putMembership({ incarnation: 2 });
    await becomes(eu, ["us-any", "eu-r"], "allow");
    await becomes(ap, ["us-any", "ap-r"], "allow");
    expect(await proofIn(eu)).toBeNull();
    // What each had of the old histories, and what us itself still has of the one that it goes on with.
    await becomes(eu, ["us-ann", "eu-r"], "revoked");
    await becomes(ap, ["us-ben", "ap-r"], "revoked");
    for (const id of ["us-ben", "us-cid"]) await becomes(eu, [id, "eu-r"], "revoked");
    // And us can revoke again, for everybody.
    await revoke(fed.us, subjectOf("us-dan"), "accepted");
    for (const region of [eu, ap]) await becomes(region, ["us-dan", `${region.name}-r`], "revoked");
    const own = await purelyEu.stop();
    expect(own.filter(({ reason }) => reason?.startsWith("sync_") === true)).toEqual([]);
    expect(own.filter(({ decision }) => decision).length).toBeGreaterThan(10);
  });
});

test("nothing that left a region meanwhile names anybody, and all of it is listed in docs/sync.md", () => {
  expect(fed.links.crossings.length).toBeGreaterThan(100);
  expect(borderProblems(fed.links.crossings, secretsOf(fed))).toEqual([]);
});
