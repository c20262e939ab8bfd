import { devCommand } from "./policy-dev.ts";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { InvalidArgumentError, Option, type Command } from "commander";
import type { PolicyView } from "../../src/objects/policy.ts";
import type { Offer } from "../../src/policy/bundles/update.ts";
import type { AdminClient } from "../region/admin-client.ts";
import type { Release } from "../policy/release.ts";
import type { Role } from "../../src/policy/bundles/refusals.ts";
import { Problem } from "../problem.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/**
 * `interlock policy …`: how signed policy is made and brought (docs/operations/publish-policy.md). What each command
 * needs is loaded when it runs.
 */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const say = (text: string): void => void process.stdout.write(text + "\n");

function whole(from: number, to: number, what: string) {
  return (text: string): number => {
    const number = Number(text);
    if (!Number.isInteger(number) || number < from || number > to)
      throw new InvalidArgumentError(`${what} is a whole number from ${from} to ${to}.`);
    return number;
  };
}

function time(text: string): number {
  const t_ms = Date.parse(text);
  if (Number.isNaN(t_ms)) throw new InvalidArgumentError("Give a time as 2026-12-01T06:00:00Z.");
  return t_ms;
}

async function existing(dir: string): Promise<Release> {
  if (!existsSync(dir))
    throw new Problem(
      `There is no release directory ${dir}`,
      "Check the path, or make one: interlock policy release.",
      2,
    );
  return releaseAt(dir);
}

const releaseAt = async (dir: string) => new (await import("../policy/release.ts")).Release(dir);

export function releaseCommands(command: Command): void {
  rootCommand(command);
  command
    .command("release")
    .description("build the bundle of all packs and the policy document over it, to be signed")
    .argument("<dir>", "release directory; made where there is none")
    .addOption(
      new Option("--version <n>", "higher than any before")
        .argParser(whole(1, 2 ** 48, "A version"))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--days <n>", "until it expires").default(90).argParser(whole(1, 3_660, "A lifetime in days")),
    )
    .addOption(new Option("--not-before <time>", "in force from then on, in every region at once").argParser(time))
    .option("--policies <dir>", "folder of packs (default: that of the checkout)")
    .action(release);
  command
    .command("sign")
    .description("add one signature to the root or the policy of a release")
    .argument("<dir>", "release directory")
    .addOption(new Option("--role <role>", "what is signed").choices(["root", "policy"]).makeOptionMandatory())
    .requiredOption("--key <file>", "Ed25519 private JWK with a kid")
    .action(async (dir: string, { role, key }: { role: "root" | "policy"; key: string }) => {
      const [{ addSignature, documentIn }, { signingKey }, { assureSigner }] = await signing();
      const at = await releaseAt(dir);
      const envelope = role === "root" ? at.roots().at(-1) : at.document("policy");
      if (envelope === undefined || envelope === null) throw nothingToSign(dir, role);
      const { version, sha256 } = documentIn(role, envelope, dir);
      const signer = await signingKey(key);
      assureSigner(at, role, signer, key);
      const signed = await addSignature(envelope, role, signer);
      at.write(role, signed, version);
      say(
        `${role} version ${version} (${sha256}): ${signed.signatures.length === 1 ? "1 signature" : `${signed.signatures.length} signatures`}`,
      );
    });
  stampOptions(
    command
      .command("timestamp")
      .description("sign that the policy of a release is the newest; a region denies everything when it expires")
      .argument("<dir>", "release directory"),
  ).action(async (dir: string, flags: StampFlags) => {
    await stamp(dir, flags);
  });
  addTargetOptions(
    stampOptions(
      command
        .command("refresh")
        .description("what a publisher runs: a new timestamp, signed and brought to a region, again and again")
        .argument("<dir>", "release directory"),
    ).addOption(new Option("--every <minutes>", "go on until stopped").argParser(whole(1, 720, "Minutes"))),
  ).action(refresh);
  addTargetOptions(
    command
      .command("publish")
      .description("bring a release to a region: golden decisions, what the region would say, then the offer")
      .argument("<dir>", "release directory")
      .option("--second", "as the second administrator of a region of this machine")
      .option("--acknowledge <digest>", "of the report: what it newly allows is meant")
      .option("--dry-run", "only what the region would say; changes nothing"),
  ).action(publish);
  addTargetOptions(
    command
      .command("status")
      .description("what a region decides by, until when, and what to do next; exit code 1 where nothing is in force")
      .option("--json", "all that the region says, with the signed documents"),
  ).action(async (flags: TargetFlags & { readonly json?: true }) => {
    const { describeStanding } = await import("../policy/standing.ts");
    const view = await targetOf(flags).client.policy();
    if (flags.json === true) printJson(view);
    else for (const line of describeStanding(view, Date.now())) say(line);
    if (view.problem !== null) process.exitCode = 1;
  });
  addTargetOptions(
    command
      .command("rollback-check")
      .description("what a region would say to a release: its documents, and the report of its gate; changes nothing")
      .argument("<dir>", "release directory")
      .option("--acknowledge <digest>", "of the report: what it newly allows is meant"),
  ).action(async (dir: string, flags: TargetFlags & { readonly acknowledge?: string }) => {
    const { client } = targetOf(flags);
    await existing(dir);
    const view = await client.policy();
    await checkAgainst(dir, view);
    await dryRun(client, (await releaseAt(dir)).offerFor(view), flags.acknowledge);
    say("the region would take it");
  });
  command
    .command("check")
    .description(
      "policies that cannot take effect, golden questions answered otherwise, and what a release may newly allow",
    )
    .argument("<dir>", "release directory")
    .option("--against <dir>", "release to compare with (default: the baseline of this checkout)")
    .option("--json", "findings as JSON")
    .action(check);
  devCommand(command);
}

