import { DatabaseSync } from "node:sqlite";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { nodeHmac } from "../../durable-objects/pseudonyms.ts";
import { mintRunId } from "../../src/base/ids.ts";
import { readFederationSecrets } from "../../src/region/federation-secrets.ts";
import { pseudonym } from "../../src/trust/pseudonym.ts";
import { federationSecrets } from "../../tools/region/keys.ts";
import type { TestRegion } from "../support/region.ts";
import { measure, post, QUESTION } from "./http.ts";

/**
 * What a decision costs as the region fills up. Revocations and runs are written into the stopped region's databases,
 * since making a million over HTTP would measure something else; the chain is grown by real decisions.
 */
export type Growth = {
  readonly what: "revocations" | "runs" | "chain";
  readonly n: number;
  readonly rps: number;
  readonly p50_ms: number;
};

const SECONDS = 4;
const CALLERS = 16;

function databases(region: Pick<TestRegion, "dataDir">, kind: string): string[] {
  const folder = join(region.dataDir, "do", kind);
  return readdirSync(folder)
    .filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite")
    .map((name) => join(folder, name));
}

/** The shard's database: the one among its kind that has decided. */
function shardDatabase(region: TestRegion): DatabaseSync {
  for (const path of databases(region, "interlock-lineage-shard")) {
    const db = new DatabaseSync(path);
    const { n } = db.prepare("SELECT count(*) AS n FROM record").get() as { n: number };
    if (n > 0) return db;
    db.close();
  }
  throw new Error("no shard has decided yet");
}

async function onDisk(region: TestRegion, change: (shard: DatabaseSync) => void): Promise<void> {
  await region.stop();
  const shard = shardDatabase(region);
  shard.exec("BEGIN");
  change(shard);
  shard.exec("COMMIT");
  shard.close();
  await region.restart();
}

/** Revoked keys of `origin`, `from` to `to`, as the authority keeps them: the shard fetches them with its next leases. */
export async function revokeOnDisk(
  region: Pick<TestRegion, "base" | "dataDir" | "stop" | "restart">,
  origin: string,
  from: number,
  to: number,
): Promise<void> {
  const secrets = readFederationSecrets(federationSecrets(region.base));
  if (!secrets.ok) throw new Error(secrets.error);
  await region.stop();
  const authority = authorityDatabase(region);
  const kept = authority.prepare("SELECT value FROM meta WHERE key = 'revision'").get() as
    { value: string } | undefined;
  let revision = Number(kept?.value ?? (authority.prepare("SELECT count(*) AS n FROM event").get() as { n: number }).n);
  authority.exec("BEGIN");
  const insert = authority.prepare(
    `INSERT INTO entry(key, origin, generation, state, "from", revoked_seq, seq) VALUES (?, ?, 1, 'revoked', 'issue', 1, ?)`,
  );
  for (let n = from; n < to; n++) {
    if ((n - from) % ENTRIES_PER_REVISION === 0) revision++;
    insert.run(pseudonym(secrets.value[0], `subject:bench/${n}`, nodeHmac), origin, revision);
  }
  authority
    .prepare(
      "INSERT INTO meta(key, value) VALUES ('revision', ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
    )
    .run(String(revision));
  authority.exec("COMMIT");
  authority.close();
  await region.restart();
}

const ENTRIES_PER_REVISION = 100;

function authorityDatabase(region: Pick<TestRegion, "dataDir">): DatabaseSync {
  return new DatabaseSync(databases(region, "interlock-trust-authority")[0]!);
}

export async function revocationGrowth(region: TestRegion, sizes: readonly number[]): Promise<Growth[]> {
  const rows: Growth[] = [];
  let made = 0;
  for (const n of sizes) {
    await revokeOnDisk(region, region.name, made, n);
    made = n;
    await firstAllow(region);
    rows.push(await point(region, "revocations", n, QUESTION));
  }
  return rows;
}

/** Milliseconds until the region allows: until its shard has every entry. */
export async function firstAllow(region: TestRegion): Promise<number> {
  const began = performance.now();
  for (;;) {
    const { decision } = (await post(region, "/access/v1/evaluation", QUESTION)) as { decision: boolean };
    if (decision) return performance.now() - began;
    if (performance.now() - began > 600_000) throw new Error("no allow in ten minutes");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const openRun = async (region: TestRegion): Promise<string> =>
  ((await post(region, "/runs/v1/runs", { principal: QUESTION.subject })) as { run: string }).run;

const inRun = (run: string) => ({ ...QUESTION, context: { interlock: { run } } });

export async function runGrowth(region: TestRegion, sizes: readonly number[]): Promise<Growth[]> {
  const run = await openRun(region);
  const rows: Growth[] = [];
  let made = 0;
  for (const n of sizes) {
    await onDisk(region, (shard) => {
      const insert = shard.prepare(
        `INSERT INTO run(id, salt, kind, status, principal, members, last_sseq, seq, head, opened_t_ms)
         SELECT ?, salt, kind, status, principal, members, last_sseq, seq, head, opened_t_ms FROM run WHERE id = ?`,
      );
      for (; made < n; made++) insert.run(mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16))), run);
    });
    rows.push(await point(region, "runs", n, inRun(run)));
  }
  return rows;
}

export async function chainGrowth(region: TestRegion, sizes: readonly number[]): Promise<Growth[]> {
  const run = await openRun(region);
  const rows: Growth[] = [];
  let length = 1;
  for (const n of sizes) {
    while (length < n) {
      const items = Math.min(1_000, n - length);
      await post(region, "/access/v1/evaluations", {
        ...inRun(run),
        evaluations: Array.from({ length: items }, () => ({})),
      });
      length += items;
    }
    const row = await point(region, "chain", n, inRun(run));
    rows.push(row);
    length += Math.round(row.rps * SECONDS);
  }
  return rows;
}

async function point(region: TestRegion, what: Growth["what"], n: number, body: unknown): Promise<Growth> {
  await measure(region, "/access/v1/evaluation", body, CALLERS, 1);
  const { rps, p50_ms } = await measure(region, "/access/v1/evaluation", body, CALLERS, SECONDS);
  return { what, n, rps, p50_ms };
}
