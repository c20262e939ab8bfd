import type { ReplayView, StartReplayMessage } from "../../../src/objects/replay.ts";
import type { AcknowledgeDriftMessage, DriftView } from "../../../src/objects/drift.ts";
import type { EraseOrder, ErasureView } from "../../../src/objects/erasure.ts";
import { CompactSign } from "jose";
import { digestOf } from "../../../src/base/digest.ts";
import { encodeConsistency } from "../../../src/trust/consistency.ts";
import type { AdminResult } from "../../../src/objects/admin.ts";
import type { AuthorityRpc, Enrolment, PepView, RegisterPepMessage } from "../../../src/objects/authority.ts";
import type { AuthorityStatus, UnfreezeRequest } from "../../../src/objects/authority-status.ts";
import type { DropEpochMessage, EpochStatus, EpochView } from "../../../src/objects/epochs.ts";
import type { LeaseAnswer, Material, MaterialKey } from "../../../src/objects/lease.ts";
import type { RevocationView, RevokeMessage, Wait } from "../../../src/objects/revocations.ts";
import type { SyncAnswer } from "../../../src/objects/peers.ts";
import type { AcceptRequestMessage, RequestView } from "../../../src/objects/requests.ts";
import type { FreezeView, UnfreezeMessage } from "../../../src/objects/freeze.ts";
import type { PolicyStanding, PolicyView, PutPolicyAnswer, PutPolicyMessage } from "../../../src/objects/policy.ts";
import { MemoryKeys } from "./memory-keys.ts";
import type { Signer } from "./region.ts";

const STANDING: PolicyStanding = {
  source: "baseline",
  version: null,
  bundle: null,
  next: null,
  expires_ms: { root: null, policy: null, timestamp: null },
  problem: null,
};

/** A TrustAuthority in memory: keys, PEPs, revocations and freeze as the contract has them, no storage, no leases. */
export class MemoryAuthority extends MemoryKeys implements AuthorityRpc {
  keys: readonly MaterialKey[];
  mode: AuthorityStatus["mode"] = "active";
  policy_problem: string | null = null;
  issued: readonly string[] = [];
  identity: Material["identity"] = { nonce_key: "A".repeat(43), sources: [] };
  /** What was offered as policy, and how it is answered. */
  readonly offers: PutPolicyMessage[] = [];
  taken: PutPolicyAnswer | null = null;
  materials = 0;
  signatures = 0;
  readonly #signer: Signer;
  readonly #clock: { readonly now_ms: number };
  readonly #revocations: RevocationView[] = [];
  readonly peps: PepView[] = [];

  constructor(keys: readonly MaterialKey[], signer: Signer, clock: { readonly now_ms: number }) {
    super();
    this.keys = keys;
    this.#signer = signer;
    this.#clock = clock;
    const exp_ms = clock.now_ms + 3_600_000;
    const scopes = ["evaluate", "search", "runs", "lineage.read"] as const;
    this.peps.push({
      id: "gateway",
      key: "pep:eu/gateway",
      scopes,
      audiences: [],
      registered_at_ms: 0,
      exp_ms,
      status: "active",
    });
  }

  get digest(): string {
    return digestOf(JSON.stringify([this.keys, this.identity]));
  }