const signing = () =>
  Promise.all([import("../policy/sign.ts"), import("../region/keys.ts"), import("../policy/signer.ts")] as const);

const nothingToSign = (dir: string, role: Role): Problem =>
  new Problem(
    `${dir} has no ${role} document`,
    role === "root" ? "Make one: interlock policy root." : "Make one: interlock policy release.",
    2,
  );

type RootFlags = {
  readonly rootKey: readonly string[];
  readonly policyKey: readonly string[];
  readonly timestampKey: readonly string[];
  readonly thresholds: readonly [number, number, number];
  readonly days: number;
};

function thresholds(text: string): readonly [number, number, number] {
  const match = /^([0-9]{1,2}),([0-9]{1,2}),([0-9]{1,2})$/.exec(text);
  if (match === null) throw new InvalidArgumentError("Give three numbers, root,policy,timestamp, e.g. 2,2,1.");
  return [Number(match[1]), Number(match[2]), Number(match[3])];
}

function rootCommand(command: Command): void {
  command
    .command("root")
    .description("make the next version of the root from public keys: who may sign what; then sign it")
    .argument("<dir>", "release directory")
    .requiredOption("--root-key <file...>", "JWKs, public halves, of those who may sign roots")
    .requiredOption("--policy-key <file...>", "… policies")
    .requiredOption("--timestamp-key <file...>", "… timestamps")
    .addOption(
      new Option("--thresholds <r,p,t>", "how many must sign").default([2, 2, 1], "2,2,1").argParser(thresholds),
    )
    .addOption(
      new Option("--days <n>", "until it expires").default(365).argParser(whole(1, 3_660, "A lifetime in days")),
    )
    .action(async (dir: string, flags: RootFlags) => {
      const { documentIn, rootDocument, unsignedEnvelope } = await import("../policy/sign.ts");
      const { publicKey } = await import("../policy/public-key.ts");
      const at = await releaseAt(dir);
      const last = at.roots().at(-1);
      const version = last === undefined ? 1 : documentIn("root", last, dir).version + 1;
      const {
        rootKey,
        policyKey,
        timestampKey,
        thresholds: [root, policy, timestamp],
        days,
      } = flags;
      const keys = {
        root: rootKey.map(publicKey),
        policy: policyKey.map(publicKey),
        timestamp: timestampKey.map(publicKey),
      };
      const document = rootDocument(keys, { root, policy, timestamp }, version, Date.now() + days * DAY_MS);
      const path = at.write("root", unsignedEnvelope("root", document), version);
      const also = version === 1 ? "" : ", and by those of the root before";
      say(
        `wrote ${path}: version ${version}, to be signed by ${root} of its root keys${also} (interlock policy sign --role root)`,
      );
    });
}

