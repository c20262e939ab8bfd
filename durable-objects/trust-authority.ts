import type { RegionMode } from "../src/vocabulary/types.ts";
import { DurableObject } from "cloudflare:workers";
import { CompactSign, type JWK } from "jose";
import { utf8, base64url } from "../src/base/bytes.ts";
import { digestOf } from "../src/base/digest.ts";
import { jcs } from "../src/base/jcs.ts";
import { err, ok, type Result } from "../src/base/result.ts";
import { thumbprintOf } from "../src/credentials/thumbprint.ts";
import { regionLog, shardAt, witness, type Env } from "../src/objects/address.ts";
import type {
  AdminResult,
  AuthorityRpc,
  AuthorityStatus,
  Enrolment,
  LeaseAnswer,
  LeaseRequest,
  Material,
  PepView,
  PublicJwk,
  RegisterPepMessage,
  RevocationView,
  RevokeMessage,
} from "../src/objects/authority.ts";
import { activePolicy } from "../src/policy/baseline.ts";
import type { LoadedPolicy } from "../src/policy/evaluate.ts";
import { FRESHNESS, readRegion, type Region } from "../src/region/config.ts";
import { encodeConsistency } from "../src/trust/consistency.ts";
import { eventClaims, eventDigest, eventId, eventText, parseEventId } from "../src/trust/event-chain.ts";
import type { TrustEvent } from "../src/trust/events.ts";
import { bindsDecisions, credentialKey, issuerKey, keyKey, parseKey, pepKey, regionKey } from "../src/trust/keys.ts";
import type { Membership } from "../src/trust/membership.ts";
import { COMMITMENT_SALT_BYTES, commitment, leafHash } from "../src/lineage/record.ts";
import { encodeStateRecord } from "../src/lineage/state-record.ts";
import { ShardLeases } from "./authority/leases.ts";
import { AuthorityStore, asEntry, type EntryRow } from "./authority/store.ts";
import { peerLogKeys, witnessing } from "./authority/witnessing.ts";
import { LeafSender } from "./leaf-sender.ts";
import { importSigningKey, newSigningJwk, nodeSha256, randomBytes, type SigningKey } from "./platform.ts";

/** Loaded when a membership arrives: its schema would cost every start 10 ms, and no decision needs it. */
const membershipRoom = () => import("../src/trust/membership.ts");

/** Entries in one lease answer: about 1 MiB of message at most. */
const ENTRIES_PER_ANSWER = 5_000;

type Draft = Pick<TrustEvent, "kind" | "key" | "generation" | "from" | "cites"> & {
  readonly reason_code: string;
  readonly actor: string;
  readonly note: string;
};

/**
 * One per region: trust events and state, the region's mode, membership, PEPs, key certificates and the leases of
 * the shards (DESIGN section 4). A thin shell: rules are in `src/trust`, rows in `authority/store`, the lease book in
 * `authority/leases`.
 *
 * Every write goes through `#append`, one at a time: an event is numbered, chained, signed, and then stored together
 * with what it changes. The trust *revision* is the sequence of the newest event.
 */
export class TrustAuthority extends DurableObject<Env> implements AuthorityRpc {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #policy: LoadedPolicy;
  readonly #leases: ShardLeases;
  #signing!: SigningKey;
  #material: Material | null = null;
  #membership: Membership | null = null;
  /** The storage was put back behind what a shard knows (`#noteRewind`). */
  #rewound = false;
  #writing: Promise<unknown> = Promise.resolve();
  readonly #leaves: LeafSender;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    // A region that is configured wrongly does not start; the launcher and /health say why.
    if (!region.ok) throw new Error(region.error);
    this.#region = region.value;
    this.#store = new AuthorityStore(ctx.storage);
    this.#policy = activePolicy(this.#region);
    this.#leases = new ShardLeases(this.#region.shards, Date.now(), FRESHNESS.lease_ms);
    this.#leaves = new LeafSender(
      {
        source: "trust",
        hashes: (first, last) => this.#store.leafHashes(first, last),
        integrate: (message) => regionLog(env, this.#region).integrate(message),
        // A halted log halts the shards, which ask it themselves; trust events are deny-ward and go on.
        halt: () => undefined,
      },
      this.#store.leafHead().sseq,
    );
    void ctx.blockConcurrencyWhile(() => this.#load());
  }

