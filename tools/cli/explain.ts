import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { Problem } from "../problem.ts";
import type { Explained } from "../explain/explain.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** `interlock explain`: why a decision is what it is, and what would have turned it (docs/explain.md). */

type Flags = { readonly json?: true };
const packOption = (): Option => new Option("--pack <name...>", "the region's packs, e.g. sovereign treasury");
const jsonOption = (): Option => new Option("--json", "as JSON");

export function explainCommand(): Command {
  const command = new Command("explain").description(
    "why a decision is what it is, and the smallest change that turns a denial",
  );
  command
    .command("request")
    .description("a request against packs of this checkout, in a region where nothing is wrong")
    .argument("<file>", "an AuthZEN evaluation request, or {request, …} with what surrounds a golden case")
    .addOption(packOption().makeOptionMandatory())
    .addOption(jsonOption())
    .action(async (file: string, flags: Flags & { readonly pack: readonly string[] }) => {
      const { explainFile } = await import("../explain/explain.ts");
      const { buildBundle } = await import("../policy/build.ts");
      const bundle = await buildBundle();
      const text = await readFile(file, "utf8").catch(() => {
        throw new Problem(`There is no file ${file}`, "Check the path.", 2);
      });
      await show(explainFile(text, file, bundle, flags.pack), flags);
    });
  addTargetOptions(
    command
      .command("decision")
      .description("recorded decisions: of a region by id, or all denials of a file; decided again and compared")
      .argument("[id]", "decision id; of one of several <id>/<index>")
      .option(
        "--file <file>",
        "an evidence bundle, or what `lineage search --payload --json` wrote, instead of a region",
      )
      .addOption(
        new Option("--policy <bundle>", "a policy bundle that may have decided; repeat it for more")
          .argParser(many)
          .default([]),
      )
      .addOption(jsonOption()),
  ).action(async (id: string | undefined, flags: Recorded) => {
    if ((id === undefined) === (flags.file === undefined))
      throw new Problem("It is not said which decision", "Give its id, or --file FILE.", 2);
    const { explainRecorded } = await import("../explain/explain.ts");
    const { policiesOf } = await import("../../src/replay/policies.ts");
    const { BASELINE, readBundle } = await import("../replay/policy-files.ts");
    const { recordsOfFile, recordsOfRegion } = await import("../replay/records.ts");
    const policies = policiesOf([BASELINE, ...flags.policy.map((path) => readBundle(path).bundle)]);
    let entries;
    if (flags.file !== undefined) entries = recordsOfFile(flags.file);
    else {
      const { url, token } = targetOf(flags);
      entries = recordsOfRegion(url, token, { decision: id! });
    }
    let [shown, unexplained] = [0, 0];
    for await (const entry of entries) {
      const recorded = entry.recorded();
      let explained: Explained | null;
      try {
        if (recorded === null) throw new Problem("A record cannot be read", "Verify it: `interlock verify`.");
        explained = explainRecorded(recorded, policies);
      } catch (cause) {
        // Of a file the others are explained all the same.
        if (!(cause instanceof Problem) || id !== undefined) throw cause;
        process.stderr.write(`${entry.decision_id}: ${cause.message}. ${cause.todo}\n`);
        unexplained++;
        continue;
      }
      if (explained === null || (id === undefined && explained.decision === "allow")) continue;
      if (!flags.json) process.stdout.write(`${entry.decision_id}  `);
      await show(explained, flags);
      shown++;
    }
    if (unexplained > 0) process.exitCode = 1;
    else if (shown === 0)
      throw new Problem("There is no decision to explain", "Only decisions of steps can be explained.", 1);
  });
  return command;
}

type Recorded = Flags & TargetFlags & { readonly file?: string; readonly policy: readonly string[] };

const many = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

async function show(explained: Explained, flags: Flags): Promise<void> {
  if (flags.json) return printJson(explained);
  const { explainedText } = await import("../explain/text.ts");
  const { POLICIES } = await import("../policy/build.ts");
  process.stdout.write(explainedText(explained, POLICIES) + "\n");
}
