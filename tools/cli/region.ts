import { existsSync, writeFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import type { GeneralJWS } from "jose";
import { jcs } from "../../src/base/jcs.ts";
import { digestOf } from "../../src/base/digest.ts";
import type { Enrolment } from "../../src/objects/authority.ts";
import { Problem } from "../problem.ts";
import { signAdminToken } from "../region/admin-token.ts";
import { payloadOf } from "../region/enrol.ts";
import { signingKey } from "../region/keys.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { membershipDocument, mergeMembers, withDistrust, withState } from "../region/next-membership.ts";
import { buildMembership, memberOf, signMembership, type MemberRegion } from "../region/membership.ts";
import { trustCommand } from "./trust.ts";
import { auditorToken } from "./auditor.ts";
import { addTargetOptions, printJson, readJsonFile, targetOf, type TargetFlags } from "./target.ts";

/**
 * The enrolment ceremony (docs/operations/enrol.md): a region shows its public halves, the holders of the membership
 * roots sign a membership that lists them, and the region becomes active by holding it. Every step is a file that
 * can be carried by hand.
 */
export function regionCommand(): Command {
  const command = new Command("region").description("admit regions: keys, membership, activation");
  keygen(command);
  adminToken(command);
  auditorToken(command);
  enrol(command);
  signMembershipCommand(command);
  membershipCommand(command);
  activate(command);
  trustCommand(command);
  return command;
}

function keygen(command: Command): void {
  command
    .command("keygen")
    .description("make an Ed25519 key (membership root, or a region's admin issuer); prints the public half")
    .argument("<file>", "where the private JWK goes (0600); must not exist")
    .requiredOption("--kid <id>", "name of the key, e.g. root-1")
    .action(async (file: string, flags: { kid: string }) => {
      if (existsSync(file)) throw new Problem(`${file} exists`, "Choose another path: a key is never overwritten.", 2);
      printJson((await signingKey(file, flags.kid)).publicJwk);
    });
}

function adminToken(command: Command): void {
  command
    .command("admin-token")
    .description("sign an admin credential with the region's admin key")
    .requiredOption("--key <file>", "private JWK of the admin issuer")
    .requiredOption("--pdp <origin>", "PDP identifier of the region")
    .requiredOption("--admin <id>", "who the credential is for")
    .requiredOption("--scopes <list>", "e.g. revocations:write,status:read (docs/routes.md)")
    .option("--hours <n>", "lifetime", "8")
    .action(async (flags: { key: string; pdp: string; admin: string; scopes: string; hours: string }) => {
      const hours = Number(flags.hours);
      if (!(hours > 0 && hours <= 24 * 366))
        throw new Problem(`--hours ${flags.hours} is not a lifetime`, "Give 1 to 8784.", 2);
      const token = await signAdminToken(await signingKey(flags.key), {
        pdp: flags.pdp,
        admin: flags.admin,
        scopes: flags.scopes.split(",").map((scope) => scope.trim()),
        now_s: Math.floor(Date.now() / 1000),
        lifetime_s: Math.round(hours * 3_600),
      });
      process.stdout.write(token + "\n");
    });
}

function enrol(command: Command): void {
  addTargetOptions(
    command
      .command("enrol")
      .description("print the public halves of a region, for the holders of the membership roots")
      .option("--endpoint <url>", "address under which other regions reach it (default: its PDP identifier)"),
  ).action(async (flags: TargetFlags & { endpoint?: string }) => {
    const enrolment: Enrolment = await targetOf(flags).client.enrolment();
    printJson(memberOf(enrolment, flags.endpoint ?? enrolment.pdp));
    process.stderr.write(`Compare by voice before signing: ${digestOf(jcs(enrolment.keys))}\n`);
  });
}

function signMembershipCommand(command: Command): void {
  command
    .command("sign-membership")
    .description("sign a membership, or add a signature to one (each holder of a root runs this)")
    .argument("[enrolments...]", "files that `interlock region enrol` printed; none with --add")
    .requiredOption("--root <file...>", "private JWKs of membership roots")
    .addOption(
      new Option(
        "--before <file>",
        "the membership in force: its regions and rules stay, but for the enrolments given",
      ).conflicts("add"),
    )
    .addOption(
      new Option("--state <region=state...>", "joining, active, draining, or removed:SEQ:HASH with its last event")
        .default([])
        .conflicts(["add", "document"]),
    )
    .addOption(
      new Option("--distrust <kid:seq...>", "a key in other hands: nothing above that event counts under it")
        .default([])
        .conflicts(["add", "document"]),
    )
    .addOption(
      new Option(
        "--document <file>",
        "sign this document as it stands: written by hand (`region membership`)",
      ).conflicts(["add", "before"]),
    )
    .addOption(new Option("--version <n>", "must rise with every membership").argParser(parseVersion))
    .addOption(new Option("--add <file>", "a membership that others have signed: sign exactly the same document"))
    .requiredOption("--out <file>", "where the signed membership goes")
    .action(async (files: readonly string[], flags: SignFlags) => {
      const roots = await Promise.all(flags.root.map((path) => signingKey(path)));
      let jws: GeneralJWS;
      if (flags.document !== undefined) {
        jws = await signMembership(await membershipDocument(readJsonFile(flags.document, "membership")), roots);
      } else if (flags.add === undefined) {
        jws = await signMembership(await nextMembership(files, flags), roots);
      } else {
        const signed = readJsonFile(flags.add, "signed membership") as GeneralJWS;
        const membership = payloadOf(signed);
        if (membership === null)
          throw new Problem(`${flags.add} holds no membership`, "Give the file that `sign-membership` wrote.", 2);
        const mine = await signMembership(membership, roots);
        if (mine.payload !== signed.payload)
          throw new Problem(`${flags.add} is not in canonical form`, "Have it made again by `sign-membership`.");
        jws = { payload: signed.payload, signatures: [...signed.signatures, ...mine.signatures] };
      }
      writeFileSync(flags.out, JSON.stringify(jws, null, 2) + "\n");
      const membership = payloadOf(jws)!;
      process.stdout.write(
        `${flags.out}: version ${membership.version}, ${membership.regions.map(({ region }) => region).join(", ")}, ${jws.signatures.length} signature(s), until ${new Date(membership.expires_ms).toISOString()}\n`,
      );
    });
}

type SignFlags = {
  readonly root: string[];
  readonly version?: number;
  readonly add?: string;
  readonly before?: string;
  readonly state: readonly string[];
  readonly distrust: readonly string[];
  readonly document?: string;
  readonly out: string;
};

/** The membership that the enrolments make, on top of the one before where there is one. */
async function nextMembership(files: readonly string[], flags: SignFlags): Promise<Membership> {
  const before = flags.before === undefined ? null : insideOf(flags.before);
  const version = flags.version ?? (before === null ? undefined : before.version + 1);
  if (version === undefined || (before === null && files.length === 0)) {
    throw new Problem(
      "A new membership needs enrolments and a version",
      "Give the enrolment files and --version, or --before FILE, or --add FILE.",
      2,
    );
  }
  const shown = files.map((path) => readJsonFile(path, "enrolment") as MemberRegion);
  const regions = mergeMembers(before?.regions ?? [], shown);
  const membership = buildMembership(
    flags.distrust.reduce(withDistrust, flags.state.reduce(withState, regions)),
    version,
    Date.now(),
    before ?? {},
  );
  return membershipDocument(membership);
}

function insideOf(path: string): Membership {
  const membership = payloadOf(readJsonFile(path, "signed membership") as GeneralJWS);
  if (membership === null)
    throw new Problem(`${path} holds no membership`, "Give the file that `sign-membership` wrote.", 2);
  return membership;
}

function membershipCommand(command: Command): void {
  command
    .command("membership")
    .description("print the document inside a signed membership: to read, or to change and sign with --document")
    .argument("<file>", "that `sign-membership` wrote")
    .action((file: string) => printJson(insideOf(file)));
}

function activate(command: Command): void {
  addTargetOptions(
    command
      .command("activate")
      .description("hand a signed membership to a region")
      .argument("<file>", "that `sign-membership` wrote"),
  ).action(async (file: string, flags: TargetFlags) => {
    const { mode, membership_version } = await targetOf(flags).client.putMembership(
      readJsonFile(file, "signed membership"),
    );
    process.stdout.write(`${mode}, membership version ${membership_version}\n`);
  });
}

function parseVersion(text: string): number {
  const version = Number(text);
  if (!Number.isInteger(version) || version < 1) throw new InvalidArgumentError("A version is a whole number from 1.");
  return version;
}