  async #load(): Promise<void> {
    let jwk: JWK | null = this.#store.signingJwk();
    if (jwk === null) {
      jwk = await newSigningJwk(`${this.#region.name}.${this.#region.log_epoch}.authority.1`);
      this.#store.setMeta("signing_jwk", JSON.stringify(jwk));
    }
    this.#signing = await importSigningKey(jwk);
    if (this.#store.certified().length === 0) {
      await this.#append(
        {
          kind: "key",
          key: regionKey(this.#region.name),
          generation: 1,
          from: "issue",
          cites: null,
          reason_code: "certified",
          actor: "region",
          note: this.#signing.kid,
        },
        (seq) => {
          this.#store.certify(this.#signing.publicJwk, "authority", seq);
        },
      );
    }
    const membership = this.#store.meta("membership");
    if (membership !== null) this.#membership = JSON.parse(membership) as Membership;
    this.#rewound = this.#store.meta("rewound") !== null;
    this.#leaves.notify(this.#store.leafHead().sseq);
    if (this.#membership !== null) void this.#configureLog(this.#membership);
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async material(): Promise<Material> {
    return this.#currentMaterial();
  }

  async jwks(): Promise<{ readonly keys: readonly PublicJwk[] }> {
    return { keys: this.#store.certified().map(({ jwk }) => jwk) };
  }

  async status(): Promise<AuthorityStatus> {
    const now = Date.now();
    return {
      mode: this.#currentMode(),
      revision: this.#store.head().seq,
      revocations: this.#store.countRevoked(),
      membership_version: this.#membership?.version ?? null,
      membership_expires_ms: this.#membership?.expires_ms ?? null,
      policy: this.#policy.digest,
      policy_problem: this.#policy.problem,
      packs: this.#policy.packs,
      shards: this.#leases.describe(now),
    };
  }

  async signMetadata(metadata: Readonly<Record<string, unknown>>): Promise<string> {
    return this.#sign(
      JSON.stringify({ ...metadata, iss: this.#region.pdp, iat: Math.floor(Date.now() / 1_000) }),
      "JWT",
    );
  }

  // ── shards ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Grants a lease over everything up to the current revision. The grant is entered in the book before the answer
   * leaves, and the revision is read from storage, not from memory: a superseded twin of this object would fail here
   * instead of granting (TRUST section 4.5).
   */
  async lease(request: LeaseRequest): Promise<LeaseAnswer> {
    if (request.v !== 1) return { ok: false, code: "unsupported_version" };
    if (!Number.isInteger(request.shard) || request.shard < 0 || request.shard >= this.#region.shards) {
      return { ok: false, code: "unknown_shard" };
    }
    const certified = this.#store.certified().find(({ jwk }) => jwk.kid === request.key.kid);
    // The shard lost its storage: its receipts would not verify, and its chain would begin again at 1.
    if (certified !== undefined && certified.jwk.x !== request.key.x) return { ok: false, code: "another_key" };
    if (certified === undefined) await this.#certify(request.key, "shard");
    // From here to the answer no `await`: a revocation accepted between reading the head and entering the grant
    // would not wait for this lease.
    const now = Date.now();
    const head = this.#store.head().seq;
    if (request.revision > head) this.#noteRewind(request, head);
    if (this.#rewound) return { ok: false, code: "rewound" };
    const rows = this.#store.entriesAfter(request.revision, ENTRIES_PER_ANSWER + 1);
    const more = rows.length > ENTRIES_PER_ANSWER;
    const entries = more ? rows.slice(0, ENTRIES_PER_ANSWER) : rows;
    const material = this.#currentMaterial();
    // With entries still to come the shard is not fresh: no lease until it has them all.
    const remaining = more ? 0 : FRESHNESS.lease_ms;
    this.#leases.granted(request.shard, now + remaining, request.revision);
    return {
      ok: true,
      nonce: request.nonce,
      remaining_ms: remaining,
      from_revision: request.revision,
      revision: more ? entries.at(-1)!.seq : head,
      mode: this.#currentMode(),
      entries: entries.map(asEntry),
      more,
      material: request.material === material.digest ? null : material,
      policy: this.#policy.digest,
    };
  }

  /**
   * A shard has made effective what this authority does not know: the authority's storage was put back. Its next
   * events would carry numbers that the shard has passed, and would be taken for known: a revocation "confirmed" and
   * without effect. So no lease is granted any more, and everything is denied, also after a restart.
   */
  #noteRewind({ shard, revision }: LeaseRequest, head: number): void {
    if (this.#rewound) return;
    this.#rewound = true;
    const message = `shard ${shard} is at trust revision ${revision}, the authority's storage only at ${head}: it was put back; restore the region's whole directory`;
    this.#store.setMeta("rewound", message);
    console.error(JSON.stringify({ level: "error", event: "authority_rewound", message }));
  }

  /** Certifies a key of one of the region's objects, the first time it is seen. */
  async #certify(key: PublicJwk, role: "shard" | "log" | "witness"): Promise<void> {
    if (this.#store.certified().some(({ jwk }) => jwk.kid === key.kid)) return;
    await this.#append(
      {
        kind: "key",
        key: regionKey(this.#region.name),
        generation: 1,
        from: "issue",
        cites: null,
        reason_code: "certified",
        actor: "region",
        note: key.kid,
      },
      (seq) => {
        if (this.#store.certified().some(({ jwk }) => jwk.kid === key.kid)) return;
        this.#store.certify(key, role, seq);
      },
    );
  }

  /** Pushes the state to every shard and waits until each has made it effective or its lease has ended. */
  async #effective(revision: number): Promise<void> {
    const ends = this.#leases.endsBefore();
    await Promise.all(
      Array.from({ length: this.#region.shards }, async (_, shard) => {
        if (this.#leases.revisionOf(shard) >= revision) return;
        const end = ends[shard]!;
        const confirmed = this.#push(shard).then((applied) => {
          if (applied >= revision) this.#leases.confirmed(shard, applied);
          return applied >= revision;
        });
        const expired = sleep(Math.max(0, end - Date.now()) + 1).then(() => false);
        if (await Promise.race([confirmed, expired])) return;
        // An early answer that does not confirm still leaves the lease to run out.
        await sleep(Math.max(0, end - Date.now()) + 1);
      }),
    );
  }

  async #push(shard: number): Promise<number> {
    try {
      for (let from = this.#leases.revisionOf(shard), tries = 0; tries < 1_000; tries++) {
        const rows = this.#store.entriesAfter(from, ENTRIES_PER_ANSWER);
        const revision = rows.length === ENTRIES_PER_ANSWER ? rows.at(-1)!.seq : this.#store.head().seq;
        // A new stub each time: one that threw is never used again.
        const answer = await shardAt(this.env, this.#region, shard).applyTrust({
          v: 1,
          from_revision: from,
          revision,
          mode: this.#currentMode(),
          entries: rows.map(asEntry),
        });
        if (answer.ok && answer.revision >= this.#store.head().seq) return answer.revision;
        from = answer.ok ? answer.revision : answer.have;
      }
    } catch {
      // Unreachable: its lease will end, and that is what the caller waits for.
    }
    return -1;
  }

  // ── administration ──────────────────────────────────────────────────────────────────────────────────────────────

  async enrolment(): Promise<Enrolment> {
    const { readRoots } = await membershipRoom();
    const roots = readRoots(this.env.INTERLOCK_ROOTS);
    return {
      region: this.#region.name,
      log_epoch: this.#region.log_epoch,
      pdp: this.#region.pdp,
      mode: this.#currentMode(),
      keys: [this.#signing.publicJwk, ...(await this.#otherKeys())],
      membership_version: this.#membership?.version ?? null,
      root_threshold: roots.ok ? roots.value.threshold : 0,
    };
  }

  async putMembership(jws: unknown, actor: string): Promise<AdminResult<Enrolment>> {
    const verified = await this.#acceptable(jws);
    if (!verified.ok) return verified.error;
    const membership = verified.value;
    if (this.#membership !== null && jcs(this.#membership) === jcs(membership))
      return { ok: true, value: await this.enrolment() };
    const stored = await this.#append(
      {
        kind: "membership",
        key: regionKey(this.#region.name),
        generation: membership.version,
        from: "issue",
        cites: null,
        reason_code: "membership",
        actor,
        note: `version ${membership.version}`,
      },
      () => {
        if (this.#membership !== null && membership.version <= this.#membership.version) return false;
        this.#store.setMeta("membership", JSON.stringify(membership));
        this.#membership = membership;
        return true;
      },
    );
    if (!stored.result) {
      return {
        ok: false,
        code: "conflict",
        message: `version ${membership.version} does not rise above version ${this.#membership!.version}`,
      };
    }
    await this.#configureLog(membership);
    await this.#effective(stored.seq);
    return { ok: true, value: await this.enrolment() };
  }

  async #acceptable(jws: unknown): Promise<Result<Membership, AdminResult<never>>> {
    const refuse = (message: string) => err({ ok: false as const, code: "invalid" as const, message });
    const { readRoots, verifyMembership } = await membershipRoom();
    const roots = readRoots(this.env.INTERLOCK_ROOTS);
    if (!roots.ok) return refuse(roots.error);
    const verified = await verifyMembership(jws, roots.value);
    if (!verified.ok) return refuse(verified.error);
    const membership = verified.value;
    const self = membership.regions.find(({ region }) => region === this.#region.name);
    if (self === undefined) return refuse(`the membership does not list region ${this.#region.name}`);
    if (self.pdp !== this.#region.pdp)
      return refuse(`the membership lists ${self.pdp} for this region, which is ${this.#region.pdp}`);
    if (!self.keys.some((key) => key.kid === this.#signing.kid && key["x"] === this.#signing.publicJwk.x)) {
      return refuse("the membership does not list this region's own key; enrol again");
    }
    if (membership.expires_ms <= Date.now()) return refuse("the membership has expired");
    return ok(membership);
  }

  async registerPep(message: RegisterPepMessage): Promise<AdminResult<PepView & { readonly credential: string }>> {
    const key = pepKey(this.#region.name, message.id);
    const parsed = parseKey(key);
    if (!parsed.ok) return { ok: false, code: "invalid", message: `id: ${parsed.error}` };
    const now = Date.now();
    const row = {
      id: message.id,
      scopes: message.scopes,
      jti: base64url(randomBytes(16)),
      registered_at_ms: now,
      exp_ms: now + message.ttl_s * 1_000,
    };
    const claims = {
      aud: this.#region.pdp,
      client_id: `pep:${this.#region.name}/${row.id}`,
      exp: Math.floor(row.exp_ms / 1_000),
      iat: Math.floor(now / 1_000),
      iss: this.#region.pdp,
      jti: row.jti,
      scope: row.scopes.join(" "),
      sub: `pep:${this.#region.name}/${row.id}`,
    };
    const credential = await this.#sign(JSON.stringify(claims), "at+jwt");
    const stored = await this.#append(
      {
        kind: "pep",
        key,
        generation: 1,
        from: "issue",
        cites: null,
        reason_code: "registered",
        actor: message.actor,
        note: row.scopes.join(" "),
      },
      () => {
        const before = this.#store.peps().find(({ id }) => id === row.id);
        if (
          before !== undefined &&
          before.exp_ms > now &&
          this.#store.entry(key, this.#region.name)?.state !== "revoked"
        )
          return "registered";
        if (this.#store.entry(key, this.#region.name)?.state === "revoked") return "revoked";
        this.#store.putPep(row);
        return null;
      },
    );
    if (stored.result !== null) {
      return {
        ok: false,
        code: "conflict",
        message: `PEP ${row.id} is ${stored.result}; choose another id, or ${stored.result === "revoked" ? "restore" : "revoke"} it first`,
      };
    }
    return { ok: true, value: { ...this.#describePep(row, now), credential } };
  }

  async listPeps(): Promise<readonly PepView[]> {
    const now = Date.now();
    return this.#store.peps().map((row) => this.#describePep(row, now));
  }

  #describePep(
    row: { id: string; jti: string; scopes: PepView["scopes"]; registered_at_ms: number; exp_ms: number },
    now: number,
  ): PepView {
    const key = pepKey(this.#region.name, row.id);
    // Who reads is held against this status, so what the credential rests on counts like the PEP itself. The region
    // has signed every credential with its one authority key.
    const { pdp, name } = this.#region;
    const signer = keyKey(thumbprintOf(this.#signing.publicJwk, nodeSha256));
    const revoked = this.#anyRevoked([key, credentialKey(pdp, row.jti), issuerKey(pdp), signer, regionKey(name)]);
    return {
      id: row.id,
      key,
      scopes: row.scopes,
      registered_at_ms: row.registered_at_ms,
      exp_ms: row.exp_ms,
      status: revoked ? "revoked" : row.exp_ms <= now ? "expired" : "active",
    };
  }

  /** From storage, not from memory: a superseded twin of this object would fail here instead of letting through. */
  async anyRevoked(keys: readonly string[]): Promise<boolean> {
    return this.#anyRevoked(keys);
  }

  #anyRevoked(keys: readonly string[]): boolean {
    return keys.some((key) => this.#store.entry(key, this.#region.name)?.state === "revoked");
  }

  /** Deny-ward writes are always accepted, also while the region is joining or frozen. */
  async revoke(message: RevokeMessage): Promise<AdminResult<RevocationView>> {
    const parsed = parseKey(message.key);
    if (!parsed.ok) return { ok: false, code: "invalid", message: `key: ${parsed.error}` };
    const origin = this.#region.name;
    const before = this.#store.entry(message.key, origin);
    // The same revocation again is the same entry; only a stronger one (`beginning`) is a new event.
    if (before?.state === "revoked" && (before.from === message.from || before.from === "beginning")) {
      await this.#effective(before.seq);
      return { ok: true, value: this.#describe(before) };
    }
    const { seq } = await this.#append(
      (head) => ({
        kind: "revoke",
        key: message.key,
        generation: head.generation + 1,
        from: message.from,
        cites: null,
        reason_code: "admin",
        actor: message.actor,
        note: message.reason,
      }),
      (seq, event) => {
        this.#store.putEntry({
          key: message.key,
          origin,
          generation: event.generation,
          state: "revoked",
          from: message.from,
          revoked_seq: seq,
          seq,
        });
      },
      message.key,
    );
    if (message.wait === "local") await this.#effective(seq);
    return { ok: true, value: this.#describe(this.#store.entry(message.key, origin)!) };
  }

  async restore(id: string, reason: string, actor: string): Promise<AdminResult<RevocationView>> {
    const found = this.#find(id);
    if (!found.ok) return found;
    const entry = found.value;
    if (entry.state === "restored") return { ok: true, value: this.#describe(entry) };
    const { seq, result } = await this.#append(
      (head) => ({
        kind: "restore",
        key: entry.key,
        generation: head.generation + 1,
        from: entry.from,
        cites: entry.revoked_seq,
        reason_code: "admin",
        actor,
        note: reason,
      }),
      (seq, event) => {
        const current = this.#store.entry(entry.key, entry.origin);
        // Revoked again meanwhile: this restoration cites an event that no longer stands.
        if (current?.revoked_seq !== entry.revoked_seq) return false;
        this.#store.putEntry({ ...entry, generation: event.generation, state: "restored", seq });
        return true;
      },
      entry.key,
    );
    if (!result)
      return { ok: false, code: "conflict", message: "the key was revoked again; restore the newer revocation" };
    await this.#effective(seq);
    return { ok: true, value: this.#describe(this.#store.entry(entry.key, entry.origin)!) };
  }

  async revocation(id: string): Promise<AdminResult<RevocationView>> {
    const found = this.#find(id);
    return found.ok ? { ok: true, value: this.#describe(found.value) } : found;
  }

  async listRevocations(
    after: number,
    limit: number,
  ): Promise<{ readonly revocations: readonly RevocationView[]; readonly next: number | null }> {
    const rows = this.#store.revocations(after, limit + 1);
    const page = rows.slice(0, limit);
    return { revocations: page.map((row) => this.#describe(row)), next: rows.length > limit ? page.at(-1)!.seq : null };
  }

  #find(id: string): AdminResult<EntryRow> {
    const parts = parseEventId(id);
    const row = parts?.origin === this.#region.name ? this.#store.event(parts.seq) : null;
    if (row === null || row.event.kind !== "revoke" || eventId(row.event) !== id) {
      return { ok: false, code: "not_found", message: `no revocation ${id} was made in region ${this.#region.name}` };
    }
    const entry = this.#store.entry(row.event.key, row.event.origin)!;
    if (entry.revoked_seq !== row.event.seq) {
      return {
        ok: false,
        code: "conflict",
        message: `revocation ${id} was superseded by ${this.#region.name}.1.${entry.revoked_seq}`,
      };
    }
    return { ok: true, value: entry };
  }

  #describe(entry: EntryRow): RevocationView {
    const made = this.#store.event(entry.revoked_seq)!;
    const expired = this.#leases.allExpired(entry.seq, Date.now());
    const key = parseKey(entry.key);
    return {
      id: eventId(made.event),
      key: entry.key,
      origin: entry.origin,
      generation: entry.generation,
      state: entry.state,
      from: entry.from,
      reason: made.note,
      issued_at_ms: made.event.issued_at_ms,
      revision: entry.seq,
      effect: key.ok && bindsDecisions(key.value.kind) ? "denies" : "recorded",
      status: {
        [this.#region.name]: this.#leases.allConfirmed(entry.seq)
          ? "confirmed"
          : expired
            ? "lease_expired"
            : "unconfirmed",
      },
      consistency: encodeConsistency({ region: this.#region.name, revision: entry.seq }),
    };
  }

  async freeze(reason: string, actor: string): Promise<AdminResult<AuthorityStatus>> {
    return this.#setFrozen(true, reason, actor);
  }

  async unfreeze(reason: string, actor: string): Promise<AdminResult<AuthorityStatus>> {
    return this.#setFrozen(false, reason, actor);
  }

  async #setFrozen(frozen: boolean, reason: string, actor: string): Promise<AdminResult<AuthorityStatus>> {
    if ((this.#store.meta("frozen") === "1") !== frozen) {
      await this.#append(
        {
          kind: frozen ? "freeze" : "unfreeze",
          key: regionKey(this.#region.name),
          generation: this.#store.head().seq + 1,
          from: "issue",
          cites: null,
          reason_code: "admin",
          actor,
          note: reason,
        },
        () => this.#store.setMeta("frozen", frozen ? "1" : "0"),
      );
    }
    await this.#effective(this.#store.head().seq);
    return { ok: true, value: await this.status() };
  }

  // ── the one way to write ────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Appends one event and what it changes. Writers queue: the signature is asynchronous, and without the queue two
   * events would be numbered from one head. `change` runs in the transaction that stores the event; where it returns
   * `false` or an error word nothing is stored.
   */
  #append<T>(
    draft: Draft | ((before: { generation: number }) => Draft),
    change: (seq: number, event: TrustEvent) => T,
    key?: string,
  ): Promise<{ readonly seq: number; readonly result: T }> {
    const turn = this.#writing.then(async () => {
      const head = this.#store.head();
      const generation = key === undefined ? 0 : (this.#store.entry(key, this.#region.name)?.generation ?? 0);
      const { actor, note, ...fields } = typeof draft === "function" ? draft({ generation }) : draft;
      const event: TrustEvent = {
        v: 1,
        origin: this.#region.name,
        incarnation: 1,
        seq: head.seq + 1,
        prev: head.digest,
        issued_at_ms: Date.now(),
        ...fields,
      };
      const set = await this.#sign(JSON.stringify(eventClaims(event, this.#region.pdp)), "secevent+jwt");
      let refused = false;
      const result = this.#store.transaction(() => {
        const outcome = change(event.seq, event);
        refused = outcome === false || typeof outcome === "string";
        if (refused) return outcome;
        this.#store.addEvent(event, eventDigest(event, nodeSha256), set, actor, note);
        this.#addLeaf(event);
        return outcome;
      });
      if (!refused) this.#leaves.notify(this.#store.leafHead().sseq);
      this.#material = null;
      return { seq: refused ? head.seq : event.seq, result };
    });
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  /** The event as a leaf: its kind, and a salted commitment to its text, which may name a person. */
  #addLeaf(event: TrustEvent): void {
    const head = this.#store.leafHead();
    const salt = randomBytes(COMMITMENT_SALT_BYTES);
    const leaf = encodeStateRecord({
      body: { commit: commitment("input", salt, eventText(event), nodeSha256), event: event.kind, seq: event.seq },
      kind: "trust.event",
      log_epoch: this.#region.log_epoch,
      prev: head.leaf_hash === null ? null : base64url(head.leaf_hash),
      region: this.#region.name,
      source: "trust",
      sseq: head.sseq + 1,
      t: event.issued_at_ms,
      v: 1,
    });
    this.#store.addLeaf(head.sseq + 1, leaf, new Uint8Array(leafHash(leaf, nodeSha256)), salt);
  }

  async leaves(from_sseq: number, count: number): Promise<readonly Uint8Array[]> {
    return this.#store.leaves(from_sseq, count);
  }

  async peerLogs(): Promise<readonly string[]> {
    return peerLogKeys(this.#membership, this.#region.name);
  }

  /** Tells the log who cosigns. The log keeps it, so a failure here only delays a change until the next start. */
  async #configureLog(membership: Membership): Promise<void> {
    const told = witnessing(membership, this.#region.name);
    if (told === null) return;
    try {
      await regionLog(this.env, this.#region).configure(told.targets, told.policy);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "log_configuration_failed", message }));
    }
  }

  /** The keys of the region's log and witness, certified like a shard's the first time they are seen. */
  async #otherKeys(): Promise<readonly PublicJwk[]> {
    const [log, cosigner] = await Promise.all([
      regionLog(this.env, this.#region).identity(),
      witness(this.env, this.#region).identity(),
    ]);
    for (const [role, jwk] of [
      ["log", log.jwk],
      ["witness", cosigner.jwk],
    ] as const)
      await this.#certify(jwk, role);
    return [log.jwk, cosigner.jwk];
  }

  #currentMode(): RegionMode {
    const membership = this.#membership;
    const self = membership?.regions.find(({ region }) => region === this.#region.name);
    if (membership === null || self?.state !== "active" || membership.expires_ms <= Date.now()) return "joining";
    return this.#store.meta("frozen") === "1" ? "frozen" : "active";
  }

  #currentMaterial(): Material {
    if (this.#material === null) {
      const keys = this.#store
        .certified()
        .filter(({ role }) => role === "authority")
        .map(({ jwk }) => ({
          use: "pep" as const,
          issuer: this.#region.pdp,
          jwk,
          thumbprint: thumbprintOf(jwk, nodeSha256),
        }));
      this.#material = { v: 1, digest: digestOf(jcs(keys), nodeSha256), keys };
    }
    return this.#material;
  }

  #sign(payload: string, typ: string): Promise<string> {
    return new CompactSign(utf8(payload))
      .setProtectedHeader({ alg: "Ed25519", kid: this.#signing.kid, typ })
      .sign(this.#signing.key);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
