import { incidentBody } from "../../src/lineage/incident.ts";
import type { LogEnding } from "../../src/objects/log.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256 } from "../platform.ts";
import type { Lifetime } from "./lifetime.ts";
import type { LogTree, OwnLeaf } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

const BEGIN_MS = 1_000;

export type Beginning = {
  readonly region: Region;
  readonly kid: string;
  readonly store: LogStore;
  readonly tree: LogTree;
  readonly life: Lifetime;
  /** Whether this is the log of the epoch that the region is configured for: only that one ever begins. */
  readonly current: boolean;
  /** How the log of the epoch before ended; `null` for the first. */
  readonly previous: (() => Promise<LogEnding>) | null;
  /** In the background, where it had to wait. */
  readonly begun: () => void;
};

/**
 * The first leaf. After another epoch it names that one's last checkpoint, and what ended it, so that one log leads to
 * the next; until that epoch has ended there is nothing to name, and this log takes nothing.
 */
export function begin(at: Beginning): void {
  const { region, tree, life, current, previous } = at;
  if (!current) life.waiting = `log epoch ${region.log_epoch} is not the one that this region runs`;
  else if (previous === null) tree.append([genesis(at, null)]);
  else {
    life.waiting = `it has not heard how log epoch ${region.log_epoch - 1} ended`;
    void beginAfter(at, previous);
  }
}

async function beginAfter(at: Beginning, previous: () => Promise<LogEnding>): Promise<void> {
  const { region, store, tree, life } = at;
  const before = region.log_epoch - 1;
  for (;;) {
    try {
      const { state, note, incident } = await previous();
      if (state === "sealed" || state === "halted") {
        const told =
          incident === null ? [] : [{ kind: "incident" as const, body: incidentBody(incident, before, nodeSha256) }];
        tree.append([genesis(at, note), ...told], (first) => {
          if (incident !== null) store.addIncident(incident, first + 1);
        });
        life.waiting = null;
        at.begun();
        return;
      }
      life.waiting = `log epoch ${before} is ${state}: seal it first (docs/operations/new-epoch.md)`;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "previous_log_silent", origin: tree.origin, message }));
    }
    await new Promise((resolve) => setTimeout(resolve, BEGIN_MS));
  }
}

const genesis = ({ kid, region }: Beginning, previous: string | null): OwnLeaf => ({
  kind: "log.genesis",
  body: { kid, previous, shards: region.shards },
});
