import { base64url } from "../../../src/base/bytes.ts";
import { decisionId } from "../../../src/base/ids.ts";
import { PERMIT_TYPE } from "../../../src/credentials/permit-life.ts";
import { homesOf } from "../../../src/decision/basis.ts";
import { homesHeard } from "../../../src/decision/checks.ts";
import { inclusionPath, merkleTree } from "../../../src/lineage/merkle.ts";
import { receiptText } from "../../../src/lineage/receipt.ts";
import type {
  BatchSemantic,
  DecideAnswer,
  DecideMessage,
  DecideRefusal,
  ItemAnswer,
} from "../../../src/objects/decide.ts";
import type { Counterfactual } from "../../../src/replay/explain/counterfactual.ts";
import type { Outcome } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";
import type { AcceptedFacts } from "../facts-reader.ts";
import type { Call, Flush } from "../group-commit.ts";
import type { Live } from "../live.ts";
import { claimsText } from "../permits/ticket.ts";
import { stepReceiptOf } from "../run/guest-state.ts";
import type { Turn } from "../turn.ts";
import { callRoot } from "../writer.ts";
import { denied, deniedAll, itemAnswer, validUntil } from "./answers.ts";
import { askedDigest } from "./asked.ts";
import { decideItem, type Decided } from "./decide-item.ts";
import { explainDecided, searchCounterfactuals } from "./explaining.ts";
import { keptOf, type Kept } from "./kept-answer.ts";
import { factsAt, type Question } from "./question.ts";
import { repeated } from "./repetition.ts";

const IDEMPOTENCY_MS = 600_000;

/** One `decide` message on its way through a flush. */
export class DecideCall implements Call {
  readonly #turn: Turn;
  readonly #question: Question;
  readonly #message: DecideMessage;
  readonly #deadline: number;
  readonly #resolve: (answer: DecideAnswer | DecideRefusal) => void;
  readonly #decided: Decided[] = [];
  readonly #leafHashes: Uint8Array[] = [];
  /** Step receipts by item. */
  readonly #said = new Map<number, string>();
  #first = 0;
  /** An answer to the same question, and the `sseq` of its first record. */
  #kept: { readonly answer: Kept; readonly first: number } | null = null;
  /** By item, once they have been searched for. */
  #counterfactuals: readonly (Counterfactual | null)[] | null = null;
  #key: string | null = null;
  /** The permit that goes with the answer. */
  #signed: string | null = null;
  #refused: DecideRefusal | null = null;
  /** Why it is denied without a record. */
  #turnedAway: "deadline" | "lineage_halted" | null = null;

  constructor(
    turn: Turn,
    message: DecideMessage,
    accepted: AcceptedFacts,
    received_ms: number,
    resolve: (answer: DecideAnswer | DecideRefusal) => void,
  ) {
    this.#turn = turn;
    this.#question = { message, accepted };
    this.#message = message;
    this.#deadline = received_ms + message.deadline_ms;
    this.#resolve = resolve;
  }

  get records(): number {
    return this.#leafHashes.length;
  }

  get weight(): number {
    return this.#message.items.length;
  }

  get leafHashes(): readonly Uint8Array[] {
    return this.#leafHashes;
  }

