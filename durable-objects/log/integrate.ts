import { equalBytes } from "../../src/base/bytes.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../../src/objects/log.ts";
import type { Lifetime } from "./lifetime.ts";
import { HASH, MAX_HASHES, type LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

/**
 * Takes leaf hashes of a source, from its mark on. A number that the log has already must come with the hash that it
 * has: another one means that the source was put back or forked, and halts the log.
 */
export function integrate(
  message: IntegrateMessage,
  store: LogStore,
  tree: LogTree,
  life: Lifetime,
  anchoredMark: (source: string) => number | null,
): IntegrateAnswer {
  const { source, from_sseq, hashes, merge_by = null } = message;
  const count = hashes.length / HASH;
  if (
    !Number.isInteger(count) ||
    count > MAX_HASHES ||
    !Number.isSafeInteger(from_sseq) ||
    from_sseq < 1 ||
    (merge_by !== null && !Number.isSafeInteger(merge_by)) ||
    source === "log"
  ) {
    return { ok: false, code: "malformed" };
  }
  const mark = store.mark(source);
  if (from_sseq > mark + 1) return { ok: false, code: "gap", mark };
  const known = Math.min(mark + 1 - from_sseq, count);
  for (let at = 0; at < known; at++) {
    const integrated = tree.hashOf(source, from_sseq + at);
    if (integrated === null || !equalBytes(integrated, hashes.subarray(at * HASH, (at + 1) * HASH))) {
      life.halt(
        "source_diverged",
        `source ${source} has another record at sseq ${from_sseq + at} than the one integrated`,
      );
      return { ok: false, code: "diverged", sseq: from_sseq + at };
    }
  }
  const fresh = Array.from({ length: count - known }, (_, at) =>
    hashes.slice((known + at) * HASH, (known + at + 1) * HASH),
  );
  if (fresh.length > 0) {
    // Before them: by the log's own clock they were not in the tree when that was promised.
    if (merge_by !== null && Date.now() > merge_by)
      tree.append([
        { kind: "merge.late", body: { first: from_sseq + known, last: from_sseq + count - 1, merge_by, source } },
      ]);
    tree.grow(source, from_sseq + known, fresh, () => undefined);
  }
  return {
    ok: true,
    mark: Math.max(mark, from_sseq + count - 1),
    size: tree.size,
    anchored: anchoredMark(source),
  };
}
