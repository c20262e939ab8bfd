import { DurableObject } from "cloudflare:workers";
import type { ReplayView, StartReplayMessage } from "../src/objects/replay.ts";
import type { Env } from "../src/objects/address.ts";
import type { AdminResult } from "../src/objects/admin.ts";
import type {
  AuthorityRpc,
  Enrolment,
  PepView,
  RegisterPepMessage,
  SignedMembership,
} from "../src/objects/authority.ts";
import type { AuthorityStatus } from "../src/objects/authority-status.ts";
import type { DropEpochMessage, EpochStatus, EpochView } from "../src/objects/epochs.ts";
import type { LeaseAnswer, LeaseRequest, Material } from "../src/objects/lease.ts";
import type { PublicJwk } from "../src/objects/jwk.ts";
import type { RevocationView, RevokeMessage, Wait } from "../src/objects/revocations.ts";
import type { ClockResetView, EquivocationProof, PeersView, SyncAnswer } from "../src/objects/peers.ts";
import type { AcknowledgeDriftMessage, DriftView } from "../src/objects/drift.ts";
import type { EraseOrder, ErasureLeaf, ErasureView, JournalEntry } from "../src/objects/erasure.ts";
import type {
  AcceptSignalAnswer,
  AcceptSignalMessage,
  RefusedSignalMessage,
  RegisterStreamMessage,
  SignalSource,
  SignalStreamView,
} from "../src/objects/signals.ts";
import type { SourceKind } from "../src/credentials/sources/schema.ts";
import type { PutSourceMessage, QuarantineMessage, SourceView } from "../src/objects/identity.ts";
import type { FreezeView, UnfreezeMessage } from "../src/objects/freeze.ts";
import type { KeysView, NextKeyMessage, RotateShardKeysMessage, SwitchKeyMessage } from "../src/objects/keys.ts";
import type { PolicyView, PutPolicyAnswer, PutPolicyMessage } from "../src/objects/policy.ts";
import type { AcceptRequestMessage, RequestView } from "../src/objects/requests.ts";
import { readRegion } from "../src/region/config.ts";
import { Authority } from "./authority/authority.ts";

/**
 * One per region: trust events and state, the region's mode, membership, PEPs, key certificates and the leases of
 * the shards (DESIGN section 4). The platform's shell around `Authority`: one line per RPC method, so that what may be
 * called from outside is what stands here.
 */
