import { jcs } from "../../src/base/jcs.ts";
import { err, ok, type Result } from "../../src/base/result.ts";
import { NO_OUTSIDE_WITNESSES, type OutsideWitnesses } from "../../src/lineage/witnesses.ts";
import { regionLog, witness, type Env } from "../../src/objects/address.ts";
import type { AdminResult, Enrolment, PublicJwk } from "../../src/objects/authority.ts";
import type { Region } from "../../src/region/config.ts";
import { regionKey } from "../../src/trust/keys.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { peerLogKeys, witnessing } from "../../src/trust/witnessing.ts";
import { nodeSha256 } from "../platform.ts";
import type { CertifiedKeys } from "./keys.ts";
import type { Shards } from "./shards.ts";
import type { Standing } from "./standing.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** Loaded when a membership arrives: its schema would cost every start 10 ms, and no decision needs it. */
const membershipRoom = () => import("../../src/trust/membership.ts");

/** `INTERLOCK_WITNESSES`, its schema loaded only where there is something to read. Throws where it is not valid. */
export async function outsideWitnessesOf({ INTERLOCK_WITNESSES: text = "" }: Env): Promise<OutsideWitnesses> {
  if (text === "") return NO_OUTSIDE_WITNESSES;
  const { readOutsideWitnesses } = await import("../../src/lineage/outside-witnesses.ts");
  const read = readOutsideWitnesses(text, nodeSha256);
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

/** How the region joins its peers: what it has to show, which membership it accepts, and who cosigns its log. */
export class Memberships {
  readonly #env: Env;
  readonly #region: Region;
  readonly #writer: EventWriter;
  readonly #keys: CertifiedKeys;
  readonly #standing: Standing;
  readonly #shards: Shards;
  readonly #sync: RegionSync;
  readonly #outside: OutsideWitnesses;

  constructor(
    env: Env,
    region: Region,
    outside: OutsideWitnesses,
    writer: EventWriter,
    keys: CertifiedKeys,
    standing: Standing,
    shards: Shards,
    sync: RegionSync,
  ) {
    this.#sync = sync;
    this.#outside = outside;
    this.#env = env;
    this.#region = region;
    this.#writer = writer;
    this.#keys = keys;
    this.#standing = standing;
    this.#shards = shards;
  }

  /** Tells the log again what it was told before: the last time may have failed. */
  start(): void {
    if (this.#standing.membership !== null) void this.#configureLog(this.#standing.membership);
  }

  async enrolment(): Promise<Enrolment> {
    const { readRoots } = await membershipRoom();
    const roots = readRoots(this.#env.INTERLOCK_ROOTS);
    return {
      region: this.#region.name,
      log_epoch: this.#region.log_epoch,
      pdp: this.#region.pdp,
      mode: this.#standing.mode(),
      keys: [this.#keys.own.publicJwk, ...(await this.#otherKeys())],
      membership_version: this.#standing.membership?.version ?? null,
      root_threshold: roots.ok ? roots.value.threshold : 0,
    };
  }

  async put(jws: unknown, actor: string): Promise<AdminResult<Enrolment>> {
    const verified = await this.#acceptable(jws);
    if (!verified.ok) return verified.error;
    const membership = verified.value;
    const current = this.#standing.membership;
    if (current !== null && jcs(current) === jcs(membership)) {
      this.#standing.keep(membership, jws);
      return { ok: true, value: await this.enrolment() };
    }
    const stored = await this.#writer.append(
      {
        kind: "membership",
        key: regionKey(this.#region.name),
        generation: membership.version,
        reason_code: "membership",
        actor,
        note: `version ${membership.version}`,
      },
      () => this.#standing.succeed(membership, jws),
    );
    if (!stored.result) {
      return {
        ok: false,
        code: "conflict",
        message: `version ${membership.version} does not rise above version ${this.#standing.membership!.version}`,
      };
    }
    this.#sync.membershipChanged(membership);
    await this.#configureLog(membership);
    await this.#shards.effective(stored.revision);
    return { ok: true, value: await this.enrolment() };
  }

  async #acceptable(jws: unknown): Promise<Result<Membership, AdminResult<never>>> {
    const refuse = (message: string) => err({ ok: false as const, code: "invalid" as const, message });
    const { readRoots, verifyMembership } = await membershipRoom();
    const roots = readRoots(this.#env.INTERLOCK_ROOTS);
    if (!roots.ok) return refuse(roots.error);
    const verified = await verifyMembership(jws, roots.value);
    if (!verified.ok) return refuse(verified.error);
    const membership = verified.value;
    const self = membership.regions.find(({ region }) => region === this.#region.name);
    if (self === undefined) return refuse(`the membership does not list region ${this.#region.name}`);
    if (self.pdp !== this.#region.pdp)
      return refuse(`the membership lists ${self.pdp} for this region, which is ${this.#region.pdp}`);
    const { kid, publicJwk } = this.#keys.own;
    if (!self.keys.some((key) => key.kid === kid && key["x"] === publicJwk.x)) {
      return refuse("the membership does not list this region's own key; enrol again");
    }
    if (membership.expires_ms <= Date.now()) return refuse("the membership has expired");
    const delta_ms = this.#standing.membership?.delta_ms ?? membership.delta_ms;
    // Until every region had the new one, each would count the others' leases by another length than they do.
    if (membership.delta_ms !== delta_ms) return refuse(`delta_ms is ${delta_ms} and stays what it is`);
    return ok(membership);
  }

  /** Verifier keys of the logs that this region's witness serves. */
  peerLogs(): readonly string[] {
    return peerLogKeys(this.#standing.membership, this.#region.name, nodeSha256);
  }

  /** Tells the log who cosigns. The log keeps it, so a failure here only delays a change until the next start. */
  async #configureLog(membership: Membership): Promise<void> {
    const told = witnessing(membership, this.#region.name, this.#region.log_epoch, nodeSha256, this.#outside);
    if (told === null) return;
    try {
      await regionLog(this.#env, this.#region).configure(told.targets, told.policy);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "log_configuration_failed", message }));
    }
  }

  /** The keys of the region's logs and witness, certified like a shard's the first time they are seen. */
  async #otherKeys(): Promise<readonly PublicJwk[]> {
    const [log, cosigner] = await Promise.all([
      regionLog(this.#env, this.#region).identity(),
      witness(this.#env, this.#region).identity(),
    ]);
    await this.#keys.certify(log.jwk, "log");
    await this.#keys.certify(cosigner.jwk, "witness");
    // Logs of the epochs before stay listed: peers still show what they cosigned of them.
    const past = this.#keys.ofRole("log").filter(({ kid }) => kid !== log.jwk.kid);
    return [log.jwk, cosigner.jwk, ...past];
  }
}
