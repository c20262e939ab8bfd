import { Command, Option } from "commander";
import {
  authoringCommands,
  conclude,
  directoryIn,
  jsonOption,
  policiesOption,
  watchTests,
  type Folder,
  type Json,
} from "./policy-author.ts";
import { policyBacktest } from "./replay.ts";
import { releaseCommands } from "./policy-release.ts";

export function policyCommand(): Command {
  const command = new Command("policy").description("the law: packs under policies/");
  command
    .command("build")
    .description("validate all packs strictly and write policies/bundle.json")
    .option("--check", "write nothing; fail where the file is not what the packs give")
    .addOption(policiesOption())
    .action(async (flags: Folder & { check?: true }) => {
      const { policyBuild } = await import("../policy/build.ts");
      conclude(await policyBuild({ check: flags.check === true, ...(await directoryIn(flags)) }));
    });
  command
    .command("test")
    .description("validate packs, run their golden decisions, report which policies they exercise")
    .argument("[pack...]", "names; none: all")
    .addOption(new Option("--watch", "again after every change, until Ctrl-C").conflicts("json"))
    .addOption(jsonOption())
    .addOption(policiesOption())
    .action(async (packs: string[], flags: Folder & Json & { watch?: true }) => {
      if (flags.watch) return watchTests(packs, flags);
      const { policyTest } = await import("../policy/test.ts");
      conclude(await policyTest(packs, { json: flags.json === true, ...(await directoryIn(flags)) }));
    });
  authoringCommands(command);
  releaseCommands(command);
  policyBacktest(command);
  return command;
}