export class TrustAuthority extends DurableObject<Env> implements AuthorityRpc {
  #authority!: Authority;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    // A region that is configured wrongly does not start; the launcher and /health say why.
    if (!region.ok) throw new Error(region.error);
    void ctx.blockConcurrencyWhile(async () => {
      this.#authority = await Authority.open(ctx.storage, env, region.value);
    });
  }

  async material(): Promise<Material> {
    return this.#authority.keys.material();
  }
  async jwks(): Promise<{ readonly keys: readonly PublicJwk[] }> {
    return { keys: this.#authority.keys.all() };
  }
  async memberships(
    after: number,
    limit: number,
  ): Promise<{ readonly memberships: readonly SignedMembership[]; readonly next: number | null }> {
    const memberships = this.#authority.store.memberships(after, limit);
    return { memberships, next: memberships.length < limit ? null : memberships.at(-1)!.version };
  }
  async sourceHead(): Promise<{ readonly sseq: number; readonly erased: number }> {
    return this.#authority.sourceHead();
  }
  async status(): Promise<AuthorityStatus> {
    return this.#authority.status();
  }
  async obligations(): Promise<{ readonly policy: string; readonly types: readonly string[] }> {
    return this.#authority.obligations();
  }

  signMetadata(metadata: Readonly<Record<string, unknown>>): Promise<string> {
    return this.#authority.signMetadata(metadata);
  }
  lease(request: LeaseRequest): Promise<LeaseAnswer> {
    return this.#authority.shards.lease(request);
  }
  enrolment(): Promise<Enrolment> {
    return this.#authority.memberships.enrolment();
  }
  putMembership(jws: unknown, actor: string): Promise<AdminResult<Enrolment>> {
    return this.#authority.memberships.put(jws, actor);
  }
  async peerLogs(): Promise<readonly string[]> {
    return this.#authority.memberships.peerLogs();
  }
  registerPep(message: RegisterPepMessage): Promise<AdminResult<PepView & { readonly credential: string }>> {
    return this.#authority.peps.register(message);
  }
  async listPeps(): Promise<readonly PepView[]> {
    return this.#authority.peps.list();
  }
  async pepStatus(id: string): Promise<PepView | null> {
    return this.#authority.peps.status(id);
  }
  revoke(message: RevokeMessage): Promise<AdminResult<RevocationView>> {
    return this.#authority.revocations.revoke(message);
  }
  restore(id: string, reason: string, actor: string, wait?: "local" | "all"): Promise<AdminResult<RevocationView>> {
    return this.#authority.revocations.restore(id, reason, actor, wait);
  }
  syncPull(text: string): Promise<SyncAnswer> {
    return this.#authority.links.answerPull(text);
  }
  syncPush(text: string): Promise<SyncAnswer> {
    return this.#authority.links.takePush(text);
  }
  async ownKeys(): Promise<KeysView> {
    return this.#authority.rotation.view();
  }
  nextKey(message: NextKeyMessage): Promise<AdminResult<KeysView>> {
    return this.#authority.rotation.next(message);
  }
  switchKey(message: SwitchKeyMessage): Promise<AdminResult<KeysView>> {
    return this.#authority.rotation.switch(message);
  }
  syncRequest(text: string): Promise<SyncAnswer> {
    const { links, requests } = this.#authority;
    return links.answerRequest(text, (from, body) => requests.take(from, body));
  }
  async listRequests(
    after: number,
    limit: number,
    key: string | null,
  ): Promise<{ readonly requests: readonly RequestView[]; readonly next: number | null }> {
    return this.#authority.requests.list(after, limit, key);
  }
  acceptRequest(
    message: AcceptRequestMessage,
  ): Promise<AdminResult<{ readonly request: RequestView; readonly revocation: RevocationView }>> {
    return this.#authority.requests.accept(message);
  }
  async refuseRequest(id: string, reason: string, actor: string): Promise<AdminResult<RequestView>> {
    return this.#authority.requests.refuse(id, reason, actor);
  }
  rotateShardKeys(message: RotateShardKeysMessage): Promise<AdminResult<KeysView>> {
    return this.#authority.shardKeys.rotate(message);
  }
  async peers(): Promise<PeersView> {
    return this.#authority.watch.view();
  }
  async peerProof(region: string): Promise<AdminResult<EquivocationProof>> {
    return this.#authority.watch.proof(region);
  }
  syncPolicy(text: string): Promise<SyncAnswer> {
    const { links, drift } = this.#authority;
    return links.answerPolicy(
      text,
      () => drift.statement(),
      (from, digest) => drift.named(from, digest),
    );
  }
  syncState(text: string): Promise<SyncAnswer> {
    const { links, states } = this.#authority;
    return links.answerState(
      text,
      () => states.states(),
      (from, said, jws) => states.took(from, said, jws),
    );
  }
  async drift(): Promise<DriftView> {
    return this.#authority.drift.view();
  }
  async acknowledgeDrift(message: AcknowledgeDriftMessage): Promise<AdminResult<DriftView>> {
    return this.#authority.drift.acknowledge(message);
  }
  async resetClock(reason: string, actor: string): Promise<AdminResult<ClockResetView>> {
    return this.#authority.watch.resetClock(reason, actor);
  }
  revocation(id: string, wait: Wait): Promise<AdminResult<RevocationView>> {
    return this.#authority.revocations.read(id, wait);
  }
  async anyRevoked(keys: readonly string[]): Promise<boolean> {
    return this.#authority.revocations.shutOut(keys);
  }
  async listRevocations(
    after: number,
    limit: number,
  ): Promise<{ readonly revocations: readonly RevocationView[]; readonly next: number | null }> {
    return this.#authority.revocations.list(after, limit);
  }
  erase(order: EraseOrder): Promise<AdminResult<ErasureView>> {
    return this.#authority.erasures.erase(order);
  }
  async erasure(id: string): Promise<AdminResult<ErasureView>> {
    return this.#authority.erasures.read(id);
  }
  async listErasures(
    after: number,
    limit: number,
  ): Promise<{ readonly erasures: readonly ErasureView[]; readonly next: number | null }> {
    return this.#authority.erasures.list(after, limit);
  }
  async reenterErasures(entries: readonly JournalEntry[]): Promise<AdminResult<readonly ErasureView[]>> {
    return this.#authority.erasures.reenter(entries);
  }
  async erasureHead(log_epoch: number, shard: number, position: number): Promise<number> {
    return this.#authority.erasures.headOf({ log_epoch, shard }, position);
  }
  async erasureLeaves(log_epoch: number, shard: number, sseqs: readonly number[]): Promise<readonly ErasureLeaf[]> {
    return this.#authority.erasures.leavesOf({ log_epoch, shard }, sseqs);
  }
  registerStream(message: RegisterStreamMessage): Promise<AdminResult<SignalStreamView>> {
    return this.#authority.signals.register(message);
  }
  async listStreams(): Promise<readonly SignalStreamView[]> {
    return this.#authority.signals.list();
  }
  async readStream(id: string): Promise<AdminResult<SignalStreamView>> {
    return this.#authority.signals.read(id);
  }
  removeStream(id: string, actor: string): Promise<AdminResult<SignalStreamView>> {
    return this.#authority.signals.remove(id, actor);
  }
  async signalSource(id: string): Promise<SignalSource | null> {
    return this.#authority.signals.source(id);
  }
  acceptSignal(message: AcceptSignalMessage): Promise<AcceptSignalAnswer> {
    return this.#authority.signals.accept(message);
  }
  refusedSignal(message: RefusedSignalMessage): Promise<void> {
    return this.#authority.signals.refused(message);
  }
  putSource(message: PutSourceMessage): Promise<AdminResult<SourceView>> {
    return this.#authority.identity.put(message);
  }
  async listSources(): Promise<readonly SourceView[]> {
    return this.#authority.identity.list();
  }
  async readSource(kind: SourceKind, id: string): Promise<AdminResult<SourceView>> {
    return this.#authority.identity.read(kind, id);
  }
  removeSource(kind: SourceKind, id: string, actor: string): Promise<AdminResult<SourceView>> {
    return this.#authority.identity.remove(kind, id, actor);
  }
  quarantine(message: QuarantineMessage): Promise<void> {
    return this.#authority.identity.quarantine(message);
  }
  override alarm(): Promise<void> {
    return this.#authority.alarm();
  }
  freeze(reason: string, actor: string): Promise<AdminResult<FreezeView>> {
    return this.#authority.freeze.freeze(reason, actor);
  }
  unfreeze(message: UnfreezeMessage): Promise<AdminResult<FreezeView>> {
    return this.#authority.freeze.unfreeze(message);
  }
  putPolicy(message: PutPolicyMessage): Promise<PutPolicyAnswer> {
    return this.#authority.policy.put(message);
  }
  async policyView(): Promise<PolicyView> {
    return this.#authority.policy.view();
  }
  async policyBundle(sha256: string): Promise<Uint8Array | null> {
    return this.#authority.policy.bundle(sha256);
  }
  async policyNamed(digest: string): Promise<Uint8Array | null> {
    return this.#authority.policy.named(digest);
  }
  startReplay(message: StartReplayMessage): Promise<AdminResult<ReplayView>> {
    return this.#authority.replays.start(message);
  }
  replayView(): Promise<ReplayView | null> {
    return this.#authority.replays.view();
  }
  async epochs(): Promise<readonly EpochView[]> {
    return this.#authority.store.epochs();
  }
  epochStatus(): Promise<EpochStatus> {
    return this.#authority.epochs.status();
  }
  sealEpoch(reason: string, actor: string, without?: readonly number[]): Promise<AdminResult<EpochStatus>> {
    return this.#authority.epochs.seal(reason, actor, without);
  }
  nextEpoch(reason: string, actor: string): Promise<AdminResult<EpochStatus>> {
    return this.#authority.epochs.next(reason, actor);
  }
  dropEpoch(message: DropEpochMessage): Promise<AdminResult<EpochStatus>> {
    return this.#authority.drops.drop(message);
  }
  async leaves(log_epoch: number, from_sseq: number, count: number): Promise<readonly Uint8Array[]> {
    return this.#authority.store.leaves(log_epoch, from_sseq, count);
  }
}
