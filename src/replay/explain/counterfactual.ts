import { decide, type DecideInput } from "../../decision/decide.ts";
import type { Outcome } from "../../vocabulary/types.ts";
import { applied, withFact, type Change, type Facts } from "./fact.ts";
import type { Memo } from "./flips.ts";
import { remediesOf } from "./remedies.ts";
import type { NoneReason } from "./remedy.ts";

/** The smallest change of facts that turns a denial into an allow, or why there is none. */
export type Counterfactual =
  | {
      /** By path. With all of them the same question is allowed: it was decided again. */
      readonly changes: readonly Change[];
      /** How many there are. */
      readonly facts: number;
      /** Every smaller set of changes that could have turned it was looked at. */
      readonly minimal: boolean;
      /** Decisions that it took. */
      readonly decisions: number;
      /** Answers of single conditions that it took. */
      readonly probes: number;
    }
  | { readonly none: NoneReason; readonly decisions: number; readonly probes: number };

/** What one search may cost; counts, so that the same question gives the same answer everywhere. */
export type Allowance = {
  /** Whole decisions. */
  readonly decisions: number;
  /** Answers of single conditions, of which a decision has several. */
  readonly probes: number;
  /** Facts that may change. */
  readonly facts: number;
};

const ALLOWANCE: Allowance = { decisions: 300, probes: 3_000, facts: 4 };

/** Sets of facts that are noted to be tried: each is a copy, and of many facts there are that many times as many. */
const MAX_NOTED = 3_000;

/** What one answer costs grows with what is looked at: of a question so long only that much less is tried. */
const CHARS_PER_WEIGHT = 2_048;
/** A longer one is not searched at all. */
const MAX_WEIGHT = 16;

type Asked = Pick<DecideInput, "request" | "run">;
const charsOf = ({ request, run }: Asked): number => JSON.stringify(request).length + JSON.stringify(run).length;

/** How much longer than usual the request and its run are; whoever asks may ask with a megabyte. */
const weightOf = (asked: Asked): number => 1 + Math.floor(charsOf(asked) / CHARS_PER_WEIGHT);

/** What one answer takes, in those of a short question: 10 µs, and 20 µs for each 1,024 characters more. */
export const costOf = (asked: Asked): number => 1 + Math.floor(charsOf(asked) / 512);

type Node = {
  readonly facts: Facts;
  readonly distance: number;
  readonly key: string;
  /** How often a fact that was changed was changed again. */
  readonly again: number;
};

/** A number is walked past so many limits; two that depend on one another could be walked for ever. */
const MAX_AGAIN = 4;

/**
 * Looks for the fewest facts that have to be otherwise, and among those sets for the one whose numbers move least.
 *
 * Breadth first by the number of changed facts. What may change at a point is what its first failed check could be
 * mended by: any set that turns the denial contains one of these, so none is passed over. Every point is decided by
 * `decide` itself; candidates come from the policies' conditions, the schema, the caller's own words and the run
 * (`remedies`), never from the directory. Pure, and ends after `allowance`.
 */
export function counterfactual(input: DecideInput, allowance: Allowance = ALLOWANCE): Counterfactual {
  const found = search(input, allowance);
  if ("none" in found) return found;
  const changes = [...found.facts.values()].map(({ path, from, to }): Change => ({ path, from, to }));
  return { ...found, changes: changes.sort((a, b) => (a.path < b.path ? -1 : 1)), facts: changes.length };
}

type Found = { readonly facts: Facts; readonly minimal: boolean; readonly decisions: number; readonly probes: number };

/** As `counterfactual`, with the facts themselves, which can be put into the question. */
export function search(
  input: DecideInput,
  allowance: Allowance = ALLOWANCE,
): Found | Extract<Counterfactual, { none: NoneReason }> {
  let decisions = 0;
  let probes = 0;
  const weight = weightOf(input);
  if (weight > MAX_WEIGHT) return { none: "cut_off", decisions, probes };
  const most = { decisions: allowance.decisions / weight, probes: allowance.probes / weight };
  const spend = (): boolean => {
    if (probes >= most.probes) return false;
    probes++;
    return true;
  };
  const spent = (): boolean => decisions >= most.decisions || probes >= most.probes;
  const ask = (facts: Facts): Outcome => {
    decisions++;
    return decide(applied(input, facts));
  };

  let level: Node[] = [{ facts: new Map(), distance: 0, key: "", again: 0 }];
  const seen = new Set<string>([""]);
  const memo: Memo = new Map();
  const sight = { hidden: false, dropped: false };
  let first: NoneReason | null = null;
  let cut = false;
  while (level.length > 0 && !cut) {
    const next: Node[] = [];
    let best: Node | null = null;
    // Changing a fact once more keeps the number of changes: such nodes are put at the end of their own level.
    for (let at = 0; at < level.length; at++) {
      if (spent()) {
        cut = true;
        break;
      }
      const node = level[at]!;
      const outcome = ask(node.facts);
      if (outcome.core.decision === "allow") {
        if (node.facts.size === 0) return { none: "moved_on", decisions, probes };
        if (best === null || before(node, best)) best = node;
        continue;
      }
      const remedies = remediesOf({ base: input, facts: node.facts, outcome, spend, seen: sight, memo });
      if (typeof remedies === "string") {
        first ??= remedies;
        continue;
      }
      for (const fact of remedies) {
        if (JSON.stringify(fact.from) === JSON.stringify(fact.to)) continue;
        const facts = withFact(node.facts, fact);
        const key = keyOf(facts);
        const again = facts.size === node.facts.size ? node.again + 1 : node.again;
        if (facts.size > allowance.facts || seen.has(key)) continue;
        if (again > MAX_AGAIN) {
          sight.dropped = true;
          continue;
        }
        if (seen.size >= MAX_NOTED / weight) {
          sight.dropped = true;
          break;
        }
        seen.add(key);
        const distance = [...facts.values()].reduce((sum, one) => sum + one.distance, 0);
        (facts.size === node.facts.size ? level : next).push({ facts, distance, key, again });
      }
    }
    if (best !== null) return { facts: best.facts, minimal: !cut && !sight.dropped, decisions, probes };
    level = next.sort((a, b) => (before(a, b) ? -1 : 1));
  }
  if (cut || (sight.dropped && (first === null || first === "not_found")))
    return { none: "cut_off", decisions, probes };
  return {
    none: first === null || first === "not_found" ? (sight.hidden ? "hidden" : "not_found") : first,
    decisions,
    probes,
  };
}

/** Less movement of numbers first; then by text, so that there is always one answer. */
const before = (a: Node, b: Node): boolean => (a.distance === b.distance ? a.key < b.key : a.distance < b.distance);

const keyOf = (facts: Facts): string =>
  [...facts.values()]
    .map(({ path, to }) => `${path}=${JSON.stringify(to)}`)
    .sort()
    .join("\n");
