import { digestOf, type Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import type { JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { loadPolicy, type LoadedPolicy, type PolicyPart } from "../policy/evaluate.ts";
import { irreversibleIn, widened, type Widening } from "../policy/gate/widened.ts";
import { Golden } from "../policy/golden-format.ts";
import { probesOf } from "../policy/probe-set.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { PolicyEnv } from "../policy/interlock-context.ts";
import { Backtest, decidePast, type Change, type ChangedGroup } from "./backtest.ts";
import { allowsAs, goldenEnv, goldenRequest, runCase, runSearch } from "./golden.ts";
import type { Past, Skipped } from "./past.ts";

/** Golden decisions by pack, as a bundle has them. */
export type Tests = { readonly [pack: string]: JsonObject };

/** Like `ChangedGroup`, with the ids of decisions only: who asked for what is for those who may read records. */
export type GateGroup = Omit<ChangedGroup, "examples"> & { readonly examples: readonly string[] };

/** What the region says of a policy that is offered to it, beside the one that it would follow (docs/policy.md). */
export type GateReport = {
  readonly v: 1;
  readonly region: string;
  /** Digest of the policy that it is compared with; `null`: nothing is in force. */
  readonly before: string | null;
  readonly after: string;
  /** Golden decisions that hold. */
  readonly golden: number;
  /** Questions made from both policies' content, and the golden ones. */
  readonly questions: {
    readonly asked: number;
    readonly newly_allowed: number;
    readonly newly_denied: number;
  };
  /** The region's newest recorded decisions, decided again. */
  readonly backtest: {
    readonly decided: number;
    readonly same: number;
    readonly counts: Readonly<Record<Change, number>>;
    /** Those with most decisions. */
    readonly groups: readonly GateGroup[];
    readonly assumed: number;
    readonly skipped: Readonly<Partial<Record<Skipped, number>>>;
    /** Shards that did not give their records. */
    readonly silent_shards: readonly number[];
  };
  readonly newly_allowed: readonly Widening[];
  /** Keys of the policy role that have to have signed it, whatever less the root asks for. */
  readonly signatures: 1 | 2;
  /** Over region, the policies and the actions that are newly allowed: what an administrator acknowledges. */
  readonly digest: string;
};

/** Questions between two yields. */
const SLICE = 8;
const MAX_GROUPS = 10;
const MAX_REASONS = 12;

/** Whether the golden decisions of the packs hold, each pack by itself, as its authors wrote them; how many there are. */
export function* goldenHolds(policy: LoadedPolicy, tests: Tests): Generator<void, Result<number, string>> {
  let held = 0;
  for (const { name } of policy.parts) {
    const golden = Golden.safeParse(Object.hasOwn(tests, name) ? tests[name] : null);
    if (!golden.success) return err(`${name}: no golden decisions, or not such`);
    const alone = aloneOf(policy, name);
    const { cases, searches = [] } = golden.data;
    const results = [
      ...cases.map((one) => () => runCase(alone, name, one)),
      ...searches.map((one) => () => runSearch(alone, name, one)),
    ];
    for (const [at, run] of results.entries()) {
      if (at % SLICE === SLICE - 1) yield;
      const { name: named, differences } = run();
      if (differences.length > 0) return err(`${name}: ${named}: ${differences.join("; ")}`.slice(0, 500));
      held++;
    }
  }
  return ok(held);
}

/** As `loadPolicy` would give it for the one pack. */
function aloneOf(policy: LoadedPolicy, name: string): LoadedPolicy {
  const { source } = policy.parts.find((part) => part.name === name)!;
  return loadPolicy({ v: 1, packs: source === null ? [] : [source] }, [name]);
}

type Question = { readonly pack: string; readonly request: CanonicalRequest; readonly env: PolicyEnv };

function questionsOf({ name, source }: PolicyPart, tests: Tests): readonly Question[] {
  if (source === null) return [];
  const golden = Golden.safeParse(Object.hasOwn(tests, name) ? tests[name] : null);
  const cases = golden.success ? golden.data.cases : [];
  return [
    ...probesOf(source).map(({ request, env }) => ({ pack: name, request, env })),
    ...cases.map((one) => ({ pack: name, request: goldenRequest(one), env: goldenEnv(name, one) })),
  ];
}

/** What is in force for a time because of the offer (`after`), where `before` would be without it; `null`: nothing. */
export type Meanwhile = {
  readonly how: "sooner" | "longer";
  readonly before: LoadedPolicy | null;
  readonly after: LoadedPolicy;
};

export type Compared = { readonly policy: LoadedPolicy; readonly tests: Tests };

/** One look at an offer: what is newly allowed by structure, by questions, and by what the region has decided. */
export class Gate {
  readonly #region: string;
  readonly #before: Compared | null;
  readonly #after: Compared;
  readonly #meanwhile: readonly Meanwhile[];
  readonly #sha: Sha256;
  readonly #backtest: Backtest;
  readonly #asked = { asked: 0, newly_allowed: 0, newly_denied: 0 };
  /** Pack and action of what a question found newly allowed. */
  readonly #found: (readonly [pack: string, action: string])[] = [];
  readonly #silent: number[] = [];

  constructor(
    region: string,
    before: Compared | null,
    after: Compared,
    sha: Sha256,
    meanwhile: readonly Meanwhile[] = [],
  ) {
    this.#meanwhile = meanwhile;
    this.#region = region;
    this.#before = before === null || before.policy.problem !== null ? null : before;
    this.#after = after;
    this.#sha = sha;
    this.#backtest = new Backtest(after.policy, sha);
  }

  /** Puts the questions of both to both. Yields often, like everything here that may be long. */
  *ask(): Generator<void, void> {
    const before = this.#before;
    if (before === null) return;
    const questions: Question[] = [];
    for (const { policy, tests } of [before, this.#after])
      for (const part of policy.parts) {
        questions.push(...questionsOf(part, tests));
        yield;
      }
    for (const [at, { pack, request, env }] of questions.entries()) {
      if (at % SLICE === SLICE - 1) yield;
      const [was, is] = [before, this.#after].map(({ policy }) => allowsAs(policy, request, env));
      this.#asked.asked++;
      if (!was && is) this.#asked.newly_allowed++;
      if (was && !is) this.#asked.newly_denied++;
      if (!was && is) this.#found.push([pack, request.action.name]);
    }
  }

  /** A recorded decision. One that an older policy made counts as the present one would decide it. */
  record(past: Past | Skipped): void {
    const before = this.#before;
    if (typeof past === "string" || before === null || past.core.policy === before.policy.digest)
      return this.#backtest.add(past);
    const { core, determining } = decidePast(past, before.policy, this.#sha).outcome;
    this.#backtest.add({ ...past, core: { ...core, policy: past.core.policy }, determining });
  }

  silent(shard: number): void {
    this.#silent.push(shard);
  }

  report(golden: number): GateReport {
    const [before, after] = [this.#before?.policy ?? null, this.#after.policy];
    const { decided, same, counts, groups, assumed, skipped, newly_allowed_actions } = this.#backtest.report();
    const listing = (action: string): readonly string[] =>
      after.application.filter(({ demands }) => demands.actions.has(action)).map(({ name }) => name);
    const seen = [
      ...this.#found.map(([pack, action]) => ({ pack, action, why: "a question that was denied is allowed" })),
      ...newly_allowed_actions.flatMap((action) =>
        listing(action).map((pack) => ({ pack, action, why: "a recorded denial would be an allow" })),
      ),
    ];
    const structural = widened(before, after);
    const meanwhile = this.#meanwhile.flatMap(({ how, before: was, after: is }) =>
      widened(was, is).map((one) => ({ ...one, why: one.why.map((why) => `${how} than it was to be: ${why}`) })),
    );
    const all = meanwhile.reduce<readonly Widening[]>(
      (known, { pack, action, why, irreversible }) => [
        ...known.filter((one) => one.pack !== pack || one.action !== action),
        both(known.find((one) => one.pack === pack && one.action === action) ?? null, {
          pack,
          action,
          why,
          irreversible,
        }),
      ],
      structural,
    );
    const newly_allowed = merged(all, seen, irreversibleIn(before, after));
    const actions = newly_allowed.map(({ pack, action, irreversible }) => [pack, action, irreversible]);
    const named = { region: this.#region, before: before?.digest ?? null, after: after.digest };
    const other = this.#meanwhile.map((one) => [one.how, one.before?.digest ?? null, one.after.digest]);
    return {
      v: 1,
      ...named,
      golden,
      questions: { ...this.#asked },
      backtest: {
        decided,
        same,
        counts,
        groups: groups
          .slice(0, MAX_GROUPS)
          .map(({ examples, ...group }) => ({ ...group, examples: examples.map(({ decision_id }) => decision_id) })),
        assumed,
        skipped,
        silent_shards: [...this.#silent].sort((a, b) => a - b),
      },
      newly_allowed,
      signatures: newly_allowed.some(({ irreversible }) => irreversible) ? 2 : 1,
      digest: digestOf(
        jcs({ ...named, newly_allowed: actions, ...(other.length === 0 ? {} : { meanwhile: other }) }),
        this.#sha,
      ),
    };
  }
}

const both = (one: Widening | null, other: Widening): Widening => ({
  ...other,
  irreversible: other.irreversible || one?.irreversible === true,
  why: [...(one?.why ?? []), ...other.why],
});

function merged(
  structural: readonly Widening[],
  seen: readonly { readonly pack: string; readonly action: string; readonly why: string }[],
  irreversible: (pack: string, action: string) => boolean,
): readonly Widening[] {
  const all = new Map(structural.map((one) => [JSON.stringify([one.pack, one.action]), one]));
  for (const { pack, action, why } of seen) {
    const key = JSON.stringify([pack, action]);
    const known = all.get(key) ?? { pack, action, irreversible: irreversible(pack, action), why: [] };
    if (!known.why.includes(why)) all.set(key, { ...known, why: [...known.why, why] });
  }
  return [...all.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { why, ...one }]) => ({
      ...one,
      why: why.length <= MAX_REASONS ? why : [...why.slice(0, MAX_REASONS), `and ${why.length - MAX_REASONS} more`],
    }));
}

/** For people, in one line: the first of what may newly be done and cannot be undone. */
export function irreversibleNamed({ newly_allowed }: Pick<GateReport, "newly_allowed">): string {
  const marked = newly_allowed.filter(({ irreversible }) => irreversible);
  const named = marked.slice(0, 3).map(({ pack, action, why }) => `${pack}/${action} (${why[0]})`);
  return named.join(", ") + (marked.length > 3 ? ` and ${marked.length - 3} more` : "");
}
