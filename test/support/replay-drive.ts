import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { devPublish, devSign, type DevReleaseOptions } from "../../tools/policy/dev-release.ts";
import { rootDocument, signDocument } from "../../tools/policy/sign.ts";
import { signingKey, type SigningKey } from "../../tools/region/keys.ts";
import { devPolicy, type DevPolicy } from "../../tools/region/policy-roots.ts";
import { devRoots } from "../../tools/region/roots.ts";
import { readSecretJson, rootsDirOf, writeSecret } from "../../tools/workerd/data-dir.ts";
import { interlock } from "./command.ts";
import { clientOf } from "./federation.ts";
import { until } from "./log.ts";
import { PACKS, versions } from "./replay-bundles.ts";
import { HOMES, ReplayLoad } from "./replay-load.ts";
import { startRegions, type TestRegion } from "./region.ts";
import { unfreeze } from "./unfreeze.ts";
import { seeded } from "./random.ts";

/**
 * Two regions under the load of `ReplayLoad` until they have so many records, while their law, their keys and their
 * state change: everything that a replay must get right from the record alone.
 */
export type Driven = {
  readonly eu: TestRegion;
  readonly us: TestRegion;
  readonly load: ReplayLoad;
  /** Every bundle that was signed, as a file; whoever decides again is given them. */
  readonly bundles: readonly string[];
  close(): Promise<void>;
};

const regionsFor = (): Promise<readonly TestRegion[]> =>
  startRegions(["eu", "us"], {
    packs: [...PACKS],
    key_rules: { domains: HOMES },
    shards: 4,
    untouched: true,
    env: { INTERLOCK_LOG: "off" },
  });

async function recordsOf(region: TestRegion): Promise<number> {
  const health = await fetch(`${region.url}/health`);
  const { shards } = await health.json<{ readonly shards: readonly { readonly records?: number }[] }>();
  return shards.reduce((sum, { records = 0 }) => sum + records, 0);
}

/** What happens to the regions, at which part of the way. */
const EVENTS = [
  [0.12, "shard keys"],
  [0.22, "second policy"],
  [0.34, "silent peer"],
  [0.46, "killed"],
  [0.56, "third policy, at a time"],
  [0.62, "policy keys"],
  [0.67, "region key"],
  [0.74, "frozen"],
  [0.82, "stale policy"],
  [0.9, "first policy again"],
] as const;
type Happening = (typeof EVENTS)[number][1];

/** Documents are signed by other keys from now on, as a new root says that the old one signed. */
async function nextPolicyKeys({ keys, release, pinned }: DevPolicy, base: string): Promise<DevPolicy> {
  const directory = join(rootsDirOf(base), "policy");
  const make = (names: readonly string[]): Promise<SigningKey[]> =>
    Promise.all(names.map((name) => signingKey(join(directory, `${name}.jwk`), name)));
  const next = {
    root: keys.root,
    policy: await make(["dev-policy-3", "dev-policy-4"]),
    timestamp: await make(["dev-timestamp-2"]),
  };
  const thresholds = { root: 2, policy: 2, timestamp: 1 };
  const document = rootDocument(next, thresholds, 2, Date.now() + 365 * 86_400_000);
  release.write("root", await signDocument("root", document, keys.root), 2);
  return { keys: next, release, pinned };
}

