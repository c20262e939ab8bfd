import { Command, InvalidArgumentError, Option } from "commander";
import type { KeysView } from "../../src/objects/keys.ts";
import { Problem } from "../problem.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** A region's own keys (docs/operations/rotate-keys.md). */

const reasonOption = (): Option => new Option("--reason <text>", "why, for the record").makeOptionMandatory();
const say = (text: string): void => void process.stderr.write(text + "\n");

export function keysCommand(): Command {
  const command = new Command("keys").description("the keys of a region's authority: show, make the next, switch");
  addTargetOptions(
    command.command("show").description("keys in use, next and past, and what a switch waits for"),
  ).action(async (flags: TargetFlags) => show(await targetOf(flags).client.keys()));
  addTargetOptions(
    command
      .command("next")
      .description("make the next key; nothing is signed with it before the membership lists it")
      .addOption(reasonOption())
      .option("--idempotency-key <key>", "the same key is the same call, for a day"),
  ).action(async (flags: TargetFlags & { reason: string; idempotencyKey?: string }) => {
    const { reason, idempotencyKey: idempotency_key } = flags;
    const body = { reason, ...(idempotency_key === undefined ? {} : { idempotency_key }) };
    show(await targetOf(flags).client.nextKey(body));
  });
  addTargetOptions(
    command
      .command("switch")
      .description("sign with the next key now, instead of when the region does so by itself")
      .addOption(reasonOption())
      .option("--force", "also where a peer lacks the membership: it denies what rests on this region until it has it"),
  ).action(async (flags: TargetFlags & { reason: string; force?: true }) => {
    const { reason, force } = flags;
    show(await targetOf(flags).client.switchKey({ reason, ...(force === undefined ? {} : { force }) }));
  });
  addTargetOptions(
    command
      .command("rotate")
      .description("new keys for objects whose keys no membership lists, at once")
      .addOption(
        new Option("--role <role>", "shard: receipt keys")
          .choices(["shard", ...Object.keys(ELSEWHERE)])
          .makeOptionMandatory(),
      )
      .option("--shard <k>", "one shard (default: each)", parseShard)
      .addOption(reasonOption()),
  ).action(async (flags: TargetFlags & { role: string; shard?: number; reason: string }) => {
    const elsewhere = ELSEWHERE[flags.role];
    if (elsewhere !== undefined) throw new Problem(`The ${flags.role} key is not changed like this`, elsewhere, 2);
    const { reason, shard } = flags;
    printJson(await targetOf(flags).client.rotateShardKeys({ reason, ...(shard === undefined ? {} : { shard }) }));
  });
  return command;
}

/** What to do for a key that changes otherwise (docs/operations/rotate-keys.md). */
const ELSEWHERE: Readonly<Record<string, string>> = {
  authority: "interlock keys next: the membership has to list it first.",
  pep: "PEP credentials are signed with the authority's key: interlock keys next.",
  log: "One key for one log origin: it changes with the log epoch, interlock epoch seal and next.",
  witness: "It does not change: let the roots take it out of the membership.",
};

function parseShard(text: string): number {
  const shard = Number(text);
  if (!Number.isInteger(shard) || shard < 0) throw new InvalidArgumentError("Shards are counted from 0.");
  return shard;
}

function show(keys: KeysView): void {
  printJson(keys);
  const { current, next, past, waits_for, behind } = keys;
  if (waits_for === "membership")
    say(`Next: interlock region enrol, have the roots sign a membership that lists ${next!.kid}, and activate it.`);
  else if (waits_for === "peers") say(`Next: activate membership ${keys.membership_version} in ${behind.join(", ")}.`);
  else if (next !== null) say(`${next.kid} is listed everywhere: the region switches to it, or interlock keys switch.`);
  else if (past.some(({ membership }) => membership === "listed"))
    say(`${current.kid} is in use. Next: enrol and have the roots sign once more, which closes the key before it.`);
}
