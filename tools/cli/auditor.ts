import { join } from "node:path";
import { Option, type Command } from "commander";
import { decodeJwt } from "jose";
import { Problem } from "../problem.ts";
import { AUDITOR_SCOPES, signAdminToken } from "../region/admin-token.ts";
import { signingKey } from "../region/keys.ts";
import { dataDirOf, readSecret } from "../workerd/data-dir.ts";
import { dataOption, parseRegionName } from "./options.ts";

type Flags = {
  readonly auditor: string;
  readonly hours: string;
  readonly region?: string;
  readonly key?: string;
  readonly pdp?: string;
  readonly data: string;
};

/** An auditor comes, reads and goes: a credential that outlives the visit is one to be stolen. */
const MAX_HOURS = 7 * 24;

export function auditorToken(command: Command): void {
  command
    .command("auditor-token")
    .description("sign a short credential that reads records of one region and does nothing else")
    .requiredOption("--auditor <id>", "who it is for; every read is recorded under this name")
    .option("--hours <n>", `lifetime, at most ${MAX_HOURS}`, "8")
    .addOption(
      new Option("--region <name>", "a region of this machine: key and PDP from its data directory").argParser(
        parseRegionName,
      ),
    )
    .option("--key <file>", "private JWK of the admin issuer")
    .option("--pdp <origin>", "PDP identifier of the region")
    .addOption(dataOption())
    .action(async (flags: Flags) => {
      const hours = Number(flags.hours);
      if (!(hours > 0 && hours <= MAX_HOURS))
        throw new Problem(`--hours ${flags.hours} is not a lifetime`, `Give at most ${MAX_HOURS}.`, 2);
      if (!/^[\x21-\x7e]{1,128}$/.test(flags.auditor))
        throw new Problem("--auditor is not a name", "Give 1 to 128 visible ASCII characters.", 2);
      const { key, pdp } = issuerOf(flags);
      const token = await signAdminToken(await signingKey(key), {
        pdp,
        admin: `auditor:${flags.auditor}`,
        scopes: AUDITOR_SCOPES,
        now_s: Math.floor(Date.now() / 1_000),
        lifetime_s: Math.round(hours * 3_600),
      });
      process.stdout.write(token + "\n");
      const { jti, exp } = decodeJwt(token);
      process.stderr.write(
        `Ends ${new Date(exp! * 1_000).toISOString()}. To end it before: interlock revoke 'credential:${pdp}/admin#${jti}' --reason "…"\n`,
      );
    });
}

function issuerOf({ region, key, pdp, data }: Flags): { readonly key: string; readonly pdp: string } {
  if (key !== undefined && pdp !== undefined) return { key, pdp };
  if (region === undefined)
    throw new Problem("It is not said which region signs", "Give --region NAME, or --key FILE and --pdp ORIGIN.", 2);
  const { keys } = dataDirOf(data, region);
  const kept = readSecret(join(keys, "admin.jwt"))?.trim();
  const aud = kept === undefined ? undefined : decodeJwt(kept).aud;
  if (typeof aud !== "string")
    throw new Problem(
      `No region ${region} was started in ${data}`,
      "Start it, or give --key FILE and --pdp ORIGIN.",
      2,
    );
  return { key: key ?? join(keys, "admin.jwk"), pdp: pdp ?? aud };
}
