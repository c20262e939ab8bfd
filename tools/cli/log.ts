import { existsSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Look, MonitorState } from "../log/monitor.ts";
import { Problem } from "../problem.ts";
import { logArchive } from "./log-archive.ts";
import { logCoverage } from "./log-coverage.ts";
import { readJsonFile } from "./target.ts";
import { readTrust } from "./trust-file.ts";

type Flags = {
  readonly policy?: string;
  readonly state?: string;
  readonly proof: string;
  readonly every: number;
  readonly once?: true;
};

export function logCommand(): Command {
  const command = new Command("log").description("watch the Merkle log of a region, from outside");
  command
    .command("monitor")
    .description("follow a log: signatures, consistency of every two checkpoints, the root of the tiles")
    .argument("<url>", "where the log is served, e.g. http://127.0.0.1:8787/log", parseUrl)
    .option("--policy <file>", "tlog-policy: the log's key, the witnesses and the quorum to ask for")
    .option("--state <file>", "keeps what was seen between runs; made where it is missing")
    .option("--proof <file>", "where the two statements of a split view go", "split-view.json")
    .addOption(new Option("--every <seconds>", "between two looks").default(10).argParser(parseSeconds))
    .option("--once", "look once")
    .action(monitor);
  logCoverage(command);
  logArchive(command);
  return command;
}

async function monitor(url: string, flags: Flags): Promise<void> {
  const { Monitor } = await import("../log/monitor.ts");
  const { httpSource } = await import("../log/http-source.ts");
  const policy = flags.policy === undefined ? null : readTrust(flags.policy);
  const state = flags.state !== undefined && existsSync(flags.state) ? readState(flags.state) : null;
  const watch = new Monitor(httpSource(url), policy, state);
  if (policy === null && state === null)
    say("no policy was given: the log's own word for its key is taken, and no witness is asked for");
  for (;;) {
    const look = await watch.look(new Date());
    say(describe(look));
    if (look.kind === "sound" && flags.state !== undefined && watch.state !== null) replace(flags.state, watch.state);
    if (look.kind === "split_view") {
      replace(flags.proof, look.proof);
      throw new Problem(
        "The log shows two histories",
        `Keep ${flags.proof}: both statements are signed by the log (docs/operations/monitor.md).`,
      );
    }
    if (look.kind === "unsound")
      throw new Problem(look.message, "Ask the log's operator; compare with what others see.");
    if (flags.once === true) {
      if (look.kind === "unreachable")
        throw new Problem(look.message, "Is the address that of a log, and does it run?");
      return;
    }
    await sleep(flags.every * 1_000);
  }
}

function describe(look: Look): string {
  if (look.kind !== "sound") return `${look.kind}: ${look.message}`;
  const cosigned = look.cosigners.length === 0 ? "" : `, cosigned by ${look.cosigners.join(", ")}`;
  return `sound: size ${look.size} (+${look.grown_by})${cosigned}`;
}

const say = (text: string): void => void process.stdout.write(`${new Date().toISOString()} ${text}\n`);

function readState(path: string): MonitorState {
  const state = readJsonFile(path, "state file") as Partial<MonitorState> | null;
  if (state?.v !== 1 || [state.log, state.note, state.tree].some((member) => typeof member !== "string"))
    throw new Problem(`${path} is not the state of a monitor`, "Give the file that `interlock log monitor` wrote.", 2);
  return state as MonitorState;
}

/** Whole or not at all: a monitor that is killed must not lose what it saw. */
function replace(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value, null, 2) + "\n");
  renameSync(`${path}.new`, path);
}

function parseUrl(text: string): string {
  if (!/^https?:\/\/[^?#\s]+$/.test(text)) throw new InvalidArgumentError("The URL is http(s)://…, up to /log.");
  return text;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 1 && seconds <= 86_400)) throw new InvalidArgumentError("Give 1 to 86400 seconds.");
  return seconds;
}
