import { considerOwnMark } from "./amnesia.ts";
import type { Mark } from "./mark.ts";
import { askRelay } from "./poll.ts";
import type { SyncState } from "./state.ts";
import { agrees, withPeer, type Turn } from "./turn.ts";

/**
 * What a peer says that it holds: of this region, which may have lost it; and of the others, which may have told it
 * another history. Its word alone proves nothing about them, but nothing is allowed on an origin about which two
 * regions disagree; the event itself, signed by the origin, is asked for and is the proof.
 */
export function considerWord(
  turn: Turn,
  state: SyncState,
  from: string,
  seen: Readonly<Record<string, Mark>>,
): SyncState {
  const { core } = turn;
  let next = state;
  for (const origin in state.peers) {
    if (origin === from) continue;
    const peer = next.peers[origin]!;
    const mark = seen[origin];
    const here = peer.record.mark;
    // What it holds beyond ours cannot be compared yet; the next time it can.
    const differs =
      mark !== undefined &&
      mark.incarnation === here.incarnation &&
      mark.seq <= here.seq &&
      (mark.seq === here.seq ? mark.hash !== here.hash : !agrees(core, origin, mark));
    const noted = peer.contradicted_by.includes(from);
    if (differs && !noted) {
      turn.effects.push({ type: "lost", origins: [origin], why: "contradicted" });
      next = withPeer(next, origin, { contradicted_by: [...peer.contradicted_by, from] });
    } else if (!differs && noted) {
      next = withPeer(next, origin, { contradicted_by: peer.contradicted_by.filter((region) => region !== from) });
    }
    if (differs && peer.record.poison === null && next.peers[from]!.relay === null) {
      next = askRelay(turn, next, from, origin, { ...mark, seq: mark.seq - 1 });
    }
  }
  return considerOwnMark(turn, next, from, seen[core.self] ?? null);
}
