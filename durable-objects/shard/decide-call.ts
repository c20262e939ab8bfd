import { base64url } from "../../src/base/bytes.ts";
import { digestOf } from "../../src/base/digest.ts";
import { decisionId } from "../../src/base/ids.ts";
import { coreText, decide, denyInternal, regionChecks, type DecideInput } from "../../src/decision/decide.ts";
import { dependenciesOf, endsAt, freshUntil, homesOf, usedHomes } from "../../src/decision/basis.ts";
import { homesHeard, policyEnds } from "../../src/decision/checks.ts";
import { toldKeys } from "../../src/decision/told.ts";
import { attestationHolds, identityHolds } from "../../src/decision/identity.ts";
import { Watch } from "../../src/decision/seen.ts";
import { counterfactual, weightOf, type Counterfactual } from "../../src/replay/explain/counterfactual.ts";
import { Effort } from "../../src/replay/explain/effort.ts";
import { explanationOf, type Explained, type Explanation } from "../../src/replay/explain/explanation.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { forCaller } from "../../src/replay/explain/for-caller.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { PassFacts } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest, Facts, Outcome, RunState, TrustView } from "../../src/vocabulary/types.ts";
import { inclusionPath, merkleTree } from "../../src/lineage/merkle.ts";
import { receiptText } from "../../src/lineage/receipt.ts";
import type {
  BatchSemantic,
  DecideAnswer,
  DecideItem,
  DecideMessage,
  DecideRefusal,
  ItemAnswer,
} from "../../src/objects/decide.ts";
import { bindingEnds } from "../../src/runs/binding.ts";
import { decodeConsistency } from "../../src/trust/consistency.ts";
import { consentsOf } from "../../src/policy/consents.ts";
import { rulesFor } from "../../src/policy/step-rules.ts";
import { subjectKey } from "../../src/trust/keys.ts";
import { nodeSha256 } from "../platform.ts";
import { askedDigest } from "./asked.ts";
import type { Call, Flush } from "./group-commit.ts";
import type { Live } from "./live.ts";
import { PERMIT_TYPE } from "../../src/credentials/permit-life.ts";
import type { PermitRow } from "./permits/rows.ts";
import { claimsText, issue } from "./permits/ticket.ts";
import { keepStep, stateForStep, statusOf, type OpenedStep } from "./run/steps.ts";
import { guestStateOf, keepGuestStep, stepReceiptOf } from "./run/guest-state.ts";
import { describeRunState, type DescribedRun } from "./run-state.ts";
import type { RunRow } from "./store.ts";
import type { Turn } from "./turn.ts";
import { callRoot, type Appended, type SourceWriter } from "./writer.ts";

const IDEMPOTENCY_MS = 600_000;
/**
 * Beside a request of a megabyte it has to fit a row of storage, and a record that does not fails the whole flush. Only
 * delegations with limits of absurd length come near it.
 */
const MAX_STATE_CHARS = 262_144;

/** Shards of one isolate share its thread, and so what may be spent on searching. */
const EFFORT = new Effort();
/** What a whole decision costs, in answers of single conditions. */
const DECISION_UNITS = 4;
const BUSY: Counterfactual = { none: "busy", decisions: 0, probes: 0 };

type Decided = {
  readonly outcome: Outcome;
  readonly run: RunRow | null;
  readonly appended: Appended | null;
  readonly subjects: readonly string[];
  readonly input: string;
  readonly run_state: string;
  /** Keys of the runs that its run is part of. */
  readonly above: readonly string[];
  /** `sseq`s of the steps whose results it uses. */
  readonly parents: readonly number[];
  readonly facts: ParsedFacts;
  /** Of a step of a run that is at home elsewhere. */
  readonly pass: PassFacts | null;
  readonly asked: DecideInput;
};

/** The run as the decision sees it; `bug`: it could not be read, and the step is denied. */
type Known = {
  readonly state: RunState | null;
  readonly step: OpenedStep | null;
  readonly bug: boolean;
  readonly described?: DescribedRun;
};

export type ParsedFacts = { readonly facts: Facts; readonly text: string; readonly digest: string };

/** Of a call, and of those of its items that have some of their own. */
export type AcceptedFacts = { readonly call: ParsedFacts; readonly items: readonly (ParsedFacts | null)[] };

/**
 * What is kept with an idempotency key. What a plain question rests on follows from it, and it comes again with the key;
 * of a step of an opened run it is kept.
 */
