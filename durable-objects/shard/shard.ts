import type { PublicJwk } from "../../src/objects/jwk.ts";
import { base64url } from "../../src/base/bytes.ts";
import { mintRunId } from "../../src/base/ids.ts";
import { isUnanchored } from "../../src/decision/anchoring.ts";
import { regionChecks } from "../../src/decision/decide.ts";
import type { ShardCondition } from "../../src/decision/checks.ts";
import { TurnTexts } from "../../src/decision/seen.ts";
import type { StepReceiptFacts } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest, TrustView } from "../../src/vocabulary/types.ts";
import { maxCallsPerFlush, receiptKid } from "../../src/lineage/receipt.ts";
import { saltedRunHash } from "../../src/lineage/record.ts";
import type { Aead, RegionKey } from "../../src/lineage/seal.ts";
import { authority, regionLog, type Env } from "../../src/objects/address.ts";
import type { EraseAnswer, EraseMessage, ErasureTarget, PrepareErasureAnswer } from "../../src/objects/erasure.ts";
import type {
  ApplyTrustAnswer,
  ApplyTrustMessage,
  ClaimAnswer,
  ClaimMessage,
  EndLeasesMessage,
  SearchAnswer,
  SearchMessage,
  ShardStatus,
} from "../../src/objects/shard.ts";
import type { Continuity, DecideAnswer, DecideMessage, DecideRefusal } from "../../src/objects/decide.ts";
import type { FindRecordsAnswer, FindRecordsMessage, RunHeadView } from "../../src/objects/records.ts";
import type { RunAnswer } from "../../src/objects/runs.ts";
import type { ReplayOrder, ShardReplay } from "../../src/objects/replay.ts";
import type { Replayed } from "../../src/replay/replay.ts";
import { ACCESS_REQUESTS, bindingKey, mintBinding, type Keyed } from "../../src/runs/binding.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { joinStatement } from "../../src/credentials/between/statement.ts";
import { mayBeTold } from "../../src/trust/pseudonym.ts";
import { FRESHNESS, type Region } from "../../src/region/config.ts";
import { LeafSender } from "../leaf-sender.ts";
import { tellIncident } from "../tell-incident.ts";
import { Pseudonyms } from "../pseudonyms.ts";
import { aesGcm, nodeHmacSha256, nodeSha256, randomBytes, signJws } from "../platform.ts";
import { Admission } from "./admission.ts";
import { ApprovalDesk } from "./approvals/desk.ts";
import { ShardAnchoring } from "./anchoring.ts";
import { Claims } from "./claims.ts";
import { Debts } from "./debts.ts";
import { FactsReader } from "./facts-reader.ts";
import { Flushes } from "./flushes.ts";
import { readRegionKey } from "./region-key.ts";
import { quarantinesOf } from "./quarantine.ts";
import { decideRowAgain } from "./decide-again.ts";
import { deniedAll } from "./decide/answers.ts";
import { DecideCall } from "./decide/decide-call.ts";
import { ClockReset } from "./clock-reset.ts";
import { tellDivergence } from "./diverged.ts";
import { Eraser } from "./eraser.ts";
import { ErasureRows } from "./erasure-rows.ts";
import { GroupCommit, type Call } from "./group-commit.ts";
import { viewRun } from "./run/describe.ts";
import { RunDoor } from "./run/door.ts";
import { nothingFound, search } from "./search.ts";
import { RecordFinder } from "./finder.ts";
import { LeaseKeeper, type LeasePorts } from "./lease-keeper.ts";
import { Policies } from "./policies.ts";
import { LineageReader } from "./reader.ts";
import { PermitBook } from "./permits/book.ts";
import { PermitDesk } from "./permits/desk.ts";
import type { Sockets } from "./permits/listeners.ts";
import { RunBook } from "./run/book.ts";
import { ReplaySweep } from "./replay-sweep.ts";
import { ShardStore, type RecordRow } from "./store.ts";
import { SubjectTags } from "./subject-tags.ts";
import { SelfAudit } from "./self-audit.ts";
import { ShardKey } from "./shard-key.ts";
import { ShardTrust } from "./trust.ts";
import { ShardProbe, type Rounds } from "./probe.ts";
import { StateWatch } from "./state-watch.ts";
import { continuityOf, type Live } from "./live.ts";
import type { HoldWatch, Owed, Turn } from "./turn.ts";
import { SourceWriter, type SourceIdentity } from "./writer.ts";

