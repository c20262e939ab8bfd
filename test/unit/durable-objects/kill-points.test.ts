import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Log } from "../../../durable-objects/log/log.ts";
import { LogStore } from "../../../durable-objects/log/store.ts";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { ShardStore } from "../../../durable-objects/shard/store.ts";
import { base64url, equalBytes } from "../../../src/base/bytes.ts";
import { parseCheckpoint } from "../../../src/lineage/checkpoint.ts";
import { verifierOf } from "../../../src/lineage/cosignature.ts";
import { formatVerifierKey, parseVerifierKey } from "../../../src/lineage/note-key.ts";
import { parseNote } from "../../../src/lineage/note.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import { TreeState } from "../../../src/lineage/tree-state.ts";
import { widthOf } from "../../../src/lineage/tiles.ts";
import { witness, type WitnessState } from "../../../src/lineage/witness.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../../../src/objects/log.ts";
import { FakeStorage, type Crash } from "../../support/durable-storage.ts";
import { bindings, question, REGION } from "../../support/lone-shard.ts";
import { sha } from "../lineage/build.ts";
import { verifyEd25519, witnessKey } from "../lineage/log-build.ts";

/**
 * A shard and a log in Node, killed at every storage call that they make (issue 3; LINEAGE, invariant tests). After
 * each: start again from storage, decide on, and hold what callers and the witness were told against what is stored.
 */
const PEER = witnessKey("us.pdp.example/witness");

type Told = { readonly id: string; readonly leaf: string; readonly items: number };

/** One region: two storages, the objects that live on them now, and the world outside, which forgets nothing. */
class World {
  readonly storage = { shard: new FakeStorage(), log: new FakeStorage() };
  readonly told: Told[] = [];
  /** Every signed note that left the log. */
  readonly notes = new Set<string>();
  readonly refused: string[] = [];
  #cosigned: WitnessState | null = null;
  #log: Log | null = null;
  #logStorage!: DurableObjectStorage;
  #shard: Shard | null = null;
  /** Of the source, as the log was sent. */
  sent = 0;

  constructor() {
    for (const storage of Object.values(this.storage)) storage.onCrash = () => this.kill("lost");
  }

  get log(): Log {
    if (this.#log === null) throw new Error("no log");
    return this.#log;
  }

  /** Both objects are in one process: it dies as a whole. */
  kill(how: Crash): void {
    for (const storage of Object.values(this.storage)) if (!storage.dead) storage.kill(how);
    this.#log = null;
    this.#shard = null;
  }

  async start(): Promise<void> {
    const { shard: shardStorage, log: logStorage } = this.storage;
    this.#logStorage = logStorage.attach();
    const log = new Log(this.#logStorage, REGION, this.#send);
    await log.start();
    const { vkey } = log.identity();
    const peer = formatVerifierKey(PEER.key);
    log.configure([{ vkey: peer, url: "witness:" }], `log ${vkey}\nwitness us ${peer}\nquorum us\n`);
    this.#log = log;
    const shard = new Shard(shardStorage.attach(), this.#env(), REGION, 0);
    await shard.start();
    this.#shard = shard;
  }

  #env(): Env {
    return bindings({}, (message) => this.#integrate(message));
  }

  async #integrate(message: IntegrateMessage): Promise<IntegrateAnswer> {
    this.sent = Math.max(this.sent, message.from_sseq + message.hashes.length / 32 - 1);
    const answer = this.log.integrate(message);
    // The output gate: an answer leaves when what was written before it is on disk.
    await this.#logStorage.sync();
    return answer;
  }

  readonly #send = (async (_: unknown, init: { readonly body: string }) => {
    const note = init.body.slice(init.body.indexOf("\n\n") + 2);
    this.notes.add(note.slice(0, note.indexOf("\n\n") + 1));
    const { vkey } = this.log.identity();
    const key = parseVerifierKey(vkey, sha);
    const answer = await witness(
      this.#cosigned,
      new TextEncoder().encode(init.body),
      {
        logKeys: () => [verifierOf(key.ok ? key.value : PEER.key, verifyEd25519)!],
        signers: [PEER],
        sha,
      },
      Math.floor(Date.now() / 1_000),
    );
    if (answer.next_state !== null) this.#cosigned = answer.next_state;
    if (answer.status !== 200 && answer.status !== 409) this.refused.push(`${answer.status} ${answer.body}`);
    return new Response(answer.body, { status: answer.status });
  }) as unknown as typeof fetch;

  /** Asks; what was acknowledged is kept. An answer may never come where the process dies. */
  async decide(items: number): Promise<void> {
    const shard = this.#shard;
    if (shard === null) return;
    const asked = shard.decide(question({ deadline_ms: 20_000, explain: false }, items));
    const answer = await Promise.race([asked.catch(() => null), sleep(1_500, null)]);
    if (answer?.ok !== true || answer.decision_id === null) return;
    const { header } = JSON.parse(answer.receipt!) as { header: { leaf: string } };
    this.told.push({ id: answer.decision_id, leaf: header.leaf, items });
  }

  async work(): Promise<void> {
    await Promise.all([this.decide(1), this.decide(2), this.decide(1)]);
    await sleep(290);
    await Promise.all([this.decide(1), this.decide(3)]);
    await sleep(900);
  }

  async startAgain(): Promise<void> {
    for (const storage of Object.values(this.storage)) storage.revive();
    for (let tries = 0; tries < 3; tries++) {
      try {
        await this.start();
        return;
      } catch {
        // A constructor that threw: the platform makes the object anew.
        this.kill("kept");
        for (const storage of Object.values(this.storage)) storage.revive();
      }
    }
    throw new Error("does not start");
  }

