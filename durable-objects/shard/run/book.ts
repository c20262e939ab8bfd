import { base64url } from "../../../src/base/bytes.ts";
import { parseDecisionId } from "../../../src/base/ids.ts";
import type { Approval, Delegation, ParentStep, Plan, PlanNode, StepOutcome } from "../../../src/vocabulary/run.ts";
import { secretOf } from "../../../src/trust/pseudonym.ts";
import type { SubjectTags } from "../subject-tags.ts";
import type { RunRow } from "../store.ts";
import { Tasks, type TaskRow } from "../approvals/tasks.ts";
import { Marks, type MarkPorts } from "./marks.ts";
import { GuestPasses } from "./guest-passes.ts";
import { GuestSteps, type GuestStep } from "./guest-steps.ts";
import { AWAITED, DENIED, FAILED, GOOD, RunRows, type PlanRow, type Standing, type StepRow } from "./rows.ts";
import { Sums } from "./sums.ts";

/** How deep runs may lie within runs. */
export const MAX_DEPTH = 8;
const PLANS = 64;

export type BookIdentity = {
  readonly region: string;
  readonly log_epoch: number;
  readonly shard: number;
  readonly tags: SubjectTags;
};

export type BookPorts = MarkPorts & {
  readonly run: (id: string) => RunRow | null;
  readonly transaction: (turn: () => void) => void;
};

/** Of the steps at a node. */
type NodeTries = {
  readonly taken: number;
  readonly awaited: boolean;
  readonly failed: number;
  readonly denied: boolean;
  readonly newest: StepRow | null;
};

/** A step as it stands in this turn, and as it stood before (`null`: it is new). */
type Touched = { readonly row: StepRow; readonly was: Standing | null };

/**
 * State of opened runs: the rows, and over them what the current turn has changed, so that each call of a turn sees
 * what those before it did. `write` stores it in the transaction of the records; `clear` forgets it.
 */
export class RunBook {
  readonly #id: BookIdentity;
  readonly #ports: BookPorts;
  readonly rows: RunRows;
  readonly sums: Sums;
  readonly marks: Marks;
  /** Requests for approvals. */
  readonly tasks: Tasks;
  readonly guests: GuestSteps;
  readonly passes: GuestPasses;
  readonly #plans = new Map<string, ReadonlyMap<string, PlanNode>>();
  #planRows = new Map<string, PlanRow>();
  #steps = new Map<number, Touched>();
  #leaves = new Map<number, Uint8Array>();
  /** Of new steps. */
  #parents = new Map<number, readonly number[]>();
  #delegations: { readonly run: string; readonly delegation: Delegation }[] = [];
  #approvals: { readonly run: string; readonly approval: Approval }[] = [];
  #dirty = false;
  /** What the turn has looked up: the steps of a batch mostly use the same ones. */
  readonly #seen = { parents: new Map<number, ParentStep>(), tried: new Map<string, NodeTries>() };

  constructor(sql: SqlStorage, id: BookIdentity, ports: BookPorts) {
    this.#id = id;
    this.#ports = ports;
    this.rows = new RunRows(sql);
    this.sums = new Sums(sql);
    this.tasks = new Tasks(sql);
    this.marks = new Marks(sql, ports);
    this.guests = new GuestSteps(sql);
    this.passes = new GuestPasses(sql);
  }

  // ── the turn ────────────────────────────────────────────────────────────────────────────────────────────────────

  begin(): void {
    this.#look();
    this.settleMarks();
    this.marks.begin();
  }

