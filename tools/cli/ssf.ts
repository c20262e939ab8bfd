import { Command } from "commander";
import { readJsonFile } from "./json-file.ts";
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
    printJson(await targetOf(flags).client.registerStream(readJsonFile(file)));
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
