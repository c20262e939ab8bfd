import { calculateJwkThumbprint, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RevocationView } from "../../src/objects/revocations.ts";
import { parseDecisionId } from "../../src/base/ids.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { jwksOf } from "../support/acknowledged.ts";
import { bearer, claimsOf, evaluate, PASSING, post, READ } from "../support/http.ts";
import { evidenceOf } from "../support/load.ts";
import { answersTo, race, type Race, type Racer } from "../support/race.ts";
import { seeded, seedOf } from "../support/random.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { openedRun } from "../support/runs.ts";
import { unfreeze } from "../support/unfreeze.ts";
import { storedRecords } from "../support/stored.ts";

/**
 * G3, linearizable revocation inside a region: once a revocation (or a freeze) is acknowledged, no decision sent
 * later is allowed, on any shard, and none flickers. `INTERLOCK_RACE_ROUNDS` races for each kind of key.
 */
const ROUNDS = Number(process.env["INTERLOCK_RACE_ROUNDS"] ?? 2);
const seed = seedOf();

/** Canonical key of the key that signs the region's PEP credentials. */
async function signingKeyOf(region: TestRegion): Promise<string> {
  const kid = String(decodeProtectedHeader(region.pep).kid);
  const jwk = (await jwksOf(region.url)).find((key) => key.kid === kid)!;
  return `key:${await calculateJwkThumbprint(jwk)}`;
}

/** For that reason, or since the machine was too busy. */
const isDenied = ({ decision, reason }: Racer, why: string): boolean =>
  !decision && (reason === why || PASSING.has(reason ?? ""));

/** Allows that were answered in a race, to be looked up in the lineage when the region has stopped. */
type Allowed = { readonly id: string; readonly before_t_ms: number; readonly before_revision: number };