/** Of this isolate. */
const rounds: Rounds = new WeakMap();
/** What is known of the log is asked for again where it would say `unanchored` and is older than this. */
const STALE_ANCHORING_MS = 5_000;
const ASK_LOG_MS = 300;
/** The clock may stand this far behind the newest record before it counts as an anomaly. */
const CLOCK_TOLERANCE_MS = 2_000;
/** A step back of the clock beyond this ends the lease; ε leaves room for what is below (DESIGN section 5). */
const CLOCK_STEP_MS = 100;

/**
 * What a shard does (DESIGN sections 3 and 4), without the platform's class around it: the kernel is `src/decision`,
 * formats are `src/lineage`, and the files beside this one own rows, trust, the chain and the group commit.
 */
export class Shard implements Turn {
  readonly #env: Env;
  readonly #past: boolean;
  readonly #config: Region;
  readonly #trust: ShardTrust;
  readonly #leaves: LeafSender;
  readonly #anchoring: ShardAnchoring;
  readonly #audit: SelfAudit;
  readonly #sweep: ReplaySweep;
  /** Why this source may not go on, as the log answers to its leaves; `null` while log and source agree. */
  #apart: string | null = "the region log has not yet said how far it has this source";
  #heard = false;
  /** Why nothing is decided here any more: the log told, an operator sealed, or the epoch is past. For good. */
  #ended: string | null = null;
  get #halted(): string | null {
    return this.#ended ?? this.#apart;
  }
  readonly #commit: GroupCommit;
  readonly #lease: LeaseKeeper;
  readonly #admission: Admission;
  readonly #eraser: Eraser;
  /** The journal's newest entry for this shard when this object asked; `null` before it has an answer. */
  #journalHead: number | null = null;
  readonly #clockReset: ClockReset;
  readonly #probe: ShardProbe;
  readonly #stateWatch: StateWatch;
  readonly #regionKey: RegionKey;
  readonly #aead: Aead;
  readonly #facts: FactsReader;
  readonly #claims: Claims;
  readonly store: ShardStore;
  /** What is asked of runs beside their steps. */
  readonly runs: RunDoor;
  readonly writer: SourceWriter;
  readonly lineage: LineageReader;
  readonly #finder: RecordFinder;
  readonly #policies: Policies;
  /** Of the current turn, like `trust`: no decision sees two. */
  policy: LoadedPolicy;
  readonly shard: number;
  readonly binding: Keyed;
  readonly approvals: ApprovalDesk;
  #key!: ShardKey;
  readonly #debts: Debts;
  /** Leaf hashes of what this turn has paid. */
  #withheld: readonly Uint8Array[] = [];
  readonly #flushes: Flushes;
  #nextSweep = 0;
  #latest = 0;
  // The current turn (Turn): set by #begin, constant until the next.
  readonly #seen = new TurnTexts();
  t_ms = 0;
  trust: TrustView;
  condition: ShardCondition = {
    halted: null,
    clock_anomaly: false,
    active_policy: null,
    unlogged_since_ms: null,
    unanchored_since_ms: null,
    witnessed: false,
  };

  readonly desk: PermitDesk;
  readonly halts: HoldWatch;

  /** `past`: of an epoch that the region has left. It is read, and takes part in nothing. */
  constructor(
    storage: DurableObjectStorage,
    env: Env,
    region: Region,
    shard: number,
    past = false,
    sockets: Sockets | null = null,
  ) {
    this.#env = env;
    this.#past = past;
    this.#config = region;
    this.shard = shard;
    this.store = new ShardStore(storage);
    this.#claims = new Claims(storage);
    this.#clockReset = new ClockReset(this.store);
    this.#ended = past ? `log epoch ${region.log_epoch} has ended` : this.store.meta("sealed");
    this.#trust = new ShardTrust(region.name, this.store, new Pseudonyms(region.secrets));
    this.trust = this.#trust.view();
    this.#facts = new FactsReader(region.open, (facts) => this.#trust.accepts(facts));
    this.policy = activePolicy(this.#config);
    this.#policies = new Policies({
      region: region.name,
      baseline: this.policy,
      schedule: () => this.#trust.schedule,
      fetch: (bundle) => authority(env, region).policyBundle(bundle),
      fetchNamed: (digest) => authority(env, region).policyNamed(digest),
      failed: (message) => {
        console.warn(JSON.stringify({ level: "warn", event: "policy_fetch_failed", shard, message }));
      },
    });
    this.#stateWatch = new StateWatch(this.store, (line) =>
      console.error(JSON.stringify({ ...line, region: this.region, shard: this.shard, t_ms: Date.now() })),
    );
    this.#probe = new ShardProbe(
      {
        policy: () => this.#policies.at(Date.now()).policy,
        now: () => Date.now(),
        found: () => void this.#lease.report(),
      },
      rounds,
    );
    this.#regionKey = readRegionKey(env.INTERLOCK_REGION_KEY, this.store);
    this.#aead = aesGcm(this.#regionKey.bytes);
    const identity: SourceIdentity = {
      region: this.region,
      log_epoch: this.log_epoch,
      shard,
      region_key: this.#regionKey,
      aead: this.#aead,
      tags: new SubjectTags(this.#regionKey.bytes),
    };
    const ports = {
      ...this.#trust.markPorts,
      run: (id: string) => this.writer.run(id, false),
      transaction: (turn: () => void) => this.store.transaction(turn),
    };
    const book = new RunBook(storage.sql, identity, ports);
    this.#trust.watch(book.marks);
    this.writer = new SourceWriter(this.store, identity, book, new PermitBook(storage.sql));
    this.#eraser = new Eraser(new ErasureRows(storage, this.store, past), this.store, identity);
    this.lineage = new LineageReader(
      this.store,
      identity,
      () => this.#allErased(),
      (run) =>
        viewRun(new RunBook(storage.sql, identity, { ...ports, run: (id) => this.store.run(id) }), run, Date.now()),
    );
    this.binding = { key: bindingKey(this.#regionKey.bytes, nodeHmacSha256), hmac: nodeHmacSha256, hash: nodeSha256 };
    this.#finder = new RecordFinder(this.store, identity.tags, (row) => this.lineage.describeRecord(row));
    // Of as many digits as a key of this shard will have.
    const kid = receiptKid(this.region, this.log_epoch, shard, 999);
    const maxCalls = maxCallsPerFlush(kid, this.#config.pdp);
    if (maxCalls === 0) throw new Error("INTERLOCK_PDP and INTERLOCK_REGION are too long for a receipt of 1 KiB");
    this.#debts = new Debts(this, maxCalls);
    this.#flushes = new Flushes(this, ({ first, last, t }) => {
      this.#anchoring.stored({ first, last, t });
      this.#audit.stored({ first, last });
      this.#leaves.notify(last);
      this.#debts.paid();
    });
    this.#anchoring = new ShardAnchoring(this.store, `shard/${shard}`);
    const again = (row: RecordRow): Promise<Replayed> =>
      decideRowAgain(row, {
        sha: nodeSha256,
        open: (one) => this.lineage.open(one),
        named: (digest) => this.#policies.named(digest),
        fetch: (digest) => this.#policies.remember(digest),
      });
    this.#audit = new SelfAudit({
      store: this.store,
      again,
      random: (below) => new DataView(randomBytes(4).buffer).getUint32(0) % below,
      now: () => Date.now(),
      wait: pause,
      diverged: (detail) => tellDivergence(env, region, shard, detail),
      failed: (cause) => this.bug("self-audit", cause),
    });
    this.#sweep = new ReplaySweep({
      shard,
      store: this.store,
      firstAt: (t_ms) => this.#finder.firstAt(t_ms),
      again,
      note: (sseq, found) => this.#audit.note(sseq, found),
      now: () => Date.now(),
      wait: pause,
      failed: (cause) => this.bug("replay", cause),
    });
    this.#leaves = new LeafSender(
      {
        source: `shard/${shard}`,
        hashes: (first, last) => this.store.leafHashes(first, last),
        integrate: (message) => regionLog(env, region).integrate(message),
        told: {
          read: () => Number(this.store.meta("log_mark") ?? "0"),
          write: (mark) => this.store.setMeta("log_mark", String(mark)),
        },
        halt: (reason, what) => {
          this.#apart = reason;
          this.#heard = true;
          if (reason !== null && what !== null)
            void tellIncident(env, region, { what, source: `shard/${shard}`, detail: reason, evidence: null });
        },
        promised: () => this.#anchoring.promised(),
        answered: (mark, anchored) => this.#anchoring.answered(mark, anchored, Date.now()),
      },
      this.writer.sseq,
    );
    this.#commit = new GroupCommit({
      maxCalls,
      begin: () => this.#begin(),
      seal: (calls) => this.#flushes.seal(this.#withheld, calls),
      write: () => this.writer.write(),
      sync: () => this.store.sync(),
      live: () => this.live(),
      // With nothing to write, a sync is one pass of the event loop: 10 µs, where a timer of 0 ms takes 1,100.
      pass: () => this.store.sync(),
      tick: () => pause(0),
      recover: () => this.#recover(),
      owed: () => this.#debts.next,
      rest: () => pause(1_000),
    });
    this.#lease = new LeaseKeeper(this.#leasePorts());
    this.#admission = new Admission({
      region: region.name,
      lease: this.#lease,
      policies: this.#policies,
      probe: this.#probe,
      facts: this.#facts,
      trust: this.#trust,
      now: () => this.#clock(),
      waiting: () => this.#commit.waiting,
      anchoringIsStale: (now) => this.#anchoringIsStale(now),
      askAnchoring: () => this.#askAnchoring(),
      over: () => this.#isOver,
      halted: () => this.#halted !== null,
    });
    const doorPorts = {
      ready: () => this.#lease.ensure(),
      accepted: (facts: string) => this.#facts.accept(facts),
      unknown: () => this.#unknownCaller(),
      submit: (call: Call) => this.#commit.submit(call),
      settled: () => this.#commit.settled(),
    };
    this.runs = new RunDoor(this, doorPorts);
    this.approvals = new ApprovalDesk(this, storage.sql, this.lineage, doorPorts);
    this.desk = new PermitDesk(this, {
      lineage: this.lineage,
      sockets,
      submit: (call) => this.#commit.submit(call),
      ensure: (wanted) => this.#lease.ensure(wanted),
      renew: () => this.#lease.renew(),
      admit: (facts) => this.#admission.ofCaller(facts),
      accepts: (facts) => this.#trust.accepts(facts),
      leased: () => this.#trust.material !== null,
    });
    this.halts = this.desk.halts;
  }

  #leasePorts(): LeasePorts {
    return {
      trust: this.#trust,
      marked: () => (this.#leaves.mark === null ? this.#leaves.ready : null),
      now: () => this.#clock(),
      request: (wanted) => ({
        ...this.#trust.leaseRequest(this.shard, this.#key.current.publicJwk, wanted),
        probe: this.#probe.report,
        state: this.#stateWatch.report(this.#trust.applied),
      }),
      over: () => this.#isOver,
      // A new stub each time: one that threw is never used again.
      send: async (request) => {
        const answer = await authority(this.#env, this.#config).lease(request);
        if (!answer.ok && answer.code === "ended") this.halt(answer.reason);
        this.#probe.told(answer);
        this.#stateWatch.look(Date.now());
        return answer;
      },
      settled: () => {
        // A lease may name a policy that comes into force later.
        void this.#policies.ensure(this.#clock());
        return this.#settled();
      },
      failed: (message) => {
        console.warn(JSON.stringify({ level: "warn", event: "lease_refresh_failed", shard: this.shard, message }));
      },
    };
  }

  /** Makes the shard's own key at first start, loads it ever after. Nothing else may run before it is done. */
  async start(): Promise<void> {
    this.#key = await ShardKey.open(this.store, receiptKid(this.region, this.log_epoch, this.shard, 1));
    // Asks the log for its mark; the answer comes when it comes. A sealed one too: it may have more to send. The log of a
    // past epoch has ended, and may have been dropped: asking it would make it again.
    if (!this.#past && (this.#ended === null || this.store.meta("sealed") !== null))
      this.#leaves.notify(this.writer.sseq);
    void this.#askJournal();
    if (!this.#past) this.#sweep.resume();
    if (!this.#past) this.#audit.start();
    if (!this.#past) await this.desk.start();
  }

  get region(): string {
    return this.#config.name;
  }
  get log_epoch(): number {
    return this.#config.log_epoch;
  }
  get shards(): number {
    return this.#config.shards;
  }
  get pdp(): string {
    return this.#config.pdp;
  }

  // ── deciding ────────────────────────────────────────────────────────────────────────────────────────────────────

  async decide(message: DecideMessage): Promise<DecideAnswer | DecideRefusal> {
    const received = this.#clock();
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const accepted = this.#admission.atOnce(message, received) ?? (await this.#admission.ofCall(message, received));
    if (accepted === "stale_facts") return { ok: false, code: accepted };
    if (typeof accepted === "string") return deniedAll(this, message, accepted);
    // Nobody waits for it: the decision itself denies, and what comes next finds the event.
    for (const found of quarantinesOf(message, accepted))
      authority(this.#env, this.#config)
        .quarantine(found)
        .catch((cause: unknown) => {
          console.error(JSON.stringify({ level: "error", event: "quarantine_failed", message: String(cause) }));
        });
    // Receipts that came along are in their run before the step is decided: both go by one queue.
    if (!message.dry_run)
      for (const [at, { run }] of message.items.entries()) {
        const said = accepted.items[at] ?? accepted.call;
        if (said.facts.step_receipts !== undefined) void this.runs.note(run, said, message.traceparent);
      }
    return new Promise((resolve) => this.#commit.submit(new DecideCall(this, message, accepted, received, resolve)));
  }

  async claim(message: ClaimMessage): Promise<ClaimAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    if (this.#isOver) return { ok: false, code: "lineage_halted" };
    const answer = this.#claims.take(message, Math.max(this.#clock(), this.writer.lastT));
    await this.store.sync();
    return answer;
  }

  /** An idle shard does not follow the log: what it knew last may be long overtaken. */
  #anchoringIsStale(now: number): boolean {
    if (this.#anchoring.ageAt(now) <= STALE_ANCHORING_MS) return false;
    const known = this.#anchoring.condition();
    return known.witnessed && isUnanchored(known, now);
  }

  #askAnchoring(): Promise<void> {
    return Promise.race([this.#leaves.ask(), pause(ASK_LOG_MS)]);
  }

  async search(message: SearchMessage): Promise<SearchAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const facts = await this.#admission.ofSearch(message.facts);
    if (facts === "stale_facts") return { ok: false, code: facts };
    if (typeof facts === "string") return nothingFound(facts, this.continuity());
    this.store.touch();
    return search(this, this.#policies.at(this.#clock()).policy, message, facts);
  }

  bindingToken = (run: string, request: CanonicalRequest, t_ms: number): string => {
    const { pdp } = this.#config;
    return mintBinding({ pdp, endpoint: pdp + ACCESS_REQUESTS, run, request, t_ms }, this.binding);
  };

  /** For good, or until the log agrees again, and it is known. */
  get #isOver(): boolean {
    return this.#ended !== null || (this.#heard && this.#apart !== null);
  }

  halt(reason: string): void {
    this.#ended ??= reason;
    this.halts.look();
  }

  /** Durable before anything else, so that a crash on the way leaves a shard that denies. */
  async seal(reason: string): Promise<{ readonly last: number }> {
    if (this.store.meta("sealed") === null) this.store.setMeta("sealed", reason);
    this.#ended = reason;
    this.halts.look();
    this.desk.close(reason);
    // What is under way is released or withheld, and what is owed for that follows in a flush of its own.
    for (let tries = 0; ; tries++) {
      await this.#commit.settled();
      if (this.#commit.waiting === 0 && this.#debts.none) break;
      if (tries === 1_000) throw new Error("decisions are still under way");
      await pause(5);
    }
    await this.store.sync();
    const last = this.writer.sseq;
    this.#leaves.notify(last);
    return { last };
  }

  runHeads(after: string, limit: number): readonly RunHeadView[] {
    return this.store.openedRuns(after, limit).map(({ id, salt, seq, head }) => ({
      id,
      run: saltedRunHash(salt, id, nodeSha256),
      head: base64url(head!),
      seq,
    }));
  }

  #unknownCaller(): RunAnswer {
    const { unknown } = this.#admission;
    if (this.#isOver) return { ok: false, code: "denied", reason: "lineage_halted" };
    return unknown === "stale_facts"
      ? { ok: false, code: unknown, reason: null }
      : { ok: false, code: "denied", reason: unknown };
  }

  // ── the turn ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads the clock. A lease is time on this clock, so one that was granted before a step back is not kept. */
  #clock(): number {
    const now = Date.now();
    const back = now < this.#latest - CLOCK_STEP_MS;
    if (back) this.#trust.dropLease();
    // Against the highest reading: several small steps are one.
    this.#latest = back ? now : Math.max(this.#latest, now);
    return now;
  }

  #begin(): void {
    const now = this.#clock();
    // Order is by sequence; time never goes back in the record, and a clock that does is an anomaly.
    this.condition = this.liveCondition();
    // An administrator said that the clock is right and the records were ahead: what is decided is decided by it, and
    // the records alone keep the time of the newest one until it has passed (`SourceWriter.append`).
    this.t_ms = this.#clockReset.covers(this.writer.lastT) ? now : Math.max(now, this.writer.lastT);
    this.trust = this.#trust.view();
    // One reading of the clock for both: a policy that comes into force on the way is the next turn's.
    const { policy, condition } = this.#policies.at(this.t_ms);
    this.policy = policy;
    this.condition = { ...this.condition, ...condition };
    this.writer.runs.begin();
    if (now >= this.#nextSweep) {
      this.#nextSweep = now + 60_000;
      this.store.dropExpiredAnswers(now);
      this.writer.permits.sweep(now);
    }
    this.#withheld = this.#debts.pay();
  }

  /** The turn was rolled back: what was owed is owed again, and memory is ahead of storage, which may not answer now. */
  #recover(): void {
    this.#withheld = [];
    this.#debts.unpaid();
    this.writer.reload();
  }

  signed = (typ: string, payload: string): Promise<string> => signJws(this.#key.current, typ, payload);

  nextKey(): Promise<PublicJwk> {
    return this.#key.next();
  }

  /** The authority has certified it. */
  async useKey(kid: string): Promise<boolean> {
    const used = await this.#key.use(kid);
    // It was about the key before; the next lease brings another.
    if (used) this.#trust.forgetCertificate();
    return used;
  }

  receiptOf(first_sseq: number, records: number): Promise<string | null> {
    return this.#flushes.receiptOf(first_sseq, records);
  }

  // ── Turn: what calls ask of the shard ───────────────────────────────────────────────────────────────────────────

  /** Made at the turn's first decision. */
  get seenText(): string {
    return this.#seen.text(this.trust, this.condition, this.policy.digest);
  }

  readonly trustDigest = (matches: Parameters<ShardTrust["digest"]>[0]): string => this.#trust.digest(matches);
  namesOf = (key: string): readonly string[] => this.#trust.markPorts.namesOf(key);
  toldNames = (key: string): readonly string[] => this.namesOf(key).filter(mayBeTold);
  get vouchedFor(): boolean {
    const certificate = this.#trust.certificate;
    return certificate !== null && Date.now() < certificate.exp_ms;
  }
  statement = async (typ: string, claims: object): Promise<string | null> => {
    const certificate = this.#trust.certificate;
    if (certificate === null || !this.vouchedFor) return null;
    return joinStatement(await signJws(this.#key.current, typ, JSON.stringify(claims)), certificate.text);
  };
  now = (): number => this.#clock();
  liveTrust = (): TrustView => this.#trust.view();
  liveCondition = (): ShardCondition => ({
    halted: this.#halted,
    clock_anomaly: Date.now() < this.#clockReset.mark(this.writer.lastT) - CLOCK_TOLERANCE_MS,
    ...this.#policies.at(Date.now()).condition,
    policy_drift: this.#stateWatch.condition ?? this.#probe.condition,
    ...this.#anchoring.condition(),
  });
  revoked = (dependencies: readonly string[], degraded: boolean): boolean =>
    this.#trust.match(dependencies, this.#clock()).some(({ state }) => !degraded || state !== "degraded");
  lost = (keys: readonly string[]): boolean => keys.length > 0 && this.writer.runs.marks.lost(keys).length > 0;
  revokedSince = (dependencies: readonly string[], degraded: boolean): boolean =>
    this.#trust.applied !== this.trust.revision && this.revoked(dependencies, degraded);
  marked = (sseq: number): boolean => {
    const { runs } = this.writer;
    runs.settleMarks();
    // Where entries wait for their marks nobody can say that it is not marked.
    return runs.marks.unsettled || runs.marks.of(sseq) !== null;
  };
  markedSince = (sseq: number): boolean =>
    (this.#trust.applied !== this.trust.revision || this.writer.runs.marks.unsettled) && this.marked(sseq);
  owe = (owed: Owed): void => this.#debts.owe(owed);
  withdrawn = (sseq: number): boolean => this.#debts.withdrawn(sseq);
  owes = (idempotency: string): boolean => this.#debts.owes(idempotency);
  again = (call: Call): void => this.#commit.submit(call);
  mintRun = (): string => mintRunId(this.region, this.log_epoch, randomBytes(16));
  consistency = (): string => this.#trust.consistency();
  continuity = (): Continuity => this.live().continuity;
  live = (): Live => {
    const t_ms = this.now();
    const now = { t_ms, trust: this.liveTrust(), condition: this.liveCondition() };
    const { region } = this;
    const problemBy = (policy: LoadedPolicy): ReturnType<typeof regionChecks> =>
      regionChecks({ ...now, policy, region, at_least: null });
    const { policy } = this.#policies.at(t_ms);
    const problem = problemBy(policy);
    return {
      ...now,
      turned: (policy === this.policy ? problem : problemBy(this.policy)) !== null,
      consistency: this.consistency(),
      continuity: continuityOf(now, problem?.reason ?? null, this.#audit.word),
    };
  };
  contradicted = ({ pass, region, digest }: StepReceiptFacts, why: string): void => {
    const detail = `${region} said two things of pass ${pass}: ${why} (${digest})`;
    console.warn(JSON.stringify({ level: "warn", event: "step_receipt_contradiction", shard: this.shard, detail }));
    const found = { what: "step_receipt_contradicted" as const, source: `shard/${this.shard}`, detail, evidence: null };
    void tellIncident(this.#env, this.#config, found);
  };
  bug = (where: string, cause: unknown): void => {
    console.error(
      JSON.stringify({
        level: "error",
        event: "bug",
        where,
        message: cause instanceof Error ? (cause.stack ?? cause.message) : "unknown",
      }),
    );
  };

  /**
   * The clock was ahead and is right now: an administrator says so. Records from the leap stand; what is decided from
   * now on is decided by the clock. How far the newest record is ahead of it, 0 where it is not.
   */
  async resetClock(): Promise<number> {
    await this.#commit.settled();
    const now = Date.now();
    this.#trust.dropLease();
    this.#latest = now;
    this.#nextSweep = 0;
    this.#anchoring.notAfter(now);
    const ahead = this.writer.lastT - now;
    if (ahead <= CLOCK_TOLERANCE_MS) return Math.max(0, ahead);
    this.#clockReset.set(this.writer.lastT, now);
    // Sums go by time: what was added ahead of it would hide all that follows.
    this.store.transaction(() => this.writer.runs.rows.datedBy(now));
    await this.store.sync();
    return ahead;
  }

  // ── trust and lease ─────────────────────────────────────────────────────────────────────────────────────────────

  endLeases({ origins, problem }: EndLeasesMessage): void {
    this.#trust.endLeases(origins, problem);
    this.halts.look();
  }

  async applyTrust(message: ApplyTrustMessage): Promise<ApplyTrustAnswer> {
    const answer = this.#trust.apply(message);
    if (!answer.ok) return answer;
    // What was decided under the older state is released or withheld before the revision counts as effective.
    void this.#policies.ensure(this.#clock());
    await this.#settled();
    this.#trust.markEffective(answer.revision);
    return answer;
  }

  /** What was decided before is released or withheld, and what rests on the entries that came is marked. */
  async #settled(): Promise<void> {
    this.halts.look();
    do await this.#commit.settled();
    while (!this.writer.runs.settleMarks());
    // What was marked meanwhile, and holds that began on their way.
    this.halts.look();
  }

  // ── erasure ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async prepareErasure(target: ErasureTarget): Promise<PrepareErasureAnswer> {
    // What was decided before this was asked is in storage.
    await this.#commit.settled();
    return this.#eraser.prepare(target);
  }

  async erase(message: EraseMessage): Promise<EraseAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const answer = this.#eraser.slice(message);
    await this.store.sync();
    return answer;
  }

  /**
   * Whether everything that was erased before this object started is erased here: a storage that was put back has
   * payloads again, and the authority, told how far this one is, sends the journal's entries again.
   */
  async #allErased(): Promise<boolean> {
    if (this.#journalHead === null) await Promise.race([this.#askJournal(), pause(FRESHNESS.refresh_wait_ms)]);
    return this.#journalHead !== null && this.#eraser.position >= this.#journalHead;
  }

  async findRecords(message: FindRecordsMessage): Promise<FindRecordsAnswer> {
    return (await this.#allErased()) ? this.#finder.find(message) : { ok: false, code: "erasing" };
  }

  async #askJournal(): Promise<void> {
    try {
      const head = await authority(this.#env, this.#config).erasureHead(
        this.log_epoch,
        this.shard,
        this.#eraser.position,
      );
      this.#journalHead ??= head;
    } catch {
      // Asked again by the next read; until there is an answer no payload is read.
    }
  }

  /** What was decided before this was asked is in storage. */
  async replayAll(order: ReplayOrder): Promise<ShardReplay> {
    await this.#commit.settled();
    return this.#sweep.order(order);
  }

  async status(): Promise<ShardStatus> {
    const head = this.store.head();
    await this.#lease.ensure();
    if (this.#anchoringIsStale(Date.now())) await this.#askAnchoring();
    const now = Date.now();
    if (!this.#policies.isReady(now)) await this.#policies.ensure(now);
    const { policy } = this.#policies.at(now);
    const problem = regionChecks({
      trust: this.liveTrust(),
      condition: this.liveCondition(),
      policy,
      region: this.region,
      at_least: null,
      t_ms: now,
    });
    return {
      shard: this.shard,
      sseq: head.sseq,
      head: head.leaf_hash === null ? null : base64url(head.leaf_hash),
      revision: this.#trust.applied,
      lease_remaining_ms: Math.max(0, this.#trust.leaseUntil - now),
      last_flush_ms: this.#flushes.last_ms,
      flushes: this.#flushes.count,
      records: head.sseq,
      policy: policy.digest,
      trust_entries: this.#trust.entries,
      anchoring: this.#anchoring.status(now),
      replay: this.#audit.status(),
      denies: problem?.reason ?? null,
      detail: problem?.detail ?? null,
    };
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
