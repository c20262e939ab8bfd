import { jcs } from "../../base/jcs.ts";
import type { ValidPack } from "../bundle.ts";
import type { LoadedPolicy } from "../load.ts";
import { runRequirement } from "../evaluate.ts";
import { changesFor, directoryChanges, isAppPack, permittedAs, typeChanges, type AppPack } from "./pack-changes.ts";
import { absentIn } from "./reach.ts";

/** An action of a pack of which a policy may allow more than the one before it did. */
export type Widening = {
  readonly pack: string;
  /** AuthZEN name. */
  readonly action: string;
  /** Marked so, before or after, by this pack or by one that is asked about the same steps. */
  readonly irreversible: boolean;
  /** Why it may be; sorted, not empty. */
  readonly why: readonly string[];
};

/**
 * What `after` may newly allow (docs/policy.md): decided from the two policies alone, and rather too much than too
 * little. Of what is not here nothing is newly allowed. `before` is `null` where nothing is in force: then everything
 * that `after` permits is new.
 */
export function widened(before: LoadedPolicy | null, after: LoadedPolicy): readonly Widening[] {
  const was = before === null || before.problem !== null ? null : sourcesOf(before);
  const is = sourcesOf(after);
  if (was !== null && before!.digest === after.digest) return [];
  const found = new Map<string, { readonly pack: string; readonly action: string; readonly why: Set<string> }>();
  const add = (pack: string, action: string, reasons: readonly string[]): void => {
    if (reasons.length === 0) return;
    const key = keyOf(pack, action);
    const known = found.get(key) ?? { pack, action, why: new Set<string>() };
    for (const reason of reasons) known.why.add(reason);
    found.set(key, known);
  };
  const everywhere = was === null ? ["nothing is in force before it"] : changesOfAll(was, before!, is, after);
  const uncovered = was === null ? new Map<string, string>() : uncoveredBy(was, is);
  const permitted = is
    .filter(isAppPack)
    .flatMap((pack) =>
      Object.keys(pack.manifest.actions).flatMap((action) =>
        permittedAs(pack, action) === null ? [] : { pack, action },
      ),
    );
  for (const { pack, action } of permitted) {
    const same = was?.filter(isAppPack).find(({ name }) => name === pack.name) ?? null;
    const needed_run = was !== null && runRequirement(before!, action) === "required";
    add(pack.name, action, [
      ...(was === null ? [] : changesFor(same, pack, action)),
      ...everywhere,
      ...stepsOf(pack, action).flatMap((step) => {
        const by = uncovered.get(step);
        return by === undefined || by === pack.name ? [] : [`pack ${by} has no say in it any more`];
      }),
      ...(needed_run && runRequirement(after, action) !== "required" ? ["it needs no run any more"] : []),
    ]);
  }
  spread(found, add, permitted, after);
  for (const pack of (was ?? []).filter(isAppPack))
    for (const action of marksOf(pack))
      // Else a bundle that drops the mark would let the next one through.
      if (!is.some((one) => isAppPack(one) && one.name === pack.name && marksOf(one).includes(action)))
        add(pack.name, action, ["it is not marked irreversible any more"]);
  const marked = irreversibleIn(before, after);
  return [...found.values()]
    .map(({ pack, action, why }) => ({
      pack,
      action,
      irreversible: marked(pack, action),
      why: [...why].sort(),
    }))
    .sort((a, b) => (a.pack === b.pack ? (a.action < b.action ? -1 : 1) : a.pack < b.pack ? -1 : 1));
}

const keyOf = (pack: string, action: string): string => JSON.stringify([pack, action]);

const sourcesOf = ({ parts }: LoadedPolicy): readonly ValidPack[] => parts.flatMap(({ source }) => source ?? []);

const marksOf = ({ manifest }: AppPack): readonly string[] =>
  Object.entries(manifest.actions).flatMap(([action, { irreversible }]) => (irreversible === true ? [action] : []));

/** Whether some pack, as it was or is, marks the action, and is asked about steps that the pack `name` is asked about. */
export function irreversibleIn(
  before: LoadedPolicy | null,
  after: LoadedPolicy,
): (name: string, action: string) => boolean {
  const packs = [...(before === null ? [] : sourcesOf(before)), ...sourcesOf(after)]
    .filter(isAppPack)
    .map((pack) => ({ pack, marks: new Set(marksOf(pack)) }));
  return (name, action) => {
    const own = new Set(packs.flatMap(({ pack }) => (pack.name === name ? stepsOf(pack, action) : [])));
    return packs.some(
      ({ pack, marks }) =>
        marks.has(action) && (pack.name === name || stepsOf(pack, action).some((one) => own.has(one))),
    );
  };
}

/** Subject type, action and resource type of every step that the pack is asked about. */
function stepsOf({ manifest: { subjects, resources, actions } }: AppPack, action: string): readonly string[] {
  if (!Object.hasOwn(actions, action)) return [];
  return Object.keys(subjects).flatMap((subject) =>
    Object.keys(resources).map((resource) => JSON.stringify([subject, action, resource])),
  );
}

/** Steps about which a pack was asked that is not asked any more, with its name. */
function uncoveredBy(was: readonly ValidPack[], is: readonly ValidPack[]): Map<string, string> {
  const gone = new Map<string, string>();
  for (const old of was.filter(isAppPack)) {
    const now = is.filter(isAppPack).find(({ name }) => name === old.name);
    for (const action of Object.keys(old.manifest.actions)) {
      const kept = new Set(now === undefined ? [] : stepsOf(now, action));
      for (const step of stepsOf(old, action)) if (!kept.has(step)) gone.set(step, old.name);
    }
  }
  return gone;
}

