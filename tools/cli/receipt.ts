import { Command, Option } from "commander";
import type { ReceiptReport } from "../evidence/receipt.ts";
import { parsePublicUrl, parseRegionName } from "./options.ts";
import { printJson } from "./target.ts";

type Flags = {
  readonly keys: string;
  readonly region: string;
  readonly pdp: string;
  readonly trust: string;
  readonly proof?: string;
  readonly late?: string;
  readonly checkpoint?: readonly string[];
  readonly log?: string;
  readonly leafHash?: string;
  readonly json?: true;
};

export function receiptCommand(): Command {
  const needed = (flags: string, text: string): Option => new Option(flags, text).makeOptionMandatory();
  return new Command("receipt")
    .description("verify a receipt, and whether the log kept its promise (merge_by)")
    .argument("<file>", "the receipt: the text of the header Interlock-Receipt")
    .addOption(needed("--keys <jwks>", "keys of the region, as you trust them"))
    .addOption(needed("--region <name>", "the region that was asked").argParser(parseRegionName))
    .addOption(needed("--pdp <url>", "the PDP that was asked").argParser(parsePublicUrl))
    .addOption(needed("--trust <policy>", "tlog-policy file: whose keys and which quorum you trust"))
    .option("--proof <file>", "tlog-proof of the record")
    .option("--late <file>", "tlog-proof of the log's own leaf that says that the record was late (…/proof?late=1)")
    .option("--checkpoint <file...>", "checkpoints of the log that were cosigned after merge_by")
    .option("--log <url>", "where the log is served: shows that the record is not in the first checkpoint's tree")
    .option("--leaf-hash <hash>", "of the record, where the receipt is for several")
    .option("--json", "the verdict as JSON")
    .addHelpText(
      "after",
      "\nExit codes: 0 the receipt verifies (promise kept, or undecided), 1 it does not, or the promise is broken, 2 wrong usage.",
    )
    .action(async (file: string, { checkpoint = [], json, ...flags }: Flags) => {
      const { checkReceipt } = await import("../evidence/receipt.ts");
      const report = await checkReceipt({ receipt: file, checkpoints: checkpoint, ...flags });
      if (json) printJson(report);
      else process.stdout.write(reportText(report));
      if (report.verdict === "broken") process.exitCode = 1;
    });
}

function reportText(report: ReceiptReport): string {
  const time = (t_ms: number): string => `${new Date(t_ms).toISOString()} (${t_ms})`;
  const { verdict, message, merge_by, index, size, cosigned_at_ms, late_ms } = report;
  return [
    `receipt verifies   signed by ${report.kid}${report.unanchored ? ", which said that it was unanchored" : ""}`,
    `promise ${verdict.padEnd(10)} ${message}`,
    ...(merge_by === null ? [] : [`merge_by           ${time(merge_by)}`]),
    ...(index === null ? [] : [`index              ${index}`]),
    ...(size === null ? [] : [`checkpoint         ${size} leaves, cosigned by a quorum at ${time(cosigned_at_ms!)}`]),
    ...(late_ms === null ? [] : [`late               ${late_ms} ms after merge_by`]),
    "",
  ].join("\n");
}