  async anchored(): Promise<boolean> {
    for (let tries = 0; tries < 150; tries++) {
      const status = this.log.status();
      const last = new ShardStore(this.storage.shard.attach()).head().sseq;
      if (status.anchored_size === status.size && (status.marks["shard/0"] ?? 0) === last) return true;
      await sleep(100);
    }
    return false;
  }

  /** What is wrong; empty where every invariant holds. */
  async problems(): Promise<readonly string[]> {
    const found: string[] = [...this.refused];
    const shard = new ShardStore(this.storage.shard.attach());
    const status = this.log.status();
    if (status.halted !== null) found.push(`halted: ${status.halted}`);
    const last = shard.head().sseq;
    const hashes = shard.leafHashes(1, last);
    if (hashes.length !== last) found.push(`${hashes.length} records up to sseq ${last}`);
    const mark = status.marks["shard/0"] ?? 0;
    if (mark > last || mark > this.sent) found.push(`mark ${mark}, sent ${this.sent}, on disk ${last}`);

    // Every acknowledged decision is in the records once, under its leaf hash.
    const ids = shard.leaves(1, last).map((leaf) => {
      const { decision_id } = JSON.parse(new TextDecoder().decode(leaf.subarray(1))) as { decision_id: string };
      return decision_id;
    });
    if (new Set(ids).size !== ids.length) found.push("a decision id is there twice");
    for (const { id, leaf, items } of this.told) {
      const at = ids.findIndex((one) => one === id || one === `${id}/0`);
      if (at < 0) found.push(`${id} was acknowledged and is not there`);
      else if (items === 1 && base64url(hashes[at]!) !== leaf) found.push(`${id} has another leaf hash`);
    }

    // The tree holds every record that the mark covers, once and in order; memory is what storage holds.
    const stored = TreeState.decode(new LogStore(this.storage.log.attach()).tree()!, sha)!;
    if (stored.size !== status.size || base64url(stored.root()) !== status.root) found.push("memory is not storage");
    const positions = this.log.positions(0, status.size).filter(({ source }) => source === "shard/0");
    if (positions.length !== mark) found.push(`${positions.length} leaves of the shard, mark ${mark}`);
    for (const [at, { sseq, index }] of positions.entries()) {
      const n = Math.floor(index / 256);
      const tile = this.log.tile(0, n, widthOf(0, n, status.size))!;
      const leaf = tile.subarray((index % 256) * 32, (index % 256) * 32 + 32);
      if (sseq !== at + 1 || !equalBytes(leaf, hashes[at]!)) found.push(`leaf ${index} is not record ${at + 1}`);
    }

    // Whatever was signed is a beginning of the tree that storage holds.
    const tree = new TileTree(status.size, (level, n, width) => this.log.tile(level, n, width), sha);
    for (const text of this.notes) {
      const checkpoint = parseCheckpoint(text);
      if (!checkpoint.ok) found.push(checkpoint.error.message);
      else if (checkpoint.value.size > status.size) found.push(`signed ${checkpoint.value.size}, held ${status.size}`);
      else {
        const root = await tree.root(checkpoint.value.size);
        if (!root.ok || !equalBytes(root.value, checkpoint.value.root))
          found.push(`size ${checkpoint.value.size} was signed with another root`);
      }
    }
    const served = parseNote(this.log.checkpoint() ?? "");
    if (served.ok) this.notes.add(served.value.text);
    return found;
  }
}

// Refused flushes and checkpoints are logged; hundreds of them say nothing here.
beforeAll(() => {
  for (const method of ["error", "warn"] as const) vi.spyOn(console, method).mockImplementation(() => undefined);
});
afterAll(() => vi.restoreAllMocks());

/** How many storage calls a round makes where nothing fails. */
async function callsOf(): Promise<Record<"shard" | "log", number>> {
  const world = new World();
  await world.startAgain();
  await world.work();
  expect(world.told.length).toBe(5);
  const calls = { shard: world.storage.shard.calls, log: world.storage.log.calls };
  expect(await world.anchored()).toBe(true);
  expect(await world.problems()).toEqual([]);
  return calls;
}

async function kill(which: "shard" | "log", at: number, how: Crash): Promise<readonly string[]> {
  const world = new World();
  world.storage[which].onCrash = () => world.kill(how);
  world.storage[which].crashAt(at, how);
  try {
    await world.start();
    await world.work();
  } catch {
    world.kill(how);
  }
  const told = world.told.length;
  if (how !== "once" || world.storage.log.dead) {
    world.kill(how);
    await world.startAgain();
  }
  await world.work();
  // On a machine that does other things an answer may come later than a caller waits.
  for (let tries = 0; world.told.length === told && tries < 60; tries++) await world.decide(1);
  if (world.told.length === told) return ["nothing is decided any more"];
  if (!(await world.anchored()))
    return [`not anchored: ${JSON.stringify(world.log.status())}`, ...(await world.problems())];
  return world.problems();
}

test("every invariant holds, whatever storage call of shard or log the process dies or fails at", async () => {
  const calls = await callsOf();
  const points = (["shard", "log"] as const).flatMap((which) =>
    (["lost", "kept", "once"] as const).flatMap((how) =>
      Array.from({ length: calls[which] }, (_, n) => ({ which, how, at: n + 1 })),
    ),
  );
  expect(points.length).toBeGreaterThanOrEqual(200);
  const failed: string[] = [];
  const queue = points.values();
  // Mostly waiting for timers: many worlds at once.
  await Promise.all(
    Array.from({ length: 120 }, async () => {
      for (const { which, how, at } of queue) {
        const problems = await kill(which, at, how);
        if (problems.length > 0) failed.push(`${which} call ${at}, ${how}: ${problems.join("; ")}`);
      }
    }),
  );
  console.info(`${points.length} kill points`, calls);
  expect(failed).toEqual([]);
}, 300_000);
