import type { PublicJwk } from "../src/objects/jwk.ts";
import { DurableObject } from "cloudflare:workers";
import { epochOfName, shardOfName, type Env } from "../src/objects/address.ts";
import type {
  AnswerRequestMessage,
  CancelRequestMessage,
  SubmitRequestMessage,
  TaskAnswer,
  TaskRead,
} from "../src/objects/approvals.ts";
import type { EraseAnswer, EraseMessage, ErasureTarget, PrepareErasureAnswer } from "../src/objects/erasure.ts";
import type {
  ApplyTrustAnswer,
  ApplyTrustMessage,
  ClaimAnswer,
  ClaimMessage,
  EndLeasesMessage,
  SearchAnswer,
  SearchMessage,
  ShardRpc,
  ShardStatus,
} from "../src/objects/shard.ts";
import type {
  ChangeRunMessage,
  NoteReceiptsMessage,
  OpenPassMessage,
  OpenRunMessage,
  RunAnswer,
  RunView,
  StepReceiptAnswer,
} from "../src/objects/runs.ts";
import type { DecideAnswer, DecideMessage, DecideRefusal } from "../src/objects/decide.ts";
import type {
  FindRecordsAnswer,
  FindRecordsMessage,
  LineageAnswer,
  RecordDescription,
  RunExport,
  RunHeadView,
  RunLineage,
} from "../src/objects/records.ts";
import type {
  HoldMessage,
  HoldRead,
  HoldView,
  RedeemMessage,
  ReportHoldMessage,
  TicketAnswer,
} from "../src/objects/permits.ts";
import type { ReplayOrder, ShardReplay } from "../src/objects/replay.ts";
import { readRegion } from "../src/region/config.ts";
import { Shard } from "./shard/shard.ts";

/**
 * Home of the runs with H(run id) mod N = k: decides and records their steps. The platform's shell around `Shard`:
 * one line per RPC method, so that what may be called from outside is what stands here.
 */
export class LineageShard extends DurableObject<Env> implements ShardRpc {
  readonly #shard: Shard;
  readonly #past: boolean;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    // A region that is configured wrongly does not start; the launcher and /health say why.
    if (!region.ok) throw new Error(region.error);
    const number = shardOfName(ctx.id.name);
    if (number === null) throw new Error("a LineageShard is named <region>/<log_epoch>/shard/<k>");
    const log_epoch = epochOfName(ctx.id.name) ?? region.value.log_epoch;
    const past = log_epoch !== region.value.log_epoch;
    this.#past = past;
    this.#shard = new Shard(ctx.storage, env, { ...region.value, log_epoch }, number, past, ctx);
    void ctx.blockConcurrencyWhile(() => this.#shard.start());
  }

