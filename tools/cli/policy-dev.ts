import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import type { PolicyReport } from "../policy/build.ts";
import { Problem } from "../problem.ts";
import { directoryIn, policiesOption, type Folder } from "./policy-author.ts";
import { targetOf, type Target } from "./target.ts";

/** A timestamp lives for a day; at half of it there is time to find out why it could not be renewed. */
const RENEW_MS = 12 * 3_600_000;

/** So long after a region could not be reached, milliseconds. */
const RETRY_MS = 30_000;

export function devCommand(command: Command): void {
  command
    .command("dev")
    .description("build all packs, sign them with the THROW-AWAY keys of a local fleet, and bring them to its regions")
    .option("--regions <names...>", "regions of this machine (default: all below the base directory)")
    .option("--watch", "again after every change of a pack, and every 12 hours, until Ctrl-C")
    .addOption(new Option("--data <dir>", "base directory of the fleet").default(".interlock"))
    .addOption(policiesOption())
    .addHelpText("after", "\nExample:\n  interlock policy dev --regions eu us ap --watch")
    .action(dev);
}

type Flags = Folder & { readonly regions?: readonly string[]; readonly data: string; readonly watch?: true };

async function dev(flags: Flags): Promise<void> {
  if (!existsSync(flags.data)) throw new Problem(`There is no ${flags.data}`, "Start the fleet first: npm start.", 2);
  const regions = flags.regions ?? regionsIn(flags.data);
  if (regions.length === 0)
    throw new Problem(`There are no regions in ${flags.data}`, "Start the fleet first: npm start.", 2);
  const targets = regions.map((region) => targetOf({ region, data: flags.data }));
  const { directory } = await directoryIn(flags);
  if (flags.watch !== true) return print(await publish(flags.data, directory, targets, false));
  const { said, watchPacks } = await import("../policy/watch.ts");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const once = async (): Promise<number> => {
    const at = new Date().toTimeString().slice(0, 8);
    const { ok, report } = await said(() => publish(flags.data, directory, targets, true));
    process.stdout.write(
      `${report}\n${at} ${ok ? "published" : "NOT published; the regions keep what they have"}; waiting for a change (Ctrl-C ends)\n\n`,
    );
    return ok ? RENEW_MS : RETRY_MS;
  };
  await watchPacks(directory, stop.signal, once);
}

async function publish(
  data: string,
  directory: string,
  targets: readonly Target[],
  watched: boolean,
): Promise<PolicyReport> {
  const [{ devPolicy }, { devPublish, devSign }] = await Promise.all([
    import("../region/policy-roots.ts"),
    import("../policy/dev-release.ts"),
  ]);
  const keys = await devPolicy(data);
  const version = await devSign(keys, { directory, ...(watched ? { renew: true } : {}) }, Date.now());
  const views = await devPublish(
    keys,
    targets.map(({ client }) => client),
  );
  const until = watched ? "" : "; it expires in 24 hours unless this is run again (--watch does so)";
  return {
    ok: views.every(({ problem }) => problem === null),
    report: [
      `policy version ${version}, signed with THROW-AWAY DEVELOPMENT KEYS${until}`,
      ...views.map(({ region, problem, digest, packs }) =>
        problem === null
          ? `${region}: in force, ${packs.map(({ name }) => name).join(" + ")}, ${digest}`
          : `${region}: ${problem}`,
      ),
    ].join("\n"),
  };
}

const regionsIn = (data: string): readonly string[] =>
  readdirSync(data)
    .filter((name) => existsSync(join(data, name, "region.json")))
    .sort();

function print({ ok, report }: PolicyReport): void {
  process.stdout.write(`${report}\n`);
  if (!ok) process.exitCode = 1;
}
