import { digestOf, type Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { CedarRecord, uidKey } from "../cedar/index.ts";
import { consentsOf } from "./consents.ts";
import { flowsOf } from "./demands.ts";
import { evaluatePolicy, type LoadedPolicy, type PolicyPart } from "./evaluate.ts";
import { placesOf } from "./places.ts";
import { questionsTo, type Questions } from "./probe-questions.ts";
import { PROBE_SET, type Probe } from "./probe-set.ts";
import { rulesFor } from "./step-rules.ts";

/** One pack as it decides: what it is called, what it was built from, and what it answered just now. */
export type PackProbe = {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** Digest text over its policies by name and the answers to `questionsTo`. */
  readonly probe: string;
};

/** What a policy in memory was found to be. */
export type PolicyProbe = {
  readonly engine: string;
  /** Version of the questions. */
  readonly set: number;
  /** Digest of the policy, as it is loaded. */
  readonly policy: string;
  readonly packs: readonly PackProbe[];
  /** Over what the packs say together; compared within a region only. */
  readonly whole: string;
};

/**
 * Questions between two yields: a millisecond or two. Of eight a round made forty pauses, in which whoever asked waited
 * for one timer after the other: a tenth of the decisions of 16 callers.
 */
const SLICE = 48;

/**
 * Asks the compiled policy itself what it decides, pack by pack, so that a policy that was changed where it lies, or is
 * evaluated otherwise, shows although every digest of what it was built from is as before. Each pack is asked alone:
 * regions run different packs beside it. Yields now and then: the caller asks on when nothing else waits.
 */
export function* probing(policy: LoadedPolicy, engine: string, sha: Sha256): Generator<void, PolicyProbe> {
  const packs: PackProbe[] = [];
  for (const part of policy.parts) {
    const alone = aloneOf(policy, part);
    const { probes, kinds } = yield* questionsTo(alone, part, SLICE);
    const answers: string[] = [policiesIn(alone), demandsIn(alone, kinds)];
    yield;
    for (const [at, probe] of probes.entries()) {
      if (at % SLICE === SLICE - 1) yield;
      answers.push(answerOf(alone, probe));
    }
    answers.push(yield* directoryIn(alone, part));
    yield;
    packs.push({
      name: part.name,
      version: part.version,
      digest: part.digest,
      probe: digestOf(answers.join("\n"), sha),
    });
  }
  return { engine, set: PROBE_SET, policy: policy.digest, packs, whole: wholeOf(policy, sha) };
}

/** All of it at once: some milliseconds. */
export function probePolicy(policy: LoadedPolicy, engine: string, sha: Sha256): PolicyProbe {
  const asking = probing(policy, engine, sha);
  for (;;) {
    const { done, value } = asking.next();
    if (done === true) return value;
  }
}

/** The pack as it lies in memory, in a policy of its own. */
function aloneOf(policy: LoadedPolicy, { name, source }: PolicyPart): LoadedPolicy {
  return {
    ...policy,
    sovereign: policy.sovereign.filter((pack) => pack.name === name),
    application: policy.application.filter((pack) => pack.name === name),
    // Of all packs together: `wholeOf`.
    actions: new Map(),
    flows: source?.manifest.layer === "application" ? flowsOf([source.manifest]) : new Map(),
  };
}

/** Policies that are read in a round at most, the first by position: a fraction of a millisecond. */
const MAX_POLICIES = 512;

/** The policies as they lie in memory: not every one of them can be met by a question. */
const policiesIn = ({ sovereign, application }: LoadedPolicy): string =>
  JSON.stringify(
    [...sovereign, ...application].map(({ policies: { policies } }) => [
      policies.length,
      policies.slice(0, MAX_POLICIES).map(({ id, effect }) => [id, effect]),
    ]),
  );

/** Entities that are read in a round at most, the first by name: a fraction of a millisecond. */
const MAX_ENTITIES = 512;

/** The directory as it lies in memory: no list of questions meets every entity of it in a way that shows. */
function* directoryIn({ sovereign, application }: LoadedPolicy, { source }: PolicyPart): Generator<void, string> {
  const directory = [...sovereign, ...application][0]?.directory;
  const keys = (source?.entities ?? []).map(({ uid }) => uidKey("__entity" in uid ? uid.__entity : uid)).sort();
  const texts: string[] = [];
  for (const [at, key] of keys.slice(0, MAX_ENTITIES).entries()) {
    if (at % 64 === 63) yield;
    const entity = directory?.get(key);
    // Records keep their own text, which says nothing about what they hold now: hence anew.
    const attributes = entity && [entity.attributes, entity.tags].map((one) => new CedarRecord(one.attributes).key);
    texts.push(JSON.stringify(entity && [key, attributes, [...entity.ancestors].sort()]) ?? "");
  }
  return texts.join("\n");
}

/** Everything that the pack brings to a decision. Messages of errors are left out: they are for people. */
function answerOf(alone: LoadedPolicy, { request, env }: Probe): string {
  const answer = evaluatePolicy(alone, request, env);
  const { reason, policy_reason, layer_failed, determining, obligations, errors } = answer;
  const { failed, carried, gained } = placesOf(alone, request, env.labels, env.region);
  const { keys, failed: unstated } = consentsOf(alone, request);
  // Members by name and in this order, so that it does not matter how the objects were made.
  return JSON.stringify([
    [reason, policy_reason, layer_failed, answer.permit_ttl_ms, answer.valid_for_ms],
    determining.map(({ policy, reason: why }) => [policy, why]),
    obligations.map(({ id, type, properties }) => [id, type, jcs(properties)]),
    errors.map(({ policy }) => policy),
    failed.map(({ reason: why, detail }) => [why, detail ?? null]),
    [carried, gained, keys, unstated.map(({ detail }) => detail ?? null)],
    rulesFor(alone, request).pinned.map(({ expected, context }) => [expected, context]),
  ]);
}

/** What is demanded before the policies are asked depends on types and action only: once for each. */
const demandsIn = (alone: LoadedPolicy, kinds: Questions["kinds"]): string =>
  JSON.stringify(
    kinds.map(({ name, request }) => {
      const { pinned: _, ...rules } = rulesFor(alone, request);
      return [name, jcs(rules)];
    }),
  );

function wholeOf({ problem, actions, flows, sovereign, application }: LoadedPolicy, sha: Sha256): string {
  const packs = [sovereign, application].map((layer) =>
    layer.map(({ name, max_unanchored_ms }) => [name, max_unanchored_ms]),
  );
  const degraded = application.map((pack) => [pack.name, [...pack.degraded].sort()]);
  const json = { problem, packs, degraded, actions: [...actions].sort(byName), flows: [...flows].sort(byName) };
  return digestOf(jcs(json), sha);
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0;

/**
 * What of `found` is not as `expected` says, by name (`""`: what the packs say together); empty where nothing is, or
 * where the two were not asked the same.
 */
export function deviations(expected: PolicyProbe, found: PolicyProbe): readonly string[] {
  if (expected.engine !== found.engine || expected.set !== found.set || expected.policy !== found.policy) return [];
  const packs = new Map(found.packs.map((pack) => [pack.name, pack]));
  const differ = expected.packs.filter(({ name, version, digest, probe }) => {
    const other = packs.get(name);
    return other?.version !== version || other.digest !== digest || other.probe !== probe;
  });
  const unknown = found.packs.filter(({ name }) => !expected.packs.some((pack) => pack.name === name));
  const names = [...differ, ...unknown].map(({ name }) => name);
  return expected.whole === found.whole ? names : [...names, ""];
}
