import { Command, InvalidArgumentError, Option } from "commander";
import type { RevocationView } from "../../src/objects/authority.ts";
import type { PepScope } from "../../src/vocabulary/types.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** What an operator does to a running region, over its admin routes. Answers are printed as JSON. */

const DAY_S = 86_400;
const PEP_SCOPES: readonly PepScope[] = ["evaluate", "search", "runs", "lineage.read"];

function parseScopes(text: string): PepScope[] {
  const scopes = text.split(",").map((scope) => scope.trim());
  const unknown = scopes.find((scope) => !(PEP_SCOPES as readonly string[]).includes(scope));
  if (unknown !== undefined) throw new InvalidArgumentError(`"${unknown}" is not one of ${PEP_SCOPES.join(", ")}.`);
  return scopes as PepScope[];
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > 366)
    throw new InvalidArgumentError("A credential lives 1 to 366 days.");
  return days;
}

const reasonOption = (): Option => new Option("--reason <text>", "why, for the record").makeOptionMandatory();

export function statusCommand(): Command {
  return addTargetOptions(new Command("status").description("mode, revision, policy and leases of a region")).action(
    async (flags: TargetFlags) => printJson(await targetOf(flags).client.status()),
  );
}

export function revokeCommand(): Command {
  return addTargetOptions(
    new Command("revoke")
      .description(
        "deny everything that depends on a key; done when no shard of the region allows it any more (effect: denies)",
      )
      .argument("<key>", "canonical key, e.g. subject:agent/invoice-reader")
      .addOption(
        new Option("--from <when>", "issue: live credentials; beginning: also what already rested on it (compromise)")
          .choices(["issue", "beginning"])
          .default("issue"),
      )
      .addOption(reasonOption()),
  ).action(async (key: string, flags: TargetFlags & { from: string; reason: string }) => {
    const view = await targetOf(flags).client.revoke({ key, from: flags.from, reason: flags.reason, wait: "local" });
    printJson(view);
    const warning = effectWarning(view);
    if (warning !== null) process.stderr.write(`${warning}\n`);
  });
}

/** What must not be missed in a revocation that is `confirmed` and yet stops nothing; `null` where it denies. */
function effectWarning({ effect, key }: Pick<RevocationView, "effect" | "key">): string | null {
  if (effect === "denies") return null;
  const kind = key.slice(0, key.indexOf(":"));
  return `RECORDED ONLY: no decision rests on keys of kind ${kind} yet, so this revocation denies nothing today. To stop access now, revoke the subject, resource, PEP, credential, key, issuer or run, or freeze the region.`;
}

export function restoreCommand(): Command {
  return addTargetOptions(
    new Command("restore")
      .description("lift a revocation that this region made")
      .argument("<id>", "as `revoke` and `revocations` print it")
      .addOption(reasonOption()),
  ).action(async (id: string, flags: TargetFlags & { reason: string }) => {
    printJson(await targetOf(flags).client.restore(id, flags.reason));
  });
}

export function revocationsCommand(): Command {
  return addTargetOptions(
    new Command("revocations")
      .description("list revocations, oldest change first")
      .option("--after <revision>", "go on after this one")
      .option("--limit <n>", "at most this many"),
  ).action(async (flags: TargetFlags & { after?: string; limit?: string }) => {
    const query = new URLSearchParams();
    if (flags.after !== undefined) query.set("after", flags.after);
    if (flags.limit !== undefined) query.set("limit", flags.limit);
    printJson(await targetOf(flags).client.revocations(query.size === 0 ? "" : `?${query}`));
  });
}

export function readsCommand(): Command {
  return addTargetOptions(
    new Command("reads")
      .description("who read which records, oldest first; looking is recorded as well")
      .option("--after <id>", "go on after this one")
      .option("--limit <n>", "at most this many"),
  ).action(async (flags: TargetFlags & { after?: string; limit?: string }) => {
    const query = new URLSearchParams();
    if (flags.after !== undefined) query.set("after", flags.after);
    if (flags.limit !== undefined) query.set("limit", flags.limit);
    printJson(await targetOf(flags).client.reads(query.size === 0 ? "" : `?${query}`));
  });
}

export function freezeCommand(): Command {
  return addTargetOptions(
    new Command("freeze").description("deny everything in a region until it is unfrozen").addOption(reasonOption()),
  ).action(async (flags: TargetFlags & { reason: string }) =>
    printJson(await targetOf(flags).client.freeze(flags.reason)),
  );
}

export function unfreezeCommand(): Command {
  return addTargetOptions(
    new Command("unfreeze").description("let a frozen region decide again").addOption(reasonOption()),
  ).action(async (flags: TargetFlags & { reason: string }) =>
    printJson(await targetOf(flags).client.unfreeze(flags.reason)),
  );
}

export function pepCommand(): Command {
  const command = new Command("pep").description("enforcement points that may ask a region");
  addTargetOptions(
    command
      .command("register")
      .description("register a PEP; its credential is printed once and kept nowhere")
      .argument("<id>", "name of the PEP, e.g. payments-gateway")
      .addOption(
        new Option("--scopes <list>", `of ${PEP_SCOPES.join(", ")}`)
          .default(["evaluate"], "evaluate")
          .argParser(parseScopes),
      )
      .addOption(new Option("--days <n>", "lifetime").default(90).argParser(parseDays)),
  ).action(async (id: string, flags: TargetFlags & { scopes: PepScope[]; days: number }) => {
    printJson(await targetOf(flags).client.registerPep({ id, scopes: flags.scopes, ttl_s: flags.days * DAY_S }));
  });
  addTargetOptions(command.command("list").description("the registered PEPs")).action(async (flags: TargetFlags) =>
    printJson(await targetOf(flags).client.listPeps()),
  );
  return command;
}
