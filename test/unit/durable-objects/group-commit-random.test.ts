import { expect, test, vi } from "vitest";
import { GroupCommit, type Call, type Flush } from "../../../durable-objects/shard/group-commit.ts";
import type { Live } from "../../../durable-objects/shard/live.ts";

/** Callers come at any moment, alone and together, while any step of a flush may take its time or fail. */

const live = {} as Live;

/** xorshift: the same story for the same seed. */
function chooser(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** How many asked and were answered, and what was not as it should be. */
async function story(seed: number): Promise<readonly [asked: number, answered: number, problems: readonly string[]]> {
  const below = chooser(seed);
  const dice = (sides: number): boolean => below(sides) === 0;
  /** Nothing, some turns of promises, or a timer. */
  const wait = async (): Promise<void> => {
    const kind = below(3);
    for (let turns = kind === 1 ? below(6) : 0; turns > 0; turns--) await Promise.resolve();
    if (kind === 2) await new Promise((resolve) => setTimeout(resolve, 0));
  };
  const failing = 2 + below(20);
  const step = async (): Promise<void> => {
    await wait();
    if (dice(failing)) throw new Error("storage");
  };

  let phase: "idle" | "turn" | "written" | "synced" | "signed" | "looked" = "idle";
  let owed = 0;
  let paying = 0;
  let stale = false;
  const problems: string[] = [];
  const check = (holds: boolean, what: string): void => {
    if (!holds) problems.push(what);
  };
  const recover = (): void => {
    owed += paying;
    paying = 0;
    if (dice(failing)) throw new Error("storage");
    stale = false;
    phase = "idle";
  };
  const group = new GroupCommit({
    maxCalls: 4,
    begin: () => {
      check(phase === "idle" || phase === "looked", `a turn begins while another is ${phase}`);
      check(!stale, "a turn begins on what memory holds beyond storage");
      phase = "turn";
      stale = true;
      paying = Math.min(owed, 2);
      owed -= paying;
    },
    seal: (calls) =>
      paying === 0 && (calls.length === 0 || dice(5))
        ? null
        : async (): Promise<Flush> => {
            check(phase === "synced", `signed while ${phase}`);
            paying = 0;
            await step();
            phase = "signed";
            return { jws: "", path: () => [], first: 0, size: calls.length };
          },
    write: async () => {
      await step();
      phase = "written";
    },
    sync: async () => {
      await step();
      phase = "synced";
      stale = false;
    },
    live: () => {
      check(phase === "signed" || phase === "synced", `looked at while ${phase}`);
      phase = "looked";
      void Promise.resolve().then(() => (looked = false));
      looked = true;
      return live;
    },
    pass: step,
    tick: wait,
    rest: wait,
    owed: () => Math.min(owed, 2),
    recover,
  });
  let looked = false;
  let answered = 0;

  const call = (again: boolean): Promise<void> =>
    new Promise((resolve) => {
      let executed = false;
      let answers = 0;
      // A call that was given back to wait may be in a flush that fails: its second answer is heard by nobody.
      const answer = (): void => {
        if (++answers === 1) answered++;
        resolve();
      };
      const one: Call = {
        leafHashes: [],
        weight: 1,
        records: 1,
        execute: () => {
          executed = true;
          if (dice(40)) throw new Error("a bug");
        },
        release: () => {
          check(executed && looked && phase === "looked", `released while ${phase}, looked ${String(looked)}`);
          if (again && dice(3)) return group.submit(one);
          if (dice(6)) owed++;
          if (dice(40)) throw new Error("a bug");
          answer();
        },
        fail: answer,
      };
      group.submit(one);
    });

  const callers = 1 + below(9);
  let asked = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let i = 0; i < 6; i++) {
        asked++;
        await call(dice(4));
        await wait();
      }
    }),
  );
  await vi.waitUntil(() => owed + paying + group.waiting === 0 || problems.length > 0, { timeout: 5_000 });
  return [asked, answered, problems];
}

test("every caller is answered once, after commit, signature and one look, whatever fails", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  for (let seed = 1; seed <= 150; seed++) {
    const [asked, answered, problems] = await story(seed);
    expect([seed, answered, problems]).toEqual([seed, asked, []]);
  }
  vi.restoreAllMocks();
});
