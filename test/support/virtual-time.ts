import { vi } from "vitest";
import { watchCrypto } from "./crypto-at-work.ts";

/** Real crypto under a clock that only the test moves: time stands still while a key is at work. */
export class VirtualTime {
  #quiet: () => Promise<void> = () => Promise.resolve();
  /** What a turn that was given up costs: a machine with much to do comes back to it late. */
  turn_ms = 0;

  start(): void {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    const timeout = globalThis.setTimeout;
    const later = (run: () => void, ms = 0): ReturnType<typeof timeout> => timeout(run, ms === 0 ? this.turn_ms : ms);
    vi.spyOn(globalThis, "setTimeout").mockImplementation(later);
    vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      const controller = new AbortController();
      timeout(() => controller.abort(new Error("no answer")), ms);
      return controller.signal;
    });
    this.#quiet = watchCrypto();
  }

  /** The clock goes from timer to timer until that holds, at most `within_ms`; how long it took. */
  async until(holds: () => boolean, within_ms: number): Promise<number> {
    const from_ms = Date.now();
    await this.#quiet();
    while (!holds()) {
      if (Date.now() - from_ms > within_ms) return Number.POSITIVE_INFINITY;
      await vi.advanceTimersToNextTimerAsync();
      await this.#quiet();
    }
    return Date.now() - from_ms;
  }

  async pass(ms: number): Promise<void> {
    const until_ms = Date.now() + ms;
    await this.until(() => Date.now() >= until_ms, 2 * ms);
  }

  async of<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const noted = promise.finally(() => (over = true));
    noted.catch(() => undefined);
    await this.until(() => over, 600_000);
    return noted;
  }
}
