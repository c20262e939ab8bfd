import { Command, InvalidArgumentError, Option } from "commander";
import type { PepScope } from "../../src/vocabulary/types.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** What an operator does to a running region, over its admin routes. Answers are printed as JSON. */

const DAY_S = 86_400;
const PEP_SCOPES: readonly PepScope[] = ["evaluate", "search", "runs", "lineage.read", "approve"];

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

export function statusCommand(): Command {
  return addTargetOptions(new Command("status").description("mode, revision, policy and leases of a region")).action(
    async (flags: TargetFlags) => printJson(await targetOf(flags).client.status()),
  );
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
      .description("who read which records, newest first, over all log epochs; looking is recorded as well")
      .option("--cursor <text>", "next_cursor of the page before")
      .option("--limit <n>", "at most this many"),
  ).action(async (flags: TargetFlags & { cursor?: string; limit?: string }) => {
    const query = new URLSearchParams();
    if (flags.cursor !== undefined) query.set("cursor", flags.cursor);
    if (flags.limit !== undefined) query.set("limit", flags.limit);
    printJson(await targetOf(flags).client.reads(query.size === 0 ? "" : `?${query}`));
  });
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
      .option("--audience <name...>", "besides its id, an audience whose permits it redeems")
      .addOption(new Option("--days <n>", "lifetime").default(90).argParser(parseDays)),
  ).action(async (id: string, flags: TargetFlags & { scopes: PepScope[]; audience?: string[]; days: number }) => {
    const { scopes, audience, days } = flags;
    const audiences = audience === undefined ? {} : { audiences: audience };
    printJson(await targetOf(flags).client.registerPep({ id, scopes, ...audiences, ttl_s: days * DAY_S }));
  });
  addTargetOptions(command.command("list").description("the registered PEPs")).action(async (flags: TargetFlags) =>
    printJson(await targetOf(flags).client.listPeps()),
  );
  return command;
}