  execute(): void {
    const { items, semantic, idempotency_key } = this.#message;
    // Nobody waits for it any more; deciding would only put a record nobody asked for.
    if (this.#turn.t_ms >= this.#deadline) this.#turnedAway = "deadline";
    // Halted since it was submitted: a record would stand under a number that the log may have seen, or never takes.
    else if (this.#turn.condition.halted !== null) this.#turnedAway = "lineage_halted";
    if (this.#turnedAway !== null) return;
    const { pep } = this.#question.accepted.call.facts;
    const key =
      idempotency_key === null
        ? null
        : base64url(nodeSha256(new TextEncoder().encode(`${pep.id}\0${idempotency_key}`)));
    const asked = key === null ? "" : askedDigest(this.#message, (at) => factsAt(this.#question, at).facts);
    this.#key = key;
    // A dry run is another kind of question: it neither gives nor takes an answer that was kept.
    if (key !== null && !this.#message.dry_run && this.#answeredBefore(key, asked)) return;
    this.#first = this.#turn.writer.sseq + 1;
    const last = items.length - 1;
    for (let at = 0; at <= last; at++) {
      const ends = (outcome: Outcome): boolean => at === last || decides(semantic, outcome);
      // Every record of a call gets the call's id with its index, unless it is alone: also where the first item decided.
      const alone = (outcome: Outcome): boolean => at === 0 && ends(outcome);
      const decided = decideItem(this.#turn, this.#question, at, this.#first, alone);
      this.#decided.push(decided);
      if (decided.appended !== null) this.#leafHashes.push(decided.appended.leaf_hash);
      if (ends(decided.outcome)) break;
    }
    if (key !== null && !this.#message.dry_run) {
      this.#turn.writer.putAnswer(key, {
        input: asked,
        first_sseq: this.#first,
        answer: JSON.stringify(keptOf(this.#turn, this.#decided, pep.exp_ms)),
        expires_ms: this.#turn.t_ms + IDEMPOTENCY_MS,
      });
    }
  }

  /** Same key and same question: the stored answer. Same key, other question: a conflict. */
  #answeredBefore(key: string, asked: string): boolean {
    const stored = this.#turn.writer.storedAnswer(key);
    if (stored === null || stored.expires_ms <= this.#turn.t_ms) return false;
    if (stored.input !== asked) this.#refused = { ok: false, code: "idempotency_conflict" };
    else this.#kept = { answer: JSON.parse(stored.answer) as Kept, first: stored.first_sseq };
    return true;
  }

  async sign(): Promise<void> {
    const permit = this.#decided[0]?.permit ?? null;
    const claims = permit === null ? null : claimsText(this.#turn, permit, this.#message.items[0]!.request);
    if (claims !== null) this.#signed = await this.#turn.signed(PERMIT_TYPE, claims);
    if (this.#decided.some(({ pass }) => pass !== null)) await this.#sayReceipts();
    // An allow leaves with the look that all of the flush share, so what takes time beside one comes before that look.
    if (this.#message.counterfactual === true && this.#decided.some(({ outcome }) => outcome.core.decision === "allow"))
      this.#counterfactuals = searchCounterfactuals(this.#turn, this.#decided);
  }

  /** Says to the home of each step under a pass what became of it; the record that it speaks of is on disk. */
  async #sayReceipts(): Promise<void> {
    for (const [at, { pass, appended }] of this.#decided.entries()) {
      if (pass === null || appended === null) continue;
      const said = await stepReceiptOf(this.#turn, pass.id, appended.sseq);
      if (said !== null) this.#said.set(at, said);
    }
  }

  release(flush: Flush | null, index: number, live: Live): void {
    if (this.#refused !== null) return this.#resolve(this.#refused);
    if (this.#turnedAway !== null) return this.#resolve(deniedAll(this.#turn, this.#message, this.#turnedAway));
    if (this.#kept !== null) {
      // Decided in this very turn, and withdrawn a moment ago: the repetition gets what will then be stored.
      if (this.#key !== null && this.#turn.owes(this.#key)) return this.#turn.again(this);
      void this.#repeat(this.#kept.answer, this.#kept.first);
      return;
    }
    if (this.#message.counterfactual === true && this.#counterfactuals === null) {
      // Denials can wait until the others of this flush have their answer.
      setTimeout(() => {
        this.#counterfactuals = searchCounterfactuals(this.#turn, this.#decided);
        this.release(flush, index, this.#turn.live());
      }, 0);
      return;
    }
    // Has anything that any decision rests on changed since?
    const { t_ms: now, turned: region } = live;
    let unsettled = 0;
    // The deny leaves when its record is on disk, and with it the stored answer that a repetition gets.
    const settle = (stored: boolean): void => {
      unsettled--;
      if (!stored) this.fail();
      else if (unsettled === 0) this.#resolve(answer);
    };
    const items = this.#decided.map((item, at) => {
      const homes = homesOf(live.trust, item.outcome.dependencies, item.outcome.homes);
      if (
        item.outcome.core.decision === "allow" &&
        (region || now >= this.#deadline || this.#turned(item, homes, live))
      ) {
        if (item.appended !== null && item.run !== null) {
          unsettled++;
          this.#turn.owe({
            run: { ...item.run },
            refers: item.appended,
            subjects: item.subjects,
            input: item.input,
            facts: item.facts.text,
            run_state: item.run_state,
            core: item.outcome.core,
            traceparent: this.#message.traceparent,
            idempotency: this.#key,
            index: at,
            settle,
          });
        }
        return denied(region || now < this.#deadline ? "withheld" : "deadline");
      }
      const said = this.#said.get(at);
      const turning = this.#counterfactuals?.[at] ?? null;
      const until = validUntil(this.#turn, item.outcome.expires_ms, homes, live.trust);
      return {
        ...itemAnswer(this.#turn, item, this.#message.explain, until),
        ...(this.#message.explain ? { explained: explainDecided(item) } : {}),
        ...(turning === null ? {} : { counterfactual: turning }),
        ...(said === undefined ? {} : { step_receipt: said }),
      };
    });
    const signed = this.#signed !== null && items[0]?.decision === true ? { permit: this.#signed } : {};
    const answer: DecideAnswer = { ...this.#answer(items, flush, index, live), ...signed };
    if (unsettled === 0) this.#resolve(answer);
  }

  /** What the item rests on is revoked, withdrawn or over, or a home of it has gone unheard, since it was decided. */
  #turned({ outcome, run, appended, above, parents, pass }: Decided, homes: readonly string[], live: Live): boolean {
    const { dependencies, degraded } = outcome;
    return (
      live.t_ms >= outcome.expires_ms ||
      parents.some(this.#turn.withdrawn) ||
      this.#turn.revokedSince(above.length === 0 ? dependencies : [...dependencies, ...above], degraded) ||
      (run?.kind === "opened" && appended !== null && this.#turn.markedSince(appended.sseq)) ||
      (pass !== null && this.#turn.lost(pass.ancestors)) ||
      homesHeard(live.trust, homes, live.t_ms) !== null
    );
  }

  #answer(
    items: readonly ItemAnswer[],
    flush: Flush | null,
    index: number,
    { consistency, continuity }: Live,
  ): DecideAnswer {
    const hashes = this.leafHashes;
    const recorded = flush !== null && hashes.length > 0;
    const id = recorded ? decisionId(this.#turn.region, this.#turn.log_epoch, this.#turn.shard, this.#first) : null;
    const receipt = recorded
      ? receiptText(flush.jws, {
          call: index,
          items: hashes.length,
          leaf: base64url(callRoot(hashes)),
          path: flush.path(index),
        })
      : null;
    let answered = items;
    if (recorded && this.#message.inline_evidence) {
      const tree = merkleTree(hashes, nodeSha256);
      answered = items.map((item, at) => ({
        ...item,
        evidence: { leaf: base64url(this.#decided[at]!.appended!.leaf), path: inclusionPath(tree, at).map(base64url) },
      }));
    }
    return {
      ok: true,
      decision_id: id,
      receipt,
      items: answered,
      consistency,
      continuity,
      t_ms: this.#turn.t_ms,
      flush_size: flush?.size ?? 0,
    };
  }

  async #repeat(kept: Kept, first: number): Promise<void> {
    try {
      this.#resolve(await repeated(this.#turn, this.#question, kept, first));
    } catch (cause) {
      this.#turn.bug("repeat", cause);
      this.fail();
    }
  }

  fail(): void {
    this.#resolve(deniedAll(this.#turn, this.#message, "lineage_unavailable"));
  }
}

/** Whether a short-circuit semantic ends with this item. */
const decides = (semantic: BatchSemantic, { core }: Outcome): boolean =>
  semantic === (core.decision === "allow" ? "permit_on_first_permit" : "deny_on_first_deny");