type Kept = {
  readonly items: readonly ItemAnswer[];
  readonly records: number;
  readonly t_ms: number;
  /** Items that were decided in the knowledge that a dependency is degraded. */
  readonly degraded?: readonly number[];
  /** Of allowed steps of opened runs: their record, and the keys that they rest on, by item. */
  readonly steps?: Readonly<Record<number, { readonly sseq: number; readonly keys: readonly string[] }>>;
  /** Digest of the policy that allowed it; a repetition under another one is none. */
  readonly policy?: string;
  /** When what each item rests on ends, Unix milliseconds. */
  readonly ends?: readonly number[];
  /** Id of the permit that came with it. */
  readonly permit?: string;
};

/** One `decide` message on its way through a flush. */
export class DecideCall implements Call {
  readonly #turn: Turn;
  readonly #message: DecideMessage;
  /** Of the call: who asks. */
  readonly #facts: ParsedFacts;
  /** By item, where credentials came along with it. */
  readonly #own: readonly (ParsedFacts | null)[];
  readonly #deadline: number;
  readonly #resolve: (answer: DecideAnswer | DecideRefusal) => void;
  readonly #decided: Decided[] = [];
  readonly #leafHashes: Uint8Array[] = [];
  /** Step receipts by item. */
  readonly #said = new Map<number, string>();
  #first = 0;
  #kept: Kept | null = null;
  #keptFirst = 0;
  /** By item, once they have been searched for. */
  #counterfactuals: readonly (Counterfactual | null)[] | null = null;
  #key: string | null = null;
  #permit: PermitRow | null = null;
  #signed: string | null = null;
  #refused: DecideRefusal | null = null;
  /** Why it is denied without a record. */
  #turnedAway: "deadline" | "lineage_halted" | null = null;

  constructor(
    turn: Turn,
    message: DecideMessage,
    { call: facts, items: own }: AcceptedFacts,
    received_ms: number,
    resolve: (answer: DecideAnswer | DecideRefusal) => void,
  ) {
    this.#turn = turn;
    this.#message = message;
    this.#facts = facts;
    this.#own = own;
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
    const key =
      idempotency_key === null
        ? null
        : base64url(nodeSha256(new TextEncoder().encode(`${this.#facts.facts.pep.id}\0${idempotency_key}`)));
    const asked = key === null ? "" : askedDigest(this.#message, (at) => this.#factsAt(at).facts);
    this.#key = key;
    // A dry run is another kind of question: it neither gives nor takes an answer that was kept.
    if (key !== null && !this.#message.dry_run && this.#answeredBefore(key, asked)) return;
    this.#first = this.#turn.writer.sseq + 1;
    const last = items.length - 1;
    for (const [at, item] of items.entries()) {
      const ends = (outcome: Outcome): boolean => at === last || decides(semantic, outcome);
      // Every record of a call gets the call's id with its index, unless it is alone: also where the first item decided.
      const decided = this.#decideItem(at, item, (outcome) => at === 0 && ends(outcome));
      this.#decided.push(decided);
      if (decided.appended !== null) this.#leafHashes.push(decided.appended.leaf_hash);
      if (ends(decided.outcome)) break;
    }
    if (key !== null && !this.#message.dry_run) {
      const kept: Kept = {
        items: this.#decided.map((item) => this.#answerOf(item, true, item.outcome.valid_until_ms)),
        records: this.#decided.length,
        t_ms: this.#turn.t_ms,
        policy: this.#turn.policy.digest,
        ...this.#degraded(),
        ...this.#steps(),
        ...this.#ends(),
        ...(this.#permit === null ? {} : { permit: this.#permit.id }),
      };
      this.#turn.writer.putAnswer(key, {
        input: asked,
        first_sseq: this.#first,
        answer: JSON.stringify(kept),
        expires_ms: this.#turn.t_ms + IDEMPOTENCY_MS,
      });
    }
  }

  #degraded(): Pick<Kept, "degraded"> {
    const degraded = this.#decided.flatMap(({ outcome }, at) => (outcome.degraded ? at : []));
    return degraded.length === 0 ? {} : { degraded };
  }

