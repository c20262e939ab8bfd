import { base64url, fromBase64url } from "../../base/bytes.ts";
import { digestText, type Sha256 } from "../../base/digest.ts";
import { err, ok, type Result } from "../../base/result.ts";
import type { Verify } from "../../lineage/note.ts";
import type { LoadedPolicy } from "../evaluate.ts";
import { Manifest } from "../manifest.ts";
import { loadArtefact } from "./artefact.ts";
import { MAX_BUNDLE_BYTES, MAX_ROOTS, type PolicyDocument, type RootDocument } from "./documents.ts";
import { openEnvelope, unsignedBy, type Opened } from "./envelope.ts";
import { refusal, type Refusal, type Role } from "./refusals.ts";
import type { Held, Mark, PolicyTrust } from "./state.ts";

/** Documents as they came, in one step: all of them take effect, or none. */
export type Offer = {
  /** Roots after the trusted one, each the next version of the one before. */
  readonly roots: readonly unknown[];
  readonly timestamp: unknown;
  readonly policy: unknown;
  readonly bundle: Uint8Array | null;
};

export type UpdatePorts = {
  readonly verify: Verify;
  readonly sha256: Sha256;
  /** Whether the region has that bundle already. */
  readonly has: (bundle: string) => boolean;
  readonly region: string;
  /** `major.minor.patch` of the engine that this region runs. */
  readonly engine: string;
};

export type Taken = {
  readonly trust: PolicyTrust;
  /** `false`: the region has all of it already. */
  readonly changed: boolean;
  /** A bundle that the region did not have. */
  readonly bundle: { readonly sha256: string; readonly bytes: Uint8Array; readonly policy: LoadedPolicy } | null;
};

type Step<T> = Promise<Result<T, Refusal>>;

/** A publisher's clock may be this far ahead. */
const AHEAD_MS = 300_000;

/** The first root: pinned with the deployment, signed by its own threshold. */
export async function pinnedRoot(
  envelope: unknown,
  { verify, sha256 }: Pick<UpdatePorts, "verify" | "sha256">,
): Step<Held<RootDocument>> {
  const opened = openEnvelope("root", envelope, sha256);
  if (!opened.ok) return opened;
  const unsigned = await unsignedBy(opened.value.document, opened.value, verify);
  return unsigned === null ? ok(held(opened.value)) : err(unsigned);
}

export const trustOf = (root: Held<RootDocument>): PolicyTrust => ({
  v: 1,
  root,
  timestamp: null,
  policy: null,
  previous: "baseline",
  floors: { timestamp: null, policy: null },
});

/**
 * Takes what is offered, in the order of TUF 1.0 section 5: roots one by one, then the timestamp, then the policy that
 * it names, then the bundle that that names. `now_ms` is the one time for the whole step. Pure: the caller stores
 * `trust` and `bundle` together, or nothing.
 */
export async function takeOffer(trust: PolicyTrust, offer: Offer, now_ms: number, ports: UpdatePorts): Step<Taken> {
  const rooted = await takeRoots(trust, offer.roots, now_ms, ports);
  if (!rooted.ok) return rooted;
  const stamped = await takeTimestamp(rooted.value, offer.timestamp, now_ms, ports);
  if (!stamped.ok) return stamped;
  const isStamped = stamped.value !== rooted.value;
  const ruled = await takePolicy(stamped.value, offer.policy, isStamped, now_ms, ports);
  if (!ruled.ok) return ruled;
  const bundle = takeBundle(ruled.value, offer.bundle, ports);
  if (!bundle.ok) return bundle;
  return ok({ trust: ruled.value, changed: ruled.value !== trust, bundle: bundle.value });
}

const isFresh = ({ timestamp, policy, previous, floors }: PolicyTrust): boolean =>
  timestamp === null &&
  policy === null &&
  previous === "baseline" &&
  floors.timestamp === null &&
  floors.policy === null;

async function takeRoots(
  trust: PolicyTrust,
  roots: readonly unknown[],
  now_ms: number,
  ports: UpdatePorts,
): Step<PolicyTrust> {
  if (roots.length > MAX_ROOTS) return err(refusal("too_large", "root", `more than ${MAX_ROOTS} roots`));
  let { root, floors, chain = [] } = trust;
  for (const offered of roots) {
    const opened = openEnvelope("root", offered, ports.sha256);
    if (!opened.ok) return opened;
    const next = opened.value;
    if (next.version === root.version && next.sha256 === root.sha256) continue;
    if (next.version < root.version) {
      // A region that never took anything may be pinned to a later root than the release begins with.
      if (isFresh(trust)) continue;
      return err(behind("root", next, root));
    }
    const unendorsed = await unsignedBy(root.document, next, ports.verify);
    if (next.version === root.version) return err(unendorsed ?? differs("root", next));
    if (next.version !== root.version + 1)
      return err(refusal("root_skipped", "root", `version ${next.version} after version ${root.version}`));
    const self = await unsignedBy(next.document, next, ports.verify);
    if (unendorsed !== null && self !== null) return err(unendorsed);
    if (unendorsed !== null) return err(refusal("root_not_endorsed", "root", unendorsed.detail));
    if (self !== null) return err(refusal("root_not_self_signed", "root", self.detail));
    floors = floorsUnder({ root, floors }, next.document);
    root = held(next);
    chain = [...chain, next.envelope];
  }
  if (root.document.expires_ms <= now_ms) return err(expired("root", root));
  return ok(root === trust.root ? trust : await underRoot({ ...trust, root, floors, chain }, now_ms, ports.verify));
}

