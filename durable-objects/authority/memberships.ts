import { jcs } from "../../src/base/jcs.ts";
import { err, ok, type Result } from "../../src/base/result.ts";
import { NO_OUTSIDE_WITNESSES, type OutsideWitnesses } from "../../src/lineage/witnesses.ts";
import { regionLog, witness, type Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { Enrolment } from "../../src/objects/authority.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { Region } from "../../src/region/config.ts";
import { listedKey, speaks } from "../../src/trust/key-validity.ts";
import { regionKey } from "../../src/trust/keys.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { peerLogKeys, witnessing } from "../../src/trust/witnessing.ts";
import { nodeSha256 } from "../platform.ts";
import type { CertifiedKeys } from "./keys.ts";
import type { OwnKeys } from "./own-keys.ts";
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
  readonly #own: OwnKeys;
  /** A membership may be what the next key waits for. */
  readonly #look: () => void;

  constructor(
    env: Env,
    region: Region,
    outside: OutsideWitnesses,
    writer: EventWriter,
    keys: CertifiedKeys,
    standing: Standing,
    shards: Shards,
    sync: RegionSync,
    own: OwnKeys,
    look: () => void,
  ) {
    this.#own = own;
    this.#look = look;
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
      keys: [...this.#ownKeys(), ...(await this.#otherKeys())],
      ...this.#validity(),
      membership_version: this.#standing.membership?.version ?? null,
      root_threshold: roots.ok ? roots.value.threshold : 0,
    };
  }

  async put(jws: unknown, actor: string): Promise<AdminResult<Enrolment>> {
    const verified = await this.#acceptable(jws);
    if (!verified.ok) return verified.error;
    const membership = verified.value;
    const inForce = async (): Promise<AdminResult<Enrolment> | null> => {
      const current = this.#standing.membership;
      if (current === null || jcs(current) !== jcs(membership)) return null;
      this.#standing.keep(membership, jws);
      return { ok: true, value: await this.enrolment() };
    };
    const already = await inForce();
    if (already !== null) return already;
    const self = membership.regions.find(({ region }) => region === this.#region.name);
    const next = this.#own.replacement(self);
    const stored = await this.#writer.append(
      {
        kind: "membership",
        key: regionKey(this.#region.name),
        generation: membership.version,
        reason_code: "membership",
        actor,
        note: `version ${membership.version}`,
      },
      ({ row }) => {
        const { incarnation } = this.#standing;
        if (!this.#standing.succeed(membership, jws)) return false;
        // Peers that have the membership refuse this very event under the key that it takes away.
        if (next !== null && row > 0 && this.#own.next?.kid === next.kid) this.#own.replace(self, incarnation);
        return true;
      },
      next ?? undefined,
    );
    if (!stored.result) {
      // The same one may have come from a peer meanwhile: it is in force all the same.
      const meanwhile = await inForce();
      if (meanwhile !== null) return meanwhile;
      return {
        ok: false,
        code: "conflict",
        message: `version ${membership.version} does not rise above version ${this.#standing.membership!.version}`,
      };
    }
    this.#sync.membershipChanged(membership);
    this.#look();
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
    const wrong = this.#disowns(self);
    if (wrong !== null) return refuse(wrong);
    if (membership.expires_ms <= Date.now()) return refuse("the membership has expired");
    const delta_ms = this.#standing.membership?.delta_ms ?? membership.delta_ms;
    // Until every region had the new one, each would count the others' leases by another length than they do.
    if (membership.delta_ms !== delta_ms) return refuse(`delta_ms is ${delta_ms} and stays what it is`);
    return ok(membership);
  }

  /**
   * Why the region could not go on under what the roots say of its keys; `null` where it can. That its only key is
   * distrusted is no reason: it denies then, and so do the others.
   */
  #disowns(self: Membership["regions"][number]): string | null {
    const { current, next } = this.#own;
    const listed = listedKey(self, current.kid, current.publicJwk.x);
    if (speaks(listed) || (next !== null && speaks(listedKey(self, next.kid, next.publicJwk.x))))
      return this.#cuts(self);
    if (listed === null) return "the membership does not list this region's own key; enrol again";
    return listed.distrusted
      ? null
      : `the membership closes ${current.kid}, which is in use, and lists no other that may sign: interlock keys next, and enrol again`;
  }

  /** The last event of a past key is known: closing it before that would refuse what others hold already. */
  #cuts(self: Membership["regions"][number]): string | null {
    const { incarnation } = this.#standing;
    for (const past of this.#own.past) {
      const until = self.key_validity?.find(({ kid }) => kid === past.kid)?.until_seq;
      if (until !== undefined && until < past.until_seq && past.incarnation === (self.incarnation ?? incarnation))
        return `the membership closes ${past.kid} after event ${until}, and it signed up to ${past.until_seq}`;
    }
    return null;
  }

  /** The authority's keys: in use, next, and the past ones unless the roots have dropped them. */
  #ownKeys(): readonly PublicJwk[] {
    const { current, next, past } = this.#own;
    const others = past.flatMap(({ kid }) => this.#keys.find(kid) ?? []);
    return [
      current.publicJwk,
      ...(next === null ? [] : [next.publicJwk]),
      ...others.filter((jwk) => this.#standing.membership === null || this.#keys.standingOf(jwk) !== "unlisted"),
    ];
  }

  /** Nothing to say while there was one key only. */
  #validity(): Pick<Enrolment, "key_validity"> {
    const { current, past } = this.#own;
    const last = past.at(-1);
    if (last === undefined) return {};
    const { incarnation } = this.#standing;
    const listed = new Set(this.#ownKeys().map(({ kid }) => kid));
    const closed = past
      .filter(({ kid }) => listed.has(kid))
      .map((key) => ({ kid: key.kid, until_seq: key.incarnation === incarnation ? key.until_seq : 0 }));
    const from = last.incarnation === incarnation ? [{ kid: current.kid, from_seq: last.until_seq + 1 }] : [];
    return { key_validity: [...closed, ...from] };
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
