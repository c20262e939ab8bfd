import { setTimeout as sleep } from "node:timers/promises";

/** A machine that is busy with something else may lose a lease for a moment: a deny as well, which says nothing else. */
export const PASSING: ReadonlySet<string> = new Set(["sync_stale", "trust_lease_expired", "withheld"]);

/** Calls again until the answer is about the question. `call` makes the request anew, with its proofs. */
export async function patient<T extends { readonly verdict: string }>(call: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    const answer = await call();
    if (tries === 40 || !PASSING.has(answer.verdict)) return answer;
    await sleep(150);
  }
}
