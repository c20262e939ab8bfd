import { Replays } from "./replays.ts";
import type { OutsideWitnesses } from "../../src/lineage/witnesses.ts";
import type { Env } from "../../src/objects/address.ts";
import type { AuthorityStatus } from "../../src/objects/authority-status.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { issuedTypes } from "../../src/policy/obligations.ts";
import type { Region } from "../../src/region/config.ts";
import { tellIncident } from "../tell-incident.ts";
import { Pseudonyms } from "../pseudonyms.ts";
import { signJws } from "../platform.ts";
import { AdminRows } from "./admin-rows.ts";
import { Drift } from "./drift.ts";
import { Expectation } from "./expectation.ts";
import { Erasures } from "./erasures.ts";
import { EpochDrops } from "./drops.ts";
import { ErasedCount } from "./erased-count.ts";
import { Epochs } from "./epochs.ts";
import { Forwards } from "./forwards.ts";
import { Freeze } from "./freeze.ts";
import { Identity } from "./identity.ts";
import { KeyRotation } from "./key-rotation.ts";
import { CertifiedKeys } from "./keys.ts";
import { Memberships, outsideWitnessesOf } from "./memberships.ts";
import { applyEvents } from "./apply-events.ts";
import { Installs } from "./install.ts";
import { Links } from "./links.ts";
import { OwnKeys } from "./own-keys.ts";
import { OwnSnapshot, type OwnSnapshotRoom } from "./own-snapshot.ts";
import { PeerStore } from "./peer-store.ts";
import { ActivePolicy } from "./policy.ts";
import { PolicyRows } from "./policy-rows.ts";
import { Peps } from "./peps.ts";
import { RequestRows } from "./request-rows.ts";
import { Requests } from "./requests.ts";
import { requireSecrets } from "./require-secrets.ts";
import { SnapshotStore } from "./snapshot-store.ts";
import { SyncMessages } from "./sync-messages.ts";
import { RegionSync } from "./sync.ts";
import { Revocations } from "./revocations.ts";
import { Rewind } from "./rewind.ts";
import { ShardKeys } from "./shard-keys.ts";
import { Shards } from "./shards.ts";
import { Signals } from "./signals.ts";
import { StateDrift } from "./state-drift.ts";
import { Standing } from "./standing.ts";
import { AuthorityStore } from "./store.ts";
import { Watch } from "./watch.ts";
import { EventWriter } from "./writer.ts";

/**
 * What the trust authority does (DESIGN section 4), without the platform's class around it: one noun a file, put
 * together here. Rules are in `src/trust`.
 *
 * Every write goes through `EventWriter.append`. The trust *revision* counts the changes of the state, own and others'.
 */
export class Authority {
  readonly #region: Region;
  readonly #writer: EventWriter;
  readonly #standing: Standing;
  readonly #erased: ErasedCount;
  readonly #rewind: Rewind;
  readonly #peers: PeerStore;
  readonly #snapshot: OwnSnapshot;
  readonly #installs: Installs;
  readonly #forwards: Forwards;
  readonly store: AuthorityStore;
  readonly epochs: Epochs;
  readonly drops: EpochDrops;
  readonly keys: CertifiedKeys;
  readonly rotation: KeyRotation;
  readonly shardKeys: ShardKeys;
  readonly shards: Shards;
  readonly revocations: Revocations;
  readonly requests: Requests;
  readonly peps: Peps;
  readonly memberships: Memberships;
  readonly erasures: Erasures;
  readonly signals: Signals;
  readonly identity: Identity;
  readonly sync: RegionSync;
  readonly links: Links;
  readonly watch: Watch;
  readonly freeze: Freeze;
  readonly policy: ActivePolicy;
  readonly drift: Drift;
  readonly replays: Replays;
  readonly states: StateDrift;

