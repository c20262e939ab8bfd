import { callerKeys, dependenciesOf, homesOf, usedHomes } from "../../../src/decision/basis.ts";
import { bearingOn } from "../../../src/decision/bearing.ts";
import { digestOf } from "../../../src/base/digest.ts";
import {
  type HaltRequest,
  type HoldMessage,
  type HoldRead,
  type HoldView,
  type RedeemMessage,
  type ReportHoldMessage,
  type TicketAnswer,
  LISTEN_HEADER,
} from "../../../src/objects/permits.ts";
import type { LineageAnswer } from "../../../src/objects/records.ts";
import { rulesFor } from "../../../src/policy/step-rules.ts";
import { runKey } from "../../../src/trust/keys.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { CanonicalRequest, Facts, RunState } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Call } from "../group-commit.ts";
import type { Wanted } from "../lease-keeper.ts";
import type { LineageReader } from "../reader.ts";
import type { Turn } from "../turn.ts";
import type { StepCall } from "./again.ts";
import { hears, Listeners, type Listening, type Missed, type Sockets } from "./listeners.ts";
import { Halts, newsOfEnd } from "./halts.ts";
import { OutcomeCall } from "./outcome-call.ts";
import { RedeemCall } from "./redeem-call.ts";
import { RecheckCall, RenewCall } from "./renew-call.ts";
import type { HoldRow } from "./rows.ts";
import { isHere } from "./ticket.ts";
import { viewHold } from "./view.ts";
import { OpenedRun } from "../run/opened-run.ts";

/** What the desk asks of its shard. */
export type DeskPorts = {
  readonly lineage: LineageReader;
  readonly sockets: Sockets | null;
  readonly submit: (call: Call) => void;
  /** Waits for a lease, and for news of the regions that are wanted. */
  readonly ensure: (wanted?: Wanted) => Promise<void>;
  /** The same although the lease still holds. */
  readonly renew: () => Promise<void>;
  /** The caller's facts, after a look at newer material where that is needed; or why nothing is decided. */
  readonly admit: (facts: string) => Promise<ParsedFacts | "stale_facts" | ReasonCode>;
  /** Whether what a step's own facts show is still listed. */
  readonly accepts: (facts: Facts) => boolean;
  readonly leased: () => boolean;
};

const MAX_MISSED = 1_000;
/** A hold that would be shorter waits for a look at the leases first. */
const SHORT_MS = 600;

/** Permits, holds and their listeners: what a shard is asked about them. */
export class PermitDesk {
  readonly #turn: Turn;
  readonly #ports: DeskPorts;
  readonly #listeners: Listeners;
  readonly halts: Halts;