  decide(message: DecideMessage): Promise<DecideAnswer | DecideRefusal> {
    return this.#shard.decide(message);
  }
  claim(message: ClaimMessage): Promise<ClaimAnswer> {
    return this.#shard.claim(message);
  }
  search(message: SearchMessage): Promise<SearchAnswer> {
    return this.#shard.search(message);
  }
  openRun(message: OpenRunMessage): Promise<RunAnswer> {
    return this.#shard.runs.open(message);
  }
  changeRun(message: ChangeRunMessage): Promise<RunAnswer> {
    return this.#shard.runs.change(message);
  }
  redeem(message: RedeemMessage): Promise<TicketAnswer> {
    return this.#shard.desk.redeem(message);
  }
  renewHold(message: HoldMessage): Promise<TicketAnswer> {
    return this.#shard.desk.renew(message);
  }
  reportHold(message: ReportHoldMessage): Promise<TicketAnswer> {
    return this.#shard.desk.report(message);
  }
  async readHold(message: HoldRead): Promise<LineageAnswer<HoldView>> {
    return this.#shard.desk.read(message);
  }
  /** Only the region's own Worker reaches an object; what it asks for here is a stream of halts. */
  override fetch(request: Request): Promise<Response> {
    return this.#shard.desk.listen(request);
  }
  /** The platform answers pings; nothing else is expected of a listener. */
  override webSocketMessage(): void {}
  override webSocketClose(socket: WebSocket, code: number): void {
    // The codes that may not be sent are answered with a plain close.
    socket.close(code === 1005 || code === 1006 || code === 1015 ? 1000 : code);
  }
  openPass(message: OpenPassMessage): Promise<RunAnswer> {
    return this.#shard.runs.pass(message);
  }
  noteReceipts(message: NoteReceiptsMessage): Promise<RunAnswer> {
    return this.#shard.runs.receipts(message);
  }
  stepReceipt(pass: string): Promise<StepReceiptAnswer> {
    return this.#shard.runs.said(pass);
  }
  stopRun(run: string, administrator: string): Promise<RunAnswer> {
    return this.#shard.runs.stop(run, administrator);
  }
  closeRun(message: {
    readonly v: 1;
    readonly run: string;
    readonly facts: string;
    readonly traceparent: string | null;
  }): Promise<RunAnswer> {
    return this.#shard.runs.close(message);
  }
  describeRun(run: string): Promise<LineageAnswer<RunView>> {
    return this.#shard.lineage.describeRun(run);
  }
  submitRequest(message: SubmitRequestMessage): Promise<TaskAnswer> {
    return this.#shard.approvals.submit(message);
  }
  answerRequest(message: AnswerRequestMessage): Promise<TaskAnswer> {
    return this.#shard.approvals.answer(message);
  }
  cancelRequest(message: CancelRequestMessage): Promise<TaskAnswer> {
    return this.#shard.approvals.cancel(message);
  }
  readRequest(id: string): Promise<TaskRead | "not_found" | "erasing"> {
    return this.#shard.approvals.read(id);
  }
  pendingRequests(after: string, limit: number): Promise<readonly TaskRead[] | "erasing"> {
    return this.#shard.approvals.pending(after, limit);
  }
  readDecision(id: string): Promise<LineageAnswer<RecordDescription>> {
    return this.#shard.lineage.readDecision(id);
  }
  readRun(run: string, limit: number, before_sseq: number | null): Promise<LineageAnswer<RunLineage>> {
    return this.#shard.lineage.readRun(run, limit, before_sseq);
  }
  findRecords(message: FindRecordsMessage): Promise<FindRecordsAnswer> {
    return this.#shard.findRecords(message);
  }
  async endLeases(message: EndLeasesMessage): Promise<void> {
    this.#shard.endLeases(message);
  }
  applyTrust(message: ApplyTrustMessage): Promise<ApplyTrustAnswer> {
    return this.#shard.applyTrust(message);
  }
  async halt({ reason }: { readonly v: 1; readonly reason: string }): Promise<void> {
    this.#shard.halt(reason);
  }
  async resetClock(): Promise<{ readonly v: 1; readonly ahead_ms: number }> {
    return { v: 1, ahead_ms: await this.#shard.resetClock() };
  }
  nextKey(): Promise<PublicJwk> {
    return this.#shard.nextKey();
  }
  useKey(kid: string): Promise<boolean> {
    return this.#shard.useKey(kid);
  }
  seal({ reason }: { readonly v: 1; readonly reason: string }): Promise<{ readonly last: number }> {
    return this.#shard.seal(reason);
  }
  exportRun(run: string, before_sseq: number | null): Promise<LineageAnswer<RunExport>> {
    return this.#shard.lineage.exportRun(run, before_sseq);
  }
  async leaves(from_sseq: number, count: number): Promise<readonly Uint8Array[]> {
    return this.#shard.store.leaves(from_sseq, count);
  }
  prepareErasure(target: ErasureTarget): Promise<PrepareErasureAnswer> {
    return this.#shard.prepareErasure(target);
  }
  erase(message: EraseMessage): Promise<EraseAnswer> {
    return this.#shard.erase(message);
  }
  async runHeads(after: string, limit: number): Promise<readonly RunHeadView[]> {
    return this.#shard.runHeads(after, limit);
  }
  /** What lies in memory is of no use any more; nobody asks this object again (`http/epochs`). */
  async drop(): Promise<void> {
    if (!this.#past) throw new Error("a shard of the epoch that runs is not dropped");
    await this.ctx.storage.deleteAll();
  }
  replayAll(order: ReplayOrder): Promise<ShardReplay> {
    return this.#shard.replayAll(order);
  }
  status(): Promise<ShardStatus> {
    return this.#shard.status();
  }
}