/** A root that the deployment vouches for, whatever the one before says of it: the last resort. */
export const adoptRoot = (trust: PolicyTrust, root: Held<RootDocument>, verify: Verify): Promise<PolicyTrust> =>
  underRoot({ ...trust, root, floors: floorsUnder(trust, root.document), chain: [] }, null, verify);

/** Whoever had the keys that went may have raised the versions out of reach (recovery from fast-forward). */
const floorsUnder = (
  { root, floors }: Pick<PolicyTrust, "root" | "floors">,
  next: RootDocument,
): PolicyTrust["floors"] => ({
  policy: isReplaced(root.document, next, "policy") ? null : floors.policy,
  timestamp: isReplaced(root.document, next, "timestamp") ? null : floors.timestamp,
});

/** What the keys of the new root did not sign is trusted no more. `now_ms`: `null` where it is not known. */
async function underRoot(trust: PolicyTrust, now_ms: number | null, verify: Verify): Promise<PolicyTrust> {
  const stands = async <D>(role: Role, one: Held<D> | null): Promise<Held<D> | null> =>
    one !== null && (await unsignedBy(trust.root.document, { role, envelope: one.envelope }, verify)) === null
      ? one
      : null;
  const { floors } = trust;
  const [timestamp, policy] = [await stands("timestamp", trust.timestamp), await stands("policy", trust.policy)];
  // A region that had a signed policy does not fall back to the baseline.
  const baseline = policy === trust.policy ? ("baseline" as const) : null;
  const previous = trust.previous === "baseline" ? baseline : await stands("policy", trust.previous);
  // What was followed already must not be in force again until the next one is.
  const waited = now_ms !== null && (trust.policy?.document.not_before_ms ?? 0) > now_ms;
  const is_over = policy !== trust.policy && !waited;
  const last = policy ?? (previous === "baseline" ? null : previous);
  return {
    ...trust,
    timestamp,
    policy,
    previous: is_over ? null : previous,
    // Versions begin anew above what the keys that stayed have signed: to those nobody else could raise them.
    floors: {
      timestamp: floors.timestamp ?? (timestamp === null ? null : markOf(timestamp)),
      policy: floors.policy ?? (last === null ? null : markOf(last)),
    },
  };
}

/** Whether as many keys of the role were taken away as could have signed in its name. */
function isReplaced(before: RootDocument, after: RootDocument, role: Role): boolean {
  const keysOf = (root: RootDocument): ReadonlySet<string> =>
    new Set(root.roles[role].kids.map((kid) => base64url(fromBase64url(root.keys[kid]!.x)!)));
  const kept = keysOf(after);
  return [...keysOf(before)].filter((key) => !kept.has(key)).length >= before.roles[role].threshold;
}

async function takeTimestamp(
  trust: PolicyTrust,
  offered: unknown,
  now_ms: number,
  ports: UpdatePorts,
): Step<PolicyTrust> {
  if (offered === null) return ok(trust);
  const opened = openEnvelope("timestamp", offered, ports.sha256);
  if (!opened.ok) return opened;
  const next = opened.value;
  const unsigned = await unsignedBy(trust.root.document, next, ports.verify);
  if (unsigned !== null) return err(unsigned);
  const { floors, timestamp } = trust;
  const { policy: named, expires_ms, issued_at_ms } = next.document;
  const floor = floors.timestamp;
  if (floor !== null && next.version < floor.version) return err(behind("timestamp", next, floor));
  if (floor?.version === next.version && floor.sha256 !== next.sha256) return err(differs("timestamp", next));
  if (floors.policy !== null && named.version < floors.policy.version)
    return err(behind("policy", named, floors.policy));
  if (floors.policy?.version === named.version && floors.policy.sha256 !== named.sha256)
    return err(differs("policy", named));
  if (issued_at_ms > now_ms + AHEAD_MS)
    return err(refusal("from_the_future", "timestamp", `version ${next.version} is of ${iso(issued_at_ms)}`));
  if (expires_ms <= now_ms) return err(expired("timestamp", next));
  if (timestamp?.sha256 === next.sha256) return ok(trust);
  return ok({ ...trust, timestamp: held(next), floors: { ...floors, timestamp: markOf(next) } });
}

