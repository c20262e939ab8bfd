import { evaluate, evaluateNow, type Evaluated } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** One decision of a race, on the caller's own clock: milliseconds of `performance.now()`. */
export type Racer = Evaluated & { readonly sent: number; readonly answered: number };

export type Race<T> = {
  readonly racers: readonly Racer[];
  readonly acknowledgement: T;
  /** When the answer to the act had arrived. */
  readonly acknowledged: number;
  /** The same on the clock that the region's records carry. */
  readonly acknowledged_t_ms: number;
};

const CALLERS = 50;
const EACH = 4;

/**
 * 200 decisions by 50 callers, and in their midst `act`. It begins when `after` of them are allowed; callers that
 * have none left to send go on until it is acknowledged, and then send one more each.
 */
export async function race<T>(
  region: TestRegion,
  question: object,
  act: () => Promise<T>,
  { after, token = region.pep }: { readonly after: number; readonly token?: string },
): Promise<Race<T>> {
  const racers: Racer[] = [];
  let allows = 0;
  let acknowledged = Number.POSITIVE_INFINITY;
  let acknowledged_t_ms = 0;
  let begun: Promise<T> | null = null;
  const ask = async (): Promise<void> => {
    const sent = performance.now();
    const evaluated = await evaluateNow(region, question, token);
    racers.push({ ...evaluated, sent, answered: performance.now() });
    allows += evaluated.decision ? 1 : 0;
    if (allows >= after) begun ??= acting();
  };
  const acting = async (): Promise<T> => {
    const acknowledgement = await act();
    acknowledged = performance.now();
    acknowledged_t_ms = Date.now();
    return acknowledgement;
  };
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let sent = 0; sent < EACH || acknowledged === Number.POSITIVE_INFINITY; sent++) await ask();
      await ask();
    }),
  );
  return { racers, acknowledgement: await begun!, acknowledged, acknowledged_t_ms };
}

/** `count` at once; the distinct answers they got. */
export async function answersTo(
  region: TestRegion,
  question: object,
  count: number,
  token = region.pep,
): Promise<readonly string[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => evaluate(region, question, token)));
  return [...new Set(answers.map(({ decision, reason }) => (decision ? "allow" : `deny: ${reason}`)))];
}
