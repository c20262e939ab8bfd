import { setTimeout as pause } from "node:timers/promises";
import { Command, Option } from "commander";
import type { RevocationView, Wait } from "../../src/objects/revocations.ts";
import type { FreezeView } from "../../src/objects/freeze.ts";
import { messageOf, Problem } from "../problem.ts";
import type { AdminClient, RevokeRequest } from "../region/admin-client.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/**
 * What stops something, and what lets it go on again. The answer is JSON on standard output; what the waiting looks
 * like, and what must not be missed, is on standard error.
 */

export const reasonOption = (): Option => new Option("--reason <text>", "why, for the record").makeOptionMandatory();
/** Answers are JSON anyway: with it nothing is said beside them. */
export const jsonOption = (): Option => new Option("--json", "the answer only: no progress beside it");

const waitOption = (): Option =>
  new Option(
    "--wait <how>",
    "local: effective in this region; all: confirmed by every region; barrier: nobody can allow on less any more; accepted: durable",
  )
    .choices(["accepted", "local", "all", "barrier"])
    .default("local");

type StopFlags = TargetFlags & { readonly reason: string; readonly wait: Wait; readonly json?: true };

const say = (flags: { readonly json?: true }, text: string): void => {
  if (flags.json !== true) process.stderr.write(`${text}\n`);
};

/** `eu confirmed · us unconfirmed`, with what the entry is worth elsewhere. */
function standing({ status, binds = Object.keys(status) }: Standing): string {
  return Object.entries(status)
    .map(([region, word]) => `${region} ${word}${binds.includes(region) ? "" : " (it does not count there)"}`)
    .join(" · ");
}

/**
 * Away from home no lease of this region ends by itself: who has not confirmed after Δ is unconfirmed, and waiting on
 * brings nothing that could be promised.
 */
async function patienceOf(client: AdminClient, { home, origin }: RevocationView, wait: Wait): Promise<number> {
  if (wait !== "barrier" || home.includes(origin)) return WATCH_MS;
  const { delta_ms } = await client.peers().catch(() => ({ delta_ms: WATCH_MS }));
  return Math.min(delta_ms, WATCH_MS);
}

const reached = ({ status }: Pick<RevocationView, "status">, wait: Wait): boolean => {
  const words = Object.values(status);
  if (wait === "all") return words.every((word) => word === "confirmed");
  return words.every((word) => word !== "unconfirmed");
};

/** Longer than Δ by far: whoever has not confirmed by then is not reached soon. */
const WATCH_MS = 12_000;
const LOOK_MS = 200;

/** By region, how far something is; what `binds` there counts there, and everything does where it is not said. */
type Standing = Pick<RevocationView, "status"> & Partial<Pick<RevocationView, "binds">>;

/**
 * Waits in sight of the operator: the write is made with `accepted`, and its status read until it has reached what was
 * asked for. What is written lasts, whatever becomes of the waiting.
 */
async function watched<V extends Standing>(
  made: V,
  flags: StopFlags,
  patience_ms: number,
  look: (view: V) => Promise<V>,
): Promise<V> {
  const line = progress(flags);
  const until = Date.now() + patience_ms;
  let view = made;
  for (;;) {
    line(`${flags.wait}: ${standing(view)}`);
    if (reached(view, flags.wait) || Date.now() >= until) break;
    await pause(LOOK_MS);
    try {
      view = await look(view);
    } catch (cause) {
      say(flags, `\nWhat was written stands; how far it is cannot be read: ${messageOf(cause)}`);
      break;
    }
  }
  line(null);
  if (!reached(view, flags.wait))
    say(flags, `Not reached within ${patience_ms / 1_000} s: ${standing(view)}. What was written stands; look again.`);
  return view;
}

async function waited(client: AdminClient, made: RevocationView, flags: StopFlags): Promise<RevocationView> {
  if (flags.wait !== "all" && flags.wait !== "barrier") return made;
  const patience_ms = await patienceOf(client, made, flags.wait);
  return watched(made, flags, patience_ms, async (view) => ({ ...view, ...(await client.revocation(view.id)) }));
}

/** One line that is written over on a terminal; elsewhere a line for each change. `null` ends it. */
function progress(flags: { readonly json?: true }): (text: string | null) => void {
  let last = "";
  return (text) => {
    if (flags.json === true || text === last) return;
    if (process.stderr.isTTY) process.stderr.write(text === null ? "\n" : `\r\u001b[2K${text}`);
    else if (text !== null) process.stderr.write(`${text}\n`);
    last = text ?? last;
  };
}