/** `is_stamped`: there is a new timestamp, and what it names must be there. A root alone may leave the region without. */
async function takePolicy(
  trust: PolicyTrust,
  offered: unknown,
  is_stamped: boolean,
  now_ms: number,
  ports: UpdatePorts,
): Step<PolicyTrust> {
  const named = trust.timestamp?.document.policy ?? null;
  if (offered === null) {
    if (!is_stamped || named === null || trust.policy?.sha256 === named.sha256) return ok(trust);
    return err(refusal("missing", "policy", `the timestamp names policy version ${named.version}, which is not here`));
  }
  const opened = openEnvelope("policy", offered, ports.sha256);
  if (!opened.ok) return opened;
  const next = opened.value;
  const unsigned = await unsignedBy(trust.root.document, next, ports.verify);
  if (unsigned !== null) return err(unsigned);
  const floor = trust.floors.policy;
  if (floor !== null && next.version < floor.version) return err(behind("policy", next, floor));
  if (floor?.version === next.version && floor.sha256 !== next.sha256) return err(differs("policy", next));
  if (named === null) return err(refusal("missing", "timestamp", "there is none that names the policy"));
  if (named.version !== next.version || named.sha256 !== next.sha256)
    return err(refusal("mix_and_match", "policy", `the timestamp names version ${named.version} (${named.sha256})`));
  const { document } = next;
  if (document.expires_ms <= now_ms) return err(expired("policy", next));
  if (isNewer(document.engine_min, ports.engine))
    return err(refusal("engine_too_old", "policy", `it needs engine ${document.engine_min}, this is ${ports.engine}`));
  if (trust.policy?.sha256 === next.sha256) return ok(trust);
  const previous = currentAt(trust, now_ms);
  return ok({ ...trust, policy: held(next), previous, floors: { ...trust.floors, policy: markOf(next) } });
}

/** What the new policy follows: one that was never in force is not followed. */
function currentAt({ policy, previous }: PolicyTrust, now_ms: number): PolicyTrust["previous"] {
  return policy === null || policy.document.not_before_ms > now_ms ? previous : policy;
}

function takeBundle(
  { policy }: PolicyTrust,
  bytes: Uint8Array | null,
  { sha256, has, region }: UpdatePorts,
): Result<Taken["bundle"], Refusal> {
  const refuse = (code: Refusal["code"], detail: string) => err(refusal(code, "bundle", detail));
  if (bytes !== null && bytes.length > MAX_BUNDLE_BYTES)
    return refuse("too_large", `more than ${MAX_BUNDLE_BYTES} bytes`);
  const named: PolicyDocument["bundle"] | null = policy?.document.bundle ?? null;
  if (bytes === null)
    return named === null || has(named.sha256) ? ok(null) : refuse("missing", `the policy names ${named.sha256}`);
  const digest = digestText(sha256(bytes));
  if (named === null) return refuse("missing", "there is no policy that names it");
  if (digest !== named.sha256 || bytes.length !== named.size)
    return refuse("mix_and_match", `the policy names ${named.sha256}, of ${named.size} bytes`);
  if (has(digest)) return ok(null);
  const loaded = loadArtefact(bytes, region);
  if (loaded.ok) {
    const unknown = manifestProblem(loaded.value);
    return unknown === null ? ok({ sha256: digest, bytes, policy: loaded.value }) : refuse("bundle_invalid", unknown);
  }
  return loaded.error === "other_region"
    ? refuse("other_region", `nothing in it is for region ${region}`)
    : refuse("bundle_invalid", loaded.error);
}

/** A rule that this region does not know would be passed over in silence, and what it forbids allowed. */
function manifestProblem({ parts }: LoadedPolicy): string | null {
  for (const { name, source } of parts) {
    const read = Manifest.safeParse(source?.manifest);
    const issue = read.success ? undefined : read.error.issues[0];
    if (issue !== undefined)
      return `pack ${name}: manifest: ${[...issue.path, issue.message].join(": ").slice(0, 200)}`;
  }
  return null;
}

const held = <R extends Role>({ version, sha256, document, envelope }: Opened<R>): Held<Opened<R>["document"]> => ({
  version,
  sha256,
  document,
  envelope,
});
const markOf = ({ version, sha256 }: Mark): Mark => ({ version, sha256 });
const iso = (t_ms: number): string => new Date(t_ms).toISOString();

const behind = (role: Role, { version }: { readonly version: number }, floor: { readonly version: number }): Refusal =>
  refusal("rollback", role, `version ${version} is below ${floor.version}, which was accepted`);
const differs = (role: Role, { version }: { readonly version: number }): Refusal =>
  refusal("equivocation", role, `version ${version} was accepted with other content`);
const expired = (role: Role, one: { readonly version: number; readonly document: { readonly expires_ms: number } }) =>
  refusal("expired", role, `version ${one.version} ended at ${iso(one.document.expires_ms)}`);

/** Whether version `a` is above version `b`, both `major.minor.patch`. */
function isNewer(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => text.split(".").map(Number));
  for (const [at, part] of left!.entries()) if (part !== right![at]) return part > (right![at] ?? 0);
  return false;
}
