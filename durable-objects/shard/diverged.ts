import { authority, type Env } from "../../src/objects/address.ts";
import type { Region } from "../../src/region/config.ts";
import { tellIncident } from "../tell-incident.ts";

const AGAIN_MS = 1_000;
const MAX_AGAIN_MS = 30_000;

/**
 * A shard found that a record of its own comes out otherwise: the log has it for good, and where the region is
 * configured so it is frozen, as by an administrator. It is tried until it is; what decides wrongly goes on till then.
 */
export async function tellDivergence(env: Env, region: Region, shard: number, detail: string): Promise<void> {
  const source = `shard/${shard}`;
  void tellIncident(env, region, { what: "replay_diverged", source, detail, evidence: null });
  if (region.on_divergence !== "freeze") return;
  for (let pause = AGAIN_MS; ; pause = Math.min(2 * pause, MAX_AGAIN_MS)) {
    try {
      // A new stub each time: one that threw is never used again.
      const frozen = await authority(env, region).freeze(`replay_diverged in ${source}`, source);
      if (frozen.ok) return;
      console.error(JSON.stringify({ level: "alarm", event: "not_frozen", source, message: frozen.message }));
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.error(JSON.stringify({ level: "alarm", event: "not_frozen", source, message }));
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
