import { decodeStateRecord } from "../../src/lineage/state-record.ts";
import type { RunHeadView } from "../../src/objects/records.ts";
import type { Lifetime } from "./lifetime.ts";
import type { LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

/** The end of an epoch in order: the heads of its runs, and the last leaf (docs/operations/new-epoch.md). */
export class Sealing {
  readonly #store: LogStore;
  readonly #tree: LogTree;
  readonly #life: Lifetime;
  readonly #log_epoch: number;

  constructor(store: LogStore, tree: LogTree, life: Lifetime, log_epoch: number) {
    this.#store = store;
    this.#tree = tree;
    this.#life = life;
    this.#log_epoch = log_epoch;
  }

  begin(): void {
    if (this.#life.state === "open") this.#store.setMeta("sealing", "1");
  }

  headsUntil(source: string): string {
    return this.#store.meta(`heads_${source}`) ?? "";
  }

  /** How long each run was: nothing can be exported with a head of its own once this log takes nothing more. */
  appendHeads(source: string, after: string, heads: readonly RunHeadView[]): string {
    const until = this.headsUntil(source);
    const last = heads.at(-1);
    if (this.#life.state !== "sealing" || until !== after || last === undefined) return until;
    const leaves = heads.map(({ head, run, seq }) => ({ kind: "run.head" as const, body: { head, run, seq } }));
    this.#tree.append(leaves, () => this.#store.setMeta(`heads_${source}`, last.id));
    return last.id;
  }

  findHead({ head, run, seq }: Omit<RunHeadView, "id">): { ok: boolean; sseq: number; index: number } {
    for (const { sseq, leaf } of this.#store.ownWith(`"run":"${run}"`)) {
      const state = decodeStateRecord(leaf);
      if (!state.ok || state.value.kind !== "run.head") continue;
      const { body } = state.value;
      const index = this.#tree.indexOf("log", sseq);
      if (body["head"] === head && body["seq"] === seq && index !== null) return { ok: true, sseq, index };
    }
    return { ok: false, sseq: 0, index: 0 };
  }

  /** Appends the last leaf where every source is there up to `marks`; whether it did. */
  async finish(marks: Readonly<Record<string, number>>): Promise<boolean> {
    const have = this.#store.marks();
    if (this.#life.state !== "sealing") return false;
    if (Object.entries(marks).some(([source, mark]) => (have[source] ?? 0) < mark)) return false;
    const reason = `log epoch ${this.#log_epoch} is sealed`;
    this.#tree.append([{ kind: "log.seal", body: { marks: have } }], () => this.#store.setMeta("sealed", reason));
    await this.#store.sync();
    this.#life.tell();
    return true;
  }
}
