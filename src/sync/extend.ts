import type { VerifiedEvent } from "./events.ts";
import { contradict, type Mark } from "./mark.ts";
import type { Core, Peer } from "./state.ts";
import { signsEvent, type RegionView } from "./view.ts";

/** What a list of signed events does to what is held of their origin. */
export type Extension = {
  /** Known events left out; the rest extends the chain without a gap. */
  readonly accepted: readonly VerifiedEvent[];
  readonly mark: Mark;
  readonly kid: string | null;
  readonly outcome:
    | { readonly is: "extends" }
    /** `event` is beyond the next one. */
    | { readonly is: "gap"; readonly event: VerifiedEvent }
    /** `event` and what is held at `at` cannot both be of one chain. */
    | { readonly is: "fork"; readonly event: VerifiedEvent; readonly at: Mark; readonly jws: string | null }
    | { readonly is: "unsupported"; readonly event: VerifiedEvent }
    /** Another origin, another incarnation, or a key that may not sign it. */
    | { readonly is: "invalid"; readonly event: VerifiedEvent };
};

/** Stops at the first event that does not extend the chain. */
export function extend(
  core: Core,
  origin: string,
  region: RegionView,
  peer: Peer,
  events: readonly VerifiedEvent[],
): Extension {
  const accepted: VerifiedEvent[] = [];
  let { mark, kid } = peer.record;
  const done = (outcome: Extension["outcome"]): Extension => ({ accepted, mark, kid, outcome });
  for (const event of events) {
    if (event.origin !== origin || event.incarnation !== mark.incarnation) return done({ is: "invalid", event });
    if (!signsEvent(region, event.kid, event.seq)) return done({ is: "invalid", event });
    if (event.seq <= mark.seq) {
      const own = accepted.find(({ seq }) => seq === event.seq);
      const held = event.seq === mark.seq ? mark.hash : (own?.digest ?? core.held(origin, mark.incarnation, event.seq));
      const at = { incarnation: mark.incarnation, seq: event.seq, hash: held };
      if (held !== null && contradict(at, { ...at, hash: event.digest })) {
        return done({ is: "fork", event, at, jws: own?.jws ?? null });
      }
      continue;
    }
    if (event.seq > mark.seq + 1) return done({ is: "gap", event });
    // The next event names another predecessor: it continues a history that is not the one held.
    if (event.prev !== mark.hash) return done({ is: "fork", event, at: mark, jws: accepted.at(-1)?.jws ?? null });
    if (!event.supported) return done({ is: "unsupported", event });
    accepted.push(event);
    mark = { incarnation: mark.incarnation, seq: event.seq, hash: event.digest };
    kid = event.kid;
  }
  return done({ is: "extends" });
}