  #steps(): Pick<Kept, "steps"> {
    const steps = this.#decided.flatMap(({ outcome, run, appended, above }, at) =>
      run?.kind === "opened" && appended !== null && outcome.core.decision === "allow"
        ? [[at, { sseq: appended.sseq, keys: [...outcome.dependencies, ...above] }] as const]
        : [],
    );
    return steps.length === 0 ? {} : { steps: Object.fromEntries(steps) };
  }

  /** What ends before the PEP's own credential; that one comes again with the key. */
  #ends(): Pick<Kept, "ends"> {
    const ends = this.#decided.map(({ outcome }) => outcome.expires_ms);
    return ends.every((end) => end === this.#facts.facts.pep.exp_ms) ? {} : { ends };
  }

  /** Same key and same question: the stored answer. Same key, other question: a conflict. */
  #answeredBefore(key: string, asked: string): boolean {
    const stored = this.#turn.writer.storedAnswer(key);
    if (stored === null || stored.expires_ms <= this.#turn.t_ms) return false;
    if (stored.input !== asked) {
      this.#refused = { ok: false, code: "idempotency_conflict" };
    } else {
      this.#kept = JSON.parse(stored.answer) as Kept;
      this.#keptFirst = stored.first_sseq;
    }
    return true;
  }

  #factsAt(at: number): ParsedFacts {
    return this.#own[at] ?? this.#facts;
  }

  #decideItem(
    at: number,
    { request: requestText, run: runId }: DecideItem,
    alone: (outcome: Outcome) => boolean,
  ): Decided {
    const { turn, facts, message } = { turn: this.#turn, facts: this.#factsAt(at), message: this.#message };
    const request = JSON.parse(requestText) as CanonicalRequest;
    const implicit = runId === message.implicit_run;
    // Only a run derived from an idempotency key can have been seen before.
    let run = turn.writer.run(runId, implicit && message.idempotency_key === null);
    if (run === null && implicit) run = turn.writer.implicitRun(runId, turn.t_ms, message.idempotency_key !== null);
    const { pass } = facts.facts;
    const guest = pass === undefined ? null : guestStateOf(turn, runId, pass);
    if (run === null && guest !== null) run = turn.writer.implicitRun(runId, turn.t_ms, true);
    const { state: known, step, bug, described: seen } = this.#stateOf(run, request, facts.facts);
    const state = known === null || guest === null ? known : { ...known, guest };
    const described = guest === null && seen !== undefined ? seen : describeRunState(state);
    const watch = new Watch(turn.trust);
    const input: DecideInput = {
      request,
      input_digest: digestOf(requestText, nodeSha256),
      facts: facts.facts,
      facts_digest: facts.digest,
      policy: turn.policy,
      trust: watch.trust,
      condition: turn.condition,
      run: state,
      run_digest: described.digest,
      region: turn.region,
      at_least: readAtLeast(message),
      t_ms: turn.t_ms,
      names: watch.names((key) => turn.namesOf(key)),
      trust_digest: turn.trustDigest,
    };
    const outcome = this.#outcomeOf(input, bug);
    const subjects = [subjectKey(request.subject.type, request.subject.id)];
    const decided = {
      outcome,
      run,
      subjects,
      input: requestText,
      run_state: described.text,
      above: step?.keys ?? [],
      parents: step?.parents.map(({ sseq }) => sseq) ?? [],
      facts,
      asked: input,
    };
    if (message.dry_run) return { ...decided, appended: null, pass: null };
    // A step of a run that is not known here is recorded in a run of its own: nothing is answered without a record.
    run ??= turn.writer.implicitRun(turn.mintRun(), turn.t_ms, false);
    const appended = turn.writer.append(
      {
        kind: "decision",
        run,
        subjects,
        core: coreText(outcome.core),
        decision: outcome.core.decision,
        reason: outcome.core.reason,
        refers: null,
        parents: guest !== null ? pass!.parents : (step?.parents.map(({ leaf }) => leaf) ?? []),
        input: requestText,
        facts: facts.text,
        run_state: described.text,
        seen: watch.text(turn.seenText, { at_least: message.at_least, bug }),
        sealed: `"determining":${JSON.stringify(outcome.determining)},"errors":${JSON.stringify(outcome.errors)}`,
        policy: turn.policy.digest,
        trust: { digest: outcome.core.trust, revision: turn.trust.revision },
        traceparent: message.traceparent,
      },
      turn.t_ms,
      this.#first,
      alone(outcome),
    );
    const id = { first: this.#first, alone: alone(outcome) };
    if (step !== null) keepStep(turn, step, request, outcome, appended, id);
    const { permit } = message;
    if (permit !== undefined && step !== null && outcome.core.decision === "allow")
      this.#permit = issue(turn, permit, run.id, appended.sseq, outcome);
    if (guest !== null) keepGuestStep(turn, pass!, outcome, appended, id);
    return { ...decided, run, appended, pass: guest === null ? null : pass! };
  }

  async sign(): Promise<void> {
    const claims = this.#permit === null ? null : this.#claimsOf(this.#permit);
    if (claims !== null) this.#signed = await this.#turn.signed(PERMIT_TYPE, claims);
    if (this.#decided.some(({ pass }) => pass !== null)) await this.#sayReceipts();
  }

  #claimsOf(permit: PermitRow): string | null {
    return claimsText(this.#turn, permit, this.#message.items[0]!.request);
  }

  #stateOf(run: RunRow | null, request: CanonicalRequest, facts: Facts): Known {
    if (run === null) return { state: null, step: null, bug: false };
    const { id, kind, status, members, seq: version } = run;
    const plain: RunState = { id, kind, status, members, version };
    if (kind === "implicit") return { state: plain, step: null, bug: false };
    try {
      const found = stateForStep(this.#turn, run, request, facts);
      const described = describeRunState(found.state);
      if (described.text.length > MAX_STATE_CHARS) throw new Error(`the state has ${described.text.length} characters`);
      return { ...found, bug: false, described };
    } catch (cause) {
      this.#turn.bug("run state", cause);
      return { state: plain, step: null, bug: true };
    }
  }

  /** An exception in the kernel is a bug; the caller gets a deny and the log gets the cause (G1). */
  #outcomeOf(input: DecideInput, bug: boolean): Outcome {
    if (bug) return denyInternal(input);
    try {
      return decide(input);
    } catch (cause) {
      this.#turn.bug("decide", cause);
      return denyInternal(input);
    }
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
    if (this.#turnedAway !== null) return this.#denyAll(this.#turnedAway);
    if (this.#kept !== null) {
      // Decided in this very turn, and withdrawn a moment ago: the repetition gets what will then be stored.
      if (this.#key !== null && this.#turn.owes(this.#key)) return this.#turn.again(this);
      void this.#releaseKept(this.#kept);
      return;
    }
    if (this.#message.counterfactual === true && this.#counterfactuals === null) {
      // Denials can wait until the others of this flush have their answer. An allow is looked at once more and leaves
      // at once, so where there is one, what was searched for is there before that look.
      if (this.#decided.every(({ outcome }) => outcome.core.decision === "deny")) {
        setTimeout(() => {
          this.#counterfactuals = this.#search();
          this.release(flush, index, this.#turn.live());
        }, 0);
        return;
      }
      this.#counterfactuals = this.#search();
    }
    // Has anything that any decision rests on changed since?
    const { t_ms: now, turned: region } = live;
    let unsettled = 0;
    // The deny leaves when its record is on disk, and with it the stored answer that a repetition gets.
    const settle = (stored: boolean): void => {
      unsettled--;
      if (!stored) this.#denyAll("lineage_unavailable");
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
      return {
        ...this.#answerOf(item, this.#message.explain, this.#validUntil(item.outcome.expires_ms, homes, live.trust)),
        ...(this.#message.explain ? { explained: this.#explained(item) } : {}),
        ...(turning === null ? {} : { counterfactual: turning }),
        ...(said === undefined ? {} : { step_receipt: said }),
      };
    });
    const signed = this.#signed !== null && items[0]?.decision === true ? { permit: this.#signed } : {};
    const answer: DecideAnswer = { ...this.#answer(items, flush, index, live), ...signed };
    if (unsettled === 0) this.#resolve(answer);
  }

  #explained({ outcome: { core, determining, policy_reason, errors }, asked }: Decided): Explanation {
    const { failed, reason } = core;
    const erred = errors.map(({ policy }) => policy);
    return this.#told(asked.policy, asked.request, { failed, reason, determining, policy_reason, errors: erred });
  }

  /** A stored answer, by the law as it stands now. */
  #explainedAgain(at: number, item: Explained): Explanation {
    return this.#told(this.#turn.policy, JSON.parse(this.#message.items[at]!.request) as CanonicalRequest, item);
  }

  #told(policy: LoadedPolicy, request: CanonicalRequest, decided: Explained): Explanation {
    const said = explanationOf(policy, request, decided);
    return { ...said, failed: said.failed.map((check) => ({ ...check, ...forCaller(request, check) })) };
  }

  /** Of the first denials of the call, as long as this isolate has effort left for searching. */
  #search(): readonly (Counterfactual | null)[] {
    return this.#decided.map(({ outcome, asked }) => {
      if (outcome.core.decision === "allow") return null;
      if (!EFFORT.left(this.#turn.now())) return BUSY;
      try {
        const found = counterfactual(asked);
        EFFORT.charge((found.probes + DECISION_UNITS * found.decisions) * weightOf(asked));
        return found;
      } catch (cause) {
        this.#turn.bug("counterfactual", cause);
        return BUSY;
      }
    });
  }

  /** The region itself turned: the lease ended, it was frozen, its policy changed. */
  #regionProblem(now: number, at_least: DecideInput["at_least"]): boolean {
    return (
      regionChecks({
        trust: this.#turn.liveTrust(),
        condition: this.#turn.liveCondition(),
        policy: this.#turn.policy,
        region: this.#turn.region,
        at_least,
        t_ms: now,
      }) !== null
    );
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

  /** As of the release: what the shard knows now, which is what a PEP may rely on. */
  #validUntil(expires_ms: number, homes: readonly string[], trust: TrustView): number {
    return Math.min(freshUntil(trust, homes), expires_ms, policyEnds(this.#turn.condition));
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

  /** A repeated answer is looked at again: it may turn to deny, never to allow (DESIGN section 7). */
  async #releaseKept(kept: Kept): Promise<void> {
    try {
      const stored = await this.#turn.receiptOf(this.#keptFirst, kept.records);
      for (let at = 0; at < kept.items.length; at++) {
        const { pass } = this.#factsAt(at).facts;
        const said = pass === undefined ? null : await stepReceiptOf(this.#turn, pass.id, this.#keptFirst + at);
        if (said !== null) this.#said.set(at, said);
      }
      const now = this.#turn.now();
      const region =
        this.#regionProblem(now, readAtLeast(this.#message)) ||
        now >= this.#facts.facts.pep.exp_ms ||
        (kept.policy !== undefined && kept.policy !== this.#turn.liveCondition().active_policy);
      const trust = this.#turn.liveTrust();
      const bases = kept.items.map((_, at) => {
        const basis = this.#basisAt(kept, at);
        return { ...basis, homes: homesOf(trust, basis.dependencies, basis.homes) };
      });
      const stands = (at: number): boolean => {
        const basis = bases[at]!;
        const step = kept.steps?.[at];
        return (
          now < basis.expires_ms &&
          !this.#closed(at) &&
          this.#shown(at, now) &&
          (step === undefined || !this.#turn.marked(step.sseq)) &&
          !this.#turn.lost(this.#factsAt(at).facts.pass?.ancestors ?? []) &&
          !this.#turn.revoked(basis.dependencies, kept.degraded?.includes(at) === true) &&
          homesHeard(trust, basis.homes, now) === null
        );
      };
      const items = kept.items.map((item, at) =>
        item.decision && (region || !stands(at)) ? denied("withheld") : item,
      );
      const turned = items.some((item, at) => item !== kept.items[at]);
      const permit = items[0]?.decision === true ? await this.#permitAgain(kept, now) : null;
      this.#resolve({
        ok: true,
        decision_id: decisionId(this.#turn.region, this.#turn.log_epoch, this.#turn.shard, this.#keptFirst),
        // The receipt speaks for the answer that was recorded, and this is another one.
        receipt: turned ? null : stored,
        items: items.map(({ failed, determining, ...item }, at) => ({
          ...item,
          ...(this.#message.explain && failed !== undefined && determining !== undefined
            ? { failed, determining, explained: this.#explainedAgain(at, { ...item, failed, determining }) }
            : {}),
          valid_until_ms: item.decision ? this.#validUntil(bases[at]!.expires_ms, bases[at]!.homes, trust) : 0,
          ...(this.#said.has(at) && item.decision === kept.items[at]!.decision
            ? { step_receipt: this.#said.get(at)! }
            : {}),
        })),
        consistency: this.#turn.consistency(),
        continuity: this.#turn.continuity(),
        t_ms: kept.t_ms,
        flush_size: 0,
        ...(permit === null ? {} : { permit }),
      });
    } catch (cause) {
      this.#turn.bug("repeat", cause);
      this.#denyAll("lineage_unavailable");
    }
  }

  /** The same permit, while nobody has redeemed it; never a second one. */
  async #permitAgain({ permit: id }: Kept, now: number): Promise<string | null> {
    const row = id === undefined ? null : this.#turn.writer.permits.permit(id);
    const claims = row === null || row.used !== null || now >= row.exp_ms ? null : this.#claimsOf(row);
    return claims === null ? null : this.#turn.signed(PERMIT_TYPE, claims);
  }

  /** Whether what comes with the repetition about the workload would do: the keys alone do not tell how good it is. */
  #shown(at: number, now: number): boolean {
    const asked = JSON.parse(this.#message.items[at]!.request) as CanonicalRequest;
    const { workload } = this.#factsAt(at).facts;
    const { identity, attestation } = rulesFor(this.#turn.policy, asked);
    return (
      identityHolds(identity, workload, asked.subject.id, now).length === 0 &&
      attestationHolds(attestation, workload, now).length === 0
    );
  }

  /** Whether the opened run of item `at`, or one above it, takes no more steps: whoever closed it, its allows end too. */
  #closed(at: number): boolean {
    const { writer } = this.#turn;
    const run = writer.run(this.#message.items[at]!.run, false);
    return run?.kind === "opened" && statusOf(this.#turn, run, writer.runs.opened(run)) === "closed";
  }

  /** What item `at` rests on, with the one who asks now: a key is shared by the credentials of one PEP. */
  #basisAt(kept: Kept, at: number): Pick<Outcome, "dependencies" | "homes" | "expires_ms"> {
    const { request, run } = this.#message.items[at]!;
    const { facts } = this.#factsAt(at);
    const opened = run === this.#message.implicit_run ? null : ({ kind: "opened", id: run } as const);
    const asked = JSON.parse(request) as CanonicalRequest;
    const consents = [...consentsOf(this.#turn.policy, asked).keys, ...toldKeys(this.#turn.policy, facts)];
    const keys = dependenciesOf(asked, facts, opened, this.#turn.region, consents);
    return {
      dependencies: [...keys, ...(kept.steps?.[at]?.keys ?? [])],
      homes: usedHomes(null, facts, this.#turn.region),
      expires_ms: Math.min(kept.ends?.[at] ?? Infinity, endsAt(facts, null, [], [])),
    };
  }

  #accessRequest(run: string, input: string, t_ms: number): NonNullable<ItemAnswer["access_request"]> {
    const request = JSON.parse(input) as CanonicalRequest;
    return { binding_token: this.#turn.bindingToken(run, request, t_ms), expires_ms: bindingEnds(t_ms) };
  }

  fail(): void {
    this.#denyAll("lineage_unavailable");
  }

  #denyAll(reason: ReasonCode): void {
    this.#resolve({
      ok: true,
      decision_id: null,
      receipt: null,
      items: this.#message.items.map(() => denied(reason)),
      consistency: this.#turn.consistency(),
      continuity: this.#turn.continuity(),
      t_ms: this.#turn.now(),
      flush_size: 0,
    });
  }

  #answerOf({ outcome, run, input, appended }: Decided, explain: boolean, valid_until_ms: number): ItemAnswer {
    const { core, approval } = outcome;
    return {
      ...(approval === undefined ? {} : { approval }),
      // There has to be a denial on record that was asked for.
      ...(approval?.requestable === true && appended !== null && run !== null
        ? { access_request: this.#accessRequest(run.id, input, core.t_ms) }
        : {}),
      decision: core.decision === "allow",
      reason: core.reason,
      policy_reason: outcome.policy_reason,
      obligations: core.obligations,
      ...(explain ? { failed: core.failed, determining: outcome.determining } : {}),
      ...(explain && outcome.errors.length > 0 ? { errors: outcome.errors.map(({ policy }) => policy) } : {}),
      valid_until_ms: core.decision === "allow" ? valid_until_ms : 0,
    };
  }
}

const readAtLeast = ({ at_least }: DecideMessage): DecideInput["at_least"] =>
  at_least === null ? null : (decodeConsistency(at_least) ?? "malformed");

/** Whether a short-circuit semantic ends with this item. */
const decides = (semantic: BatchSemantic, { core }: Outcome): boolean =>
  semantic === (core.decision === "allow" ? "permit_on_first_permit" : "deny_on_first_deny");

const denied = (reason: ReasonCode): ItemAnswer => ({
  decision: false,
  reason,
  policy_reason: null,
  obligations: [],
  valid_until_ms: 0,
});

/** These allows were withdrawn before they left: a repetition must not give them either. */
export function withholdAnswer(writer: SourceWriter, key: string, indexes: ReadonlySet<number>): void {
  const stored = writer.storedAnswer(key);
  if (stored === null) return;
  const kept = JSON.parse(stored.answer) as Kept;
  const items = kept.items.map((item, at) => (indexes.has(at) ? denied("withheld") : item));
  writer.putAnswer(key, { ...stored, answer: JSON.stringify({ ...kept, items }) });
}
