import { existsSync, readFileSync, rmSync } from "node:fs";
import { Command, Option } from "commander";
import { messageOf, Problem } from "../problem.ts";
import { startFleet, superviseFleet, type Fleet, type FleetRegion } from "../region/fleet.ts";
import { sampleCurl } from "../region/sample.ts";
import { cleanDataDir, dataDirOf, rootsDirOf } from "../workerd/data-dir.ts";
import { lineSink } from "../workerd/log.ts";
import { parsePort, parsePublicUrl, parseRegionName, parseRegions, startOptions, type StartFlags } from "./options.ts";

const DEFAULT_FLEET = "eu:8787,us:8788,ap:8789";

export function fleetCommand(): Command {
  const command = new Command("fleet").description("run several regions on this machine, one workerd process each");
  command.addOption(
    new Option("--regions <list>", "name:port, comma separated")
      .default(parseRegions(DEFAULT_FLEET), DEFAULT_FLEET)
      .argParser(parseRegions),
  );
  for (const option of startOptions()) command.addOption(option);
  return command.action(async (flags: StartFlags & { regions: { name: string; port: number }[] }) => {
    await run(flags, flags.regions, null);
  });
}

export function serveCommand(): Command {
  const command = new Command("serve").description("run one region");
  command.addOption(new Option("--region <name>", "which region").argParser(parseRegionName).makeOptionMandatory());
  command.addOption(new Option("--port <n>", "port to listen on").default(8787).argParser(parsePort));
  command.addOption(
    new Option("--public-url <origin>", "PDP identifier: the https origin under which callers know it").argParser(
      parsePublicUrl,
    ),
  );
  for (const option of startOptions()) command.addOption(option);
  return command.action(async (flags: StartFlags & { region: string; port: number; publicUrl?: string }) => {
    await run(flags, [{ name: flags.region, port: flags.port }], flags.publicUrl ?? null);
  });
}

async function run(
  flags: StartFlags,
  regions: readonly { name: string; port: number }[],
  pdp: string | null,
): Promise<void> {
  const base = flags.data;
  if (flags.clean === true) {
    for (const { name } of regions) cleanDataDir(dataDirOf(base, name));
    // A membership that lists the old keys would be of no use to anyone.
    rmSync(`${rootsDirOf(base)}/membership.json`, { force: true });
  }
  const fleet = await startFleet({
    regions,
    base,
    roots: flags.roots ?? null,
    policy_root: flags.policyRoot ?? null,
    host: flags.host,
    packs: flags.pack ?? [],
    open: flags.open === true,
    shards: flags.shards ?? null,
    pdp,
    ...(flags.witnesses === undefined ? {} : { witnesses: readWitnesses(flags.witnesses) }),
    reach: flags.reach ?? [],
    v8_flags: (flags.v8Flags ?? "").split(/\s+/).filter((flag) => flag !== ""),
    vars: {
      ...(flags.log === "off" ? { INTERLOCK_LOG: "off" } : {}),
      ...(flags.retentionDays === undefined ? {} : { INTERLOCK_RETENTION_DAYS: flags.retentionDays }),
      ...(flags.policyApprovals === undefined ? {} : { INTERLOCK_POLICY_APPROVALS: flags.policyApprovals }),
      ...(flags.policyGate === undefined ? {} : { INTERLOCK_POLICY_GATE: flags.policyGate }),
      ...(flags.amnesiaAsk === undefined ? {} : { INTERLOCK_AMNESIA_ASK: flags.amnesiaAsk }),
      ...(flags.onDrift === undefined ? {} : { INTERLOCK_ON_DRIFT: flags.onDrift }),
      ...(flags.onDivergence === undefined ? {} : { INTERLOCK_ON_DIVERGENCE: flags.onDivergence }),
    },
    onLine: lineSink(
      flags.log,
      (text) => process.stderr.write(text + "\n"),
      process.stderr.isTTY && process.env["NO_COLOR"] === undefined,
    ),
  });
  await introduce(fleet, flags);
  await superviseFleet(fleet, (text) => process.stderr.write(text + "\n"));
}

/** As text: the launcher holds it against its schema, and so does the region. */
function readWitnesses(path: string): string {
  if (!existsSync(path)) throw new Problem(`There is no file ${path}`, "Give the JSON of the witnesses.", 2);
  return readFileSync(path, "utf8").trim();
}

/** What a newcomer needs next: where, with which credentials, and a line that works when pasted. */
async function introduce(fleet: Fleet, flags: StartFlags): Promise<void> {
  const say = (text = ""): void => void process.stdout.write(text + "\n");
  const count = fleet.regions.length;
  say(
    `\nInterlock: ${count} region${count === 1 ? "" : "s"} ready in ${(fleet.started_in_ms / 1000).toFixed(1)} s. Data: ${flags.data}`,
  );
  if (fleet.enrolled_with === "development roots") {
    say(`\n  ! Enrolled with THROW-AWAY DEVELOPMENT ROOTS (${flags.data}/roots). Whoever can read them can admit a`);
    say("  ! region, or sign its policy. Never expose this fleet; real roots: docs/operations/enrol.md");
  }
  if (flags.open === true) say("\n  ! --open: callers are answered WITHOUT AUTHENTICATION. For conformance runs only.");
  for (const region of fleet.regions) {
    const { mode, packs, problems } = await describe(region);
    say(`\n${region.name}  ${region.url}  ${mode}  ${packs.join(" + ")}`);
    for (const problem of problems) say(`  ! ${problem}`);
    if (region.pep === null) {
      say(`  Not enrolled here: interlock region enrol --region ${region.name} --data ${flags.data}`);
    } else {
      say(`  PEP credential:   ${region.pep}`);
    }
    say(`  admin credential: ${region.admin}`);
    say(`  second administrator (unfreezing needs both): --second, or ${flags.data}/${region.name}/keys/admin-2.jwt`);
    const curl = region.pep === null ? null : sampleCurl(packs, region.url, region.pep);
    if (curl !== null) say(`  Ask it:\n  ${curl}`);
  }
  say("\nCtrl-C stops and keeps all data; --clean starts anew; `npx interlock --help` lists what else there is.\n");
}

type Description = { readonly mode: string; readonly packs: readonly string[]; readonly problems: readonly string[] };

async function describe({ client }: FleetRegion): Promise<Description> {
  try {
    const status = (await client.status()) as {
      mode?: string;
      policy_problem?: string | null;
      packs?: readonly { name: string; status: string; problem: string | null }[];
    };
    const packs = status.packs ?? [];
    const problems = packs
      .filter((pack) => pack.problem !== null)
      .map((pack) => `pack ${pack.name} does not load, so the region denies: ${pack.problem}`);
    if (problems.length === 0 && status.policy_problem) problems.push(`the region denies: ${status.policy_problem}`);
    return { mode: status.mode ?? "?", packs: packs.map(({ name }) => name), problems };
  } catch (cause) {
    return { mode: "?", packs: [], problems: [messageOf(cause)] };
  }
}