async function enter(flags: StopFlags, request: Omit<RevokeRequest, "reason" | "wait">): Promise<void> {
  const { client } = targetOf(flags);
  const inSight = flags.wait === "all" || flags.wait === "barrier";
  const made = await client.revoke({ ...request, reason: flags.reason, wait: inSight ? "accepted" : flags.wait });
  const view = await waited(client, made, flags);
  printJson(view);
  warn(view);
}

/** What must not be missed, `--json` or not. */
function warn(view: RevocationView): void {
  for (const warning of [effectWarning(view), foreignWarning(view)])
    if (warning !== null) process.stderr.write(`${warning}\n`);
}

/** What must not be missed in a revocation that is `confirmed` and yet stops nothing; `null` where it denies. */
function effectWarning({ effect, key }: Pick<RevocationView, "effect" | "key">): string | null {
  if (effect === "denies") return null;
  const kind = key.slice(0, key.indexOf(":"));
  return `RECORDED ONLY: no decision rests on keys of kind ${kind} yet, so this revocation denies nothing today. To stop access now, revoke the subject, resource, PEP, credential, key, issuer or run, or freeze the region.`;
}

/** The key is at home elsewhere: this region's entry binds this region, and others only where membership says so. */
function foreignWarning({ home, origin, binds, status, forwarded }: RevocationView): string | null {
  if (home.includes(origin)) return null;
  const without = Object.keys(status).filter((region) => !binds.includes(region));
  const where = without.length === 0 ? "" : ` It does not count in ${without.join(", ")}.`;
  return `HOMED ELSEWHERE: the key is at home in ${home.join(", ")}.${where}${asked(forwarded)}`;
}

const SAID = {
  accepted: "has accepted it",
  pending: "has it, and one of its administrators decides (interlock requests)",
  refused: "has REFUSED it",
  unreachable: "has NOT ANSWERED yet, and is asked on",
} as const;

/** What the home said; regions that nobody could ask are left to the operator. */
function asked(forwarded: RevocationView["forwarded"]): string {
  const said = Object.entries(forwarded);
  if (said.length === 0) return " To stop it everywhere, revoke it there too.";
  return said.map(([region, word]) => ` ${region} was asked for the same and ${SAID[word]}.`).join("");
}

const keyArgument = "canonical key, e.g. subject:agent/invoice-reader";
const keyOption = (): Option =>
  new Option("--idempotency-key <key>", "the same key with the same content is the same call, for a day");
const withKey = (key: string | undefined): { readonly idempotency_key?: string } =>
  key === undefined ? {} : { idempotency_key: key };

export function revokeCommand(): Command {
  return addTargetOptions(
    new Command("revoke")
      .description(
        "deny everything that depends on a key; done when no shard of the region allows it any more (effect: denies)",
      )
      .argument("<key>", keyArgument)
      .addOption(
        new Option("--from <when>", "issue: live credentials; beginning: also what already rested on it (compromise)")
          .choices(["issue", "beginning"])
          .default("issue"),
      )
      .addOption(reasonOption())
      .addOption(waitOption())
      .addOption(keyOption())
      .option(
        "--force",
        "also the last admin key that is not revoked: nobody is let in until another one is configured",
      )
      .addOption(jsonOption()),
  ).action(
    async (key: string, flags: StopFlags & { from: string; idempotencyKey?: string; force?: true }): Promise<void> =>
      enter(flags, {
        key,
        from: flags.from,
        ...withKey(flags.idempotencyKey),
        ...(flags.force === true ? { force: true } : {}),
      }),
  );
}

function levelCommand(name: string, description: string): Command {
  return addTargetOptions(
    new Command(name)
      .description(description)
      .argument("<key>", keyArgument)
      .addOption(reasonOption())
      .addOption(waitOption())
      .addOption(keyOption())
      .addOption(jsonOption()),
  );
}

export function quarantineCommand(): Command {
  return levelCommand("quarantine", "deny what depends on a key while it is looked into").action(
    (key: string, flags: StopFlags & { idempotencyKey?: string }) =>
      enter(flags, { key, from: "issue", level: "quarantined", ...withKey(flags.idempotencyKey) }),
  );
}

