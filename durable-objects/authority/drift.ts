import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import type { Incident } from "../../src/lineage/incident.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { LeaseAnswer } from "../../src/objects/lease.ts";
import type { AcknowledgeDriftMessage, DriftEntry, DriftStatus, DriftView } from "../../src/objects/drift.ts";
import {
  describeDrift,
  follow,
  followState,
  isAlarming,
  isUnexplained,
  type Difference,
  type Drifting,
  type PolicyStatement,
} from "../../src/policy/drift.ts";
import type { PolicyProbe } from "../../src/policy/probe.ts";
import { PROBE_SET } from "../../src/policy/probe-set.ts";
import type { Region } from "../../src/region/config.ts";
import { nodeSha256 } from "../platform.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import { pause } from "./pause.ts";
import type { Expectation } from "./expectation.ts";
import type { StateDrift } from "./state-drift.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** Differences as they stand, also over a restart: a region that denies goes on until they are over. */
const STANDING = "policy_drift";
/**
 * A peer that does not say, or could not be heard, is asked again by itself a few times, then at its heads, less and
 * less often; a new digest in its head is asked about at once. One lost answer must not cost more than the moment.
 */
const FIRST_SILENT_MS = 200;
const MAX_SILENT_MS = 30_000;
/** How long each of these tries waits for its answer; what comes later is taken for lost. */
const ASK_MS = [400, 800, 1_400];
/** What a lease waits for the word of peers that are heard of for the first time, where a difference denies. */
const MEET_MS = 500;
/** A region that says something else every moment makes no more leaves than this. */
const TELL_EVERY_MS = 60_000;

export type DriftRoom = {
  readonly store: AuthorityStore;
  readonly rows: AdminRows;
  readonly writer: EventWriter;
  readonly expectation: Expectation;
  /** Version of the signed bundle in force; `null`: the packs of the deployment. */
  readonly bundle: () => number | null;
  /** Other regions that serve. */
  readonly peers: () => readonly string[];
  /** Heads name it from now on. */
  readonly named: (digest: string) => void;
  /** Asks a peer, and says what this region's own statement is; `null`: no answer that it signed for this. */
  readonly ask: (
    peer: string,
    digest: string,
    timeout_ms: number,
  ) => Promise<{ statement: PolicyStatement; jws: string } | null>;
  /** Which packs a signed policy gives to a region, where this region holds that version; `null`: nobody knows. */
  readonly selection: (bundle: number, region: string) => readonly string[] | null;
  readonly incident: (found: Omit<Incident, "t_ms">) => void;
  readonly states: () => Pick<StateDrift, "states" | "saidBy">;
};

type Own = {
  readonly text: string;
  readonly statement: PolicyStatement;
  readonly compared: PolicyStatement;
  readonly digest: string;
};

type Heard = {
  readonly digest: string;
  readonly statement: PolicyStatement;
  readonly jws: string;
  readonly at_ms: number;
};

/** Whether the regions decide by the same law as far as they share one (docs/drift.md). */
export class Drift {
  readonly #region: Region;
  readonly #room: DriftRoom;
  readonly #heard = new Map<string, Heard>();
  readonly #asking = new Map<string, Promise<void>>();
  /** By the last head of each. */
  readonly #named = new Map<string, string>();
  readonly #silent = new Map<
    string,
    { readonly digest: string; readonly until_ms: number; readonly pause_ms: number }
  >();
  readonly #told = new Map<string, number>();
  /** The last that was found too soon after another: said when the minute is over, also where it is over by then. */
  readonly #untold = new Map<string, Omit<Incident, "t_ms">>();
  #own: Own | null = null;
  #standing: readonly Drifting[];

  constructor(region: Region, room: DriftRoom) {
    this.#region = region;
    this.#room = room;
    this.#standing = JSON.parse(room.store.meta(STANDING) || "[]") as Drifting[];
  }

  // ── within the region ───────────────────────────────────────────────────────────────────────────────────────────

  /** What a shard found of itself; the answer says what it should have, and what is known of other regions. */
  heard(shard: number, found: PolicyProbe | null): Pick<Extract<LeaseAnswer, { ok: true }>, "probe" | "drift"> {
    const before = this.#room.expectation.deviating;
    const expected = this.#room.expectation.heard(shard, found);
    const { deviating } = this.#room.expectation;
    if (deviating.size > 0 || before.size > 0) this.#noteShards(before, deviating);
    this.look();
    this.#prune();
    for (const [about, incident] of this.#untold) this.#tell(incident, about);
    const detail = this.problem(Date.now());
    const configured = this.#region.on_drift === "deny" && this.#standing.some(unanswered);
    // A shard that was filled from changed rows does not see it in its own: whatever is configured, it may lack one.
    const filled = this.#standing.some((one) => one.peer === `shard/${shard}` && unanswered(one));
    return { probe: expected, drift: detail === null ? null : { detail, denies: configured || filled } };
  }

  #noteShards(before: ReadonlyMap<number, readonly string[]>, now: ReadonlyMap<number, readonly string[]>): void {
    for (const [shard, packs] of now) {
      if (before.get(shard)?.join() === packs.join()) continue;
      const what = packs.map((name) => (name === "" ? "the packs together" : `pack ${name}`)).join(", ");
      this.#say({ shard, packs, why: "outcome" });
      const detail = `decides otherwise than the region's policy does: ${what}`;
      this.#tell({ what: "policy_drift", source: `shard/${shard}`, detail, evidence: null }, `shard/${shard}`);
    }
    for (const shard of before.keys()) if (!now.has(shard)) this.#say({ shard, why: null });
  }