  async material(): Promise<Material> {
    this.materials++;
    return { v: 1, digest: this.digest, keys: this.keys, identity: this.identity };
  }
  async obligations() {
    return { policy: "sha256:policy", types: this.issued };
  }
  async jwks() {
    return { keys: this.keys.map(({ jwk }) => jwk) };
  }
  async peerLogs(): Promise<readonly string[]> {
    return [];
  }
  async leaves(): Promise<readonly Uint8Array[]> {
    return [];
  }
  async memberships(after: number) {
    const jws = { payload: "e30", signatures: [{ protected: "e30", signature: "AA" }] };
    return { memberships: after < 1 ? [{ version: 1, accepted_at_ms: 0, jws }] : [], next: null };
  }
  async sourceHead() {
    return { sseq: 0, erased: 0 };
  }
  async lease(): Promise<LeaseAnswer> {
    return { ok: false, code: "unknown_shard" };
  }
  async status(): Promise<AuthorityStatus> {
    const policy = "sha256:policy";
    const packs = [
      {
        name: "treasury",
        status: this.policy_problem === null ? "active" : "invalid",
        problem: this.policy_problem,
      } as const,
    ];
    const revocations = this.#revocations.filter(({ state }) => state === "revoked").length;
    const membership = { membership_version: 1, membership_expires_ms: this.#clock.now_ms + 1_000 };
    return {
      mode: this.mode,
      unfreeze: this.unfreezing,
      freeze:
        this.mode === "frozen" ? { id: "eu.1.1", since_ms: this.#clock.now_ms, status: { eu: "confirmed" } } : null,
      epoch_problem: null,
      rewound: null,
      revision: this.#revocations.length,
      revocations,
      ...membership,
      policy,
      policy_problem: this.policy_problem,
      policy_standing: STANDING,
      packs,
      shards: [],
      sync: this.sync,
      drift: this.drifting,
    };
  }
  async policyView(): Promise<PolicyView> {
    return {
      region: "eu",
      digest: "sha256:policy",
      packs: [],
      approvals: 1,
      asked: null,
      gate: null,
      trust: null,
      ...STANDING,
    };
  }
  async putPolicy(message: PutPolicyMessage): Promise<PutPolicyAnswer> {
    this.offers.push(message);
    return this.taken ?? { ok: true, outcome: "unchanged", gate: null, view: await this.policyView() };
  }
  async policyBundle(): Promise<null> {
    return null;
  }
  async enrolment(): Promise<Enrolment> {
    const keys = this.keys.map(({ jwk }) => jwk);
    return {
      region: "eu",
      log_epoch: 1,
      pdp: "https://eu.pdp.example",
      mode: this.mode,
      keys,
      membership_version: 1,
      root_threshold: 1,
    };
  }
  async putMembership(jws: unknown): Promise<AdminResult<Enrolment>> {
    const { payload } = jws as { payload: string };
    if (payload === "old") return { ok: false, code: "conflict", message: "an older membership" };
    return { ok: true, value: await this.enrolment() };
  }
  async registerPep(message: RegisterPepMessage): Promise<AdminResult<PepView & { readonly credential: string }>> {
    if (this.peps.some(({ id }) => id === message.id)) return { ok: false, code: "conflict", message: "registered" };
    const now = this.#clock.now_ms;
    const pep: PepView = {
      id: message.id,
      key: `pep:eu/${message.id}`,
      scopes: message.scopes,
      audiences: message.audiences ?? [],
      registered_at_ms: now,
      exp_ms: now + message.ttl_s * 1_000,
      status: "active",
    };
    this.peps.push(pep);
    return { ok: true, value: { ...pep, credential: "a.b.c" } };
  }
  async listPeps() {
    return this.peps;
  }
  async pepStatus(id: string): Promise<PepView | null> {
    return this.peps.find((pep) => pep.id === id) ?? null;
  }
  async syncPull(): Promise<SyncAnswer> {
    return { status: 400, body: "not a message" };
  }
  async syncPush(): Promise<SyncAnswer> {
    return { status: 400, body: "not a message" };
  }
  async syncPolicy(): Promise<SyncAnswer> {
    return { status: 400, body: "not a message" };
  }
  async syncState(): Promise<SyncAnswer> {
    return { status: 400, body: "not a message" };
  }
  drifting: DriftView = {
    region: "eu",
    at_ms: 1,
    on_drift: "alarm",
    problem: null,
    own: null,
    states: [],
    peers: [],
    differences: [],
  };
  async drift(): Promise<DriftView> {
    return this.drifting;
  }
  async acknowledgeDrift({ id }: AcknowledgeDriftMessage): Promise<AdminResult<DriftView>> {
    return this.drifting.differences.some((one) => one.id === id)
      ? { ok: true, value: this.drifting }
      : { ok: false, code: "not_found", message: `no difference ${id} stands` };
  }
  replayed: ReplayView | null = null;
  async startReplay({ from_ms, reason }: StartReplayMessage): Promise<AdminResult<ReplayView>> {
    if (this.replayed?.state === "running") return { ok: false, code: "conflict", message: "it is still running" };
    const found = { counts: { identical: 1 }, looked: 1, of: 1, shards: [], verdict: null } as const;
    this.replayed = { region: "eu", id: "r", since_ms: from_ms, reason, asked_ms: 1, state: "running", ...found };
    return { ok: true, value: this.replayed };
  }
  async replayView(): Promise<ReplayView | null> {
    return this.replayed;
  }
  async policyNamed(): Promise<Uint8Array | null> {
    return null;
  }
  async syncRequest(): Promise<SyncAnswer> {
    return { status: 400, body: "not a message" };
  }
  readonly requests: RequestView[] = [];
  readonly decided: unknown[] = [];
  async listRequests(after: number, limit: number, key: string | null) {
    const requests = this.requests.filter(({ matches }) => key === null || matches === key);
    return { requests: requests.slice(after, after + limit), next: null };
  }
  async acceptRequest(message: AcceptRequestMessage) {
    this.decided.push(message);
    const request = this.requests.find(({ id }) => id === message.id);
    if (request === undefined) return { ok: false, code: "not_found", message: "no such request" } as const;
    const made = await this.revoke({ ...message, from: request.from });
    return made.ok ? ({ ok: true, value: { request, revocation: made.value } } as const) : made;
  }
  async refuseRequest(id: string, reason: string, actor: string) {
    this.decided.push({ id, reason, actor });
    const request = this.requests.find((one) => one.id === id);
    if (request === undefined) return { ok: false, code: "not_found", message: "no such request" } as const;
    return { ok: true, value: request } as const;
  }
  readonly revokes: RevokeMessage[] = [];
  async revoke(message: RevokeMessage): Promise<AdminResult<RevocationView>> {
    this.revokes.push(message);
    if (message.key.startsWith("pep:us/")) return { ok: false, code: "foreign_key", message: "homed elsewhere" };
    const revision = this.#revocations.length + 1;
    const view: RevocationView = {
      id: `eu.${revision}`,
      key: message.key,
      origin: "eu",
      generation: revision,
      state: "revoked",
      from: message.from,
      reason: message.reason,
      issued_at_ms: this.#clock.now_ms,
      revision,
      effect: "denies",
      until_ms: null,
      home: ["eu"],
      binds: ["eu"],
      status: { eu: "confirmed" },
      forwarded: {},
      consistency: encodeConsistency({ region: "eu", revision, events: {} }),
    };
    this.#revocations.push(view);
    return { ok: true, value: view };
  }
  async restore(id: string): Promise<AdminResult<RevocationView>> {
    const found = this.#revocations.find((view) => view.id === id);
    return found === undefined
      ? { ok: false, code: "not_found", message: `no revocation ${id}` }
      : { ok: true, value: { ...found, state: "restored" } };
  }
  async revocation(id: string): Promise<AdminResult<RevocationView>> {
    const found = this.#revocations.find((view) => view.id === id);
    return found === undefined
      ? { ok: false, code: "not_found", message: `no revocation ${id}` }
      : { ok: true, value: found };
  }
  async anyRevoked(keys: readonly string[]): Promise<boolean> {
    return this.#revocations.some(({ key, state }) => state === "revoked" && keys.includes(key));
  }
  async listRevocations(after: number, limit: number) {
    const revocations = this.#revocations.filter(({ revision }) => revision > after).slice(0, limit);
    return { revocations, next: null };
  }
  readonly erasures: ErasureView[] = [];
  readonly orders: EraseOrder[] = [];
  async erase(order: EraseOrder): Promise<AdminResult<ErasureView>> {
    if (order.target.kind === "run") return { ok: false, code: "not_found", message: "no such run" };
    this.orders.push(order);
    const view: ErasureView = {
      id: `eu.e.${this.erasures.length + 1}`,
      what: order.target.kind,
      ground: order.ground,
      reason: order.reason,
      asked_by: order.actor,
      asked_at_ms: this.#clock.now_ms,
      status: "pending",
      payloads: 0,
      not_asked: [],
      shards: [
        { log_epoch: 1, shard: 0, status: "pending", payloads: 0, selector: { kind: "range", from: 1, until: 1 } },
      ],
    };
    this.erasures.push(view);
    return { ok: true, value: view };
  }
  async erasure(id: string): Promise<AdminResult<ErasureView>> {
    const value = this.erasures.find((view) => view.id === id);
    return value === undefined ? { ok: false, code: "not_found", message: `no erasure ${id}` } : { ok: true, value };
  }
  async listErasures() {
    return { erasures: this.erasures, next: null };
  }
  async reenterErasures(): Promise<AdminResult<readonly ErasureView[]>> {
    return { ok: true, value: this.erasures };
  }
  async erasureHead() {
    return 0;
  }
  async erasureLeaves() {
    return [];
  }
  unfreezing: UnfreezeRequest | null = null;
  readonly unfreezes: UnfreezeMessage[] = [];
  async #frozenView(): Promise<AdminResult<FreezeView>> {
    return { ok: true, value: { ...(await this.status()), status: { eu: "confirmed" } } };
  }
  readonly freezes: (Wait | undefined)[] = [];
  async freeze(_reason: string, _actor: string, wait?: Wait): Promise<AdminResult<FreezeView>> {
    this.freezes.push(wait);
    this.mode = "frozen";
    this.unfreezing = null;
    return this.#frozenView();
  }
  async unfreeze(message: UnfreezeMessage): Promise<AdminResult<FreezeView>> {
    this.unfreezes.push(message);
    if (this.unfreezing === null || this.unfreezing.asked_by === message.actor) {
      const asked_at_ms = this.#clock.now_ms;
      const { actor: asked_by, reason } = message;
      this.unfreezing = { asked_by, reason, asked_at_ms, expires_ms: asked_at_ms + 600_000 };
    } else {
      this.mode = "active";
      this.unfreezing = null;
    }
    return this.#frozenView();
  }
  async epochs(): Promise<readonly EpochView[]> {
    return [{ log_epoch: 1, shards: 4, began_ms: 0, sealing: null, next: null, dropped: null, left: [] }];
  }
  async epochStatus(): Promise<EpochStatus> {
    return { epochs: await this.epochs(), problem: null, log: null };
  }
  async sealEpoch(): Promise<AdminResult<EpochStatus>> {
    return { ok: true, value: await this.epochStatus() };
  }
  async dropEpoch({ log_epoch }: DropEpochMessage): Promise<AdminResult<EpochStatus>> {
    return log_epoch === 1
      ? { ok: false, code: "conflict", message: "log epoch 1 is the one that runs" }
      : { ok: false, code: "not_found", message: `this region has run no log epoch ${log_epoch}` };
  }
  async nextEpoch(): Promise<AdminResult<EpochStatus>> {
    return { ok: false, code: "conflict", message: "log epoch 1 is open: seal it first" };
  }
  async signMetadata(metadata: Readonly<Record<string, unknown>>): Promise<string> {
    this.signatures++;
    const payload = JSON.stringify({
      ...metadata,
      iss: "https://eu.pdp.example",
      iat: Math.floor(this.#clock.now_ms / 1_000),
    });
    return new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg: "Ed25519", kid: this.#signer.kid, typ: "JWT" })
      .sign(this.#signer.privateKey);
  }
}
