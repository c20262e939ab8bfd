import { PASS_TYPE, MAX_ANCESTOR_KEYS, passOverflow, type PassClaims } from "../../../src/credentials/between/pass.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { callerKeys, homesOf } from "../../../src/decision/basis.ts";
import { homesHeard } from "../../../src/decision/checks.ts";
import type { OpenPassMessage, RunAnswer } from "../../../src/objects/runs.ts";
import { runPseudonym } from "../../../src/runs/guest.ts";
import { resourceKey } from "../../../src/trust/keys.ts";
import { mayBeTold } from "../../../src/trust/pseudonym.ts";
import { REASON_ORDER } from "../../../src/vocabulary/reasons.ts";
import { nodeSha256 } from "../../platform.ts";
import type { ParsedFacts } from "../facts-reader.ts";
import type { Flush } from "../group-commit.ts";
import type { Live } from "../live.ts";
import type { RunRow } from "../store.ts";
import type { Turn } from "../turn.ts";
import { passVerdict, type PassVerdict } from "./pass-verdict.ts";
import { AWAITED } from "./rows.ts";
import { RunCall } from "./run-call.ts";

/** Steps that a pass may rest on; a step that rests on more is taken at home. */
const MAX_STEPS = 10_000;
/** Of these some may not be told; where there are so many, more were not looked at. */
const MAX_NAMES = 2 * MAX_ANCESTOR_KEYS;

type Given = { readonly claims: PassClaims; readonly verdict: PassVerdict };

/**
 * Gives a pass: one step of a run here may be taken in another region. Everything that this region knows of the step
 * is decided now; what it is about, and the other region's law, is decided there.
 */
export class PassCall extends RunCall {
  readonly #message: OpenPassMessage;
  readonly #facts: ParsedFacts;
  /** Of an allowed one. */
  #given: Given | null = null;
  #text: string | null = null;

  constructor(turn: Turn, message: OpenPassMessage, facts: ParsedFacts, resolve: (answer: RunAnswer) => void) {
    super(turn, facts.text, message.traceparent, resolve);
    this.#message = message;
    this.#facts = facts;
  }

  execute(): void {
    const { turn } = this;
    const { facts: _facts, traceparent: _traceparent, ...asked } = this.#message;
    const row = turn.writer.run(this.#message.run, false);
    if (row === null || row.kind !== "opened") return this.refuse("not_found", null);
    const { halted } = turn.condition;
    if (halted !== null) return this.refuse("denied", "lineage_halted");
    const verdict = passVerdict(turn, row, this.#message, this.#facts.facts);
    const { failed: against, matches } = this.admit(this.#facts, verdict.keys);
    const found = [...verdict.failed];
    const claims = against.length === 0 ? this.#claims(row, verdict) : null;
    if (claims !== null) for (const detail of passOverflow(claims)) found.push({ reason: "input_invalid", detail });
    found.sort((a, b) => REASON_ORDER.indexOf(a.reason) - REASON_ORDER.indexOf(b.reason));
    const failed = [...against, ...found];
    const appended = this.record({
      kind: "run.pass",
      run: row,
      input: jcs({ ...asked, kind: "run.pass" }),
      subjects: [`subject:${verdict.subject}`],
      verdict: { failed, matches },
      parents: verdict.parents.map(({ leaf }) => leaf),
    });
    if (failed.length > 0 || claims === null) return;
    const { opened, effect, parents, keys, homes } = verdict;
    turn.writer.runs.addGuest(
      {
        sseq: appended.sseq,
        run: row.id,
        id: this.#message.pass,
        node: this.#message.step,
        standing: AWAITED,
        outcome: null,
        t_ms: turn.t_ms,
        homes,
        sums: opened.chargesOf(effect),
      },
      appended.leaf_hash,
      parents.map(({ sseq }) => sseq),
      [...keys, ...callerKeys(this.#facts.facts, turn.region)],
      this.#message.region,
    );
    this.#given = { claims, verdict };
  }

  #claims(row: RunRow, { opened, parents, keys, homes, subject, node, expires_ms }: PassVerdict): PassClaims {
    const { turn } = this;
    const { runs } = turn.writer;
    const { pass, step, region, action, ttl_ms } = this.#message;
    const under = new Set(
      runs
        .restOn(
          parents.map(({ sseq }) => sseq),
          MAX_STEPS,
        )
        .map(({ sseq }) => sseq),
    );
    const told = (of: readonly string[]): string[] => [...new Set(of.flatMap((key) => turn.toldNames(key)))].sort();
    const names = under.size === 0 ? [] : runs.marks.namesUnder(under, MAX_NAMES);
    const target = node?.resource ?? null;
    return {
      v: 1,
      iss: turn.region,
      aud: region,
      jti: pass,
      run: runPseudonym(row.id, row.salt, region, nodeSha256),
      node: step,
      subject: turn.toldNames(`subject:${subject}`)[0] ?? "",
      action,
      resource:
        target === null
          ? null
          : {
              type: target.type,
              key: target.id === null ? null : (turn.toldNames(resourceKey(target.type, target.id))[0] ?? ""),
            },
      labels: [...opened.labels],
      parents: parents.map(({ leaf }) => leaf),
      dependencies: told([...keys, ...callerKeys(this.#facts.facts, turn.region)]),
      ancestors: names.length < MAX_NAMES ? names.filter(mayBeTold) : [...names],
      homes: [...new Set([turn.region, ...homes])].sort(),
      iat_ms: turn.t_ms,
      exp_ms: Math.min(turn.t_ms + ttl_ms, expires_ms),
    };
  }

  async sign(): Promise<void> {
    if (this.#given === null) return;
    this.#text = await this.turn.statement(PASS_TYPE, this.#given.claims).catch(() => null);
  }

  protected override given(): ReturnType<RunCall["given"]> {
    if (this.#given === null || this.#text === null) return {};
    const { jti, exp_ms } = this.#given.claims;
    return { pass: { id: jti, text: this.#text, expires_ms: exp_ms } };
  }

  /** What left is allowed elsewhere, so it is looked at again as an allow is. */
  override release(flush: Flush | null, index: number, live: Live): void {
    const owed = this.owed();
    if (this.#given === null || owed === null || !this.#turned(this.#given, live))
      return super.release(flush, index, live);
    this.turn.owe({ ...owed, settle: (stored) => this.withhold(stored) });
  }

  #turned({ claims, verdict }: Given, { t_ms: now, trust, turned }: Live): boolean {
    const { turn } = this;
    const keys = [...verdict.keys, ...callerKeys(this.#facts.facts, turn.region)];
    return (
      this.#text === null ||
      turned ||
      now >= claims.exp_ms ||
      verdict.parents.some(({ sseq }) => turn.withdrawn(sseq)) ||
      turn.revokedSince(keys, false) ||
      turn.markedSince(this.owed()!.refers.sseq) ||
      homesHeard(trust, homesOf(trust, keys, verdict.homes), now) !== null
    );
  }
}