type ReleaseFlags = {
  readonly version: number;
  readonly days: number;
  readonly notBefore?: number;
  readonly policies?: string;
};

async function release(dir: string, { version, days, notBefore, policies }: ReleaseFlags): Promise<void> {
  const [{ buildArtefact }, { policyDocument, unsignedEnvelope, documentIn }] = await Promise.all([
    import("../policy/artefact.ts"),
    import("../policy/sign.ts"),
  ]);
  const bytes = await buildArtefact(policies);
  const now = Date.now();
  const document = policyDocument(bytes, { version, expires_ms: now + days * DAY_MS, not_before_ms: notBefore ?? now });
  const at = await releaseAt(dir);
  const envelope = unsignedEnvelope("policy", document);
  say(`wrote ${at.writeBundle(bytes)}: ${bytes.length} bytes, ${document.bundle.sha256}`);
  say(
    `wrote ${at.write("policy", envelope)}: version ${version}, ${documentIn("policy", envelope, dir).sha256}, not signed yet`,
  );
}

type StampFlags = { readonly key: string; readonly hours: number };

const stampOptions = (command: Command): Command =>
  command
    .requiredOption("--key <file>", "the publisher's key: Ed25519 private JWK of the timestamp role")
    .addOption(
      new Option("--hours <n>", "lifetime, 24 at most").default(24).argParser(whole(1, 24, "A lifetime in hours")),
    );

async function stamp(dir: string, { key, hours }: StampFlags): Promise<void> {
  const [{ documentIn, signDocument, timestampDocument }, { signingKey }, { assureSigner }] = await signing();
  const at = await releaseAt(dir);
  const policy = at.document("policy");
  if (policy === null) throw nothingToSign(dir, "policy");
  const before = at.document("timestamp");
  const version = before === null ? 1 : documentIn("timestamp", before, dir).version + 1;
  const named = documentIn("policy", policy, dir);
  const document = timestampDocument(named, version, Date.now(), hours * HOUR_MS);
  const signer = await signingKey(key);
  assureSigner(at, "timestamp", signer, key);
  at.write("timestamp", await signDocument("timestamp", document, [signer]));
  say(`timestamp ${version} over policy ${named.version}, until ${new Date(document.expires_ms).toISOString()}`);
}

async function refresh(dir: string, flags: StampFlags & TargetFlags & { readonly every?: number }): Promise<void> {
  const { offerBody } = await import("../policy/release.ts");
  const { client, name } = targetOf(flags);
  const step = async (): Promise<void> => {
    await stamp(dir, flags);
    const timestamp = (await releaseAt(dir)).document("timestamp");
    const view = await client.putPolicy(offerBody({ roots: [], timestamp, policy: null, bundle: null }));
    say(`${name}: ${view.outcome}`);
  };
  if (flags.every === undefined) return step();
  const { publishAgain } = await import("../policy/publisher.ts");
  const complain = (text: string): void => void process.stderr.write(`interlock: ${text}\n`);
  await publishAgain(step, flags.every * 60_000, { sleep, complain });
}