describe.each([1, 4])(`with N = %i shards (INTERLOCK_SEED=${seed})`, (shards) => {
  const random = seeded(seed + shards);
  const allowed: Allowed[] = [];
  let region: TestRegion;
  let admin: AdminClient;

  beforeAll(async () => {
    region = await startRegion({
      packs: ["sovereign", "authzen-certification"],
      shards,
      env: { INTERLOCK_LOG: "off" },
    });
    admin = new AdminClient(region.url, region.admin);
  });
  afterAll(() => region.remove());

  const revoke = (key: string): Promise<RevocationView> =>
    admin.revoke({ key, from: "issue", reason: "race", wait: "local" });

  const keep = <T>({ racers, acknowledged_t_ms }: Race<T>, before_revision: number): void => {
    for (const { decision, id } of racers) {
      if (decision) allowed.push({ id: id!, before_t_ms: acknowledged_t_ms, before_revision });
    }
  };

  /** What each kind of key is, and the question and credential that rest on it. */
  const subjects: Readonly<Record<string, () => Promise<{ key: string; question: object; token: string }>>> = {
    subject: async () => ({ key: "subject:user/alice", question: READ, token: region.pep }),
    resource: async () => ({ key: "resource:record/record-1", question: READ, token: region.pep }),
    pep: async () => ({ key: String(claimsOf(region.pep)["sub"]), question: READ, token: region.pep }),
    issuer: async () => ({ key: `issuer:${region.pdp}`, question: READ, token: region.pep }),
    region: async () => ({ key: `region:${region.name}`, question: READ, token: region.pep }),
    credential: async () => {
      const id = `gateway-${random.int(0, 2 ** 30)}`;
      const { credential } = await admin.registerPep({ id, scopes: ["evaluate"], ttl_s: 600 });
      const { jti } = claimsOf(credential);
      return { key: `credential:${region.pdp}#${String(jti)}`, question: READ, token: credential };
    },
    key: async () => ({ key: await signingKeyOf(region), question: READ, token: region.pep }),
    run: async () => {
      const run = await openedRun(region, { principal: READ.subject });
      return { key: `run:${run}`, question: { ...READ, context: { interlock: { run } } }, token: region.pep };
    },
  };

  test.each(Object.keys(subjects))("a revoked %s allows nothing after the acknowledgement", async (kind) => {
    for (let round = 0; round < ROUNDS; round++) {
      const { key, question, token } = await subjects[kind]!();
      const raced = await race(region, question, () => revoke(key), { after: random.int(1, 150), token });
      const { racers, acknowledged, acknowledgement } = raced;
      expect(acknowledgement).toMatchObject({ key, state: "revoked" });
      // On a machine that stood still every lease had ended before.
      expect(["confirmed", "lease_expired"]).toContain(acknowledgement.status[region.name]);
      expect(racers.filter(({ decision }) => decision).length, "allows before").toBeGreaterThan(0);
      const late = racers.filter(({ sent }) => sent > acknowledged);
      expect(late.length).toBeGreaterThanOrEqual(50);
      expect(late.filter((one) => !isDenied(one, "revoked"))).toEqual([]);
      keep(raced, acknowledgement.revision);

      expect(await answersTo(region, question, 200, token)).toEqual(["deny: revoked"]);
      await admin.restore(acknowledgement.id, "race over");
      expect(await answersTo(region, question, 20, token)).toEqual(["allow"]);
    }
  });

  test("a frozen region allows nothing after the acknowledgement", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const raced = await race(region, READ, () => admin.freeze("race"), { after: random.int(1, 150) });
      const late = raced.racers.filter(({ sent }) => sent > raced.acknowledged);
      expect(late.length).toBeGreaterThanOrEqual(50);
      expect(late.filter((one) => !isDenied(one, "region_frozen"))).toEqual([]);
      keep(raced, raced.acknowledgement.revision);
      expect(await answersTo(region, READ, 200)).toEqual(["deny: region_frozen"]);
      await unfreeze(region, "race over");
      expect(await answersTo(region, READ, 20)).toEqual(["allow"]);
    }
  });

  test("an answer kept under an idempotency key does not outlive the revocation", async () => {
    const question = { ...READ, context: { interlock: { idempotency_key: `kept-${random.int(0, 2 ** 30)}` } } };
    const raced = await race(region, question, () => revoke("subject:user/alice"), { after: random.int(1, 150) });
    const late = raced.racers.filter(({ sent }) => sent > raced.acknowledged);
    expect(late.filter(({ decision }) => decision)).toEqual([]);
    expect(new Set(raced.racers.map(({ id }) => id)).size).toBe(1);
    await admin.restore(raced.acknowledgement.id, "race over");
  });

  test.each(["pep", "credential", "issuer", "key"])(
    "a revoked %s reads nothing, finds nothing, opens and closes nothing",
    async (kind) => {
      const id = `reader-${random.int(0, 2 ** 30)}`;
      const { credential: token } = await admin.registerPep({
        id,
        scopes: ["evaluate", "search", "runs", "lineage.read"],
        ttl_s: 600,
      });
      const key = {
        pep: `pep:${region.name}/${id}`,
        credential: `credential:${region.pdp}#${String(claimsOf(token)["jti"])}`,
        issuer: `issuer:${region.pdp}`,
        key: await signingKeyOf(region),
      }[kind]!;
      const principal = READ.subject;
      const run = await openedRun(region, { principal }, token);
      const decision = (await evaluate(region, READ, token)).id!;
      const statuses = async (): Promise<readonly number[]> => {
        const get = (path: string): Promise<Response> => fetch(region.url + path, { headers: bearer(token) });
        const answers = [
          await get(`/lineage/v1/decisions/${decision}`),
          await get(`/lineage/v1/runs/${run}`),
          await get(`/runs/v1/runs/${run}`),
          await post(`${region.url}/runs/v1/runs`, token, { principal }),
          await post(`${region.url}/runs/v1/runs/${run}/close`, token, {}),
        ];
        return answers.map(({ status }) => status);
      };
      const { id: revocation } = await revoke(key);
      expect(await statuses()).toEqual([401, 401, 401, 403, 403]);
      const search = { ...READ, subject: { type: "user" } };
      const found = await post(`${region.url}/access/v1/search/subject`, token, search);
      expect(JSON.parse(await found.text())).toMatchObject({ results: [] });
      await admin.restore(revocation, "test over");
      expect(await statuses()).toEqual([200, 200, 200, 201, 200]);
    },
  );

  test("50 callers with one idempotency key are one decision, with one receipt", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const idempotency_key = `fifty-${random.int(0, 2 ** 30)}`;
      const body = { ...READ, context: { interlock: { idempotency_key } } };
      const told = await Promise.all(
        Array.from({ length: 50 }, async () => {
          const answer = await post(`${region.url}/access/v1/evaluation`, region.pep, body);
          return JSON.stringify([await answer.json(), evidenceOf(answer)]);
        }),
      );
      expect([...new Set(told)]).toHaveLength(1);
    }
  });

  test("no allow that was answered stands later in the lineage than what took it away", async () => {
    await region.stop();
    const disk = storedRecords(region.dataDir);
    const late = allowed.filter(({ id, before_t_ms, before_revision }) => {
      const { shard, sseq } = parseDecisionId(id)!;
      const record = disk.get(shard)![sseq - 1]!.record;
      return record.decision !== "allow" || record.t > before_t_ms || record.trust.revision >= before_revision;
    });
    expect(allowed.length).toBeGreaterThan(0);
    expect(late).toEqual([]);
  });
});
