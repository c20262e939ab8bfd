import { Command } from "commander";

export function policyCommand(): Command {
  const command = new Command("policy").description("the law: packs under policies/");
  command
    .command("build")
    .description("validate all packs strictly and write policies/bundle.json")
    .action(async () => {
      const { policyBuild } = await import("../policy/build.ts");
      await policyBuild();
    });
  command
    .command("test")
    .description("validate packs, run their golden decisions, report which policies they exercise")
    .argument("[pack...]", "names; none: all")
    .action(async (packs: string[]) => {
      const { policyTest } = await import("../policy/test.ts");
      await policyTest(packs);
    });
  return command;
}
