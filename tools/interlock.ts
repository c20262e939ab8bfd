import { Command } from "commander";
import packageJson from "../package.json" with { type: "json" };
import { pepCommand, readsCommand, revocationsCommand, statusCommand } from "./cli/admin.ts";
import { conformanceCommand } from "./cli/conformance.ts";
import { driftCommand } from "./cli/drift.ts";
import { epochCommand } from "./cli/epoch.ts";
import { eraseCommand, erasuresCommand } from "./cli/erase.ts";
import { identityCommand } from "./cli/identity.ts";
import { evidenceCommand, verifyCommand } from "./cli/evidence.ts";
import { explainCommand } from "./cli/explain.ts";
import { keysCommand } from "./cli/keys.ts";
import { lineageCommand } from "./cli/lineage.ts";
import { logCommand } from "./cli/log.ts";
import { clockCommand, membershipCommand, peersCommand } from "./cli/peers.ts";
import { policyCommand } from "./cli/policy.ts";
import { receiptCommand } from "./cli/receipt.ts";
import { approvalsCommand } from "./cli/approvals.ts";
import { replayCommand } from "./cli/replay.ts";
import { requestsCommand } from "./cli/requests.ts";
import { regionCommand } from "./cli/region.ts";
import { ssfCommand } from "./cli/ssf.ts";
import { fleetCommand, serveCommand } from "./cli/start.ts";
import {
  degradeCommand,
  freezeCommand,
  quarantineCommand,
  restoreCommand,
  revokeCommand,
  stopCommand,
  trustKeyCommand,
  unfreezeCommand,
} from "./cli/stop.ts";

import { Problem } from "./problem.ts";

/** The `interlock` command. Exit codes: 0 done, 1 it failed or found something wrong, 2 it was asked wrongly. */

const program = new Command("interlock")
  .description(packageJson.description)
  .version(packageJson.version)
  // Else `--version` of `region sign-membership` would be taken for this one.
  .enablePositionalOptions()
  .showHelpAfterError("(`interlock --help` lists commands and examples)")
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    "after",
    `
Examples:
  interlock fleet                                             three regions on this machine: eu, us, ap
  interlock serve --region eu --port 8787 --pack treasury     one region
  interlock revoke subject:agent/invoice-reader --region eu --reason "key leaked"
  interlock pep register payments-gateway --region eu --scopes evaluate,search
  interlock policy test treasury
  interlock conformance authzen http://127.0.0.1:8787 certification-cases.json

Admin commands find a region of this machine with --region NAME (and --data DIR), any other with
--region-url URL and --token JWT or INTERLOCK_ADMIN_TOKEN. Exit codes: 0 done, 1 failed, 2 wrong usage.`,
  );

program.commandsGroup("Run:");
for (const command of [fleetCommand(), serveCommand()]) program.addCommand(command);
program.commandsGroup("Operate a region:");
for (const command of [
  statusCommand(),
  revokeCommand(),
  quarantineCommand(),
  degradeCommand(),
  trustKeyCommand(),
  restoreCommand(),
  revocationsCommand(),
  requestsCommand(),
  approvalsCommand(),
  stopCommand(),
  freezeCommand(),
  unfreezeCommand(),
  peersCommand(),
  driftCommand(),
  clockCommand(),
  membershipCommand(),
  pepCommand(),
  eraseCommand(),
  erasuresCommand(),
  readsCommand(),
  ssfCommand(),
  identityCommand(),
  regionCommand(),
  keysCommand(),
  epochCommand(),
]) {
  program.addCommand(command);
}
program.commandsGroup("Check:");
for (const command of [
  policyCommand(),
  explainCommand(),
  conformanceCommand(),
  lineageCommand(),
  logCommand(),
  evidenceCommand(),
  verifyCommand(),
  receiptCommand(),
  replayCommand(),
])
  program.addCommand(command);

exitWithTwoOnWrongUsage(program);

// Whoever reads (`| head`) has seen enough: what a shell says of a command that SIGPIPE ends, and no stack.
process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
  if (cause.code !== "EPIPE") throw cause;
  process.exit(141);
});

try {
  await program.parseAsync();
} catch (cause) {
  if (!(cause instanceof Problem)) throw cause;
  process.stderr.write(`interlock: ${cause.message}.\n  ${cause.todo}\n`);
  process.exitCode = cause.exitCode;
}

/** commander ends with 1 for a wrong option; `--help` and `--version` stay 0. */
function exitWithTwoOnWrongUsage(command: Command): void {
  command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  for (const child of command.commands) exitWithTwoOnWrongUsage(child);
}
