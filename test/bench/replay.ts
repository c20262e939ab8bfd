import { createWriteStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { aesGcm, nodeSha256, randomBytes } from "../../durable-objects/platform.ts";
import { Watch, TurnTexts } from "../../src/decision/seen.ts";
import { commitment, committedState } from "../../src/lineage/record.ts";
import { saltsOf, SEAL_RANDOM_BYTES, sealPayload } from "../../src/lineage/seal.ts";
import { loadPolicy } from "../../src/policy/load.ts";
import { backtestAll } from "../../tools/replay/backtest.ts";
import { BASELINE } from "../../tools/replay/policy-files.ts";
import { recordsOfFile } from "../../tools/replay/records.ts";
import { trustOf } from "../../src/replay/read-seen.ts";
import { goldenCases, pastOfGolden } from "../support/past.ts";

/**
 * `node test/bench/replay.ts [decisions]`: a backtest of so many decisions from a file, and what a record costs more
 * for keeping what its decision saw (commitment, sealing), in rounds of both kinds by turns. Prints the machine's load.
 */
const decisions = Number(process.argv[2] ?? "100000");
const PACKS = ["treasury", "kubernetes-sre", "hospital-mcp"];
const history = PACKS.flatMap((pack) => {
  const policy = loadPolicy(BASELINE, ["sovereign", pack]);
  return goldenCases(pack).map((golden, at) => pastOfGolden(policy, pack, golden, at));
});
const load = (): string =>
  loadavg()
    .map((n) => n.toFixed(1))
    .join(" ");

const dir = mkdtempSync(join(tmpdir(), "interlock-bench-"));
const file = join(dir, "history.jsonl");
const out = createWriteStream(file);
for (let at = 0; at < decisions; at++) {
  const { core, facts, request: input, run: run_state, seen, determining } = history[at % history.length]!;
  const payload = { core, determining, errors: [], facts, input, run_state, seen };
  const item = { decision_id: `eu.1.s0.${at + 1}`, kind: "decision", leaf: "AQ", payload, payload_status: "opened" };
  if (!out.write(JSON.stringify(item) + "\n")) await new Promise<void>((resolve) => out.once("drain", () => resolve()));
}
await new Promise<void>((resolve) => out.end(() => resolve()));

console.log(`load ${load()}; ${decisions} decisions, ${Math.round(statSync(file).size / 1e6)} MB`);
const started = performance.now();
const reports = await backtestAll(recordsOfFile(file), "policies/bundle.json", [], null, () => {});
const ms = performance.now() - started;
const decided = reports.reduce((sum, report) => sum + report.decided, 0);
const same = reports.reduce((sum, report) => sum + report.same, 0);
console.log(
  `backtest: ${decided} decided (${same} the same) in ${(ms / 1000).toFixed(1)} s, ${Math.round((decided / ms) * 1000)}/s; load ${load()}`,
);
rmSync(dir, { recursive: true });

const one = history[0]!;
const trust = trustOf(one.seen);
const condition = {
  halted: null,
  clock_anomaly: false,
  active_policy: one.core.policy,
  ...one.seen.turn.anchoring,
};
const state = JSON.stringify(one.run);
const aead = aesGcm(randomBytes(32));
const key = { number: 1, bytes: randomBytes(32) };
const place = { region: "eu", log_epoch: 1, source: "shard/0", sseq: 1 };
const rest = JSON.stringify({ core: one.core, facts: one.facts, input: one.request });
const turn = new TurnTexts().text(trust, condition, one.core.policy);
/** What sealing a record costs of processor time, microseconds (others use the machine too): with what it saw, or as it was before. */
async function sealing(seen: boolean, n: number): Promise<number> {
  const from = process.cpuUsage();
  for (let at = 0; at < n; at++) {
    const random = randomBytes(SEAL_RANDOM_BYTES);
    const text = seen ? new Watch(trust).text(turn, {}) : null;
    commitment("run", saltsOf(random).run, committedState(state, text), nodeSha256);
    const payload = `{${rest},"run_state":${state}${text === null ? `,"anchoring":${JSON.stringify(one.seen.turn.anchoring)}` : `,"seen":${text}`}}`;
    await sealPayload(aead, key, place, payload, random);
  }
  const { user, system } = process.cpuUsage(from);
  return (user + system) / n;
}
const times = { with: [] as number[], without: [] as number[] };
for (let round = 0; round < 12; round++) {
  const order = round % 2 === 0 ? (["with", "without"] as const) : (["without", "with"] as const);
  for (const kind of order) times[kind].push(await sealing(kind === "with", 2_000));
}
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const [more, before] = [median(times.with), median(times.without)];
console.log(
  `sealing: ${before.toFixed(1)} µs a record before, ${more.toFixed(1)} with what it saw (+${(more - before).toFixed(1)} µs, +${turn.length} bytes a turn's part); load ${load()}`,
);
