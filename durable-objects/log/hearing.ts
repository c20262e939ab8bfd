import type { WitnessTarget } from "../../src/objects/log.ts";

/** `said`: what it holds of this log. `useless`: it answers, and that says nothing. `silent`: it does not answer. */
export type Heard = "said" | "useless" | "silent";

const ASK_AGAIN_MS = 250;

/**
 * Asks every witness, again and again, until one has said what it holds of the log that starts: a region that was put
 * back as a whole agrees with itself, so only somebody outside knows. Resolves with whether one has.
 *
 * Two rules, and the region denies meanwhile. Where regions serve beside this one, it waits for one of them as long as
 * it takes: the authority grants nothing before a peer has confirmed its events either (docs/sync.md), so going on would
 * gain nothing, and would let decisions out in the moment between the two answers when the peer is back. Where only
 * witnesses outside could answer, or what peers answer is of no use, it goes on alone after `patience_ms`.
 */
export async function hearWitness(
  targets: () => readonly WitnessTarget[],
  hears: (target: WitnessTarget) => Promise<Heard>,
  stopped: () => boolean,
  patience_ms: number,
): Promise<boolean> {
  const until_ms = Date.now() + patience_ms;
  const answering = new Set<string>();
  while (!stopped()) {
    const asked = targets();
    const said = asked.map(async (target) => {
      const heard = await hears(target);
      if (heard !== "silent") answering.add(target.vkey);
      if (heard !== "said") throw new Error(heard);
    });
    // The first that says it is enough, however long the others take.
    if (await Promise.any(said).then(yes, no)) return true;
    const peers = targets().filter(({ peer }) => peer === true);
    const awaited = peers.length > 0 && !peers.some(({ vkey }) => answering.has(vkey));
    if (!awaited && Date.now() >= until_ms) return false;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  return true;
}

const yes = (): boolean => true;
const no = (): boolean => false;
