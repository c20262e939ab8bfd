import { base64url } from "../base/bytes.ts";
import { isObject, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { isCount } from "./fields.ts";
import { decodeRecord } from "./record.ts";
import { decodeStateRecord } from "./state-record.ts";

/** The sources of a whole log, leaf by leaf in log order: every record of every source, numbered from 1 without a gap. */

export type SourceProblem = {
  readonly code:
    /** No leaf that this version knows. */
    | "undecodable"
    /** Of another region or log epoch than the log. */
    | "foreign"
    /** A source's numbers do not follow one another. */
    | "gap"
    /** A state leaf does not name its predecessor. */
    | "prev_mismatch"
    /** A heartbeat or the seal says another number of records than the log has. */
    | "marks";
  readonly message: string;
};

type Head = { readonly sseq: number; readonly hash: string };

export class LogSources {
  readonly #region: string;
  readonly #log_epoch: number;
  readonly #heads = new Map<string, Head>();
  #sealed = false;

  constructor(region: string, log_epoch: number) {
    this.#region = region;
    this.#log_epoch = log_epoch;
  }

  /** The last number of every source so far. */
  get marks(): Readonly<Record<string, number>> {
    const sorted = [...this.#heads].sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(sorted.map(([source, { sseq }]) => [source, sseq]));
  }

  /** Whether the last leaf is the seal. */
  get sealed(): boolean {
    return this.#sealed;
  }

  /** Takes the next leaf of the log. After a problem the sources must not be asked further. */
  push(leaf: Uint8Array, hash: Uint8Array): Result<null, SourceProblem> {
    const record = decodeRecord(leaf);
    const state = record.ok ? null : decodeStateRecord(leaf);
    if (!record.ok && !state!.ok) return problem("undecodable", `${record.error}; as a state leaf: ${state!.error}`);
    const decoded = record.ok ? record.value : state!.ok ? state!.value : null;
    const { region, log_epoch, source, sseq } = decoded!;
    if (region !== this.#region || log_epoch !== this.#log_epoch)
      return problem("foreign", `is of region ${region}, log epoch ${log_epoch}`);
    const head = this.#heads.get(source);
    if (sseq !== (head?.sseq ?? 0) + 1)
      return problem("gap", `is number ${sseq} of ${source}, which has come to ${head?.sseq ?? 0}`);
    if (this.#sealed) return problem("marks", `${source} goes on after the seal`);
    if (state?.ok === true) {
      const { kind, body, prev } = state.value;
      if (prev !== (head?.hash ?? null))
        return problem("prev_mismatch", `number ${sseq} of ${source} does not name its predecessor`);
      if (kind === "log.heartbeat" || kind === "log.seal") {
        const wrong = this.#marksProblem(body);
        if (wrong !== null) return problem("marks", `the ${kind} leaf says ${wrong}`);
        this.#sealed = kind === "log.seal";
      }
    }
    this.#heads.set(source, { sseq, hash: base64url(hash) });
    return ok(null);
  }

  /** Marks are those of the log as it was before the leaf that tells them. */
  #marksProblem({ marks }: JsonObject): string | null {
    if (!isObject(marks)) return "no marks";
    const names = new Set([...Object.keys(marks), ...this.#heads.keys()]);
    for (const source of [...names].sort()) {
      const told = marks[source] ?? 0;
      const here = this.#heads.get(source)?.sseq ?? 0;
      if (!isCount(told) || told !== here) return `${JSON.stringify(told)} records of ${source}, here are ${here}`;
    }
    return null;
  }
}

const problem = (code: SourceProblem["code"], message: string): Result<never, SourceProblem> => err({ code, message });
