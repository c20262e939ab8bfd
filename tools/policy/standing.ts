import type { PolicyView } from "../../src/objects/policy.ts";

/** What `interlock policy status` says to a person; `--json` has the rest. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

type Dated = "root" | "policy" | "timestamp";

/** How long before its end somebody should have done something: alarms of docs/operations/publish-policy.md. */
const AHEAD_MS: Readonly<Record<Dated, number>> = { root: 30 * DAY_MS, policy: 14 * DAY_MS, timestamp: 12 * HOUR_MS };

const RENEWAL: Readonly<Record<Dated, string>> = {
  root: "make and sign the next root (interlock policy root), and publish it with a policy and a timestamp",
  policy: "sign and publish a policy of a higher version (interlock policy release)",
  timestamp: "bring a new timestamp (interlock policy refresh)",
};

const DATED = ["timestamp", "policy", "root"] as const;

export function describeStanding(view: PolicyView, now_ms: number): readonly string[] {
  const { region, source, version, digest, bundle, packs, next, problem, trust } = view;
  const law = source === "baseline" ? "the baseline of its deployment" : `signed policy version ${version}`;
  const invalid = packs.filter(({ status }) => status === "invalid");
  return [
    problem === null ? `${region}: ${law} is in force` : `${region}: DENIES EVERYTHING: ${problem}`,
    row("packs", packs.length === 0 ? "none" : packs.map(({ name }) => name).join(", ")),
    ...invalid.map(({ name, problem: why }) => row("invalid", `${name}: ${why}`)),
    row("digest", `${short(digest)}${bundle === null ? "" : `, bundle ${short(bundle)}`}`),
    ...(trust === null ? [] : documents(view, trust, now_ms)),
    ...(next === null ? [] : [row("pending", pending(view, next, now_ms))]),
    ...approvals(view, now_ms),
    row("next", todo(view, now_ms)),
  ];
}

const row = (name: string, text: string): string => `  ${name.padEnd(10)} ${text}`;

/** Enough to tell two apart by eye; decisions and commands take the whole one (`--json`). */
const short = (digest: string | null): string => (digest === null ? "none" : `${digest.slice(0, 19)}…`);

/** What waits is the newest policy, with a date of its own. */
function pending({ trust }: PolicyView, { version, from_ms }: NonNullable<PolicyView["next"]>, now_ms: number): string {
  const newest = trust?.policy ?? null;
  const until = newest?.version === version ? `, until ${date(newest.document.expires_ms, now_ms)}` : "";
  return `version ${version} from ${date(from_ms, now_ms)}${until}`;
}

function documents(
  { expires_ms, version }: PolicyView,
  { root, policy, timestamp }: NonNullable<PolicyView["trust"]>,
  now_ms: number,
): string[] {
  const { roles } = root.document;
  const needs = (["root", "policy", "timestamp"] as const).map(
    (role) =>
      `${roles[role].threshold} of ${roles[role].kids.length} ${role} ${plural("key", roles[role].kids.length)}`,
  );
  const until = (end: number | null): string => (end === null ? "" : `, until ${date(end, now_ms)}`);
  const held = (one: { readonly version: number } | null, end: number | null): string =>
    one === null ? "none that its root's keys signed" : `version ${one.version}${until(end)}`;
  return [
    row("root", `version ${root.version}${until(expires_ms.root ?? root.document.expires_ms)}`),
    row("", `signed by ${needs.join(", ")}`),
    // In force: the newest may still wait.
    row(
      "policy",
      version === null
        ? held(policy, policy?.document.expires_ms ?? null)
        : held({ version }, expires_ms.policy ?? policy?.document.expires_ms ?? null),
    ),
    row("timestamp", held(timestamp, expires_ms.timestamp ?? timestamp?.document.expires_ms ?? null)),
  ];
}

const plural = (word: string, n: number): string => (n === 1 ? word : `${word}s`);

const date = (t_ms: number, now_ms: number): string => `${iso(t_ms)} (${away(t_ms - now_ms)})`;
const iso = (t_ms: number): string => `${new Date(t_ms).toISOString().slice(0, 16)}Z`;

/** Rounded down, so that nothing lasts longer than it says. */
function away(ms: number): string {
  const size = Math.abs(ms);
  const [n, unit] =
    size >= 2 * DAY_MS
      ? [Math.floor(size / DAY_MS), "day"]
      : size >= 2 * HOUR_MS
        ? [Math.floor(size / HOUR_MS), "hour"]
        : [Math.floor(size / MINUTE_MS), "minute"];
  return ms < 0 ? `${n} ${plural(unit, n)} ago` : `in ${n} ${plural(unit, n)}`;
}

function approvals({ approvals: needed, asked }: PolicyView, now_ms: number): string[] {
  if (asked === null) return needed === 2 ? [row("approvals", "two administrators bring a policy or a root")] : [];
  const { asked_by, offer, expires_ms } = asked;
  return [row("approvals", `asked by ${asked_by} for ${short(offer)}, until ${date(expires_ms, now_ms)}`)];
}

/** One thing: what is most urgent, or when there will be something. */
function todo({ trust, asked, problem, source, next, expires_ms }: PolicyView, now_ms: number): string {
  if (asked !== null) return "another administrator brings the same release (interlock policy publish)";
  const ends = DATED.flatMap((role) => {
    const end = expires_ms[role];
    return end === null ? [] : [{ role, end, act_ms: end - AHEAD_MS[role] }];
  }).sort((a, b) => a.act_ms - b.act_ms);
  // What is over comes first, the root before what its keys sign.
  const over = DATED.findLast((role) => (expires_ms[role] ?? Infinity) <= now_ms);
  if (over !== undefined) return `the ${over} has expired: ${RENEWAL[over]}`;
  if (problem !== null && next !== null)
    return `publish a policy without --not-before, or wait for version ${next.version}`;
  if (problem !== null)
    return trust === null
      ? "see /health for the pack that failed"
      : "publish a policy and a timestamp that its root's keys signed";
  const [first] = ends;
  if (source === "baseline" || first === undefined)
    return "nothing: a baseline does not expire. Signed policy takes its place: docs/operations/publish-policy.md";
  return first.act_ms <= now_ms
    ? RENEWAL[first.role]
    : `nothing before ${date(first.act_ms, now_ms)}; then ${RENEWAL[first.role]}`;
}