async function checkAgainst(dir: string, view: PolicyView): Promise<void> {
  const { rollbackCheck } = await import("../policy/release.ts");
  const now = Date.now();
  const checked = await rollbackCheck(await releaseAt(dir), view, now);
  if (!checked.ok) {
    const { code, role, detail } = checked.error;
    // A deployment may have pinned the new root, which only the region knows: it is asked next.
    if (code === "root_not_endorsed" || code === "root_skipped") return;
    throw new Problem(
      `region ${view.region} would refuse it: policy_${code} (${role}: ${detail})`,
      "Nothing has changed. What each code means: docs/policy.md, What is refused.",
    );
  }
  const { policy, previous } = checked.value;
  const until = policy !== null && policy.document.not_before_ms > now && previous === null;
  if (policy === null || until)
    say(
      `WARNING: region ${view.region} would trust no policy ${until ? `before ${new Date(policy.document.not_before_ms).toISOString()}` : "until one is signed by its root's keys"}, and deny everything until then`,
    );
}

/** Says what the region found; a Problem where it would refuse. */
async function dryRun(client: AdminClient, offer: Offer, acknowledge: string | undefined): Promise<void> {
  const [{ offerBody }, { describeGate }] = await Promise.all([
    import("../policy/release.ts"),
    import("../policy/newly-allowed.ts"),
  ]);
  const body = { ...offerBody(offer), dry_run: true as const };
  const { gate, refusal, outcome, region } = await client.putPolicy(
    acknowledge === undefined ? body : { ...body, acknowledge },
  );
  if (outcome !== "unchanged") for (const line of gate === null ? [] : describeGate(gate)) say(`${region}: ${line}`);
  if (refusal !== null)
    throw new Problem(
      `region ${region} would refuse it: ${refusal.code} (${refusal.role}: ${refusal.detail})`,
      "See docs/policy.md, The gate.",
    );
}

type PublishFlags = TargetFlags & { readonly acknowledge?: string; readonly dryRun?: true };

async function publish(dir: string, flags: PublishFlags): Promise<void> {
  const { offerBody } = await import("../policy/release.ts");
  const { assureGolden } = await import("../policy/golden-of.ts");
  const { client, name } = targetOf(flags);
  const at = await existing(dir);
  const bytes = at.bundle();
  if (bytes !== null) say(assureGolden(bytes));
  const view = await client.policy();
  await checkAgainst(dir, view);
  const { acknowledge } = flags;
  await dryRun(client, at.offerFor(view), acknowledge);
  if (flags.dryRun) return say(`${name}: it would take it`);
  const { outcome, version, next, asked, problem, source } = await client.putPolicy({
    ...offerBody(at.offerFor(view)),
    ...(acknowledge === undefined ? {} : { acknowledge }),
  });
  if (outcome === "asked")
    say(`${name}: asked by ${asked?.asked_by}; another administrator has to bring the same (--second)`);
  else if (problem !== null) say(`${name}: ${outcome}; DENIES EVERYTHING: ${problem}`);
  else say(`${name}: ${outcome}; in force: ${source === "baseline" ? "the baseline" : `version ${version}`}`);
  if (next !== null) say(`${name}: version ${next.version} from ${new Date(next.from_ms).toISOString()}`);
  if (problem !== null && outcome !== "asked") process.exitCode = 1;
}

async function check(
  dir: string,
  { against, json }: { readonly against?: string; readonly json?: true },
): Promise<void> {
  const [{ conflicts }, { artefactIn }, { describeNewlyAllowed, newlyAllowed }, { baselineBundle }] = await Promise.all(
    [
      import("../policy/conflicts.ts"),
      import("../policy/golden-of.ts"),
      import("../policy/newly-allowed.ts"),
      import("../policy/artefact.ts"),
    ],
  );
  const candidate = artefactIn(await releaseAt(dir), dir);
  const before = against === undefined ? await baselineBundle() : artefactIn(await releaseAt(against), against);
  const findings = conflicts(candidate, before);
  const allowed = newlyAllowed(candidate, before);
  if (json)
    return printJson({
      findings,
      newly_allowed: allowed,
      signatures: allowed.some(({ irreversible }) => irreversible) ? 2 : 1,
    });
  for (const { kind, where, detail } of findings) say(`${kind}: ${where}: ${detail}`);
  say(`${findings.length} findings`);
  for (const line of describeNewlyAllowed(allowed)) say(line);
}
