import { runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, it } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { parseReceipt } from "../../src/lineage/receipt-read.ts";
import { verifyReceipt } from "../../src/lineage/receipt-verify.ts";
import { shardName } from "../../src/objects/address.ts";
import type { DecideAnswer } from "../../src/objects/decide.ts";
import { nodeSha256 } from "../../durable-objects/platform.ts";
import { activate, decide, env, read1, region, shard, trust } from "./region.ts";

const rotate = (of: number | null) => trust().rotateShardKeys({ shard: of, reason: "yearly", actor: "ana" });
const kidOf = (answer: DecideAnswer): string => {
  const parsed = parseReceipt(answer.receipt!);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value.kid;
};
/** The receipt, under what the region's JWKS says. */
async function verifies(answer: DecideAnswer): Promise<boolean> {
  const { keys } = await trust().jwks();
  const record = await shard().readDecision(answer.decision_id!);
  if (!record.ok) throw new Error(record.code);
  const leafHashes = [fromBase64url(record.value.leaf_hash)!];
  const resolve = (kid: string) => keys.find((key) => key.kid === kid) ?? null;
  const expected = { region: "eu", pdp: region.pdp };
  return (await verifyReceipt(answer.receipt!, { kind: "records", leafHashes }, resolve, expected, nodeSha256)).ok;
}
const metaOf = (key: string): Promise<string | null> =>
  runInDurableObject(
    env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName(shardName(region, 0))),
    (_, { storage }) =>
      storage.sql.exec<{ value: string }>("SELECT value FROM meta WHERE key = ?", key).toArray()[0]?.value ?? null,
  );
const certified = async (): Promise<readonly string[]> => (await trust().ownKeys()).certified.map(({ kid }) => kid);

beforeAll(activate);

describe("the receipt key of a shard", () => {
  it("changes while it decides: old receipts verify, new ones are under the new key, leases go on", async () => {
    const old = await decide([read1]);
    expect(kidOf(old)).toBe("eu.1.shard-0.1");
    const secret = (JSON.parse((await metaOf("signing_jwk"))!) as { d: string }).d;
    expect(await rotate(0)).toMatchObject({ ok: true });
    const now = await decide([read1]);
    expect(kidOf(now)).toBe("eu.1.shard-0.2");
    expect([await verifies(old), await verifies(now)]).toEqual([true, true]);
    expect(await certified()).toContain("eu.1.shard-0.2");
    // The private half of the old one is gone.
    expect(`${await metaOf("signing_jwk")} ${await metaOf("next_signing_jwk")}`).not.toContain(secret);
    // A revocation takes effect: the shard holds leases under its new key.
    await trust().revoke({ key: "subject:user/zoe", from: "issue", reason: "t", actor: "t", wait: "local" });
    const zoe = { ...read1, subject: { type: "user", id: "zoe" } };
    expect((await decide([zoe])).items[0]).toMatchObject({ decision: false, reason: "revoked" });
  });

  it("is certified before it is used, and a change that stopped in between goes on", async () => {
    const next = await shard().nextKey();
    expect(next.kid).toBe("eu.1.shard-0.3");
    expect((await shard().nextKey()).x).toBe(next.x);
    expect(kidOf(await decide([read1]))).toBe("eu.1.shard-0.2");
    // Another name than that of its next key is no key to use.
    expect(await shard().useKey("eu.1.shard-0.4")).toBe(false);
    expect(await rotate(0)).toMatchObject({ ok: true });
    const now = await decide([read1]);
    expect([kidOf(now), await verifies(now)]).toEqual([next.kid, true]);
    expect((await trust().jwks()).keys.find(({ kid }) => kid === next.kid)?.x).toBe(next.x);
    expect(await shard().useKey(next.kid)).toBe(true);
  });

  it("gets no lease under a later name that the authority has not certified, nor under another's", async () => {
    const request = { v: 1, nonce: "n", revision: 0, material: null, federation: null, wanted: [], need: {} } as const;
    const ask = (kid: string) =>
      trust().lease({
        ...request,
        shard: 0,
        certified_until_ms: 0,
        key: {
          kty: "OKP",
          crv: "Ed25519",
          x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
          kid,
          alg: "Ed25519",
          use: "sig",
        },
      });
    expect(await ask("eu.1.shard-0.9")).toMatchObject({ ok: false, code: "another_key" });
    expect(await ask("eu.1.shard-0.2")).toMatchObject({ ok: false, code: "another_key" });
    for (const kid of ["eu.1.shard-1.1", "eu.2.shard-0.1", "us.1.shard-0.1", "eu.1.authority.1"])
      expect(await ask(kid)).toMatchObject({ ok: false, code: "unknown_shard" });
  });

  it("changes in every shard where none is named; one that there is not is not found", async () => {
    expect(await rotate(region.shards)).toMatchObject({ ok: false, code: "not_found" });
    expect(await rotate(null)).toMatchObject({ ok: true });
    const kids = await certified();
    for (let k = 0; k < region.shards; k++) expect(kids).toContain(`eu.1.shard-${k}.${k === 0 ? 4 : 2}`);
    expect(kidOf(await decide([read1]))).toBe("eu.1.shard-0.4");
  });
});
