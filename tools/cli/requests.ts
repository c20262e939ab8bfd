import { Command, Option } from "commander";
import { reasonOption } from "./stop.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

const PAGE = 1_000;

/** `interlock requests`: what other regions ask about keys that are at home here (docs/operations/revoke.md). */
export function requestsCommand(): Command {
  const command = new Command("requests").description("what other regions ask to be revoked that is at home here");
  addTargetOptions(
    command
      .command("list", { isDefault: true })
      .description("all of them, oldest first; matches is the key, where the region knows it by name")
      .option("--key <key>", "only those about this canonical key: is this the one that is meant?"),
  ).action(async (flags: TargetFlags & { key?: string }) => {
    const { client } = targetOf(flags);
    const key = flags.key === undefined ? "" : `&key=${encodeURIComponent(flags.key)}`;
    const requests = [];
    for (let after: number | null = 0; after !== null;) {
      const page: Awaited<ReturnType<typeof client.requests>> = await client.requests(
        `?limit=${PAGE}&after=${after}${key}`,
      );
      requests.push(...page.requests);
      after = page.next;
    }
    printJson({ requests });
  });
  addTargetOptions(
    command
      .command("accept")
      .description("do as was asked: the key is revoked, or lowered, by this region too")
      .argument("<id>", "as `requests` prints it")
      .requiredOption("--key <key>", "the canonical key that is meant; the region checks that it is")
      .addOption(reasonOption())
      .addOption(
        new Option("--wait <how>", "as for revoke").choices(["accepted", "local", "all", "barrier"]).default("local"),
      ),
  ).action(async (id: string, flags: TargetFlags & { key: string; reason: string; wait: string }) => {
    const { key, reason, wait } = flags;
    printJson(await targetOf(flags).client.acceptRequest(id, { key, reason, wait }));
  });
  addTargetOptions(
    command
      .command("refuse")
      .description("leave the key as it is; the region that asked is told so")
      .argument("<id>")
      .addOption(reasonOption()),
  ).action(async (id: string, flags: TargetFlags & { reason: string }) => {
    printJson(await targetOf(flags).client.refuseRequest(id, flags.reason));
  });
  return command;
}