  constructor(turn: Turn, ports: DeskPorts) {
    this.#turn = turn;
    this.#ports = ports;
    this.#listeners = new Listeners({
      sockets: ports.sockets,
      now: () => turn.now(),
      revoked: (keys) => turn.revoked(keys, false),
    });
    this.halts = new Halts(turn, turn.writer.permits, this.#listeners, ports.leased, (row) => {
      void this.#recheck(row).catch((cause: unknown) => turn.bug("recheck", cause));
    });
  }

  /** Holds that were active when the object stopped go on: what each rests on is in the record of its redemption. */
  async start(): Promise<void> {
    const { permits } = this.#turn.writer;
    for (const row of permits.rows.active()) {
      const basis = this.#turn.now() < row.valid_until_ms ? await this.#basisOf(row) : null;
      if (basis === null) permits.end(row.id, "hold_ended", this.#turn.now());
      else {
        permits.live.set(row.id, { row, basis });
        this.halts.expect(row);
      }
    }
  }

  async #basisOf(row: HoldRow) {
    const said = await this.#ports.lineage.asked(row.redeemed);
    if (typeof said === "string") return null;
    const turn = this.#turn;
    const request = JSON.parse(said.input) as CanonicalRequest;
    const facts = JSON.parse(said.facts) as Facts;
    const run = JSON.parse(said.run_state) as RunState;
    const { policy, region } = turn;
    const asked = {
      policy,
      request,
      facts,
      run,
      region,
      trust: turn.liveTrust(),
      t_ms: turn.now(),
      purpose: "redeem" as const,
    };
    const { dependencies, homes, expires_ms } = bearingOn(asked, rulesFor(policy, request));
    const opened = turn.writer.run(row.run, false);
    const above = opened === null ? [] : new OpenedRun(turn.writer.runs, opened).above.map(runKey);
    return { keys: [...dependencies, ...above], homes, expires_ms, degraded: true, policy: "" };
  }

  /** As whoever redeemed it: nobody asks. What was erased meanwhile is refused with the next renewal. */
  async #recheck(row: HoldRow): Promise<void> {
    const { lineage } = this.#ports;
    const [asked, redeemed] = [await lineage.asked(row.step), await lineage.asked(row.redeemed)];
    if (typeof asked === "string" || typeof redeemed === "string") return;
    const as = (JSON.parse(redeemed.facts) as Facts).redeemed;
    if (as === undefined) return;
    const stepFacts = JSON.parse(asked.facts) as Facts;
    const facts = { ...as, material: stepFacts.material, v: 1 } as const;
    const { permit, run, step } = row;
    const call: StepCall = {
      facts: { facts, text: "", digest: "" },
      asked,
      shown: this.#ports.accepts(stepFacts),
      permit,
      run,
      step,
      traceparent: null,
      deadline_ms: Number.POSITIVE_INFINITY,
    };
    this.#ports.submit(new RecheckCall(this.#turn, row.id, call, () => undefined));
  }

  async redeem(message: RedeemMessage): Promise<TicketAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const deadline_ms = this.#turn.now() + message.deadline_ms;
    const caller = await this.#admit(message.facts);
    if ("ok" in caller) return caller;
    const { id, input } = message.permit;
    const row = isHere(this.#turn, id) ? this.#turn.writer.permits.permit(id) : null;
    // A permit that nobody here has issued, or long ago: there is no step to look at, and nothing to record it with.
    if (row === null) return this.#deny("permit_invalid");
    const { run, step } = row;
    const at = { permit: id, run, step, traceparent: message.traceparent, deadline_ms };
    const call = await this.#stepCall(caller, at);
    if ("ok" in call) return call;
    if (digestOf(call.asked.input, nodeSha256) !== input) return this.#deny("permit_invalid");
    return new Promise((resolve) => this.#ports.submit(new RedeemCall(this.#turn, message, call, resolve)));
  }

  async renew(message: HoldMessage): Promise<TicketAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const deadline_ms = this.#turn.now() + message.deadline_ms;
    const caller = await this.#admit(message.facts);
    if ("ok" in caller) return caller;
    const hold = this.#own(message.hold, message.audiences, null);
    if (hold === null) return { ok: false, code: "not_found" };
    const { permit, run, step } = hold;
    // Over and done with: no record for every further try.
    if (hold.state === "ended") return this.#deny("hold_ended");
    const at = { permit, run, step, traceparent: message.traceparent, deadline_ms };
    const call = await this.#stepCall(caller, at);
    if ("ok" in call) return call;
    return new Promise((resolve) => this.#ports.submit(new RenewCall(this.#turn, hold.id, call, resolve)));
  }

  async report(message: ReportHoldMessage): Promise<TicketAnswer> {
    if (message.v !== 1) return { ok: false, code: "unsupported_version" };
    const caller = await this.#admit(message.facts);
    if ("ok" in caller) return caller;
    if (this.#own(message.hold, message.audiences, null) === null) return { ok: false, code: "not_found" };
    return new Promise((resolve) => this.#ports.submit(new OutcomeCall(this.#turn, message, caller, resolve)));
  }

  read({ hold, audiences, pep }: HoldRead): LineageAnswer<HoldView> {
    const row = this.#own(hold, audiences, pep, true);
    if (row === null) return { ok: false, code: "not_found" };
    return { ok: true, value: viewHold(this.#turn.writer.runs, row, this.#turn.now()) };
  }

  /** The hold, where the caller goes by its audience, or is the PEP that asked for its step. */
  #own(id: string, audiences: readonly string[], asker: string | null, stored = false): HoldRow | null {
    const { permits } = this.#turn.writer;
    if (!isHere(this.#turn, id)) return null;
    const row = stored ? permits.rows.hold(id) : permits.hold(id);
    return row !== null && (audiences.includes(row.aud) || row.asker === asker) ? row : null;
  }

  async #admit(facts: string): Promise<ParsedFacts | TicketAnswer> {
    const caller = await this.#ports.admit(facts);
    if (caller === "stale_facts") return { ok: false, code: caller };
    return typeof caller === "string" ? this.#deny(caller) : caller;
  }

  async #stepCall(
    facts: ParsedFacts,
    at: Pick<StepCall, "permit" | "run" | "step" | "traceparent" | "deadline_ms">,
  ): Promise<StepCall | TicketAnswer> {
    const asked = await this.#ports.lineage.asked(at.step);
    if (asked === "erasing") return this.#deny("lineage_unavailable");
    // Who has its payload erased takes the permit along.
    if (asked === "erased") return this.#deny("permit_invalid");
    const stepFacts = JSON.parse(asked.facts) as Facts;
    await this.#hear(JSON.parse(asked.input) as CanonicalRequest, stepFacts, at);
    return { ...at, facts, asked, shown: this.#ports.accepts(stepFacts) };
  }

  /**
   * What it rests on is asked for news, as for any decision, and here also where what is known is about to end: a hold
   * lasts no longer than that.
   */
  async #hear(request: CanonicalRequest, facts: Facts, { run, step }: Pick<StepCall, "run" | "step">): Promise<void> {
    const turn = this.#turn;
    const [trust, now] = [turn.liveTrust(), turn.now()];
    const keys = dependenciesOf(request, facts, { kind: "opened", id: run }, turn.region, []);
    const used = [...usedHomes(null, facts, turn.region), ...(turn.writer.runs.step(step)?.homes ?? [])];
    const soon = now + SHORT_MS;
    const wanted = homesOf(trust, keys, used).filter((home) => soon >= (trust.origins.get(home)?.fresh_until_ms ?? 0));
    if (wanted.length > 0) await this.#ports.ensure({ wanted, need: {} });
    else if (soon >= trust.lease_until_ms) await this.#ports.renew();
  }

  #deny(reason: ReasonCode): TicketAnswer {
    const turn = this.#turn;
    return {
      ok: true,
      decision_id: null,
      receipt: null,
      items: [{ decision: false, reason, policy_reason: null, obligations: [], valid_until_ms: 0 }],
      hold: null,
      consistency: turn.consistency(),
      continuity: turn.continuity(),
      t_ms: turn.now(),
      flush_size: 0,
    };
  }

  // ── listening ───────────────────────────────────────────────────────────────────────────────────────────────────

  async listen(request: Request): Promise<Response> {
    const told = request.headers.get(LISTEN_HEADER);
    if (told === null) return refusal(404, "not_found");
    const asked = JSON.parse(decodeURIComponent(told)) as HaltRequest;
    const caller = await this.#ports.admit(asked.facts);
    if (caller === "stale_facts") return refusal(409, caller);
    if (typeof caller === "string") return refusal(503, caller);
    const { facts } = caller;
    const keys = callerKeys(facts, this.#turn.region);
    if (this.#turn.revoked(keys, false)) return refusal(403, "revoked");
    const { run, hold, audiences, after } = asked;
    const who: Listening = { pep: facts.pep.id, audiences, run, hold, exp_ms: facts.pep.exp_ms, keys };
    const { permits } = this.#turn.writer;
    const row = hold === null ? null : permits.rows.hold(hold);
    const known = hold === null ? this.#turn.store.run(run ?? "") !== null : row !== null && hears(who, row);
    if (!known) return refusal(404, hold === null ? "run_unknown" : "hold_unknown");
    if (!this.#listeners.hasRoom(who.pep)) return refusal(503, "overloaded");
    this.halts.look();
    const missed = this.#missed(who, after);
    if (request.headers.get("Upgrade")?.toLowerCase() === "websocket")
      return new Response(null, { status: 101, webSocket: this.#listeners.socket(who, missed) });
    return new Response(this.#listeners.stream(who, missed), {
      headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" },
    });
  }

  /** Of one hold its end is told to whoever comes late; of a run what came after the event that was seen last. */
  #missed(who: Listening, after: number | null): readonly Missed[] {
    if (after === null && who.hold === null) return [];
    return this.#turn.writer.permits.rows
      .endedSince(who, after ?? 0, MAX_MISSED)
      .filter((row) => hears(who, row))
      .map((row) => ({ news: newsOfEnd(this.#turn, row), event: row.event }));
  }

  get listeners(): number {
    return this.#listeners.count;
  }

  close(reason: string): void {
    this.#listeners.close(reason);
  }
}

const refusal = (status: number, code: string): Response =>
  new Response(JSON.stringify({ code }), { status, headers: { "Content-Type": "application/json" } });
