import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Shard } from "../../../durable-objects/shard/shard.ts";
import { base64url, fromBase64url } from "../../../src/base/bytes.ts";
import { decodeRecord } from "../../../src/lineage/record.ts";
import type { ReceiptPayload } from "../../../src/lineage/receipt.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../../../src/objects/log.ts";
import type { DecideAnswer } from "../../../src/objects/decide.ts";
import { FakeStorage } from "../../support/durable-storage.ts";
import { bindings, question, REGION } from "../../support/lone-shard.ts";

/** A shard in Node with a log whose every answer the test chooses; only the clock is the test's own. */

class World {
  readonly storage = new FakeStorage();
  shard!: Shard;
  /** The log: down, or up with a mark; how far a quorum goes (`null`: nobody witnesses, `all`: as far as the mark). */
  up = true;
  mark = 0;
  anchored: number | null | "all" = "all";
  asked = 0;

  async start(): Promise<this> {
    this.shard = new Shard(this.storage.attach(), this.#env(), REGION, 0);
    await this.shard.start();
    return this;
  }

  #env(): Env {
    return bindings({}, (message) => this.#integrate(message));
  }

  async #integrate({ from_sseq, hashes }: IntegrateMessage): Promise<IntegrateAnswer> {
    this.asked++;
    if (!this.up) throw new Error("the log does not answer");
    if (from_sseq > this.mark + 1) return { ok: false, code: "gap", mark: this.mark };
    this.mark = Math.max(this.mark, from_sseq - 1 + hashes.length / 32);
    const anchored = this.anchored === "all" ? this.mark : this.anchored;
    return { ok: true, mark: this.mark, size: this.mark + 1, anchored };
  }

  async decide(): Promise<DecideAnswer> {
    const answer = await this.shard.decide(question({ inline_evidence: true }));
    if (!answer.ok) throw new Error(answer.code);
    return answer;
  }
}

const payloadOf = ({ receipt }: DecideAnswer): ReceiptPayload => {
  const { payload } = JSON.parse(receipt!) as { payload: string };
  return JSON.parse(new TextDecoder().decode(fromBase64url(payload)!)) as ReceiptPayload;
};
const says = (answer: DecideAnswer) => [payloadOf(answer).unanchored ?? false, answer.continuity.cryptographic];

