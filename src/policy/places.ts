import { cut } from "../base/cut.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { FailedCheck } from "../vocabulary/reasons.ts";
import { textAttribute, textsAttribute } from "./attributes.ts";
import { covers, type Searched } from "./cedar-request.ts";
import type { ActionDemands } from "./demands.ts";
import type { ApplicationPack, LoadedPolicy } from "./load.ts";
import type { Flow } from "./manifest-rules.ts";

/** Where a step reaches, and what data it moves there. */
export type Places = {
  /** `zone_mismatch`, then `residency_violation`; in the order of packs, then of labels. */
  readonly failed: readonly FailedCheck[];
  /** Labels of the data that this step moves: what the policies see. Sorted. */
  readonly carried: readonly string[];
  /** Labels that the run has once the step is allowed. Sorted. */
  readonly gained: readonly string[];
};

const NONE: readonly never[] = [];

/**
 * Whether a step stays where its subject may act, and its data where their labels let them go (docs/pack.md). Looked at
 * before any policy, so that none can permit it. Pure.
 *
 * `labels`: of the run so far and of the pass that came along. A step in which no pack has a say moves all of them and
 * brings none: it is denied anyway.
 */
export function placesOf(
  policy: LoadedPolicy,
  request: CanonicalRequest,
  labels: readonly string[],
  region: string,
  searched: Searched = null,
): Places {
  const packs = policy.application.filter(({ types }) => covers(types, request));
  if (packs.length === 0) return { failed: NONE, carried: sorted(labels), gained: sorted(labels) };
  const seen = packs.map((pack) => inPack(policy, pack, request, labels, region, searched));
  const gained = sorted([...labels, ...seen.flatMap(({ brought }) => brought)]);
  const flows = [...seen.flatMap((one) => one.flows), ...(gained.length > MAX_LABELS ? [TOO_MANY] : NONE)];
  return {
    failed: [...once(seen.flatMap(({ zones }) => zones)), ...once(flows)],
    carried: sorted(seen.flatMap(({ carried }) => carried)),
    gained,
  };
}

/** A run's labels stand in each of its records, and requests may describe what brings them. */
const MAX_LABELS = 256;
const MAX_LABEL = 128;
const TOO_MANY: FailedCheck = {
  reason: "residency_violation",
  detail: `data with more than ${MAX_LABELS} labels, or with one longer than ${MAX_LABEL} characters`,
};

const sorted = (labels: readonly string[]): readonly string[] =>
  labels.length === 0 ? NONE : [...new Set(labels)].sort();

const once = (failed: readonly FailedCheck[]): readonly FailedCheck[] =>
  failed.length < 2 ? failed : [...new Map(failed.map((check) => [check.detail, check])).values()];

type Seen = {
  readonly zones: readonly FailedCheck[];
  readonly flows: readonly FailedCheck[];
  readonly carried: readonly string[];
  readonly brought: readonly string[];
};

function inPack(
  policy: LoadedPolicy,
  pack: ApplicationPack,
  request: CanonicalRequest,
  labels: readonly string[],
  region: string,
  searched: Searched,
): Seen {
  const subject = zoneOf(pack, request, "subject", searched);
  const resource = zoneOf(pack, request, "resource", searched);
  const action = pack.demands.actions.get(request.action.name)!;
  const sent = sends(action, request) ? labels : NONE;
  const brought = action.data === "out" || action.data === "both" ? labelsOf(pack, request, searched) : NONE;
  const { unknown_label } = pack.demands;
  if (brought.length > MAX_LABELS || brought.some((label) => label.length > MAX_LABEL))
    return { zones: crossing(pack, subject, resource), flows: [TOO_MANY], carried: sent, brought: NONE };
  const flows: FailedCheck[] = [];
  const hold = (label: string, target: string, where: string): void => {
    if (!mayFlow(policy.flows, label, target, unknown_label))
      flows.push({ reason: "residency_violation", detail: `${short(label)} may not go to ${target} (${where})` });
  };
  for (const label of sorted([...sent, ...brought])) {
    hold(label, region, "deciding region");
    if (subject?.region !== undefined) hold(label, subject.region, "subject");
    // What is read comes from the resource; only what the run sends goes there.
    if (resource?.region !== undefined && sent.includes(label)) hold(label, resource.region, "resource");
  }
  return { zones: crossing(pack, subject, resource), flows, carried: [...sent, ...brought], brought };
}

/** `region: undefined`: the pack knows no such zone. */
type Zone = { readonly name: string; readonly region: string | undefined };

/** `null`: entities of that type have no zone, or the pack does not know this one and will deny it. */
function zoneOf(
  pack: ApplicationPack,
  request: CanonicalRequest,
  side: "subject" | "resource",
  searched: Searched,
): Zone | null {
  const { demands } = pack;
  const rule =
    side === "subject" ? demands.subjects.get(request.subject.type)! : demands.resources.get(request.resource.type)!;
  if (rule.zone === null) return null;
  const name = textAttribute(pack, request, side, rule.zone, searched);
  return name === null ? null : { name, region: demands.zones.get(name) };
}

/** Acting within a zone needs nothing; from one zone in another needs an edge in that direction. */
function crossing({ demands }: ApplicationPack, subject: Zone | null, resource: Zone | null): readonly FailedCheck[] {
  const unknown = [subject, resource].filter((zone) => zone !== null && zone.region === undefined);
  if (unknown.length > 0) return unknown.map((zone) => mismatch(`no zone ${short(zone!.name)}`));
  if (subject === null || resource === null || subject.name === resource.name) return NONE;
  return demands.edges.get(subject.name)?.has(resource.name) === true
    ? NONE
    : [mismatch(`no edge from ${subject.name} to ${resource.name}`)];
}

const mismatch = (detail: string): FailedCheck => ({ reason: "zone_mismatch", detail });

/** Whether the run's data go along. Every property counts, on whatever it is: each of them could hold some. */
function sends({ data, unlabelled }: ActionDemands, { subject, action, resource, context }: CanonicalRequest): boolean {
  if (data === "none" || data === "out") return false;
  if (unlabelled === null) return true;
  return [subject.properties, action.properties, resource.properties, context].some(
    (properties) => properties !== undefined && Object.keys(properties).some((name) => !unlabelled.has(name)),
  );
}

function labelsOf(pack: ApplicationPack, request: CanonicalRequest, searched: Searched): readonly string[] {
  const { labels } = pack.demands.resources.get(request.resource.type)!;
  if (labels === null) return NONE;
  return typeof labels === "string" ? (textsAttribute(pack, request, "resource", labels, searched) ?? NONE) : labels;
}

/** `<class>` or `<class>:<region>`. A class that no pack of the region knows counts as the one that the pack names. */
function mayFlow(flows: LoadedPolicy["flows"], label: string, target: string, unknown_label: string | null): boolean {
  const colon = label.lastIndexOf(":");
  const own = colon === -1 ? null : label.slice(colon + 1);
  const rules = flows.get(colon === -1 ? label : label.slice(0, colon)) ?? flows.get(unknown_label ?? "") ?? OWN;
  return rules.every((rule) => (rule === "own" ? own === target : rule === "any" || rule.includes(target)));
}

const OWN: readonly Flow[] = ["own"];

/** Names come from requests and other regions, and details go into the record. */
const short = (text: string): string => (text.length > 64 ? `${cut(text, 64)}…` : text);
