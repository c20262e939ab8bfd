import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { messageOf, Problem } from "../problem.ts";
import { dataDirOf, readSecretJson } from "../workerd/data-dir.ts";
import { dataOption, parseRegionName } from "./options.ts";
import { printJson, urlOf, type TargetFlags } from "./target.ts";

/** `interlock approvals`: what waits for an approver, and the approver's word (docs/approvals.md). */

type Flags = Pick<TargetFlags, "region" | "regionUrl" | "token" | "data">;
type AnswerFlags = Flags & { readonly approver: Ref; readonly because?: string };
type Ref = { readonly type: string; readonly id: string };

function parseEntity(text: string): Ref {
  const at = text.indexOf(":");
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError("Give type:id, such as user:bob@bank.example.");
  return { type: text.slice(0, at), id: text.slice(at + 1) };
}

/** A PEP's credential and not an administrator's: approving is not administering. */
const addDesk = (command: Command): Command =>
  command
    .addOption(new Option("--region <name>", "a region of this machine").argParser(parseRegionName))
    .addOption(new Option("--region-url <url>", "any region, by address"))
    .addOption(new Option("--token <jwt>", "credential of a PEP with the scope approve").env("INTERLOCK_PEP_TOKEN"))
    .addOption(dataOption());

function deskOf(flags: Flags) {
  const url = urlOf(flags);
  const kept =
    flags.region === undefined
      ? null
      : (readSecretJson(join(dataDirOf(flags.data, flags.region).keys, "pep.json")) as { credential: string } | null);
  const credential = flags.token || kept?.credential;
  if (credential === undefined)
    throw new Problem(`There is no PEP credential for ${url}`, "Give one with --token or INTERLOCK_PEP_TOKEN.", 2);
  return { url: `${url.replace(/\/+$/, "")}/access/v1/requests`, credential };
}

/** Prints the answer, or fails with what the region said. A credential never follows a redirect. */
async function ask({ url, credential }: ReturnType<typeof deskOf>, path: string, body?: object): Promise<void> {
  const headers = { authorization: `Bearer ${credential}`, "content-type": "application/json" };
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  let answer: Response;
  try {
    answer = await fetch(url + path, { ...sent, headers, redirect: "error", signal: AbortSignal.timeout(10_000) });
  } catch (cause) {
    throw new Problem(`${url} cannot be reached (${messageOf(cause)})`, "Is the region running?");
  }
  const told = JSON.parse(await answer.text()) as { readonly code?: string; readonly detail?: string };
  if (!answer.ok) throw new Problem(`${told.code}: ${told.detail}`, "Nothing was changed.");
  printJson(told);
}

export function approvalsCommand(): Command {
  const command = new Command("approvals").description("steps that wait for somebody's approval");
  addDesk(command.command("list", { isDefault: true }).description("what waits, oldest first")).action(
    async (flags: Flags) => {
      await ask(deskOf(flags), "?limit=999");
    },
  );
  const answers = [
    ["approve", "let the step be asked again with this approval; it gives no access by itself"],
    ["refuse", "end the request"],
  ] as const;
  for (const [verb, description] of answers)
    addDesk(
      command
        .command(verb)
        .description(description)
        .argument("<id>", "as `approvals list` prints it")
        .addOption(
          new Option("--approver <type:id>", "whose word it is; the region's packs say whether it counts")
            .argParser(parseEntity)
            .makeOptionMandatory(),
        )
        .option("--because <text>", "kept with the answer, in the sealed record"),
    ).action(async (id: string, flags: AnswerFlags) => {
      const { approver, because: justification } = flags;
      await ask(deskOf(flags), `/${encodeURIComponent(id)}/${verb}`, { approver, justification });
    });
  return command;
}
