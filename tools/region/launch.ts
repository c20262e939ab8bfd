import { join } from "node:path";
import { sha256 } from "../../src/base/digest.ts";
import { readOutsideWitnesses } from "../../src/lineage/outside-witnesses.ts";
import { readRegion } from "../../src/region/config.ts";
import { Problem } from "../problem.ts";
import { SECRETS, socketAddress, workerdConfig, type WorkerdConfig, type Vars } from "../workerd/config.ts";
import { dataDirOf, makeDataDir, readSecretJson, writeSecret, type DataDir } from "../workerd/data-dir.ts";
import { takeLock } from "../workerd/lock.ts";
import type { LineSink } from "../workerd/log.ts";
import { assurePortFree } from "../workerd/port.ts";
import { startWorkerd, untilItAnswers, type Exit } from "../workerd/process.ts";
import { AdminClient } from "./admin-client.ts";
import { localAdminToken } from "./admin-token.ts";
import { adminKey, regionKey } from "./keys.ts";

export type LaunchOptions = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Base directory: the region keeps its data in `<base>/<name>`. */
  readonly base: string;
  /** Empty: what `policies/regions.json` lists for the region. */
  readonly packs: readonly string[];
  readonly open: boolean;
  /** `null`: as the data directory has it, 1 in a new one. */
  readonly shards: number | null;
  /** https origin; `null`: as the data directory has it, `https://<name>.interlock.localhost` in a new one. */
  readonly pdp: string | null;
  /** `INTERLOCK_ROOTS` */
  readonly roots: string;
  /** `INTERLOCK_POLICY_ROOT`; empty or missing: no signed policy is taken. */
  readonly policy_root?: string;
  /** `INTERLOCK_FEDERATION_SECRETS` */
  readonly secrets: string;
  readonly v8_flags: readonly string[];
  /** JSON text of `INTERLOCK_WITNESSES`; empty or missing: no witness outside. */
  readonly witnesses?: string;
  /** Which addresses the region may reach to ask for cosignatures; loopback by default, and where its witnesses are. */
  readonly network?: WorkerdConfig["network"];
  /** `host:port` of the HTTP forward proxy through which all that a region sends goes; plain HTTP only. */
  readonly egress?: (region: string) => string;
  /** Where it may call out to beyond that. */
  readonly reach?: WorkerdConfig["network"];
  /** Text of the bundled Worker. */
  readonly bundle: string;
  readonly onLine: LineSink;
  /** Over what the launcher sets; unchecked, since tests start regions that are configured wrongly. */
  readonly vars?: Partial<Vars>;
};

export type RunningRegion = {
  readonly name: string;
  readonly url: string;
  readonly pdp: string;
  readonly dir: DataDir;
  readonly admin: string;
  /** Credential of the second administrator of this machine. */
  readonly second: string;
  readonly client: AdminClient;
  readonly workerdPid: number;
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /** Ends the process in order and frees the data directory. */
  stop(): Promise<void>;
};

/** A directory can be put back as a whole, and only a peer notices: one is asked before anything is decided. */
const ASK_PEERS_S = "30";

/** What a data directory was made with, and must stay as it is for as long as its log lives. */
type Fixed = {
  readonly v: 1;
  readonly region: string;
  readonly log_epoch: number;
  readonly shards: number;
  readonly pdp: string;
};

/** Starts the workerd process of one region on its data directory and waits until it answers. */
export async function launchRegion(options: LaunchOptions): Promise<RunningRegion> {
  const { name, host, port, base } = options;
  const dir = dataDirOf(base, name);
  makeDataDir(dir);
  const lock = takeLock(dir.path);
  try {
    await assurePortFree(host, port, name);
    const fixed = settle(dir, options);
    const vars = await regionVars(dir, fixed, options);
    const config = join(dir.run, "config.capnp");
    writeSecret(join(dir.run, "worker.js"), options.bundle);
    writeSecret(
      config,
      workerdConfig({
        vars,
        host,
        port,
        objects: dir.objects,
        v8_flags: options.v8_flags,
        network: [
          ...new Set([...(options.network ?? networkFor(vars.INTERLOCK_WITNESSES ?? "")), ...(options.reach ?? [])]),
        ],
        ...(options.egress === undefined ? {} : { egress: options.egress(name) }),
      }),
    );
    const workerd = startWorkerd({
      config,
      cwd: dir.run,
      env: { ...Object.fromEntries(SECRETS.map((name) => [name, vars[name]])), TZ: "UTC" },
      onLine: (line) => options.onLine(name, line),
    });
    lock.holdFor(workerd.pid);
    const url = `http://${socketAddress(host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host, port)}`;
    try {
      // Not /health, which keeps what it saw for a second: the first look at it would then be of a region not yet enrolled.
      await untilItAnswers(`${url}/.well-known/jwks.json`, workerd, name);
    } catch (cause) {
      await workerd.stop(500);
      throw cause;
    }
    // For the admin commands of this machine (`--region NAME`).
    writeSecret(join(dir.run, "address.json"), JSON.stringify({ url }) + "\n");
    const exited = workerd.exited.finally(() => lock.release());
    const [admin, second] = await Promise.all(([1, 2] as const).map((n) => localAdminToken(dir, name, fixed.pdp, n)));
    return {
      name,
      url,
      pdp: fixed.pdp,
      dir,
      admin: admin!,
      second: second!,
      client: new AdminClient(url, admin!),
      workerdPid: workerd.pid,
      exited,
      kill: (signal) => workerd.kill(signal),
      async stop() {
        await workerd.stop();
        await exited;
      },
    };
  } catch (cause) {
    lock.release();
    throw cause;
  }
}

