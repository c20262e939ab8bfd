import { Command } from "commander";
import { authoringCommands, watchTests } from "./policy-author.ts";
import { policyBacktest } from "./replay.ts";
import { releaseCommands } from "./policy-release.ts";

export function policyCommand(): Command {
  const command = new Command("policy").description("the law: packs under policies/");
  command
    .command("build")
    .description("validate all packs strictly and write policies/bundle.json")
    .option("--check", "write nothing; fail where the file is not what the packs give")
    .action(async (flags: { check?: true }) => {
      const { policyBuild } = await import("../policy/build.ts");
      conclude(await policyBuild({ check: flags.check === true }));
    });
  command
    .command("test")
    .description("validate packs, run their golden decisions, report which policies they exercise")
    .argument("[pack...]", "names; none: all")
    .option("--watch", "again after every change, until Ctrl-C")
    .action(async (packs: string[], flags: { watch?: true }) => {
      if (flags.watch) return watchTests(packs);
      const { policyTest } = await import("../policy/test.ts");
      conclude(await policyTest(packs));
    });
  authoringCommands(command);
  releaseCommands(command);
  policyBacktest(command);
  return command;
}

function conclude({ ok, report }: { readonly ok: boolean; readonly report: string }): void {
  process.stdout.write(report + "\n");
  if (!ok) process.exitCode = 1;
}
