import { Unreachable } from "../problem.ts";

const MINUTE_MS = 60_000;

export type Ports = {
  readonly sleep: (ms: number) => Promise<unknown>;
  readonly complain: (text: string) => void;
};

/**
 * Runs `step` every `every_ms`, until it is stopped. A region that is away for a moment is asked again within a minute:
 * a publisher that gave up would leave it to deny in a day. What the region refuses ends it.
 */
export async function publishAgain(step: () => Promise<void>, every_ms: number, ports: Ports): Promise<never> {
  for (;;) {
    let wait_ms = every_ms;
    try {
      await step();
    } catch (cause) {
      if (!(cause instanceof Unreachable)) throw cause;
      wait_ms = Math.min(every_ms, MINUTE_MS);
      ports.complain(`${cause.message}; trying again in ${wait_ms / 1_000} s`);
    }
    await ports.sleep(wait_ms);
  }
}
