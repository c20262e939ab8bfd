import { base64url, fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { err, ok, type Result } from "../../src/base/result.ts";
import type { ParsedCheckpoint } from "../../src/lineage/checkpoint.ts";
import { checkConsistent, recomputeLog } from "../../src/lineage/log-check.ts";
import { formatVerifierKey } from "../../src/lineage/note-key.ts";
import { TileTree, type ReadTile } from "../../src/lineage/tile-reader.ts";
import { parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { TreeState } from "../../src/lineage/tree-state.ts";
import { trustCheckpoint } from "../../src/lineage/trusted-checkpoint.ts";
import { ed25519 } from "../evidence/ed25519.ts";

/** What a monitor knows of a log, kept between runs. */
export type MonitorState = {
  readonly v: 1;
  /** Verifier key of the log; one that was believed at first sight stays the one. */
  readonly log: string;
  /** The largest checkpoint that was verified, as it was served. */
  readonly note: string;
  /** `TreeState` at that size, base64url: what was recomputed is not read again. */
  readonly tree: string;
};

/**
 * Two statements under one key that no log can both make. With equal sizes the notes alone prove it; else `begins` is
 * the root that the larger tree has at the smaller size, and `path` the RFC 6962 consistency proof that it has.
 */
export type SplitView = {
  readonly v: 1;
  readonly kind: "interlock-split-view";
  readonly log: string;
  readonly found_at: string;
  readonly notes: readonly [string, string];
  readonly begins: string | null;
  readonly path: readonly string[];
};

export type Look =
  | { readonly kind: "sound"; readonly size: number; readonly grown_by: number; readonly cosigners: readonly string[] }
  /** Nothing is known: the log, or a tile, was not served. */
  | { readonly kind: "unreachable"; readonly message: string }
  /** Bad signature, no quorum, tiles of another tree: the log is not to be relied on, and nothing is proved. */
  | { readonly kind: "unsound"; readonly message: string }
  | { readonly kind: "split_view"; readonly message: string; readonly proof: SplitView };

export type Source = {
  /** `null` where there is none. Throws where nothing answers. */
  readonly text: (name: "checkpoint" | "policy") => Promise<string | null>;
  readonly tile: ReadTile;
};

/** Follows one log: every checkpoint it sees is held against the last, and against the tiles. */
export class Monitor {
  readonly #source: Source;
  /** `null`: the log's own word for its key is taken at first sight, and no cosignature is asked for. */
  readonly #policy: TlogPolicy | null;
  #state: MonitorState | null;

  constructor(source: Source, policy: TlogPolicy | null, state: MonitorState | null) {
    this.#source = source;
    this.#policy = policy;
    this.#state = state;
  }

  get state(): MonitorState | null {
    return this.#state;
  }

  async look(now: Date): Promise<Look> {
    try {
      return await this.#look(now);
    } catch (cause) {
      return { kind: "unreachable", message: cause instanceof Error ? cause.message : String(cause) };
    }
  }

  async #look(now: Date): Promise<Look> {
    const policy = await this.#trusted();
    if (!policy.ok) return policy.error;
    const note = await this.#source.text("checkpoint");
    if (note === null) return { kind: "unreachable", message: "the log has signed no checkpoint yet" };
    const trusted = await trustCheckpoint(note, policy.value, ed25519);
    if (!trusted.ok) return unsound(`the checkpoint is not to be trusted: ${trusted.error.message}`);
    const { checkpoint, log, cosigners } = trusted.value;
    const key = formatVerifierKey(log);
    const before = await this.#before(policy.value);
    if (!before.ok) return before.error;
    let tree = new TreeState(sha256);
    if (before.value !== null) {
      const consistent = await checkConsistent(before.value, checkpoint, this.#source.tile, sha256);
      if (!consistent.ok) {
        const { code, message } = consistent.error;
        if (code === "missing_tile") return { kind: "unreachable", message };
        if (code !== "split_view") return unsound(message);
        return { kind: "split_view", message, proof: await this.#proof(before.value, checkpoint, note, key, now) };
      }
      tree = TreeState.decode(fromBase64url(this.#state!.tree)!, sha256)!;
    }
    const seen = cosigners.map(({ witness }) => witness);
    // An older checkpoint of the same history: a copy that lags, which is no news.
    if (checkpoint.size < tree.size) return { kind: "sound", size: checkpoint.size, grown_by: 0, cosigners: seen };
    const grown_by = checkpoint.size - tree.size;
    const recomputed = await recomputeLog(checkpoint, this.#source.tile, sha256, { from: tree });
    if (!recomputed.ok) {
      const { code, message } = recomputed.error;
      return code === "missing_tile" ? { kind: "unreachable", message } : unsound(message);
    }
    this.#state = { v: 1, log: key, note, tree: base64url(recomputed.value.encode()) };
    return { kind: "sound", size: checkpoint.size, grown_by, cosigners: seen };
  }

  /** The policy to hold checkpoints against: what was given, or the log's key alone. */
  async #trusted(): Promise<Result<TlogPolicy, Look>> {
    if (this.#policy !== null) return ok(this.#policy);
    let log = this.#state?.log;
    if (log === undefined) {
      const served = parsePolicy((await this.#source.text("policy")) ?? "", sha256);
      const first = served.ok ? served.value.logs[0] : undefined;
      if (first === undefined) return err(unsound("the log does not say its key: give a policy with --policy"));
      log = formatVerifierKey(first.key);
    }
    const policy = parsePolicy(`log ${log}\nquorum none\n`, sha256);
    return policy.ok ? ok(policy.value) : err(unsound(policy.error.message));
  }

  /** The checkpoint of the state, verified again: the file may have been changed, or the policy. */
  async #before(policy: TlogPolicy): Promise<Result<ParsedCheckpoint | null, Look>> {
    if (this.#state === null) return ok(null);
    const trusted = await trustCheckpoint(this.#state.note, policy, ed25519);
    const tree = TreeState.decode(fromBase64url(this.#state.tree) ?? new Uint8Array(0), sha256);
    if (!trusted.ok || tree === null) return err(unsound("the state file does not hold what this policy trusts"));
    const { checkpoint } = trusted.value;
    return tree.size === checkpoint.size && base64url(tree.root()) === base64url(checkpoint.root)
      ? ok(checkpoint)
      : err(unsound("the state file holds another tree than its checkpoint"));
  }

  async #proof(
    one: ParsedCheckpoint,
    other: ParsedCheckpoint,
    note: string,
    log: string,
    now: Date,
  ): Promise<SplitView> {
    const [older, newer] = one.size <= other.size ? [one, other] : [other, one];
    const tree = new TileTree(newer.size, this.#source.tile, sha256);
    const same = older.size === newer.size;
    const path = same ? ok([]) : await tree.consistency(older.size);
    const begins = same ? null : await tree.root(older.size);
    return {
      v: 1,
      kind: "interlock-split-view",
      log,
      found_at: now.toISOString(),
      notes: [this.#state!.note, note],
      begins: begins?.ok === true ? base64url(begins.value) : null,
      path: path.ok ? path.value.map(base64url) : [],
    };
  }
}

const unsound = (message: string): Look => ({ kind: "unsound", message });