let warned: string[];
beforeEach(() => {
  warned = [];
  vi.spyOn(console, "warn").mockImplementation((line: string) => void warned.push(line));
  vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const later = (ms: number): void => void vi.setSystemTime(Date.now() + ms);
/** Not `vi.waitFor`, which moves the clock. */
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 750; tries++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${condition.toString()}`);
}

describe("a receipt", () => {
  test("says unanchored from merge_by of an earlier record on, and no more when a quorum has it", async () => {
    const world = await new World().start();
    world.anchored = 0;
    const first = await world.decide();
    expect(says(first)).toEqual([false, "signed"]);
    expect(payloadOf(first).merge_by).toBe(Date.now() + 2_000);
    await until(() => world.mark === 1);
    later(2_000);
    expect(says(await world.decide())).toEqual([false, "signed"]);
    later(1);
    expect(says(await world.decide())).toEqual([true, "unanchored"]);
    const status = await world.shard.status();
    expect(status.anchoring).toMatchObject({ witnessed: true, unlogged_ms: expect.any(Number), unanchored_ms: 2_001 });
    // Lost cosignatures deny nothing by themselves.
    expect((await world.decide()).items[0]!.decision).toBe(true);
    world.anchored = "all";
    const asked = world.asked;
    await until(() => world.asked > asked && world.mark === world.shard.writer.sseq);
    await until(() => world.shard.continuity().cryptographic === "signed");
    expect(says(await world.decide())).toEqual([false, "signed"]);
    // The first one only: the others were anchored in time.
    expect((await world.shard.status()).anchoring).toMatchObject({ merge_by_broken: 0, anchored_late: 1 });
    expect(warned.join()).toContain('"event":"anchored_late","source":"shard/0","records":1');
  });

  test("follows the log without new records until a quorum has everything", async () => {
    const world = await new World().start();
    world.anchored = 0;
    await world.decide();
    await until(() => world.mark === 1);
    world.anchored = "all";
    later(2_500);
    await until(() => world.shard.continuity().cryptographic === "signed");
    const asked = world.asked;
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(world.asked).toBe(asked);
  });

  test("always says so where nobody witnesses", async () => {
    const world = new World();
    world.anchored = null;
    await world.start();
    expect(says(await world.decide())).toEqual([true, "unanchored"]);
    expect((await world.shard.status()).anchoring).toMatchObject({ witnessed: false, unanchored_ms: 0 });
    world.anchored = "all";
    await until(() => world.mark === 1);
    await world.decide();
    await until(() => world.shard.continuity().cryptographic === "signed");
  });

  test("asks again before it says what it knew long ago", async () => {
    const world = await new World().start();
    world.anchored = 0;
    await world.decide();
    await until(() => world.mark === 1);
    world.anchored = "all";
    later(60_000);
    expect(says(await world.decide())).toEqual([false, "signed"]);
  });

  test("goes on after a restart with what the log and storage say", async () => {
    const world = await new World().start();
    world.anchored = 0;
    await world.decide();
    await until(() => world.mark === 1);
    later(3_000);
    await world.start();
    expect(says(await world.decide())).toEqual([true, "unanchored"]);
    expect((await world.shard.status()).anchoring.unanchored_ms).toBe(3_000);
  });
});

describe("a log that does not answer", () => {
  test("denies everything after 10 s, on record, and nothing any more when it is back; each broken promise counts", async () => {
    const world = await new World().start();
    await world.decide();
    await until(() => world.mark === 1);
    world.up = false;
    await world.decide();
    later(10_000);
    expect((await world.decide()).items[0]).toMatchObject({ decision: true });
    later(1);
    const denied = await world.decide();
    expect(denied.items[0]).toMatchObject({
      decision: false,
      reason: "lineage_unavailable",
      failed: [{ reason: "lineage_unavailable", detail: expect.stringContaining("for 10001 ms; 10000 are allowed") }],
    });
    expect(denied.continuity.cryptographic).toBe("unlogged");
    const record = decodeRecord(fromBase64url(denied.items[0]!.evidence!.leaf)!);
    expect(record).toMatchObject({ ok: true, value: { decision: "deny", reason: "lineage_unavailable" } });
    const status = await world.shard.status();
    expect(status.denies).toBe("lineage_unavailable");
    // Two that were decided more than 2 s ago and wait on count before they arrive, and once.
    later(2_500);
    expect((await world.shard.status()).anchoring).toMatchObject({ merge_by_broken: 3, unlogged_ms: 12_501 });

    world.up = true;
    await until(() => world.mark === 4);
    expect((await world.decide()).items[0]!.decision).toBe(true);
    expect((await world.shard.status()).anchoring).toMatchObject({ merge_by_broken: 3, unlogged_ms: 0 });
    expect(warned.join()).toContain('"event":"merge_by_broken","source":"shard/0","records":3');

    // What was counted is kept; what had not arrived by then is counted when it does.
    await until(() => world.mark === 5);
    world.up = false;
    await world.decide();
    later(5_000);
    world.up = true;
    await world.start();
    await until(() => world.mark === 6);
    await until(() => warned.join().includes('"records":1'));
    expect((await world.shard.status()).anchoring).toMatchObject({ merge_by_broken: 4 });
  });

  test("is what the record's payload says the decision saw", async () => {
    const world = await new World().start();
    const answer = await world.decide();
    const read = await world.shard.lineage.readDecision(answer.decision_id!);
    expect(read).toMatchObject({
      ok: true,
      value: {
        payload: {
          seen: { turn: { anchoring: { unlogged_since_ms: null, unanchored_since_ms: null, witnessed: true } } },
        },
      },
    });
    expect(base64url(fromBase64url(answer.items[0]!.evidence!.leaf)!)).toBe(answer.items[0]!.evidence!.leaf);
  });
});