  private constructor(
    env: Env,
    region: Region,
    outside: OutsideWitnesses,
    storage: DurableObjectStorage,
    store: AuthorityStore,
    own: OwnKeys,
    send: typeof fetch,
    snapshot_every: number | undefined,
  ) {
    this.#region = region;
    const baseline = activePolicy(region);
    this.#rewind = new Rewind(store, (detail) => {
      void tellIncident(env, region, { what: "authority_rewound", source: "trust", detail, evidence: null });
    });
    const pseudonyms = new Pseudonyms(region.secrets);
    store.rekey(pseudonyms.secret, (key) => pseudonyms.current(key));
    this.#standing = new Standing(region, store);
    const peers = new PeerStore(storage);
    this.#peers = peers;
    const snapshots = new SnapshotStore(storage);
    requireSecrets(region, store, peers, this.#standing);
    this.sync = new RegionSync(region, store, peers, snapshots, this.#standing, "");
    this.#writer = new EventWriter(env, region, store, own, this.#rewind, pseudonyms, this.#standing, peers, this.sync);
    this.store = store;
    this.#erased = new ErasedCount((from, count) => store.leaves(region.log_epoch, from, count));
    this.epochs = new Epochs(env, region, storage, store, this.#writer, this.#rewind, this.sync);
    this.drops = new EpochDrops(env, region, storage, store, this.#writer, this.epochs);
    this.keys = new CertifiedKeys(region, store, this.#writer, this.#standing, own, () => this.identity.material());
    const rows = new AdminRows(storage);
    this.policy = new ActivePolicy(env, region, baseline, {
      store,
      rows: new PolicyRows(storage),
      acts: rows,
      writer: this.#writer,
      shards: () => this.shards,
      sync: this.sync,
      shutOut: (keys) => this.revocations.shutOut(keys),
      incident: (detail, evidence) =>
        void tellIncident(env, region, { what: "policy_equivocation", source: "trust", detail, evidence }),
    });
    this.shards = new Shards(env, region, {
      store,
      keys: this.keys,
      standing: this.#standing,
      writer: this.#writer,
      rewind: this.#rewind,
      epochs: this.epochs,
      policy: this.policy,
      sync: this.sync,
      drift: () => this.drift,
      states: () => this.states,
    });
    this.states = new StateDrift({
      self: region.name,
      store,
      core: () => this.sync.core,
      state: () => this.sync.state,
      peers: () => this.sync.others,
      ask: (peer, states) => this.links.state(peer, states),
      keep: (peer, origins, found, jws) => this.drift.keepState(peer, origins, found, jws),
    });
    this.drift = new Drift(region, {
      store,
      rows,
      writer: this.#writer,
      expectation: new Expectation({ digest: () => this.policy.digest, policy: () => this.policy.compiled() }),
      bundle: () => this.policy.standing().version,
      peers: () => this.sync.others,
      named: (digest) => this.sync.feed({ type: "policy", digest }),
      ask: (peer, digest, timeout_ms) => this.links.policy(peer, digest, timeout_ms),
      selection: (bundle, of) => this.policy.selection(bundle, of),
      incident: (found) => void tellIncident(env, region, found),
      states: () => this.states,
    });
    this.replays = new Replays(env, region, { store, rows, writer: this.#writer });
    const requests = new RequestRows(storage);
    this.#forwards = new Forwards({ rows: requests, pseudonyms, ask: (to, body) => this.links.request(to, body) });
    this.revocations = new Revocations(region, {
      rows,
      forwards: this.#forwards,
      store,
      peers,
      writer: this.#writer,
      shards: this.shards,
      standing: this.#standing,
      sync: this.sync,
      pseudonyms,
    });
    this.requests = new Requests(region, {
      rows: requests,
      acts: rows,
      store,
      writer: this.#writer,
      standing: this.#standing,
      revocations: this.revocations,
      pseudonyms,
    });
    this.peps = new Peps(region, store, this.#writer, this.keys, this.revocations);
    this.memberships = new Memberships(
      env,
      region,
      outside,
      this.#writer,
      this.keys,
      this.#standing,
      this.shards,
      this.sync,
      own,
      () => this.rotation.look(),
    );
    const messages = new SyncMessages(region.name, own, () => this.#standing.membership, region.secrets);
    const room = {
      store,
      pages: snapshots,
      sign: (manifest) => messages.sealManifest(manifest),
      core: () => this.sync.core,
      state: () => this.sync.state,
      numbering: () => this.sync.numbering,
      feed: (input) => this.sync.feed(input),
    } satisfies OwnSnapshotRoom;
    this.#snapshot = new OwnSnapshot(room, snapshot_every);
    this.rotation = new KeyRotation(region, {
      store,
      rows,
      own,
      keys: this.keys,
      writer: this.#writer,
      standing: this.#standing,
      sync: this.sync,
      signSnapshot: () => this.#snapshot.signAgain(),
    });
    this.shardKeys = new ShardKeys(env, region, this.keys, this.epochs, () => this.rotation.view());
    this.links = new Links(messages, this.sync, this.#standing, send, (jws) => this.memberships.put(jws, "peer"));
    this.freeze = new Freeze(region, {
      store,
      rows,
      writer: this.#writer,
      shards: this.shards,
      standing: this.#standing,
      peers,
      sync: this.sync,
      pseudonyms,
      status: () => this.status(),
      shutOut: (keys) => this.revocations.shutOut(keys),
    });
    this.watch = new Watch(region, {
      peers,
      rows,
      writer: this.#writer,
      standing: this.#standing,
      sync: this.sync,
      shards: this.shards,
    });
    this.#installs = new Installs({
      store,
      peers,
      pages: snapshots,
      state: () => this.sync.state,
      fetch: (from, body, page) => this.links.page(from, body, page),
      canLookUp: (key) => messages.canLookUp(key),
      feed: (input) => this.sync.feed(input),
      spread: () => this.shards.spread(),
    });
    this.erasures = new Erasures(env, region, storage, store, this.#writer, this.#rewind);
    this.signals = new Signals(region, storage, this.#writer, this.revocations, send);
    this.identity = new Identity(region, storage, {
      store,
      writer: this.#writer,
      revocations: this.revocations,
      send,
      incident: (what, detail) => void tellIncident(env, region, { what, source: "trust", detail, evidence: null }),
    });
  }

  /** Makes the region's own key at first start, loads it ever after. Nothing else may run before it is done. */
  static async open(
    storage: DurableObjectStorage,
    env: Env,
    region: Region,
    send: typeof fetch = (input, init) => fetch(input, init),
    snapshot_every?: number,
  ): Promise<Authority> {
    const store = new AuthorityStore(storage);
    const own = await OwnKeys.open(store, `${region.name}.${region.log_epoch}.authority.1`);
    const authority = new Authority(
      env,
      region,
      await outsideWitnessesOf(env),
      storage,
      store,
      own,
      send,
      snapshot_every,
    );
    await authority.policy.start();
    authority.#startSync();
    await authority.keys.certify(own.current.publicJwk, "authority");
    authority.epochs.start();
    authority.drops.start();
    authority.#rewind.start();
    authority.memberships.start();
    authority.rotation.look();
    authority.erasures.start();
    authority.signals.start();
    authority.#forwards.start();
    authority.identity.start();
    return authority;
  }

  sourceHead(): { readonly sseq: number; readonly erased: number } {
    return { sseq: this.store.leafHead(this.#region.log_epoch).sseq, erased: this.#erased.count() };
  }

  /** The object has one alarm: each room looks what is due, and sets the next. */
  async alarm(): Promise<void> {
    await Promise.all([this.erasures.alarm(), this.signals.alarm(), this.identity.alarm()]);
  }

  #startSync(): void {
    const { sync, links, shards, store } = this;
    sync.start({
      send: (pull) => links.pull(pull),
      push: (to, sets) => links.push(to, sets),
      fetchMembership: (from) => links.fetchMembership(from),
      apply: (events, also, own) => applyEvents(store, this.#peers, this.#writer, events, also, own),
      spread: () => shards.spread(),
      lost: (origins, why) =>
        shards.lost(
          origins,
          why === "equivocation" ? "sync_equivocation" : why === "unsupported" ? "sync_unsupported" : null,
        ),
      number: () => this.#writer.numberAll(),
      policy: (from, digest) => this.drift.named(from, digest),
      moved: (origin) => void this.states.moved(origin),
      whole: (origin) => this.states.whole(origin),
      alarm: (changes) => this.watch.alarm(changes),
      snapshot: this.#snapshot,
      install: (effect) => this.#installs.start(effect),
    });
  }

  status(): AuthorityStatus {
    const { membership } = this.#standing;
    return {
      mode: this.#standing.mode(),
      unfreeze: this.freeze.request(),
      freeze: this.freeze.standing(),
      epoch_problem: this.epochs.problem,
      rewound: this.store.meta("rewound"),
      revision: this.store.revision(),
      revocations: this.store.countRevoked(),
      membership_version: membership?.version ?? null,
      membership_expires_ms: membership?.expires_ms ?? null,
      policy: this.policy.digest,
      policy_problem: this.policy.standing().problem,
      policy_standing: this.policy.standing(),
      packs: this.policy.packs(),
      shards: this.shards.describe(),
      sync: this.sync.overview(),
      drift: this.drift.status(),
    };
  }

  #obligations: { readonly policy: string; readonly types: readonly string[] } | null = null;

  /** None where no policy is in force: nothing is allowed then. */
  obligations(): { readonly policy: string; readonly types: readonly string[] } {
    const { digest } = this.policy;
    if (this.#obligations?.policy === digest) return this.#obligations;
    const compiled = this.policy.compiled();
    return (this.#obligations = { policy: digest, types: compiled === null ? [] : issuedTypes(compiled) });
  }

  signMetadata(metadata: Readonly<Record<string, unknown>>): Promise<string> {
    const claims = { ...metadata, iss: this.#region.pdp, iat: Math.floor(Date.now() / 1_000) };
    return signJws(this.keys.own, "JWT", JSON.stringify(claims));
  }
}
