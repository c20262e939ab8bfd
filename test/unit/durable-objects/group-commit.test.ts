import { describe, expect, it } from "vitest";
import { GroupCommit, type Call, type Flush, type FlushSteps } from "../../../durable-objects/shard/group-commit.ts";
import type { Live } from "../../../durable-objects/shard/live.ts";

class Probe implements Call {
  readonly records = 1;
  readonly weight: number;
  readonly leafHashes = [];
  readonly answer: Promise<"released" | "failed">;
  readonly onExecute: () => void;
  #resolve!: (answer: "released" | "failed") => void;
  constructor(onExecute: () => void = () => undefined, weight = 1) {
    this.onExecute = onExecute;
    this.weight = weight;
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
  execute(): void {
    this.onExecute();
  }
  release(): void {
    this.#resolve("released");
  }
  fail(): void {
    this.#resolve("failed");
  }
}

const live: Live = {
  t_ms: 0,
  trust: {} as Live["trust"],
  condition: {} as Live["condition"],
  turned: false,
  consistency: "",
  continuity: {} as Live["continuity"],
};
const flush: Flush = { jws: "", path: () => [], first: 0, size: 1 };

function steps(overrides: Partial<FlushSteps> = {}): FlushSteps & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    maxCalls: 4,
    begin: () => {
      log.push("begin");
    },
    write: async () => {
      log.push("commit");
    },
    seal: () => async () => {
      log.push("sign");
      return flush;
    },
    sync: async () => {
      log.push("sync");
    },
    live: () => live,
    pass: () => new Promise((resolve) => setTimeout(resolve, 0)),
    tick: () => new Promise((resolve) => setTimeout(resolve, 0)),
    rest: () => new Promise((resolve) => setTimeout(resolve, 5)),
    recover: () => {
      log.push("recover");
    },
    owed: () => 0,
    ...overrides,
  };
}

describe("GroupCommit", () => {
  it("shares one commit, sync and signature among the calls that wait", async () => {
    const parts = steps();
    const group = new GroupCommit(parts);
    const calls = [new Probe(), new Probe(), new Probe(), new Probe()];
    for (const call of calls) group.submit(call);
    expect(await Promise.all(calls.map((call) => call.answer))).toEqual(Array(4).fill("released"));
    // The first call starts a flush at once; the other three share the second.
    expect(parts.log.join(" ")).toBe("begin commit sync sign begin commit sync sign");
  });

  it("never signs before the commit is on disk, and never releases before the signature", async () => {
    const order: string[] = [];
    const group = new GroupCommit(
      steps({
        sync: async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          order.push("synced");
        },
        seal: () => async () => {
          order.push("signed");
          return flush;
        },
      }),
    );
    const call = new Probe();
    group.submit(call);
    await call.answer.then(() => order.push("released"));
    expect(order).toEqual(["synced", "signed", "released"]);
  });

  const broken: Record<string, Partial<FlushSteps>> = {
    "the commit": { write: () => Promise.reject(new Error("disk full")) },
    "the sync": { sync: () => Promise.reject(new Error("lost")) },
    "the signature": { seal: () => () => Promise.reject(new Error("key")) },
  };
  it.each(Object.entries(broken))("answers every waiter when %s fails, and reloads", async (_, overrides) => {
    const parts = steps(overrides);
    const group = new GroupCommit(parts);
    const calls = [new Probe(), new Probe()];
    for (const call of calls) group.submit(call);
    expect(await Promise.all(calls.map((call) => call.answer))).toEqual(["failed", "failed"]);
    expect(parts.log).toContain("recover");
  });

  it("goes on after a call whose turn failed", async () => {
    const group = new GroupCommit(steps());
    const poison = new Probe(() => {
      throw new Error("poison");
    });
    group.submit(poison);
    expect(await poison.answer).toBe("failed");
    const next = new Probe();
    group.submit(next);
    expect(await next.answer).toBe("released");
  });

  it("takes at most maxCalls into one flush", async () => {
    const sizes: number[] = [];
    const group = new GroupCommit(steps({ seal: (calls) => (sizes.push(calls.length), async () => flush) }));
    const calls = Array.from({ length: 10 }, () => new Probe());
    for (const call of calls) group.submit(call);
    await Promise.all(calls.map((call) => call.answer));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4);
    expect(sizes.reduce((a, b) => a + b)).toBe(10);
  });

  it("takes at most 2,000 records into one flush, but at least one call", async () => {
    const sizes: number[] = [];
    const group = new GroupCommit(
      steps({ seal: (calls) => (sizes.push(calls.reduce((sum, call) => sum + call.weight, 0)), async () => flush) }),
    );
    const calls = [900, 900, 900, 5_000, 10].map((weight) => new Probe(() => undefined, weight));
    for (const call of calls) group.submit(call);
    expect(group.waiting).toBe(7_710 - 900);
    await Promise.all(calls.map((call) => call.answer));
    // The first call starts at once and alone.
    expect(sizes).toEqual([900, 1_800, 5_000, 10]);
    expect(group.waiting).toBe(0);
  });

  it("does not spin where storage fails and only owed records wait", async () => {
    let tries = 0;
    let rests = 0;
    const group = new GroupCommit(
      steps({
        owed: () => (tries < 4 ? 1 : 0),
        write: () => {
          tries++;
          return Promise.reject(new Error("disk full"));
        },
        rest: async () => {
          rests++;
        },
      }),
    );
    const call = new Probe();
    group.submit(call);
    expect(await call.answer).toBe("failed");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(rests).toBe(4);
  });

  it("lets replies leave before another turn, and does not wait for anybody after a lone caller", async () => {
    let passes = 0;
    const group = new GroupCommit(
      steps({
        pass: async () => {
          passes++;
        },
      }),
    );
    const lone = new Probe();
    group.submit(lone);
    await lone.answer;
    expect(passes).toBe(0);
    const calls = Array.from({ length: 3 }, () => new Probe());
    for (const call of calls) group.submit(call);
    await Promise.all(calls.map((call) => call.answer));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(passes).toBeGreaterThan(0);
  });

  it("settles only after the flush under way has been released", async () => {
    let open!: () => void;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const group = new GroupCommit(steps({ sync: () => gate }));
    const call = new Probe();
    group.submit(call);
    const order: string[] = [];
    void call.answer.then(() => order.push("released"));
    const settled = group.settled().then(() => order.push("settled"));
    open();
    await settled;
    expect(order).toEqual(["released", "settled"]);
  });
});
