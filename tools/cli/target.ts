import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { Problem } from "../problem.ts";
import { AdminClient } from "../region/admin-client.ts";
import { adminTokenPath } from "../region/admin-token.ts";
import type { LocalAdmin } from "../region/keys.ts";
import { readSecret, dataDirOf, readSecretJson } from "../workerd/data-dir.ts";
import { dataOption, parseRegionName } from "./options.ts";

/** Which region an admin command talks to, and with which credential. */
export type TargetFlags = {
  readonly region?: string;
  readonly regionUrl?: string;
  readonly token?: string;
  /** The second administrator of a region of this machine. */
  readonly second?: true;
  readonly data: string;
};

export function addTargetOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--region <name>",
        "a region of this machine: address and credential from its data directory",
      ).argParser(parseRegionName),
    )
    .addOption(new Option("--region-url <url>", "any region, by address"))
    .addOption(new Option("--token <jwt>", "admin credential").env("INTERLOCK_ADMIN_TOKEN"))
    .addOption(dataOption());
}

export type Target = {
  readonly client: AdminClient;
  readonly url: string;
  readonly name: string;
  readonly token: string;
};

/** Address of the region that is meant. */
export function urlOf(flags: Pick<TargetFlags, "region" | "regionUrl" | "data">): string {
  if (flags.region === undefined && flags.regionUrl === undefined) {
    throw new Problem(
      "It is not said which region is meant",
      "Give --region NAME for one on this machine, or --region-url URL and --token.",
      2,
    );
  }
  return flags.regionUrl ?? localUrl(flags.data, flags.region!);
}

export function targetOf(flags: TargetFlags): Target {
  const url = urlOf(flags);
  // An empty variable in the environment is none.
  const token =
    flags.token ||
    (flags.region === undefined ? null : localToken(flags.data, flags.region, flags.second === true ? 2 : 1));
  if (token === null) {
    throw new Problem(`There is no admin credential for ${url}`, "Give one with --token or INTERLOCK_ADMIN_TOKEN.", 2);
  }
  return { client: new AdminClient(url, token), url, name: flags.region ?? url, token };
}

function localUrl(base: string, region: string): string {
  const dir = dataDirOf(base, region);
  const running = readSecretJson(join(dir.run, "address.json")) as { readonly url: string } | null;
  if (running === null) {
    throw new Problem(
      `No region ${region} was started in ${dir.path}`,
      "Start it, name its base directory with --data, or give --region-url.",
      2,
    );
  }
  return running.url;
}

function localToken(base: string, region: string, n: LocalAdmin): string | null {
  return readSecret(adminTokenPath(dataDirOf(base, region), n))?.trim() ?? null;
}

/** The JSON file that a command was given. */
export function readJsonFile(path: string, what: string): unknown {
  if (!existsSync(path)) throw new Problem(`There is no ${what} ${path}`, "Check the path.", 2);
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new Problem(`${path} is not JSON`, `Give the ${what} as JSON.`, 2);
  }
}

export const printJson = (value: unknown): void => void process.stdout.write(JSON.stringify(value, null, 2) + "\n");