/** What bears on every step: the sovereign layer, and where labelled data may go. */
function changesOfAll(
  was: readonly ValidPack[],
  before: LoadedPolicy,
  is: readonly ValidPack[],
  after: LoadedPolicy,
): readonly string[] {
  const sovereign = was
    .filter((pack) => !isAppPack(pack))
    .flatMap((old): readonly string[] => {
      const now = is.find(({ name }) => name === old.name);
      if (now === undefined || isAppPack(now)) return [`the sovereign pack ${old.name} is gone`];
      if (now.digest === old.digest) return [];
      const rules = ({ schema, manifest }: ValidPack): string => jcs([schema.json, manifest.max_unanchored_ms ?? null]);
      return [
        ...[...absentIn(old, now)].map(({ id }) => `sovereign forbid ${old.name}/${id} is gone or changed`),
        ...[...absentIn(now, old)]
          .filter(({ json }) => json.effect === "permit")
          .map(({ id }) => `sovereign permit ${old.name}/${id} is new`),
        ...(rules(old) === rules(now) ? [] : [`the rules of the sovereign pack ${old.name} are changed`]),
        ...directoryChanges(old, now).map((why) => `sovereign pack ${old.name}: ${why}`),
      ];
    });
  const labels = [...new Set([...before.flows.keys(), ...after.flows.keys()])].filter((label) => {
    const now = (after.flows.get(label) ?? []).map((flow) => jcs(flow));
    const old = before.flows.get(label)?.map((flow) => jcs(flow));
    // What another pack says beside what was said holds too, so it only narrows.
    return old === undefined || !old.every((flow) => now.includes(flow));
  });
  const gained = was.filter(isAppPack).flatMap((old) => {
    const now = is.filter(isAppPack).find(({ name }) => name === old.name) ?? null;
    if (now?.digest === old.digest) return [];
    return [...labelsGone(old, now, is.filter(isAppPack)), ...(now === null ? [] : labelChanges(old, now))];
  });
  return [...sovereign, ...labels.sort().map((label) => `where data labelled ${label} may go is changed`), ...gained];
}

/** Steps that this pack is asked about no more, and another one lets through, bring no more what this one knew of them. */
function labelsGone(old: AppPack, now: AppPack | null, is: readonly AppPack[]): readonly string[] {
  const resources = Object.fromEntries(labelledIn(old));
  const labelled = { ...old, manifest: { ...old.manifest, resources } };
  const goes_on = Object.keys(old.manifest.actions).some((action) => {
    const steps = (pack: AppPack | null): ReadonlySet<string> => new Set(pack === null ? [] : stepsOf(pack, action));
    const [kept, others] = [steps(now), is.map(steps)];
    return stepsOf(labelled, action).some((step) => !kept.has(step) && others.some((one) => one.has(step)));
  });
  return goes_on ? [`the labels of pack ${old.name} are gone`] : [];
}

const labelledIn = ({ manifest: { resources } }: AppPack) =>
  Object.entries(resources).filter(([, { labels }]) => labels !== undefined);

/** What a run is known to carry bears on every later step of it, whichever pack is asked about that. */
function labelChanges(before: AppPack, after: AppPack): readonly string[] {
  const [was, is] = [before.manifest, after.manifest];
  const labelled = labelledIn(before);
  // What they are, and who says so: the pack's directory, or the request.
  const read = ({ type, attributes, labels }: (typeof was.resources)[string]) =>
    jcs([type, attributes, labels ?? null]);
  const types = labelled.filter(([type, entry]) => {
    const now = is.resources[type];
    return now === undefined || read(entry) !== read(now);
  });
  const stated = labelled.some(([, { labels }]) => typeof labels === "string");
  const moved = Object.entries(was.actions).filter(
    ([action, { data, unlabelled }]) =>
      jcs([data ?? "both", unlabelled ?? null]) !==
      jcs([is.actions[action]?.data ?? "both", is.actions[action]?.unlabelled ?? null]),
  );
  const { name } = before;
  return [
    ...types.map(([type]) => `the labels of ${name}'s ${type} are changed`),
    ...moved.map(([action]) => `which way data move in ${name}'s ${action} is changed`),
    ...(labelled.length > 0 ? directoryChanges(before, after).map((why) => `labels of ${name}: ${why}`) : []),
    ...(stated ? typeChanges(before, after).map((why) => `labels of ${name}: ${why}`) : []),
  ];
}

/**
 * An approval is given by deciding another action, and a history counts steps of another one: who may do those may do
 * more of what rests on them. Said where nothing else is.
 */
function spread(
  found: ReadonlyMap<string, { readonly action: string }>,
  add: (pack: string, action: string, why: readonly string[]) => void,
  permitted: readonly { readonly pack: AppPack; readonly action: string }[],
  after: LoadedPolicy,
): void {
  for (let size = -1; size !== found.size;) {
    size = found.size;
    const open = new Set([...found.values()].map(({ action }) => action));
    for (const { pack, action } of permitted) {
      if (found.has(keyOf(pack.name, action))) continue;
      const demands = after.application.find(({ name }) => name === pack.name)?.demands.actions.get(action);
      const rests = [demands?.approval?.action, ...(demands?.history ?? []).map((rule) => rule.action)];
      const wider = rests.filter((on) => on !== undefined && on !== action && open.has(on));
      add(
        pack.name,
        action,
        wider.map((on) => `it rests on ${on}`),
      );
    }
  }
}
