import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { Argument, Option, type Command } from "commander";
import type { PolicyReport } from "../policy/build.ts";
import { messageOf, Problem } from "../problem.ts";

/** Writing packs: layout, questionable policies, schemas for editors, a pack to begin with. */
export function authoringCommands(command: Command): void {
  command
    .command("new")
    .description("a new pack under policies/, from the template: commented, valid, with tests that pass")
    .argument("<name>", "lower-case letters, digits and hyphens")
    .addOption(policiesOption())
    .addHelpText("after", "\nExample:\n  interlock policy new invoices && interlock policy test invoices --watch")
    .action(async (name: string, flags: Folder) => {
      const { newPack } = await import("../policy/new.ts");
      const folder = await newPack(name, await folderOf(flags));
      process.stdout.write(
        `wrote ${folder}\n` +
          `next: interlock policy test ${name} --watch\n` +
          `to run it: name it in policies/regions.json, then interlock policy dev --regions eu --watch\n`,
      );
    });
  command
    .command("fmt")
    .description("lay out .cedar files as Cedar does; refuses what would mean something else")
    .argument("[pack...]", "names, folders or .cedar files; none: all packs; -: standard input to standard output")
    .option("--check", "write nothing; fail where a file is not formatted")
    .addOption(policiesOption())
    .action(async (packs: string[], flags: Folder & { check?: true }) => {
      const { fmtText, policyFmt } = await import("../policy/fmt.ts");
      if (packs.includes("-")) {
        if (packs.length > 1) throw new Problem("Standard input and files at once", "Give - alone.", 2);
        const given = await text(process.stdin);
        const formatted = fmtText(given);
        if (!formatted.ok) throw new Problem(formatted.error, "Correct it first.");
        if (flags.check !== true) process.stdout.write(formatted.value);
        else if (formatted.value !== given) process.exitCode = 1;
        return;
      }
      conclude(await policyFmt(packs, { check: flags.check === true, ...(await directoryIn(flags)) }));
    });
  command
    .command("lint")
    .description("say what is questionable in valid packs, with line and caret (docs/pack.md)")
    .argument("[pack...]", "names; none: all")
    .addOption(jsonOption())
    .addOption(policiesOption())
    .action(async (packs: string[], flags: Folder & Json) => {
      const { policyLint } = await import("../policy/lint.ts");
      conclude(await policyLint(packs, { json: flags.json === true, ...(await directoryIn(flags)) }));
    });
  command
    .command("schema")
    .description("JSON schema of a pack's file, for editors")
    .addArgument(new Argument("<file>", "which one").choices(["pack", "golden", "entities"]))
    .action(async (file: "pack" | "golden" | "entities") => {
      const { jsonSchema } = await import("../policy/json-schema.ts");
      process.stdout.write(jsonSchema(file));
    });
}

export type Folder = { readonly policies?: string };
export type Json = { readonly json?: true };

export const policiesOption = (): Option =>
  new Option("--policies <dir>", "folder of packs (default: that of the checkout)");
export const jsonOption = (): Option => new Option("--json", "as JSON");

/** The folder of packs that is meant, by its full name. */
async function folderOf({ policies }: Folder): Promise<string> {
  const { POLICIES } = await import("../policy/build.ts");
  return policies === undefined ? POLICIES : resolve(policies);
}

export async function directoryIn(flags: Folder): Promise<{ readonly directory: string }> {
  const directory = await folderOf(flags);
  const { stat } = await import("node:fs/promises");
  const found = await stat(directory).catch((cause: unknown) => messageOf(cause));
  if (typeof found === "string" || !found.isDirectory())
    throw new Problem(`There is no folder ${directory}`, "Give the folder that holds the packs.", 2);
  return { directory };
}

/** `interlock policy test --watch`: until Ctrl-C. */
export async function watchTests(packs: readonly string[], flags: Folder): Promise<void> {
  const { policyTestWatch } = await import("../policy/watch.ts");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const report = ({ ok, report: said }: PolicyReport): void => {
    // On a terminal each report stands alone; a log keeps all of them.
    if (process.stdout.isTTY) process.stdout.write("\u001b[2J\u001b[3J\u001b[H");
    const at = new Date().toTimeString().slice(0, 8);
    process.stdout.write(`${said}\n${ok ? "ok" : "FAILED"} at ${at}; waiting for a change (Ctrl-C ends)\n\n`);
  };
  await policyTestWatch(packs, { report, signal: stop.signal, ...(await directoryIn(flags)) });
}

export function conclude({ ok, report }: PolicyReport): void {
  process.stdout.write(report + "\n");
  if (!ok) process.exitCode = 1;
}