/** The runbook of docs/operations/rotate-keys.md, up to the switch. */
async function nextRegionKey(eu: TestRegion, regions: readonly TestRegion[]): Promise<void> {
  await clientOf(eu).nextKey({ reason: "load" });
  const told = async (...args: readonly string[]): Promise<string> => {
    const command = interlock(...args);
    if ((await command.ended) !== 0) throw new Error(`interlock ${args.join(" ")}: ${command.stderr()}`);
    return command.stdout();
  };
  const target = ({ url, admin }: TestRegion): readonly string[] => ["--region-url", url, "--token", admin];
  const [shown, next] = [join(eu.base, "eu.json"), join(eu.base, "next.json")];
  const before = join(rootsDirOf(eu.base), "membership.json");
  const roots = (await devRoots(eu.base)).keys.map(({ kid }) => join(rootsDirOf(eu.base), `${kid}.jwk`));
  writeFileSync(shown, await told("region", "enrol", "--endpoint", eu.url, ...target(eu)));
  await told("region", "sign-membership", shown, "--before", before, "--root", ...roots, "--out", next);
  writeSecret(before, JSON.stringify(readSecretJson(next)) + "\n");
  for (const region of regions) await told("region", "activate", next, ...target(region));
  await until(async () => (await clientOf(eu).keys()).current.kid.endsWith(".2"), "the switch", 30_000);
}

export async function drive(
  target: number,
  seed: number,
  say: (line: string) => void = () => {},
  callers = 10,
): Promise<Driven> {
  const regions = await regionsFor();
  const [eu, us] = regions as readonly [TestRegion, TestRegion];
  const close = async (): Promise<void> => void (await Promise.all(regions.map((region) => region.remove())));
  try {
    let dev = await devPolicy(eu.base);
    const bytes = versions();
    const bundles = bytes.map((text, at) => {
      const path = join(eu.base, `v${at + 1}.bundle.json`);
      writeFileSync(path, text);
      return path;
    });
    const release = async (options: DevReleaseOptions, to = regions): Promise<void> => {
      await devSign(dev, options, Date.now());
      await devPublish(dev, to.map(clientOf));
    };
    await release({ bundle: bytes[0]! });
    const load = new ReplayLoad(eu, us, seeded(seed));
    await load.prepare();
    const happen: Readonly<Record<Happening, () => Promise<unknown>>> = {
      "shard keys": () => clientOf(eu).rotateShardKeys({ reason: "load" }),
      "second policy": () => release({ bundle: bytes[1]! }),
      "silent peer": async () => {
        load.disturbed = true;
        await us.stop();
        await sleep(2_500);
        await us.restart();
      },
      killed: async () => {
        load.disturbed = true;
        await eu.kill("SIGKILL");
        await eu.restart();
      },
      "third policy, at a time": () => release({ bundle: bytes[2]!, not_before_ms: Date.now() + 1_500 }),
      "region key": () => nextRegionKey(eu, regions),
      "policy keys": async () => {
        dev = await nextPolicyKeys(dev, eu.base);
        await release({ bundle: bytes[2]! });
      },
      frozen: async () => {
        await clientOf(eu).freeze("load");
        await sleep(300);
        await unfreeze(eu, "load");
      },
      "stale policy": async () => {
        // Long enough for a slow machine to publish it before it ends.
        await release({ bundle: bytes[2]!, timestamp_ms: 4_000 });
        await sleep(4_500);
        await release({ bundle: bytes[2]! });
      },
      "first policy again": () => release({ bundle: bytes[0]! }),
    };
    let stop = false;
    const loading = load.run(callers, () => stop);
    const started = performance.now();
    const seconds = (): string => ((performance.now() - started) / 1_000).toFixed(1);
    try {
      for (const [part, what] of EVENTS) {
        await until(async () => (await recordsOf(eu)) >= part * target, `${part * target} records`, 3_600_000);
        say(`${seconds()} s  ${await recordsOf(eu)} records: ${what}`);
        await happen[what]();
        await until(async () => (await fetch(`${eu.url}/health`)).status === 200, `eu is well after: ${what}`, 60_000);
        load.disturbed = false;
      }
      await until(async () => (await recordsOf(eu)) >= target, `${target} records`, 3_600_000);
    } finally {
      stop = true;
      await loading;
    }
    say(`${seconds()} s  ${await recordsOf(eu)} records in eu, ${await recordsOf(us)} in us`);
    return { eu, us, load, bundles, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}