  /** Whether every entry that came has its marks; `false` while a turn is on its way to storage. */
  settleMarks(): boolean {
    if (!this.marks.unsettled) return true;
    this.#look();
    let settled = false;
    this.#ports.transaction(() => {
      settled = this.marks.settle();
    });
    return settled;
  }

  /** In the transaction of the turn's records. */
  write(): void {
    this.passes.write();
    if (!this.#dirty) return;
    for (const row of this.#planRows.values()) this.rows.putPlan(row);
    for (const { row } of this.#steps.values()) this.rows.putStep(row);
    for (const [child, parents] of this.#parents) for (const parent of parents) this.rows.addEdge(parent, child);
    for (const { run, delegation } of this.#delegations)
      this.rows.putDelegation(run, delegation, this.tag(delegation.delegate));
    for (const { run, approval } of this.#approvals) this.rows.putApproval(run, approval);
    this.guests.write();
    this.sums.write();
    this.tasks.write();
    this.marks.write();
  }

  /** The turn is in storage. */
  written(): void {
    this.#look();
    this.passes.clear();
    this.marks.written();
    if (this.#dirty) this.#forget();
  }

  /** The turn was rolled back. */
  clear(): void {
    this.#look();
    this.passes.clear();
    this.#forget();
    this.marks.clear();
  }

  /** Anew: what was looked up may have changed. */
  #look(): void {
    this.#seen.parents.clear();
    this.#seen.tried.clear();
  }

  #changed({ sseq, run, node }: StepRow): void {
    this.#dirty = true;
    this.#seen.parents.delete(sseq);
    if (node !== null) this.#seen.tried.delete(placeOf(run, node));
  }

  #forget(): void {
    this.#planRows = new Map();
    this.#steps = new Map();
    this.#leaves = new Map();
    this.#parents = new Map();
    this.#delegations = [];
    this.#approvals = [];
    this.sums.clear();
    this.tasks.clear();
    this.guests.clear();
    this.#dirty = false;
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The run's row, and those of the runs that it is part of, from it up. One without a row declared nothing. */
  line(run: string): readonly [PlanRow, ...PlanRow[]] {
    const own = this.plan(run) ?? nothingDeclared(run);
    const line: [PlanRow, ...PlanRow[]] = [own];
    for (let above = own.above; above !== null && line.length < MAX_DEPTH + 1; above = line.at(-1)!.above)
      line.push(this.plan(above.run) ?? nothingDeclared(above.run));
    return line;
  }

  run(id: string): RunRow | null {
    return this.#ports.run(id);
  }

  plan(run: string): PlanRow | null {
    return this.#planRows.get(run) ?? this.rows.plan(run);
  }

  /** Nodes of a plan by id; parsed once for each plan. */
  nodes({ plan }: PlanRow): ReadonlyMap<string, PlanNode> {
    if (plan === null) return NO_NODES;
    // By its text: an erasure takes names out of a plan and leaves its digest.
    let nodes = this.#plans.get(plan);
    if (nodes === undefined) {
      nodes = new Map((JSON.parse(plan) as Plan).nodes.map((node) => [node.id, node]));
      if (this.#plans.size >= PLANS) this.#plans.clear();
      this.#plans.set(plan, nodes);
    }
    return nodes;
  }

  tag(subject: string): string {
    return this.#id.tags.of(`subject:${subject}`);
  }

  /** `sseq` that a decision id names in this shard; `null`: it names a record elsewhere, or none. */
  sseqOf(id: string): number | null {
    const parts = parseDecisionId(id);
    const { region, log_epoch, shard } = this.#id;
    return parts !== null && parts.region === region && parts.log_epoch === log_epoch && parts.shard === shard
      ? parts.sseq
      : null;
  }

  step(sseq: number): StepRow | null {
    return this.#steps.get(sseq)?.row ?? this.rows.step(sseq);
  }

  /** The run's step of this id, or of the same one with `/0`; of a step in another region by the id of its pass. */
  stepNamed(run: string, id: string): StepRow | null {
    const sseq = this.sseqOf(id) ?? this.guests.ofPass(id)?.sseq ?? null;
    const row = sseq === null ? null : this.step(sseq);
    const plain = (name: string): string => (name.endsWith("/0") ? name.slice(0, -2) : name);
    return row !== null && row.run === run && plain(row.id) === plain(id) ? row : null;
  }

  /** The steps whose results a stored step uses. */
  parentsOf(sseq: number): readonly StepRow[] {
    return this.rows.parentsOf(sseq).flatMap((parent) => this.step(parent) ?? []);
  }

  leaf(sseq: number): Uint8Array {
    const leaf = this.#leaves.get(sseq) ?? this.rows.leafHash(sseq);
    if (leaf === null) throw new Error(`step ${sseq} has no record`);
    return leaf;
  }

  /** A step as what rests on it sees it. */
  parentStep(row: StepRow): ParentStep {
    let seen = this.#seen.parents.get(row.sseq);
    if (seen === undefined) this.#seen.parents.set(row.sseq, (seen = this.#parentStep(row)));
    return seen;
  }

  #parentStep(row: StepRow): ParentStep {
    const mark = this.marks.of(row.sseq);
    const guest = this.guests.at(row.sseq);
    return {
      decision: row.standing === DENIED ? "deny" : "allow",
      guest: guest === null ? null : { region: guest.region, receipt: guest.state === "allowed" },
      homes: row.homes,
      id: row.id,
      leaf: guest === null ? base64url(this.leaf(row.sseq)) : (guest.said?.leaf ?? null),
      node: row.node,
      outcome: row.outcome,
      revoked: mark === null ? null : { key: mark.key, step: this.step(mark.step)?.id ?? row.id },
    };
  }

  /** Of the steps at a node: how many stand how, and the newest good one. */
  tried(run: string, node: string): NodeTries {
    const place = placeOf(run, node);
    let seen = this.#seen.tried.get(place);
    if (seen === undefined) this.#seen.tried.set(place, (seen = this.#tried(run, node)));
    return seen;
  }

  #tried(run: string, node: string): NodeTries {
    const stored = this.rows.taken(run, node);
    const touched = [...this.#steps.values()].filter(({ row }) => row.run === run && row.node === node);
    const known = touched.filter(({ was }) => was !== null).length;
    let { good, failed, awaited } = stored;
    let denied = false;
    let newest = this.rows.stepsAt(run, node, GOOD, 1 + known).find(({ sseq }) => !this.#steps.has(sseq)) ?? null;
    for (const { row, was } of touched) {
      good += Number(row.standing === GOOD) - Number(was === GOOD);
      failed += Number(row.standing === FAILED) - Number(was === FAILED);
      awaited += Number(row.standing === AWAITED) - Number(was === AWAITED);
      denied ||= row.standing === DENIED;
      if (row.standing === GOOD && (newest === null || row.sseq > newest.sseq)) newest = row;
    }
    const wasDenied = denied || this.rows.wasDenied(run, node);
    return { taken: good + failed + awaited, awaited: awaited > 0, failed, denied: wasDenied, newest };
  }

  /** These steps and what they rest on. More than `limit`: an error, since a sum over some of them is no sum. */
  restOn(from: readonly number[], limit: number): readonly StepRow[] {
    const found = new Set<number>();
    const stored: number[] = [];
    const waiting = [...from];
    for (let sseq = waiting.pop(); sseq !== undefined; sseq = waiting.pop()) {
      if (found.has(sseq)) continue;
      found.add(sseq);
      const parents = this.#parents.get(sseq);
      if (parents === undefined) stored.push(sseq);
      else waiting.push(...parents);
    }
    if (stored.length > 0) for (const sseq of this.rows.restOn(stored, limit + 1)) found.add(sseq);
    if (found.size > limit) throw new Error(`a step rests on more than ${limit} others`);
    return [...found].flatMap((sseq) => this.step(sseq) ?? []);
  }

  delegation(run: string, id: string): Delegation | null {
    return (
      this.#delegations.find((made) => made.run === run && made.delegation.id === id)?.delegation ??
      this.rows.delegation(run, id)
    );
  }

  delegationsTo(run: string, delegate: string): readonly Delegation[] {
    const made = this.#delegations.filter((one) => one.run === run && one.delegation.delegate === delegate);
    return [...this.rows.delegationsTo(run, this.tag(delegate)), ...made.map(({ delegation }) => delegation)];
  }

  delegationCount(run: string): number {
    return this.rows.delegationCount(run) + this.#delegations.filter((one) => one.run === run).length;
  }

  approvals(run: string, scope: string, t_ms: number, limit: number): readonly Approval[] {
    const made = this.#approvals.flatMap((one) =>
      one.run === run && one.approval.scope === scope && one.approval.expires_ms > t_ms ? one.approval : [],
    );
    return [...this.rows.approvals(run, scope, t_ms, limit), ...made]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, limit);
  }

  approval(run: string, id: string): Approval | null {
    const made = this.#approvals.find((one) => one.run === run && one.approval.id === id);
    return made?.approval ?? this.rows.approval(run, id);
  }

  // ── changing ────────────────────────────────────────────────────────────────────────────────────────────────────

  putPlan(row: PlanRow): void {
    this.#dirty = true;
    this.#planRows.set(row.run, row);
  }

  /**
   * What a step's data brought, to its run and to those above: what a run within a run has seen is known there too, or
   * it would be a way to get rid of a label.
   */
  addLabels(run: string, brought: readonly string[]): void {
    for (const declared of this.line(run)) {
      const labels = [...new Set([...declared.labels, ...brought])].sort();
      if (labels.length > declared.labels.length) this.putPlan({ ...declared, labels });
    }
  }

  addDelegation(run: string, delegation: Delegation): void {
    this.#dirty = true;
    this.#delegations.push({ run, delegation });
  }

  putTask(row: TaskRow): void {
    this.#dirty = true;
    this.tasks.put(row);
  }

  addApproval(run: string, approval: Approval): void {
    this.#dirty = true;
    this.#approvals.push({ run, approval });
  }

  /**
   * `keys`: what an allowed step rests on, canonical or (of a pass) pseudonymous; empty for a denied one, on which
   * nothing can rest.
   */
  addStep(row: StepRow, leaf: Uint8Array, parents: readonly number[], keys: readonly string[]): void {
    this.#changed(row);
    this.#steps.set(row.sseq, { row, was: null });
    this.#leaves.set(row.sseq, leaf);
    this.#parents.set(row.sseq, parents);
    for (const [key, units] of row.sums) this.sums.add(key, row.t_ms, row.sseq, BigInt(units));
    if (keys.length === 0) return;
    const told = keys.filter((key) => !isCanonical(key));
    this.marks.addDependencies(row.sseq, told.length === 0 ? keys : keys.filter(isCanonical), told);
  }

  /** An allow that was withdrawn before it left: the step counts as denied, and what it was charged is free again. */
  withhold(sseq: number): void {
    const row = this.step(sseq);
    if (row === null || row.standing === DENIED) return;
    for (const [key, units] of row.sums) this.sums.takeBack(key, row.t_ms, row.sseq, BigInt(units));
    this.#touch({ ...row, standing: DENIED, sums: [] });
  }

  /** A pass was given: the step is taken in another region. */
  addGuest(row: StepRow, leaf: Uint8Array, parents: readonly number[], keys: readonly string[], region: string): void {
    this.addStep(row, leaf, parents, keys);
    this.guests.put({ sseq: row.sseq, run: row.run, pass: row.id, region, state: "awaited", said: null });
  }

  /** Its receipt has come. `sums`: what it counts for from now on; `told`: what it rests on in the other region. */
  settleGuest(
    guest: GuestStep,
    row: StepRow,
    sums: StepRow["sums"],
    at: SumPlace | null,
    told: readonly string[],
  ): void {
    this.guests.put(guest);
    if (at !== null) for (const [key, units] of sums) this.sums.add(key, at.t_ms, at.sseq, BigInt(units));
    this.#touch({ ...row, sums: [...row.sums, ...sums] });
    if (told.length > 0)
      this.marks.addDependencies(
        row.sseq,
        told.filter(isCanonical),
        told.filter((key) => !isCanonical(key)),
      );
  }

  report(row: StepRow, outcome: StepOutcome): void {
    this.#touch({ ...row, outcome, standing: outcome === "failed" ? FAILED : GOOD });
  }

  #touch(row: StepRow): void {
    this.#changed(row);
    const before = this.#steps.get(row.sseq);
    const was = before === undefined ? (this.rows.step(row.sseq)?.standing ?? null) : before.was;
    this.#steps.set(row.sseq, { row, was });
  }
}

/** Where in the sums it stands: they are in the order in which they were added. */
type SumPlace = { readonly t_ms: number; readonly sseq: number };

/** The others are pseudonyms that another region told. */
const isCanonical = (key: string): boolean => secretOf(key) === null;

const NO_NODES: ReadonlyMap<string, PlanNode> = new Map();

const nothingDeclared = (run: string): PlanRow => ({
  run,
  plan: null,
  digest: null,
  budgets: [],
  labels: [],
  above: null,
});

/** Neither a run's id nor a node's holds a space. */
const placeOf = (run: string, node: string): string => `${run} ${node}`;
