import { readFileSync } from "node:fs";
import { Command } from "commander";
import { parseJson } from "../../src/base/json.ts";
import { messageOf, Problem } from "../problem.ts";

import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** `interlock ssf`: Shared Signals streams of a region (docs/operations/shared-signals.md). */
export function ssfCommand(): Command {
  const command = new Command("ssf").description("Shared Signals streams that a region listens to");
  addTargetOptions(
    command
      .command("add")
      .description("register a stream, or replace its registration (new keys, other subjects)")
      .argument("<file>", "JSON with the registration; - reads it from standard input"),
  ).action(async (file: string, flags: TargetFlags) => {
    printJson(await targetOf(flags).client.registerStream(readRegistration(file)));
  });
  addTargetOptions(
    command
      .command("list")
      .description("the registered streams, and whether each source is alive")
      .argument("[id]", "only this one"),
  ).action(async (id: string | undefined, flags: TargetFlags) => {
    const { client } = targetOf(flags);
    printJson(await (id === undefined ? client.streams() : client.stream(id)));
  });
  addTargetOptions(
    command
      .command("remove")
      .description("stop listening to a stream; what it lowered stays, and so does a deny of its issuer")
      .argument("<id>"),
  ).action(async (id: string, flags: TargetFlags) => {
    printJson(await targetOf(flags).client.removeStream(id));
  });
  return command;
}

function readRegistration(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new Problem(`${file} cannot be read (${messageOf(cause)})`, "Name a file with the registration as JSON.");
  }
  const parsed = parseJson(text);
  if (!parsed.ok) throw new Problem(`${file}: ${parsed.error.message}`, "Correct the JSON.");
  return parsed.value;
}
