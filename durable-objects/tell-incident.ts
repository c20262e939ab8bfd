import type { Incident } from "../src/lineage/incident.ts";
import { regionLog, type Env } from "../src/objects/address.ts";
import type { Region } from "../src/region/config.ts";

const TRIES = 5;
const AGAIN_MS = 1_000;

/**
 * Tells the region log what a source met, so that a leaf says it for good. In the background: whoever tells has
 * stopped already, and where the log does not answer it tells again at its next start.
 */
export async function tellIncident(env: Env, region: Region, found: Omit<Incident, "t_ms">): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await regionLog(env, region).incident(found);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "incident_not_told", source: found.source, message }));
      if (tries === TRIES) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
