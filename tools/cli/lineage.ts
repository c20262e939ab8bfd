import { Command } from "commander";
import { lineageSearch } from "./lineage-search.ts";
import { dataOption } from "./options.ts";

export function lineageCommand(): Command {
  const command = new Command("lineage").description("look at a region's records");
  command
    .command("check")
    .description("verify every chain on disk, without a running region")
    .addOption(dataOption())
    .action(async (flags: { data: string }) => {
      const { checkLineage } = await import("../lineage/check.ts");
      const { ok, report } = await checkLineage(flags.data);
      process.stdout.write((typeof report === "string" ? report : JSON.stringify(report, null, 2)) + "\n");
      if (!ok) process.exitCode = 1;
    });
  lineageSearch(command);
  return command;
}
