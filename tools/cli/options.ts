import { InvalidArgumentError, Option } from "commander";
import { isRegionName } from "../../src/base/ids.ts";
import { DEFAULT_BASE } from "../workerd/data-dir.ts";
import { LOG_MODES, type LogMode } from "../workerd/log.ts";

/** Options that several commands share, each parsed in one place with a message that says what is expected. */

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port < 1 || port > 65_535)
    throw new InvalidArgumentError("A port is a number from 1 to 65535.");
  return port;
}

export function parseRegionName(text: string): string {
  if (!isRegionName(text))
    throw new InvalidArgumentError(
      "A region name is lower case, begins with a letter and has at most 31 characters, e.g. eu.",
    );
  return text;
}

export function parseRegions(text: string): { name: string; port: number }[] {
  const regions = text.split(",").map((part) => {
    const [name = "", port = "", ...more] = part.trim().split(":");
    if (more.length > 0 || port === "") throw new InvalidArgumentError(`"${part}" is not name:port, e.g. eu:8787.`);
    return { name: parseRegionName(name), port: parsePort(port) };
  });
  for (const member of ["name", "port"] as const) {
    if (new Set(regions.map((region) => region[member])).size < regions.length) {
      throw new InvalidArgumentError(`Two regions have the same ${member}.`);
    }
  }
  return regions;
}

export function parseShards(text: string): number {
  const shards = Number(text);
  if (!Number.isInteger(shards) || shards < 1 || shards > 256)
    throw new InvalidArgumentError("The number of shards is 1 to 256.");
  return shards;
}

export function parsePublicUrl(text: string): string {
  if (!/^https:\/\/[^/?#\s]+$/.test(text)) {
    throw new InvalidArgumentError(
      "The PDP identifier is an https origin without path, query or fragment, e.g. https://eu.pdp.example.",
    );
  }
  return text;
}

export const dataOption = (): Option =>
  new Option("--data <dir>", "base directory; a region keeps its data in <dir>/<region>").default(DEFAULT_BASE);

/** What starting a fleet and serving one region have in common. */
export const startOptions = (): Option[] => [
  dataOption(),
  new Option("--host <address>", "address to listen on; put a TLS proxy before anything but this machine").default(
    "127.0.0.1",
  ),
  new Option("--pack <name...>", "application packs instead of those in policies/regions.json"),
  new Option("--shards <n>", "LineageShards of a new data directory; fixed while its log lives (default: 1)").argParser(
    parseShards,
  ),
  new Option("--open", "answer callers that do not authenticate: for conformance runs only"),
  new Option("--clean", "remove the data of these regions first: keys, records, revocations"),
  new Option(
    "--roots <file>",
    "pin real membership roots (JSON {threshold, keys}); then enrol with `interlock region`",
  ),
  new Option(
    "--policy-root <file>",
    "pin this policy root (roots/1.json of a release): who may sign what is decided by",
  ),
  new Option("--policy-approvals <n>", "administrators who must bring a policy (default: 1)").choices(["1", "2"]),
  new Option(
    "--policy-gate <what>",
    "where a policy may newly allow something: report it (default), or deny it until it is acknowledged",
  ).choices(["report", "deny"]),
  new Option("--witnesses <file>", "witnesses outside that must cosign, JSON (docs/operations/add-witness.md)"),
  new Option(
    "--reach <addresses...>",
    "where the region may call out to, beyond its witnesses: verification endpoints of Shared Signals streams",
  ).choices(["public", "private"]),
  new Option(
    "--retention-days <n>",
    "erase payloads that are older; their records and proofs stay (default: never)",
  ).argParser(parseRetention),
  new Option(
    "--amnesia-ask <whom>",
    "after a start, how many peers must say that no event of the region is missing; all: where it may be put back whole",
  ).choices(["one", "all"]),
  new Option(
    "--on-drift <what>",
    "where another region's policy differs and no version explains it: alarm (default), or deny until it is over",
  ).choices(["alarm", "deny"]),
  new Option(
    "--on-divergence <what>",
    "where a record is decided again and comes out otherwise: alarm (default), or freeze the region",
  ).choices(["alarm", "freeze"]),
  new Option("--v8-flags <flags>", 'for workerd, e.g. "--trace-gc"'),
  new Option("--log <mode>", "decision log on standard error").choices([...LOG_MODES]).default("pretty"),
];

function parseRetention(text: string): string {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) throw new InvalidArgumentError("Payloads are kept for 1 to 99999 days.");
  return text;
}

export type StartFlags = {
  readonly data: string;
  readonly host: string;
  readonly pack?: readonly string[];
  readonly shards?: number;
  readonly open?: true;
  readonly clean?: true;
  readonly roots?: string;
  readonly policyRoot?: string;
  readonly policyApprovals?: "1" | "2";
  readonly policyGate?: "report" | "deny";
  readonly witnesses?: string;
  readonly reach?: readonly ("public" | "private")[];
  readonly retentionDays?: string;
  readonly amnesiaAsk?: "one" | "all";
  readonly onDrift?: "alarm" | "deny";
  readonly onDivergence?: "alarm" | "freeze";
  readonly v8Flags?: string;
  readonly log: LogMode;
};