export function degradeCommand(): Command {
  return levelCommand("degrade", "trust a key less: only what the packs admit for it is allowed").action(
    (key: string, flags: StopFlags & { idempotencyKey?: string }) =>
      enter(flags, { key, from: "issue", level: "degraded", ...withKey(flags.idempotencyKey) }),
  );
}

export function trustKeyCommand(): Command {
  return levelCommand("trust", "trust a key again that this region degraded or quarantined")
    .option("--until <time>", "degraded from then on, unless it is renewed (RFC 3339)")
    .action((key: string, flags: StopFlags & { idempotencyKey?: string; until?: string }) =>
      enter(flags, {
        key,
        from: "issue",
        level: "trusted",
        ...(flags.until === undefined ? {} : { until: flags.until }),
        ...withKey(flags.idempotencyKey),
      }),
    );
}

export function restoreCommand(): Command {
  return addTargetOptions(
    new Command("restore")
      .description("lift a revocation that this region made")
      .argument("<id>", "as `revoke` and `revocations` print it")
      .addOption(reasonOption())
      .addOption(
        new Option(
          "--wait <how>",
          "local: effective in this region; all: confirmed by every region. There is no barrier: nothing is taken away",
        )
          .choices(["local", "all"])
          .default("local"),
      )
      .addOption(jsonOption()),
  ).action(async (id: string, flags: StopFlags) => {
    const { client } = targetOf(flags);
    const made = await client.restore(id, flags.reason, "local");
    printJson(await waited(client, made, flags));
  });
}

export function stopCommand(): Command {
  return addTargetOptions(
    new Command("stop")
      .description("stop a run: revoke it from its beginning, and close it where it is homed in this region")
      .argument("<run>", "as the run was opened: <region>.<log epoch>.<id>")
      .addOption(reasonOption())
      .addOption(waitOption())
      .addOption(jsonOption()),
  ).action(async (run: string, flags: StopFlags) => {
    const { client } = targetOf(flags);
    const inSight = flags.wait === "all" || flags.wait === "barrier";
    const made = await client.stopRun(run, { reason: flags.reason, wait: inSight ? "accepted" : flags.wait });
    printJson({ ...(await waited(client, made, flags)), run: made.run });
    warn(made);
    if (made.run.status !== "closed")
      process.stderr.write(`The run is revoked; at its home it is ${made.run.status} (${made.run.home}).\n`);
  });
}

export function freezeCommand(): Command {
  return addTargetOptions(
    new Command("freeze")
      .description(
        "deny everything in a region until two administrators unfreeze it; others deny what is at home there",
      )
      .addOption(reasonOption())
      .addOption(waitOption())
      .addOption(jsonOption()),
  ).action(async (flags: StopFlags) => {
    const { client } = targetOf(flags);
    const inSight = flags.wait === "all" || flags.wait === "barrier";
    const made = await client.freeze(flags.reason, inSight ? "accepted" : flags.wait);
    if (!inSight) return printJson(made);
    printJson(
      await watched(made, flags, WATCH_MS, async (view) => {
        const { freeze } = (await client.status()) as Pick<FreezeView, "freeze">;
        return { ...view, freeze, status: freeze?.status ?? view.status };
      }),
    );
  });
}

export function unfreezeCommand(): Command {
  return addTargetOptions(
    new Command("unfreeze")
      .description("let a frozen region decide again: one administrator asks, another one confirms")
      .addOption(reasonOption())
      .option("--second", "as the second administrator of a region of this machine")
      .addOption(jsonOption()),
  ).action(async (flags: TargetFlags & { reason: string; json?: true }) => {
    if (flags.second === true && flags.region === undefined)
      throw new Problem("--second names a credential on this machine", "Give --region, or --token of the other.", 2);
    const view = await targetOf(flags).client.unfreeze(flags.reason);
    printJson(view);
    if (view.mode === "frozen") say(flags, whoIsNext(view, flags));
  });
}

function whoIsNext({ unfreeze }: FreezeView, { region, data }: TargetFlags): string {
  const until = unfreeze === null ? "soon" : `before ${new Date(unfreeze.expires_ms).toISOString()}`;
  const asked = unfreeze?.asked_by ?? "an administrator";
  const here =
    region === undefined
      ? "with the credential of another administrator: interlock unfreeze --region-url … --token …"
      : `on this machine with the other key: interlock unfreeze --region ${region}${data === ".interlock" ? "" : ` --data ${data}`} --reason … --second`;
  return `FROZEN STILL: ${asked} asked to lift the freeze; another administrator confirms it ${until}, ${here}`;
}
