import { Command, Option } from "commander";
import { Problem } from "../problem.ts";
import { readCases, runAuthzenConformance } from "../conformance/authzen.ts";
import { readJsonFile } from "./target.ts";

export function conformanceCommand(): Command {
  const command = new Command("conformance").description("hold a region, or the engine, against a public test suite");
  command
    .command("authzen")
    .description("AuthZEN 1.0 certification cases against a running region (pack authzen-certification)")
    .argument("<url>", "address of the region")
    .argument("<file>", "certification-cases.json")
    .addOption(
      new Option("--token <jwt>", "PEP credential; none for a region that runs with --open").env("INTERLOCK_PEP_TOKEN"),
    )
    .action(async (url: string, file: string, flags: { token?: string }) => {
      const result = await runAuthzenConformance(url, readCases(readJsonFile(file, "case file")), flags.token || null);
      for (const { ref, level, problems } of result.failures)
        process.stdout.write(`${level} ${ref}: ${problems.join("; ")}\n`);
      conclude(result);
    });
  command
    .command("cedar")
    .description("the Cedar engine against a corpus folder (cedar-policy/cedar-integration-tests)")
    .argument("<dir>", "folder with the corpus and handwritten tests")
    .action(async (dir: string) => {
      const { runCedarConformance } = await import("../conformance/cedar.ts");
      const result = await runCedarConformance(dir);
      for (const failure of result.failures)
        process.stdout.write(`${typeof failure === "string" ? failure : JSON.stringify(failure)}\n`);
      conclude(result);
    });
  return command;
}

function conclude({ passed, total }: { readonly passed: number; readonly total: number }): void {
  process.stdout.write(`${passed}/${total}\n`);
  if (total === 0) throw new Problem("There was nothing to run", "Check the file or folder.", 2);
  if (passed < total) process.exitCode = 1;
}