  /** Says anew what this region's policy is, where that has changed, and compares it with what others said. */
  look(): void {
    const { expectation, bundle } = this.#room;
    const [packs, sound] = [expectation.packs(), expectation.sound()];
    if (packs === null || sound === null) return;
    const statement: PolicyStatement = {
      v: 1,
      engine: ENGINE,
      probes: PROBE_SET,
      policy: expectation.policy,
      bundle: bundle(),
      packs,
    };
    const text = jcs(statement);
    if (text === this.#own?.text) return;
    // A shard's own trouble is no difference to a peer here; to the peer it is.
    const compared = { ...statement, packs: sound };
    this.#own = { text, statement, compared, digest: digestOf(text, nodeSha256) };
    this.#room.named(this.#own.digest);
    for (const peer of this.#heard.keys()) this.#compare(peer);
    // Whoever is idle hears of it now, and looks at its own.
    for (const peer of this.#room.peers()) this.#ask(peer);
  }

  // ── between regions ─────────────────────────────────────────────────────────────────────────────────────────────

  /** A peer's head, or its question, names its statement by a digest. */
  named(peer: string, digest: string): void {
    if (digest === "" || !this.#room.peers().includes(peer)) return;
    this.#named.set(peer, digest);
    if (this.#heard.get(peer)?.digest === digest) return;
    const silent = this.#silent.get(peer);
    if (silent?.digest === digest && Date.now() < silent.until_ms) return;
    this.#ask(peer, digest);
  }

  /** This region's own statement, for a peer that asks. */
  statement(): PolicyStatement | null {
    return this.#own?.statement ?? null;
  }

  /**
   * Where a difference denies, a region that has just started or slept hears those that name a statement before it
   * gives a lease, if they answer at all.
   */
  async met(): Promise<void> {
    if (this.#region.on_drift !== "deny") return;
    this.look();
    const asked = this.#room.peers().flatMap((peer) => {
      const digest = this.#named.get(peer);
      return digest === undefined || this.#heard.get(peer)?.digest === digest ? [] : (this.#asking.get(peer) ?? []);
    });
    if (asked.length > 0) await Promise.race([Promise.all(asked), pause(MEET_MS)]);
  }

  #ask(peer: string, digest = ""): void {
    if (this.#asking.has(peer)) return;
    const asking = this.#try(peer, digest).finally(() => this.#asking.delete(peer));
    this.#asking.set(peer, asking);
  }

  async #try(peer: string, digest: string): Promise<void> {
    for (const timeout_ms of ASK_MS) {
      const own = this.#own?.digest ?? "";
      const answer = await this.#room.ask(peer, own, timeout_ms);
      if (answer === null) continue;
      const { statement, jws } = answer;
      this.#silent.delete(peer);
      this.#heard.set(peer, { digest: digestOf(jcs(statement), nodeSha256), statement, jws, at_ms: Date.now() });
      this.#compare(peer);
      // Said anew meanwhile: the peer hears of that too.
      if (own === (this.#own?.digest ?? "")) return;
    }
    const before = this.#silent.get(peer);
    const again = before?.digest === digest ? Math.min(2 * before.pause_ms, MAX_SILENT_MS) : FIRST_SILENT_MS;
    this.#silent.set(peer, { digest, until_ms: Date.now() + again, pause_ms: again });
  }

  #compare(peer: string): void {
    const heard = this.#heard.get(peer);
    if (heard === undefined || this.#own === null) return;
    const { compared } = this.#own;
    const { bundle } = heard.statement;
    const given = bundle === null || bundle !== compared.bundle ? null : this.#room.selection(bundle, peer);
    this.#keep(follow(this.#standing, peer, compared, heard.statement, given, Date.now()), peer);
  }

  /** Regions that left take what was found of them along. */
  #prune(): void {
    const peers = this.#room.peers();
    const isHere = ({ peer }: Drifting): boolean =>
      peers.includes(peer) || peer === this.#region.name || peer.startsWith("shard/");
    if (this.#standing.every(isHere)) return;
    for (const peer of this.#heard.keys()) if (!peers.includes(peer)) this.#heard.delete(peer);
    this.#keep(this.#standing.filter(isHere), null);
  }

  /** What was found of trust entries with a peer, a shard, or in this region's own storage. */
  keepState(peer: string, origins: readonly string[] | null, found: readonly Difference[], jws: string | null): void {
    const standing = followState(this.#standing, peer, origins, found, Date.now());
    if (standing !== this.#standing) this.#keep(standing, peer, jws);
  }

  #keep(standing: readonly Drifting[], peer: string | null, jws: string | null = null): void {
    const before = this.#standing;
    const text = JSON.stringify(standing);
    if (text === JSON.stringify(before)) return;
    this.#room.store.setMeta(STANDING, text);
    this.#standing = standing;
    const now = new Set(standing.map(idOf));
    const known = new Set(before.map(idOf));
    for (const one of before) if (!now.has(idOf(one))) this.#say({ ...named(one), over: true });
    const fresh = standing.filter((one) => !known.has(idOf(one)));
    for (const one of fresh) this.#say(named(one));
    if (peer === null) return;
    const unexplained = fresh.filter(isUnexplained);
    const [states, policies] = [true, false].map((is) => unexplained.filter(({ kind }) => (kind === "state") === is));
    const tell = (what: "policy_drift" | "state_drift", of: readonly Drifting[], evidence: string | null): void => {
      const detail = describeDrift(of, Date.now());
      if (detail !== null) this.#tell({ what, source: "trust", detail, evidence }, `${what} ${peer}`);
    };
    tell("state_drift", states!, jws);
    tell("policy_drift", policies!, this.#heard.get(peer)?.jws ?? null);
  }

  // ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** In one line, what somebody has to look after. */
  problem(now_ms: number): string | null {
    const shards = [...this.#room.expectation.deviating].map(([shard]) => `shard ${shard} decides otherwise`);
    const others = describeDrift(this.#standing, now_ms);
    const all = others === null ? shards : [...shards, others];
    return all.length === 0 ? null : all.join("; ");
  }

  status(): DriftStatus {
    const now_ms = Date.now();
    return {
      on_drift: this.#region.on_drift ?? "alarm",
      at_ms: now_ms,
      problem: this.problem(now_ms),
      // Not in the order in which the peers happened to be heard.
      differences: this.#entries(now_ms).toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1)),
    };
  }

  view(): DriftView {
    const peers = this.#room.peers().map((region) => {
      const heard = this.#heard.get(region);
      const [statement, heard_ms] = heard === undefined ? [null, null] : [heard.statement, heard.at_ms];
      return { region, statement, heard_ms, states: this.#room.states().saidBy(region) };
    });
    const states = this.#room.states().states();
    return { region: this.#region.name, own: this.statement(), states, peers, ...this.status() };
  }

  #entries(now_ms: number): readonly DriftEntry[] {
    return this.#standing.map((one) => ({ ...one, id: idOf(one), alarming: isAlarming(one, now_ms) }));
  }

  acknowledge({ id, reason, actor }: AcknowledgeDriftMessage): AdminResult<DriftView> {
    const found = this.#standing.find((one) => idOf(one) === id);
    if (found === undefined) return { ok: false, code: "not_found", message: `no difference ${id} stands` };
    if (found.acknowledged === null) {
      const at_ms = Date.now();
      const standing = this.#standing.map((one) =>
        one === found ? { ...one, acknowledged: { by: actor, reason, at_ms } } : one,
      );
      const { rows, writer, store } = this.#room;
      const act = { what: "drift_acknowledged", actor, reason: `${id} ${reason}`, t_ms: at_ms } as const;
      recordAct(rows, writer, act, () => store.setMeta(STANDING, JSON.stringify(standing)));
      this.#standing = standing;
      this.#say({ ...named(found), acknowledged: true });
    }
    return { ok: true, value: this.view() };
  }

  #say(what: object): void {
    const event = "why" in what && what.why === "state" ? "state_drift" : "policy_drift";
    const line = { level: "alarm", event, region: this.#region.name, ...what, t_ms: Date.now() };
    console.error(JSON.stringify(line));
  }

  #tell(found: Omit<Incident, "t_ms">, about: string): void {
    const since = Date.now() - (this.#told.get(about) ?? Number.NEGATIVE_INFINITY);
    if (since >= 0 && since < TELL_EVERY_MS) return void this.#untold.set(about, found);
    this.#untold.delete(about);
    this.#told.set(about, Date.now());
    this.#room.incident(found);
  }
}

const unanswered = (one: Drifting): boolean => isUnexplained(one) && one.acknowledged === null;

const named = ({ peer, kind, pack, own, theirs }: Drifting): object => ({ peer, why: kind, pack, own, theirs });

/** Of this very difference. */
const idOf = ({ peer, kind, pack, own, theirs }: Drifting): string =>
  digestOf(jcs([peer, kind, pack, own, theirs]), nodeSha256).slice("sha256:".length, "sha256:".length + 22);

const placeOf = ({ peer, pack, kind }: Pick<Drifting, "peer" | "pack" | "kind">): string => jcs([peer, pack, kind]);
