import { readAdminKeys } from "./credentials/admin.ts";
import { ENGINE } from "./decision/engine.ts";
import { createApp } from "./http/app.ts";
import { DEFAULT_MAX_BODY_BYTES, type Deps } from "./http/deps.ts";
import { refuse } from "./http/reply.ts";
import { authority, inEpoch, regionLog, shardOfRun, shardsOf, witness, type Env } from "./objects/address.ts";
import { readRegion, type Region } from "./region/config.ts";
import { nodeSha256, randomBytes } from "../durable-objects/platform.ts";

export { LineageShard } from "../durable-objects/lineage-shard.ts";
export { RegionLog } from "../durable-objects/region-log.ts";
export { TrustAuthority } from "../durable-objects/trust-authority.ts";
export { Witness } from "../durable-objects/witness.ts";

/**
 * Composition root: the HTTP side of one region over its objects. `INTERLOCK_LOG=off` switches the log lines off
 * (benchmarks); it is optional, so that no deployment has to set it.
 */
type Bindings = Env & { readonly INTERLOCK_LOG?: string };
type App = { readonly fetch: (request: Request) => Response | Promise<Response> };

/** An isolate serves one environment; what it keeps between requests (verified tokens, metrics) hangs on this. */
let room: { readonly env: Bindings; readonly app: App } | null = null;

export default {
  fetch(request: Request, env: Bindings): Response | Promise<Response> {
    if (room?.env !== env) room = { env, app: compose(env) };
    return room.app.fetch(request);
  },
};

function compose(env: Bindings): App {
  const region = readRegion(env);
  if (!region.ok) return misconfigured(region.error);
  const admin_keys = readAdminKeys(env.INTERLOCK_ADMIN_JWKS ?? "");
  if (!admin_keys.ok) return misconfigured(admin_keys.error);
  const here = region.value;
  return createApp({
    ...objectsOf(env, here),
    version: ENGINE.slice(ENGINE.indexOf("/") + 1),
    authority: () => authority(env, here),
    witness: () => witness(env, here),
    epoch: (of) => objectsOf(env, inEpoch(here, of)),
    admin_keys: admin_keys.value,
    now: Date.now,
    random: randomBytes,
    sha256: nodeSha256,
    // oxlint-disable-next-line no-console -- the platform's log
    log: env.INTERLOCK_LOG === "off" ? null : (line) => console.log(line),
    max_body_bytes: DEFAULT_MAX_BODY_BYTES,
  });
}

/** What a log epoch has of its own. */
function objectsOf(env: Env, region: Region): Pick<Deps, "region" | "shard" | "regionLog" | "homeOf"> {
  return {
    region,
    shard: shardsOf(env, region),
    regionLog: () => regionLog(env, region),
    homeOf: (run) => shardOfRun(run, region.shards),
  };
}

/** A region that is configured wrongly answers nothing but why. */
function misconfigured(detail: string): App {
  return { fetch: () => refuse({ status: 503, code: "misconfigured", detail }, "problem") };
}
