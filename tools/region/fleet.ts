import { Problem } from "../problem.ts";
import { bundleWorker } from "../workerd/bundle.ts";
import type { LineSink } from "../workerd/log.ts";
import { exitText } from "../workerd/process.ts";
import { enrolWithDevRoots } from "./enrol.ts";
import { launchRegion, type LaunchOptions, type RunningRegion } from "./launch.ts";
import { localPep } from "./local-pep.ts";
import { federationSecrets } from "./keys.ts";
import { devPolicy, pinnedPolicyRoot } from "./policy-roots.ts";
import { devRoots, pinnedRoots } from "./roots.ts";

export type FleetOptions = {
  readonly regions: readonly { readonly name: string; readonly port: number }[];
  readonly base: string;
  /** Path of a file with real roots: nothing is enrolled here then. `null`: throw-away development roots. */
  readonly roots: string | null;
  /** File with the policy root to pin. `null` or missing: a throw-away one with development roots, else none. */
  readonly policy_root?: string | null;
  readonly onLine: LineSink;
  /** A bundle made earlier in this process; tests start many regions. */
  readonly bundle?: string;
} & Pick<
  LaunchOptions,
  "host" | "packs" | "open" | "shards" | "pdp" | "v8_flags" | "vars" | "network" | "reach" | "witnesses" | "egress"
>;

export type FleetRegion = RunningRegion & {
  /** Credential of the local developer's PEP; `null` where the region is not active. */
  readonly pep: string | null;
};

export type Fleet = {
  readonly regions: readonly FleetRegion[];
  readonly enrolled_with: "development roots" | "pinned roots";
  /** Bundling and waiting included. */
  readonly started_in_ms: number;
  stop(): Promise<void>;
};

/** Starts one process per region, enrols them and registers the local PEP. All of them, or none and a `Problem`. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const started = performance.now();
  const bundle = options.bundle ?? (await bundleWorker()).text;
  const dev = options.roots === null ? await devRoots(options.base) : null;
  const roots = dev?.pinned ?? pinnedRoots(options.roots!);
  const policy_root = await policyRootOf(options);
  const secrets = federationSecrets(options.base);
  const results = await Promise.allSettled(
    options.regions.map(({ name, port }) =>
      launchRegion({ ...options, name, port, roots, policy_root, secrets, bundle }),
    ),
  );
  const running = results.filter((result) => result.status === "fulfilled").map((result) => result.value);
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((region) => region.stop()));
  };
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  try {
    if (dev !== null)
      await enrolWithDevRoots(
        options.base,
        dev,
        running.map(({ client, url }) => ({ client, endpoint: url })),
      );
    const regions = await Promise.all(
      running.map(async (region) => ({
        ...region,
        pep: dev === null ? null : await localPep(region.dir, region.client, region.pdp),
      })),
    );
    return {
      regions,
      enrolled_with: dev === null ? "pinned roots" : "development roots",
      started_in_ms: Math.round(performance.now() - started),
      stop,
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

async function policyRootOf({ base, roots, policy_root = null }: FleetOptions): Promise<string> {
  if (policy_root !== null) return pinnedPolicyRoot(policy_root);
  return roots === null ? (await devPolicy(base)).pinned : "";
}

/**
 * Runs until SIGINT or SIGTERM, then stops every region in order. A region that ends by itself is reported; the
 * others go on, and when none is left that is an error.
 */
export async function superviseFleet(fleet: Fleet, say: (text: string) => void): Promise<void> {
  let stopping = false;
  const ended = fleet.regions.map(async (region) => {
    const exit = await region.exited;
    if (!stopping)
      say(`Region ${region.name} ended by itself (${exitText(exit)}). Its data is kept; start it again to go on.`);
  });
  const signalled = untilSignalled();
  const first = await Promise.race([
    signalled.then(() => "signal" as const),
    Promise.all(ended).then(() => "gone" as const),
  ]);
  if (first === "gone")
    throw new Problem("No region is left running", "Look at what they said last, then start again.");
  stopping = true;
  say(`Stopping ${fleet.regions.map(({ name }) => name).join(", ")} …`);
  await fleet.stop();
}

/**
 * The first SIGINT or SIGTERM. Under npm one Ctrl-C arrives twice within a moment (from the terminal and from npm),
 * so only one that comes a second later ends the process at once.
 */
function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (first === 0) {
        first = performance.now();
        resolve(signal);
      } else if (performance.now() - first > 1_000) {
        process.exit(1);
      }
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  });
}
