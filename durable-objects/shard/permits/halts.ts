import type { HoldNews } from "../../../src/objects/permits.ts";
import { homesAct, nothingRevoked, trustHolds } from "../../../src/decision/checks.ts";
import { homesOf } from "../../../src/decision/basis.ts";
import { regionChecks } from "../../../src/decision/decide.ts";
import type { FailedCheck, ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { StepOutcome } from "../../../src/vocabulary/run.ts";
import { DENIED, FAILED } from "../run/rows.ts";
import { statusOf } from "../run/steps.ts";
import type { HoldWatch, Turn } from "../turn.ts";
import type { LiveHold, PermitBook } from "./book.ts";
import type { HoldRow } from "./rows.ts";
import { OpenedRun } from "../run/opened-run.ts";

/** Who listens; `event`: the number to come back with, of ends only. */
export type Audience = {
  tell(hold: HoldRow, news: HoldNews, event: number | null): void;
  /** Listeners themselves rest on credentials that end. */
  look(): void;
};

/**
 * Looks after the active holds: whatever turns against one ends it at once, is stored, and is told to those who listen
 * in the same event, before it counts as effective in this shard. What passes by itself (leases, credentials) needs
 * nobody to say so: no hold is longer than any of them, and one that is not renewed in time is over.
 */
export class Halts implements HoldWatch {
  readonly #turn: Turn;
  readonly #book: PermitBook;
  readonly #audience: Audience;
  /** Whether this shard has had a lease since it started: without one it knows nothing that would end a hold early. */
  readonly #leased: () => boolean;
  /** Decides again what was decided by another policy. */
  readonly #recheck: (hold: HoldRow) => void;
  /** Holds on their way through that, and for which policy. */
  readonly #rechecking = new Map<string, string>();
  #timer: { readonly at_ms: number; readonly id: ReturnType<typeof setTimeout> } | null = null;

  constructor(
    turn: Turn,
    book: PermitBook,
    audience: Audience,
    leased: () => boolean,
    recheck: (hold: HoldRow) => void,
  ) {
    this.#turn = turn;
    this.#book = book;
    this.#audience = audience;
    this.#leased = leased;
    this.#recheck = recheck;
  }

  /** Every active hold against what is known now. */
  look(): void {
    this.#audience.look();
    if (this.#book.live.size === 0) return;
    const now = this.#turn.now();
    for (const [id, live] of this.#book.live) {
      const found = this.#against(live, now);
      if (found !== null) this.end(id, found.reason, found.detail ?? null, now);
      else this.#underPolicy(live);
    }
    for (const id of this.#rechecking.keys()) if (!this.#book.live.has(id)) this.#rechecking.delete(id);
  }

  /** Another policy is in force: whether it allows the step as well is for it to say, and not for the next renewal. */
  #underPolicy({ row, basis }: LiveHold): void {
    if (!this.#leased()) return;
    const { active_policy, policy_problem = null } = this.#turn.liveCondition();
    if (active_policy === null || policy_problem !== null || active_policy === basis.policy) return;
    if (this.#rechecking.get(row.id) === active_policy) return;
    this.#rechecking.set(row.id, active_policy);
    this.#recheck(row);
  }

  #against({ row, basis }: LiveHold, now: number): FailedCheck | null {
    const turn = this.#turn;
    if (now >= row.valid_until_ms) return { reason: "hold_ended", detail: "it was not renewed in time" };
    const trust = turn.liveTrust();
    if (this.#leased()) {
      const homes = homesOf(trust, basis.keys, basis.homes);
      // A policy that is on its way, or has run out, denies the next renewal.
      const condition = { ...turn.liveCondition(), policy_problem: null };
      const policy = { digest: condition.active_policy ?? "", problem: null };
      const { region } = turn;
      const found = regionChecks({ trust, condition, policy, region, at_least: null, t_ms: now }, basis.keys, homes);
      if (found !== null) return found;
    }
    const matches = trust.match(basis.keys, now);
    const against = homesAct(matches) ?? nothingRevoked(matches) ?? trustHolds(matches, basis.degraded);
    return against ?? this.#stepTurned(row);
  }

  #stepTurned({ run: id, step: sseq }: HoldRow): FailedCheck | null {
    const { runs } = this.#turn.writer;
    // Where marks wait for a turn to be stored, they are made, and looked at again, before the entry is effective.
    if (runs.settleMarks() && runs.marks.of(sseq) !== null) return { reason: "ancestor_revoked" };
    const step = runs.step(sseq);
    if (step === null || step.standing === DENIED) return { reason: "withheld" };
    if (step.standing === FAILED) return { reason: "hold_ended", detail: "the step was reported failed" };
    const run = this.#turn.writer.run(id, false);
    if (run === null) return { reason: "run_unknown" };
    return statusOf(this.#turn, run, new OpenedRun(runs, run)) === "closed" ? { reason: "run_closed" } : null;
  }

  end(id: string, reason: ReasonCode, detail: string | null, now_ms: number): void {
    const ended = this.#book.end(id, reason, now_ms);
    if (ended !== null) this.tell(ended, reason, detail);
  }

  tell(hold: HoldRow, reason: ReasonCode, detail: string | null): void {
    this.#say(hold, { event: "halt", reason, detail }, hold.event);
  }
  tellRenewed(hold: HoldRow): void {
    this.#say(hold, { event: "renewed", valid_until_ms: hold.valid_until_ms }, null);
  }
  tellEnded(hold: HoldRow, outcome: StepOutcome): void {
    this.#say(hold, { event: "ended", outcome }, hold.event);
  }

  #say(hold: HoldRow, what: NewsOf, event: number | null): void {
    this.#audience.tell(hold, newsOf(this.#turn, hold, what, hold.ended_ms ?? this.#turn.now()), event);
  }

  expect({ valid_until_ms }: Pick<HoldRow, "valid_until_ms">): void {
    if (this.#timer !== null && this.#timer.at_ms <= valid_until_ms) return;
    if (this.#timer !== null) clearTimeout(this.#timer.id);
    const id = setTimeout(() => this.#due(), Math.max(0, valid_until_ms - this.#turn.now()));
    this.#timer = { at_ms: valid_until_ms, id };
  }

  #due(): void {
    this.#timer = null;
    try {
      this.look();
    } catch (cause) {
      this.#turn.bug("halts", cause);
    }
    const next = Math.min(...[...this.#book.live.values()].map(({ row }) => row.valid_until_ms));
    if (Number.isFinite(next)) this.expect({ valid_until_ms: next });
  }
}

type NewsOf = HoldNews extends infer N ? (N extends unknown ? Omit<N, "hold" | "run" | "step" | "at"> : never) : never;

function newsOf(turn: Turn, hold: HoldRow, what: NewsOf, at: number): HoldNews {
  return { ...what, hold: hold.id, run: hold.run, step: turn.writer.runs.step(hold.step)?.id ?? "", at };
}

/** What a listener that was away has missed: how the hold ended. */
export function newsOfEnd(turn: Turn, hold: HoldRow): HoldNews {
  const what: NewsOf =
    hold.reason === null && hold.outcome !== null
      ? { event: "ended", outcome: hold.outcome }
      : { event: "halt", reason: hold.reason ?? "hold_ended", detail: null };
  return newsOf(turn, hold, what, hold.ended_ms ?? 0);
}
