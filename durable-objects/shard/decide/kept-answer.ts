import type { ItemAnswer } from "../../../src/objects/decide.ts";
import type { Turn } from "../turn.ts";
import type { SourceWriter } from "../writer.ts";
import { denied, itemAnswer } from "./answers.ts";
import type { Decided } from "./decide-item.ts";

/**
 * What is kept with an idempotency key. What a plain question rests on follows from it, and it comes again with the key;
 * of a step of an opened run it is kept.
 */
export type Kept = {
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

/** `pep_exp_ms`: end of the PEP's own credential, which comes again with the key. */
export function keptOf(turn: Turn, decided: readonly Decided[], pep_exp_ms: number): Kept {
  const degraded = decided.flatMap(({ outcome }, at) => (outcome.degraded ? at : []));
  const steps = decided.flatMap(({ outcome, run, appended, above }, at) =>
    run?.kind === "opened" && appended !== null && outcome.core.decision === "allow"
      ? [[at, { sseq: appended.sseq, keys: [...outcome.dependencies, ...above] }] as const]
      : [],
  );
  const ends = decided.map(({ outcome }) => outcome.expires_ms);
  const permit = decided[0]?.permit ?? null;
  return {
    items: decided.map((item) => itemAnswer(turn, item, true, item.outcome.valid_until_ms)),
    records: decided.length,
    t_ms: turn.t_ms,
    policy: turn.policy.digest,
    ...(degraded.length === 0 ? {} : { degraded }),
    ...(steps.length === 0 ? {} : { steps: Object.fromEntries(steps) }),
    ...(ends.every((end) => end === pep_exp_ms) ? {} : { ends }),
    ...(permit === null ? {} : { permit: permit.id }),
  };
}

/** These allows were withdrawn before they left: a repetition must not give them either. */
export function withholdAnswer(writer: SourceWriter, key: string, indexes: ReadonlySet<number>): void {
  const stored = writer.storedAnswer(key);
  if (stored === null) return;
  const kept = JSON.parse(stored.answer) as Kept;
  const items = kept.items.map((item, at) => (indexes.has(at) ? denied("withheld") : item));
  writer.putAnswer(key, { ...stored, answer: JSON.stringify({ ...kept, items }) });
}
