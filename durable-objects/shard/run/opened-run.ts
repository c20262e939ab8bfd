import { amountText, unitsOf, type Units } from "../../../src/runs/amount.ts";
import type { NodeSteps, RunRows as RunPort } from "../../../src/runs/rows.ts";
import type { HistoryRule } from "../../../src/vocabulary/rules.ts";
import type {
  Approval,
  Budget,
  Delegation,
  HistoryFact,
  ParentStep,
  PlanNode,
  StepEffect,
} from "../../../src/vocabulary/run.ts";
import type { RunRow } from "../store.ts";
import type { RunBook } from "./book.ts";
import type { PlanRow, StepRow } from "./rows.ts";

/** Steps that a `history` among ancestors may have to look at; a step that rests on more is denied as an error. */
const MAX_ANCESTORS = 10_000;
const MAX_APPROVALS = 8;

/**
 * One opened run as the pure core asks for it. A run within a run has what it declared itself and, from the runs above
 * it, their principal, budgets, delegations and labels: nothing in it reaches further than what it is part of, and
 * all of it is charged there too.
 */
export class OpenedRun implements RunPort {
  readonly #book: RunBook;
  readonly #run: RunRow;
  readonly #line: readonly [PlanRow, ...PlanRow[]];
  readonly principal: string;

  constructor(book: RunBook, run: RunRow) {
    const line = book.line(run.id);
    this.#book = book;
    this.#run = run;
    this.#line = line;
    const top = line.length === 1 ? run : book.run(line.at(-1)!.run);
    // A name that was erased is nobody's.
    this.principal = top?.principal ?? "";
  }

  get id(): string {
    return this.#run.id;
  }
  get declared(): PlanRow {
    return this.#line[0];
  }
  get plan(): string | null {
    return this.#line[0].digest;
  }
  /** The runs that this one is part of, from it up. */
  get above(): readonly string[] {
    return this.#line.slice(1).map(({ run }) => run);
  }
  get labels(): readonly string[] {
    if (this.#line.length === 1) return this.#line[0].labels;
    return [...new Set(this.#line.flatMap(({ labels }) => labels))].sort();
  }
  get budgets(): readonly Budget[] {
    const all = this.#line.flatMap(({ budgets }) => budgets);
    return this.#line.length === 1 ? all : all.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** The step above that everything here rests on; `null`: this run is part of no other. */
  get parent(): ParentStep | null {
    const above = this.#line[0].above;
    const row = above === null ? null : this.#book.step(above.sseq);
    return row === null ? null : this.#book.parentStep(row);
  }

  node(id: string): PlanNode | null {
    return this.#book.nodes(this.#line[0]).get(id) ?? null;
  }

  steps(node: string): NodeSteps {
    const { taken, awaited, failed, denied, newest } = this.#book.tried(this.#run.id, node);
    return {
      awaited,
      denied: denied ? 1 : 0,
      failed,
      newest: newest === null ? null : this.#book.parentStep(newest),
      taken,
    };
  }

  step(id: string): ParentStep | null {
    const row = this.#book.stepNamed(this.#run.id, id);
    return row === null ? null : this.#book.parentStep(row);
  }

  spent(owner: string, budget: string, subject: string | null, since_ms: number | null): Units {
    return this.#book.sums.of(this.chargeKey(owner, budget, subject), since_ms).units;
  }

  delegations(delegate: string): readonly Delegation[] {
    const found = new Map<string, Delegation>();
    const take = (delegation: Delegation | null): void => {
      if (delegation === null || found.has(delegation.id)) return;
      found.set(delegation.id, delegation);
      if (delegation.parent !== null) take(this.delegation(delegation.parent));
    };
    for (const { run } of this.#line) for (const one of this.#book.delegationsTo(run, delegate)) take(one);
    return [...found.values()];
  }

  delegation(id: string): Delegation | null {
    for (const { run } of this.#line) {
      const found = this.#book.delegation(run, id);
      if (found !== null) return found;
    }
    return null;
  }

  history(
    { action, sum }: HistoryRule,
    since_ms: number | null,
    steps: readonly string[] | null,
  ): Omit<HistoryFact, "name"> {
    const [counts, adds] = [this.#countKey(action), sum === null ? null : this.#historyKey(action, sum)];
    if (steps === null) {
      const { count, last_ms } = this.#book.sums.of(counts, since_ms);
      const units = adds === null ? 0n : this.#book.sums.of(adds, since_ms).units;
      return { count, last_ms, sum: amountText(units) };
    }
    const from = steps.flatMap((id) => this.#book.stepNamed(this.#run.id, id)?.sseq ?? []);
    let [count, units, last_ms] = [0, 0n, null as number | null];
    for (const row of this.#book.restOn(from, MAX_ANCESTORS)) {
      if (since_ms !== null && row.t_ms < since_ms) continue;
      if (!row.sums.some(([key]) => key === counts)) continue;
      count++;
      units += BigInt(row.sums.find(([key]) => key === adds)?.[1] ?? "0");
      last_ms = Math.max(last_ms ?? 0, row.t_ms);
    }
    return { count, last_ms, sum: amountText(units) };
  }

  approvals(scope: string, t_ms: number): readonly Approval[] {
    return this.#book.approvals(this.#run.id, scope, t_ms, MAX_APPROVALS);
  }

  approval(id: string): Approval | null {
    return this.#book.approval(this.#run.id, id);
  }

  /** What an allowed step adds to which sums. */
  sumsOf(action: string, effect: StepEffect): StepRow["sums"] {
    return [
      ...this.chargesOf(effect),
      [this.#countKey(action), "0"] as const,
      ...effect.amounts.map(
        ({ property, amount }) => [this.#historyKey(action, property), String(unitsOf(amount))] as const,
      ),
    ];
  }

  /** A budget that a run above declared, and what packs and delegations limit, is one sum for all runs within it. */
  chargeKey(owner: string, budget: string, subject: string | null): string {
    const declaring = this.#line.find(({ budgets }) => budgets.some(({ id }) => id === budget));
    const run = owner === "run" ? (declaring ?? this.#line[0]).run : this.#line.at(-1)!.run;
    return JSON.stringify([run, "charge", owner, budget, subject === null ? "" : this.#book.tag(subject)]);
  }

  /** What a step in another region counts for once its receipt is here: it happened, and no amount of it crosses a border. */
  guestSums(action: string): StepRow["sums"] {
    return [[this.#countKey(action), "0"]];
  }

  /** What a pass is charged, when it is given. */
  chargesOf({ charges }: StepEffect): StepRow["sums"] {
    return charges.map(
      ({ owner, budget, subject, amount }) =>
        [this.chargeKey(owner, budget, subject), String(unitsOf(amount))] as const,
    );
  }

  #countKey(action: string): string {
    return JSON.stringify([this.#run.id, "steps", action]);
  }

  #historyKey(action: string, property: string): string {
    return JSON.stringify([this.#run.id, "history", action, property]);
  }
}
