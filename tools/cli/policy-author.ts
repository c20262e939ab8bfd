import { Argument, type Command } from "commander";
import type { PolicyReport } from "../policy/build.ts";

/** Writing packs: layout, questionable policies, schemas for editors, a pack to begin with. */
export function authoringCommands(command: Command): void {
  command
    .command("new")
    .description("a new pack under policies/, from the template: commented, valid, with tests that pass")
    .argument("<name>", "lower-case letters, digits and hyphens")
    .action(async (name: string) => {
      const { newPack } = await import("../policy/new.ts");
      const folder = await newPack(name);
      process.stdout.write(`wrote ${folder}\nnext: interlock policy test ${name} --watch\n`);
    });
  command
    .command("fmt")
    .description("lay out .cedar files as Cedar does; refuses what would mean something else")
    .argument("[pack...]", "names; none: all")
    .option("--check", "write nothing; fail where a file is not formatted")
    .action(async (packs: string[], flags: { check?: true }) => {
      const { policyFmt } = await import("../policy/fmt.ts");
      conclude(await policyFmt(packs, { check: flags.check === true }));
    });
  command
    .command("lint")
    .description("say what is questionable in valid packs, with line and caret (docs/pack.md)")
    .argument("[pack...]", "names; none: all")
    .action(async (packs: string[]) => {
      const { policyLint } = await import("../policy/lint.ts");
      conclude(await policyLint(packs));
    });
  command
    .command("schema")
    .description("JSON schema of a pack's file, for editors")
    .addArgument(new Argument("<file>", "which one").choices(["pack", "golden"]))
    .action(async (file: "pack" | "golden") => {
      const { jsonSchema } = await import("../policy/json-schema.ts");
      process.stdout.write(jsonSchema(file));
    });
}

/** `interlock policy test --watch`: until Ctrl-C. */
export async function watchTests(packs: readonly string[]): Promise<void> {
  const { policyTestWatch } = await import("../policy/watch.ts");
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const report = ({ ok, report: text }: PolicyReport): void =>
    void process.stdout.write(`${text}\n${ok ? "ok" : "FAILED"}; waiting for a change\n\n`);
  await policyTestWatch(packs, { report, signal: stop.signal });
}

function conclude({ ok, report }: PolicyReport): void {
  process.stdout.write(report + "\n");
  if (!ok) process.exitCode = 1;
}
