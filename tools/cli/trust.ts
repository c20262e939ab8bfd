import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { InvalidArgumentError, Option, type Command } from "commander";
import { sha256 } from "../../src/base/digest.ts";
import { readRoots, type Roots } from "../../src/trust/membership.ts";
import { membershipsIn, regionsIn, trustOf, verifyHistory, type Trust } from "../../src/trust/membership-history.ts";
import { Problem } from "../problem.ts";
import { membershipsOf } from "../region/memberships.ts";
import { parseRegionName } from "./options.ts";
import { printJson, readJsonFile } from "./target.ts";

type Flags = {
  readonly membership: readonly string[];
  readonly roots: string;
  readonly region: string;
  readonly version?: number;
  readonly peers?: number | "all";
  readonly out?: string;
  readonly json?: true;
};

/** `interlock region trust`: from the roots' public keys to a tlog-policy, whoever carried the memberships. */
export function trustCommand(command: Command): void {
  command
    .command("trust")
    .description("write the tlog-policy of a region from memberships that the roots signed; trusts the roots only")
    .requiredOption(
      "--membership <source...>",
      "files, or addresses of regions (each serves all memberships that it has held)",
    )
    .requiredOption("--roots <file>", "the roots that you trust: JSON {threshold, keys: [public JWK, …]}")
    .addOption(
      new Option("--region <name>", "whose log is to be trusted").argParser(parseRegionName).makeOptionMandatory(),
    )
    .addOption(new Option("--version <n>", "as of this membership instead of the newest").argParser(parseVersion))
    .addOption(
      new Option(
        "--peers <n>",
        "how many peers must have cosigned, or all (default: what the region asks for)",
      ).argParser(parsePeers),
    )
    .option("--out <file>", "where the policy goes (default: standard output)")
    .option("--json", "policy and key history as JSON")
    .action(trust);
}

async function trust(flags: Flags): Promise<void> {
  const roots = rootsIn(flags.roots);
  const signed: unknown[] = [];
  for (const source of flags.membership) signed.push(...(await membershipsFrom(source)));
  const history = await verifyHistory(signed, roots);
  if (!history.ok) throw new Problem(history.error, "Do not use it; ask the holders of the roots.");
  const { region, version, peers } = flags;
  const told = trustOf(
    history.value,
    {
      region,
      ...(version === undefined ? {} : { version }),
      ...(peers === undefined ? {} : { peers }),
      now_ms: Date.now(),
    },
    sha256,
  );
  if (!told.ok) throw new Problem(told.error, `The memberships list ${regionsIn(history.value).join(", ")}.`);
  if (flags.json) return printJson(told.value);
  if (flags.out === undefined) process.stdout.write(told.value.policy);
  else writeFileSync(flags.out, told.value.policy);
  process.stderr.write(told.value.keys.map(keyLine).join("") + summary(told.value, roots));
}

const keyLine = ({ kid, x, from_version, from_ms, current }: Trust["keys"][number]): string =>
  `${kid}  ${x}  since version ${from_version} (${new Date(from_ms).toISOString()})${current ? "" : ", no longer listed"}\n`;

const summary = ({ membership }: Trust, roots: Roots): string =>
  `membership version ${membership.version}, until ${new Date(membership.expires_ms).toISOString()}, signed by ${roots.threshold} or more of ${roots.keys.map(({ kid }) => kid).join(", ")}\n`;

function rootsIn(path: string): Roots {
  if (!existsSync(path)) throw new Problem(`There is no roots file ${path}`, "Give the roots that you trust.", 2);
  const roots = readRoots(readFileSync(path, "utf8"));
  if (!roots.ok) throw new Problem(`${path}: ${roots.error}`, "Correct the file.", 2);
  return roots.value;
}

const membershipsFrom = (source: string): Promise<readonly unknown[]> | readonly unknown[] =>
  /^https?:\/\//.test(source) ? membershipsOf(source) : membershipsIn(readJsonFile(source, "signed membership"));

function parseVersion(text: string): number {
  const version = Number(text);
  if (!Number.isInteger(version) || version < 1) throw new InvalidArgumentError("A version is a whole number from 1.");
  return version;
}

function parsePeers(text: string): number | "all" {
  if (text === "all") return "all";
  if (!/^[1-9][0-9]?$/.test(text)) throw new InvalidArgumentError("Give a number from 1, or all.");
  return Number(text);
}
