import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleWorker } from "../../tools/workerd/bundle.ts";
import type { Vars } from "../../tools/workerd/config.ts";
import { rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import type { KeyRules } from "../../tools/region/membership.ts";
import { freePort } from "../../tools/workerd/port.ts";
import { startFleet, type Fleet, type FleetRegion } from "../../tools/region/fleet.ts";
import { AdminClient } from "../../tools/region/admin-client.ts";
import { patiently, post } from "./http.ts";

/**
 * A real region on raw workerd, on a free port, enrolled with throw-away roots; about 0.5 s. When it is given, its shards
 * hold their leases, and it has heard from its peers; after `restart` a region has only been heard to answer.
 */

export type RegionOptions = {
  /** Default `eu`. */
  readonly name?: string;
  readonly packs?: readonly string[];
  readonly open?: boolean;
  readonly shards?: number;
  /** Base directory, as `--data`; a fresh one under the system's temporary directory where none is given. */
  readonly base?: string;
  readonly port?: number;
  readonly v8_flags?: readonly string[];
  /** What the membership says about keys; else as the launcher has it. */
  readonly key_rules?: KeyRules;
  /** Worker source instead of the product's (benchmarks). */
  readonly bundle?: string;
  /** `host:port` of the forward proxy through which all that a region sends goes (`links.ts`). */
  readonly egress?: (region: string) => string;
  /** Over what the launcher sets. */
  readonly env?: Partial<Vars>;
  /**
   * As soon as it answers: nobody has asked it for anything yet. For what is registered right after the start, too: who
   * holds a lease already hears of it with the next.
   */
  readonly untouched?: boolean;
};

export type TestRegion = {
  readonly name: string;
  readonly url: string;
  readonly port: number;
  readonly pdp: string;
  /** PEP credential with every scope. */
  readonly pep: string;
  /** Admin credential with every scope. */
  readonly admin: string;
  /** The same of a second administrator, with another key. */
  readonly second: string;
  readonly base: string;
  /** `<base>/<name>`: `keys/`, `do/`, `run/`, `lock`. */
  readonly dataDir: string;
  /** What workerd and the Worker wrote, line by line, of all starts. */
  readonly log: readonly string[];
  workerdPid(): number;
  /** Sends the signal to workerd and waits until it is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
  stop(): Promise<void>;
  /** Starts it again on the same data and port, maybe as another build; stops it first where it runs. */
  restart(as?: Pick<RegionOptions, "bundle" | "env">): Promise<void>;
  /** Stops it and removes a base directory that was made for it. */
  remove(): Promise<void>;
};

let bundle: Promise<string> | null = null;
const bundled = (): Promise<string> => (bundle ??= bundleWorker().then(({ text }) => text));

export async function startRegion(options: RegionOptions = {}): Promise<TestRegion> {
  const [region] = await startRegions([options.name ?? "eu"], options);
  return region!;
}

/** Several regions with one membership. */
export async function startRegions(
  names: readonly string[],
  options: Omit<RegionOptions, "name"> = {},
): Promise<readonly TestRegion[]> {
  const base = options.base ?? mkdtempSync(join(tmpdir(), "interlock-test-"));
  const ports: number[] = [];
  for (const _ of names) ports.push(options.port ?? (await freePort()));
  if (options.key_rules !== undefined)
    writeSecret(join(rootsDirOf(base), "key-rules.json"), JSON.stringify(options.key_rules));
  const log: string[] = [];
  const start = async (
    regions: readonly { name: string; port: number }[],
    { bundle: text = options.bundle, env = options.env }: Pick<RegionOptions, "bundle" | "env"> = {},
  ): Promise<Fleet> =>
    startFleet({
      regions,
      base,
      roots: null,
      host: "127.0.0.1",
      packs: options.packs ?? [],
      open: options.open ?? false,
      shards: options.shards ?? null,
      pdp: null,
      v8_flags: options.v8_flags ?? [],
      bundle: text ?? (await bundled()),
      onLine: (_, line) => log.push(line),
      ...(env === undefined ? {} : { vars: env }),
      ...(options.egress === undefined ? {} : { egress: options.egress }),
    });
  const fleet = await start(names.map((name, i) => ({ name, port: ports[i]! })));
  if (options.untouched !== true)
    await Promise.all(fleet.regions.map((region) => decides({ ...region, pep: region.pep! }, options.shards ?? 1)));
  return fleet.regions.map((first, i) => {
    let current: FleetRegion | null = first;
    const running = (): FleetRegion => {
      if (current === null) throw new Error(`region ${first.name} is stopped`);
      return current;
    };
    const stop = async (): Promise<void> => {
      await current?.stop();
      current = null;
    };
    return {
      name: first.name,
      url: first.url,
      port: ports[i]!,
      pdp: first.pdp,
      pep: first.pep!,
      admin: first.admin,
      second: first.second,
      base,
      dataDir: first.dir.path,
      log,
      workerdPid: () => running().workerdPid,
      async kill(signal) {
        const region = running();
        region.kill(signal);
        await region.exited;
        current = null;
      },
      stop,
      async restart(as) {
        await stop();
        current = (await start([{ name: first.name, port: ports[i]! }], as)).regions[0]!;
      },
      async remove() {
        await stop();
        if (options.base === undefined) rmSync(base, { recursive: true, force: true });
      },
    };
  });
}

/**
 * Until no shard says any more that it has no lease, and no peer is unheard; for a while, since a region may be configured
 * so that it never is. A search asks a shard for both, and leaves no record.
 */
export async function decides(
  { url, pep, admin }: Pick<TestRegion, "url" | "pep" | "admin">,
  shards = 1,
): Promise<void> {
  const client = new AdminClient(url, admin);
  const search = (n: number): Promise<Response> =>
    post(`${url}/access/v1/search/resource`, pep, {
      subject: { type: "user", id: `nobody-${n}` },
      action: { name: "read" },
      resource: { type: "record" },
    });
  await patiently(
    async () => {
      // Each goes to a shard by its text.
      const answers = await Promise.all(Array.from({ length: shards === 1 ? 1 : 6 * shards }, (_, n) => search(n)));
      const reasons = await Promise.all(answers.map(reasonIn));
      const { peers } = await client.peers();
      return peers.some(({ stale }) => stale !== null) ? [...reasons, "sync_stale"] : reasons;
    },
    (reasons) => reasons.find((reason) => reason !== null) ?? null,
  );
}

async function reasonIn(answer: Response): Promise<string | null> {
  const text = await answer.text();
  if (!answer.ok) return null;
  return (JSON.parse(text) as { context?: { reason?: string } }).context?.reason ?? null;
}