/** What the next start of a region on this machine runs: the epoch that the authority let in, with its own shards. */
export function prepareEpoch(dir: DataDir, log_epoch: number, shards: number | null): void {
  const path = join(dir.path, "region.json");
  const before = readSecretJson(path) as Fixed | null;
  if (before === null)
    throw new Problem(`${dir.path} has no region.json`, "Name the base directory of the region with --data.", 2);
  const fixed: Fixed = { ...before, log_epoch, shards: shards ?? before.shards };
  writeSecret(path, JSON.stringify(fixed, null, 2) + "\n");
}

function settle(dir: DataDir, { name, shards, pdp }: LaunchOptions): Fixed {
  const path = join(dir.path, "region.json");
  const before = readSecretJson(path) as Fixed | null;
  if (before !== null && before.region !== name) {
    throw new Problem(
      `${dir.path} holds the data of region ${before.region}, not ${name}`,
      "Name the other region, or choose another --data.",
      2,
    );
  }
  if (before !== null && shards !== null && shards !== before.shards) {
    throw new Problem(
      `${dir.path} holds a log with ${before.shards} shard${before.shards === 1 ? "" : "s"}, and --shards asks for ${shards}`,
      "The number of shards is fixed while a log lives: leave --shards out, or start anew with --clean.",
      2,
    );
  }
  const fixed: Fixed = {
    v: 1,
    region: name,
    log_epoch: before?.log_epoch ?? 1,
    shards: before?.shards ?? shards ?? 1,
    pdp: pdp ?? before?.pdp ?? `https://${name}.interlock.localhost`,
  };
  writeSecret(path, JSON.stringify(fixed, null, 2) + "\n");
  return fixed;
}

/** Peers of a local fleet are on this machine; a witness elsewhere is reached at public or at private addresses. */
function networkFor(witnesses: string): WorkerdConfig["network"] {
  const read = readOutsideWitnesses(witnesses, sha256);
  const hosts = read.ok ? read.value.witnesses.map(({ url }) => new URL(url).hostname) : [];
  const elsewhere = hosts.filter((host) => !/^(127\.0\.0\.1|\[::1\]|localhost)$/.test(host));
  const within = elsewhere.some((host) =>
    /^(10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.)|\.(internal|local|lan)$/.test(host),
  );
  return elsewhere.length === 0 ? ["local"] : within ? ["local", "private", "public"] : ["local", "public"];
}

async function regionVars(
  dir: DataDir,
  fixed: Fixed,
  { packs, open, roots, policy_root = "", secrets, witnesses = "", vars: over }: LaunchOptions,
): Promise<Vars> {
  const admins = await Promise.all(([1, 2] as const).map((n) => adminKey(dir, fixed.region, n)));
  const vars: Vars = {
    INTERLOCK_REGION: fixed.region,
    INTERLOCK_PDP: fixed.pdp,
    INTERLOCK_LOG_EPOCH: String(fixed.log_epoch),
    INTERLOCK_SHARDS: String(fixed.shards),
    INTERLOCK_JURISDICTION: "",
    INTERLOCK_PACKS: packs.join(","),
    INTERLOCK_OPEN: open ? "1" : "",
    INTERLOCK_ROOTS: roots,
    INTERLOCK_POLICY_ROOT: policy_root,
    INTERLOCK_ADMIN_JWKS: JSON.stringify({ keys: admins.map(({ publicJwk }) => publicJwk) }),
    INTERLOCK_REGION_KEY: regionKey(dir),
    INTERLOCK_FEDERATION_SECRETS: secrets,
    INTERLOCK_WITNESSES: witnesses,
    INTERLOCK_ASK_PEERS_S: ASK_PEERS_S,
  };
  const outside = readOutsideWitnesses(witnesses, sha256);
  if (!outside.ok)
    throw new Problem(outside.error, "Correct the file of --witnesses (docs/operations/add-witness.md).", 2);
  const region = readRegion(vars);
  if (!region.ok)
    throw new Problem(
      `Region ${fixed.region}: ${region.error}`,
      "Correct the option that sets it (`interlock serve --help`).",
      2,
    );
  return { ...vars, ...over };
}
